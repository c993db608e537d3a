//! AI21's Jamba: Mamba layers with one of attention in each period.

use super::assemble::{Context, attention};
use super::kinds::{self, Kind};
use super::recurrent::{self, Mamba};
use super::{Experts, Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::Layer;

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["jamba"],
    experts: Experts::ByKey,
    kinds: by_period,
    mixer,
    mlp_module: "feed_forward",
    defaults: &[
        ("attn_layer_period", 8),
        ("attn_layer_offset", 4),
        ("expert_layer_period", 2),
        ("expert_layer_offset", 1),
        ("num_experts", 16),
        ("num_experts_per_tok", 2),
        ("mamba_d_state", 16),
        ("mamba_d_conv", 4),
        ("mamba_expand", 2),
    ],
    vectors: Vectors { qkv_bias: Flag::Never, output_bias: Flag::Never, ..LLAMA.vectors },
    harmless: &[
        "mamba_conv_bias",
        "mamba_proj_bias",
        "use_mamba_kernels",
        "use_mambapy",
        "use_associative_scan",
    ],
    ..LLAMA
}];

fn by_period(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let period = keys.required(&["attn_layer_period"])?;
    let offset = keys.count(&["attn_layer_offset"])?.unwrap_or(0);
    match kinds::by_words(keys, family, spec)? {
        Some(kinds) => Ok(kinds),
        None => Ok(kinds::every(spec.layers, |index| index % period == offset % period)),
    }
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    if kind != Kind::Linear {
        return attention(context, index, kind, layer);
    }
    let keys = context.keys;
    let inner = keys.required(&["mamba_expand"])?.saturating_mul(context.spec.hidden);
    let shape = Mamba {
        inner,
        state: keys.required(&["mamba_d_state"])?,
        rank: recurrent::step_rank(context, "mamba_dt_rank")?,
        kernel: keys.required(&["mamba_d_conv"])?,
        normed: true,
    };
    recurrent::mamba(context, "mamba", shape, layer);
    Ok(())
}
