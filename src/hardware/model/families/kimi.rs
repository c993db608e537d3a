//! Moonshot's Kimi-Linear and Kimi-K3: Kimi's delta attention (KDA) with latent attention every few
//! layers.

use serde_json::Value;

use super::assemble::Context;
use super::kinds::{self, FULL, Kind};
use super::recurrent::{self, Kda};
use super::{Experts, Family, Flag, LLAMA, Vectors, latent, sparsity};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, Matrix, Split};

/// The section of the delta attention.
const SECTION: &str = "linear_attn_config";

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["kimi_linear", "kimi_k3"],
    experts: Experts::ByKey,
    head_dim: Some(64),
    kinds: by_lists,
    mixer,
    finish,
    defaults: &[
        ("qk_rope_head_dim", 64),
        ("first_k_dense_replace", 1),
        ("num_shared_experts", 1),
        ("linear_num_heads", 32),
        ("linear_head_dim", 128),
        ("linear_conv_kernel_dim", 4),
    ],
    vectors: Vectors {
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    harmless: &[
        "activation_situ_beta",
        "activation_situ_linear_beta",
        "moe_renormalize",
        "moe_router_activation_func",
        "num_expert_group",
        "use_grouped_topk",
    ],
    ..LLAMA
}];

/// A number of the section, or of the key that stands for it.
pub(super) fn number(keys: &Keys, inner: &str, outer: &str) -> Result<u32, Box<Diagnostic>> {
    let own = keys.get(SECTION).and_then(|section| section.get(inner));
    match own.map(|own| own.as_u64().and_then(|number| u32::try_from(number).ok())) {
        None => keys.required(&[outer]),
        Some(Some(number)) if (1..1 << 16).contains(&number) => Ok(number),
        Some(_) => Err(keys.wrong(&format!("{SECTION}.{inner}"), "a whole number, 1 to 65535")),
    }
}

/// The layers in one of the section's lists, which count from 1.
fn listed(keys: &Keys, list: &str) -> Option<Vec<u64>> {
    let all = keys.get(SECTION)?.get(list)?.as_array()?;
    Some(all.iter().filter_map(Value::as_u64).collect())
}

fn by_lists(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    keys.understands(latent::KEYS);
    let full = listed(keys, "full_attn_layers");
    match (kinds::by_words(keys, family, spec)?, full) {
        (Some(kinds), _) => Ok(kinds),
        (None, Some(full)) => {
            Ok(kinds::every(spec.layers, |index| full.contains(&(u64::from(index) + 1))))
        }
        (None, None) => Ok(kinds::every(spec.layers, |i| i > 0 && i.is_multiple_of(4))),
    }
}

/// The delta attention that the config describes.
pub(super) fn delta(context: &Context, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    keys.understands(&["linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim"]);
    let flag = |key: &str| keys.get(SECTION).and_then(|s| s.get(key)).and_then(Value::as_bool);
    let shape = Kda {
        heads: number(keys, "num_heads", "linear_num_heads")?,
        dim: number(keys, "head_dim", "linear_head_dim")?,
        kernel: number(keys, "short_conv_kernel_size", "linear_conv_kernel_dim")?,
        full_rank_gate: flag("use_full_rank_gate").unwrap_or(false),
        full_rank_decay: false,
    };
    recurrent::kda(context, shape, layer);
    Ok(())
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    if kind != FULL {
        return delta(context, layer);
    }
    latent::mixer(context, index, kind, layer)?;
    if context.keys.flag("mla_use_output_gate") == Some(true) {
        let dim = context.keys.required(&["v_head_dim"])?;
        let rows = u64::from(context.spec.q_heads) * u64::from(dim);
        let gate = Matrix::new("self_attn.g_proj", rows, context.hidden());
        layer.add(gate.split(Split::Rows(dim)));
    }
    Ok(())
}

/// K3's experts behind a projection, and what it mixes of earlier layers.
fn finish(context: &Context, index: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    let keys = context.keys;
    let width = keys.optional(&["routed_expert_hidden_size"])?;
    let normed = keys.flag("latent_moe_use_norm").unwrap_or(false);
    if let (Some(width), Some(_)) = (width, layer.experts) {
        let names =
            ["block_sparse_moe.routed_expert_down_proj", "block_sparse_moe.routed_expert_up_proj"];
        sparsity::behind_projection(layer, context.hidden(), width, names);
        layer.vectors += if normed { u64::from(width) } else { 0 };
    }
    if keys.optional(&["attn_res_block_size"])?.is_some() {
        // A norm and a weight for each element, for attention and for the MLP; once more behind
        // the last layer.
        let times = if index + 1 == context.spec.layers { 6 } else { 4 };
        layer.vectors += times * context.hidden();
    }
    Ok(())
}
