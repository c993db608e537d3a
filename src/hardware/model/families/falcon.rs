//! TII's Falcon 1 and 2 (3 is a Llama).

use super::{Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["falcon", "RefinedWeb", "RefinedWebModel"],
    tied: true,
    gated: false,
    mlp_of_four: true,
    defaults: &[("max_position_embeddings", 2048)],
    vectors: Vectors {
        norm_bias: true,
        qkv_bias: Flag::Key("bias", false),
        output_bias: Flag::Key("bias", false),
        mlp_bias: Flag::Key("bias", false),
        ..LLAMA.vectors
    },
    harmless: &[
        "n_embed",
        "multi_query",
        "apply_residual_connection_post_layernorm",
        "activation",
        "ffn_hidden_size",
        "num_ln_in_parallel_attn",
    ],
    adjust,
    ..LLAMA
}];

/// KV heads, and the norms of a block, by the generation.
fn adjust(keys: &Keys, spec: &mut ModelSpec) -> Result<(), Box<Diagnostic>> {
    let new = keys.flag("new_decoder_architecture").unwrap_or(false);
    let multi_query = keys.flag("multi_query").unwrap_or(true);
    let parallel = keys.flag("parallel_attn").unwrap_or(true);
    // The new architecture has the heads that the config says; the old one all or one.
    match (new, multi_query) {
        (true, _) => {}
        (false, true) => spec.kv_heads = 1,
        (false, false) => spec.kv_heads = spec.q_heads,
    }
    let norms = match keys.optional(&["num_ln_in_parallel_attn"])? {
        Some(norms) if new => norms,
        _ if new || !parallel => 2,
        _ => 1,
    };
    if norms == 1 {
        spec.post_attn_norm = false;
        spec.other_layer_params -= u64::from(spec.hidden);
    }
    Ok(())
}
