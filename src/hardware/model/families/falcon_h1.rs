//! TII's Falcon-H1: attention and Mamba 2 side by side in each layer.

use super::assemble::{Context, attention};
use super::kinds::Kind;
use super::recurrent::{self, Mamba2};
use super::{Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::layers::Layer;

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["falcon_h1"],
    mixer,
    mlp_module: "feed_forward",
    defaults: &[
        ("mamba_n_heads", 128),
        ("mamba_n_groups", 1),
        ("mamba_d_state", 256),
        ("mamba_d_conv", 4),
        ("mamba_expand", 2),
        ("max_position_embeddings", 8192),
    ],
    vectors: Vectors {
        qkv_bias: Flag::Key("attention_bias", false),
        output_bias: Flag::Key("attention_bias", false),
        mlp_bias: Flag::Key("mlp_bias", false),
        ..LLAMA.vectors
    },
    harmless: &[
        "mamba_chunk_size",
        "mamba_norm_before_gate",
        "mamba_use_mlp",
        "time_step_limit",
        "time_step_min",
        "time_step_max",
        "time_step_floor",
        "mlp_multipliers",
        "ssm_multipliers",
        "projectors_bias",
        "mlp_expansion_factor",
    ],
    ..LLAMA
}];

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    attention(context, index, kind, layer)?;
    let keys = context.keys;
    let expanded = keys.required(&["mamba_expand"])?.saturating_mul(context.spec.hidden);
    let inner = keys.optional(&["mamba_d_ssm"])?.unwrap_or(expanded);
    let names =
        ["mamba_n_heads", "mamba_d_head", "mamba_n_groups", "mamba_d_state", "mamba_d_conv"];
    let normed = keys.flag("mamba_rms_norm").unwrap_or(false);
    let shape = Mamba2 { normed, ..Mamba2::read(context, names, inner)? };
    recurrent::mamba2(context, "mamba", shape, layer)
}
