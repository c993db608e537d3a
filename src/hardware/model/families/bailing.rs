//! inclusionAI's Ling and Ring: experts behind a dense layer or two; the hybrid ones have Kimi's
//! delta attention with latent attention every few layers.

use super::assemble::Context;
use super::kinds::{self, FULL, Kind};
use super::recurrent::{self, Kda};
use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors, latent};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, Matrix, Split};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        model_types: &["bailing_moe"],
        experts: Experts::ByKey,
        vectors: Vectors {
            head_norms: HeadNorms::PerHeadIf("use_qk_norm", false),
            qkv_bias: Flag::Key("use_qkv_bias", false),
            output_bias: Flag::Key("use_bias", false),
            mlp_bias: Flag::Never,
            ..LLAMA.vectors
        },
        harmless: &[
            "use_rmsnorm",
            "moe_router_enable_expert_bias",
            "score_function",
            "router_dtype",
            "norm_softmax",
            "norm_head",
        ],
        ..LLAMA
    },
    Family {
        model_types: &["bailing_hybrid"],
        experts: Experts::ByKey,
        head_dim: Some(64),
        kinds: by_group,
        mixer,
        defaults: &[
            ("qk_rope_head_dim", 64),
            ("first_k_dense_replace", 2),
            ("num_shared_experts", 1),
            ("layer_group_size", 6),
            ("linear_conv_kernel_dim", 4),
            ("max_position_embeddings", 262_144),
        ],
        vectors: Vectors {
            qkv_bias: Flag::Never,
            output_bias: Flag::Never,
            mlp_bias: Flag::Never,
            ..LLAMA.vectors
        },
        harmless: &[
            "num_expert_group",
            "moe_renormalize",
            "kda_safe_gate",
            "kda_lower_bound",
            "model_max_length",
            "mtp_loss_scaling_factor",
        ],
        ..LLAMA
    },
];

/// The last layer of each group is of latent attention.
fn by_group(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    keys.understands(latent::KEYS);
    let group = keys.required(&["layer_group_size"])?;
    let kinds = kinds::by_words(keys, family, spec)?;
    let full = |index: u32| (index + 1).is_multiple_of(group);
    Ok(kinds.unwrap_or_else(|| kinds::every(spec.layers, full)))
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let Context { keys, spec, .. } = context;
    keys.understands(&["linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim"]);
    keys.understands(&["short_conv_kernel_size"]);
    if kind == FULL {
        latent::mixer(context, index, kind, layer)?;
        // Each head's output is gated by one number.
        let gate = Matrix::new("self_attn.g_proj", spec.q_heads.into(), context.hidden());
        layer.add(gate.split(Split::Rows(1)));
        return Ok(());
    }
    // `head_dim` is that of these layers until the class has read it.
    let shape = Kda {
        heads: keys.optional(&["linear_num_heads"])?.unwrap_or(spec.q_heads),
        dim: keys.optional(&["linear_head_dim", "head_dim"])?.unwrap_or(128),
        kernel: keys.required(&["short_conv_kernel_size", "linear_conv_kernel_dim"])?,
        full_rank_gate: true,
        full_rank_decay: true,
    };
    recurrent::kda(context, shape, layer);
    Ok(())
}
