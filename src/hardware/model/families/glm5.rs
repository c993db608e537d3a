//! Zhipu's GLM-5.3: Kimi's delta attention with sparse latent attention every few layers, and
//! streams that are mixed from layer to layer (hyper-connections).

use super::assemble::Context;
use super::kinds::{self, FULL, Kind};
use super::{Experts, Family, Flag, LLAMA, Vectors, deepseek_v4, kimi, latent};
use crate::base::Diagnostic;
use crate::hardware::model::layers::Layer;

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["glm5_next", "glm5_next_text"],
    experts: Experts::ByKey,
    head_dim: Some(64),
    kinds: kinds::by_keys,
    mixer,
    finish: deepseek_v4::hyper_connections,
    defaults: &[
        ("qk_rope_head_dim", 64),
        ("first_k_dense_replace", 3),
        ("n_shared_experts", 1),
        ("linear_num_heads", 64),
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
        "mhc",
        "hc_sinkhorn_iters",
        "indexer_rope_interleave",
        "linear_attn_config",
        "linear_lower_bound",
    ],
    ..LLAMA
}];

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    match kind == FULL {
        true => latent::mixer(context, index, kind, layer),
        false => kimi::delta(context, layer),
    }
}
