//! Microsoft's Phi, and Adept's Persimmon.

use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;

pub(super) const FAMILIES: &[Family] = &[
    // Attention and MLP side by side, behind one norm.
    Family {
        model_types: &["phi"],
        gated: false,
        vectors: Vectors {
            block_norms: 1,
            norm_bias: true,
            qkv_bias: Flag::Always,
            output_bias: Flag::Always,
            mlp_bias: Flag::Always,
            head_bias: Flag::Always,
            head_norms: HeadNorms::PerHeadIf("qk_layernorm", false),
        },
        adjust: head_norm_biases,
        ..LLAMA
    },
    Family {
        model_types: &["persimmon"],
        gated: false,
        vectors: Vectors {
            norm_bias: true,
            qkv_bias: Flag::Always,
            output_bias: Flag::Always,
            mlp_bias: Flag::Always,
            head_norms: HeadNorms::PerHeadIf("qk_layernorm", true),
            ..LLAMA.vectors
        },
        adjust: head_norm_biases,
        ..LLAMA
    },
    Family {
        model_types: &["phi3", "phi4_multimodal"],
        windowed: true,
        vectors: Vectors {
            qkv_bias: Flag::Never,
            output_bias: Flag::Never,
            mlp_bias: Flag::Never,
            ..LLAMA.vectors
        },
        harmless: &["full_attn_mod", "interpolate_factor", "attention_bias", "mlp_bias"],
        ..LLAMA
    },
    Family {
        model_types: &["phimoe"],
        windowed: true,
        experts: Experts::ByKey,
        vectors: Vectors {
            norm_bias: true,
            head_bias: Flag::Key("lm_head_bias", false),
            ..LLAMA.vectors
        },
        ..LLAMA
    },
];

/// Norms of queries and keys have a bias beside their weight.
fn head_norm_biases(_: &Keys, spec: &mut ModelSpec) -> Result<(), Box<Diagnostic>> {
    spec.other_layer_params += if spec.qk_norm { 2 * u64::from(spec.head_dim) } else { 0 };
    Ok(())
}
