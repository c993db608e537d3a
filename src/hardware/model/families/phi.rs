//! Microsoft's Phi.

use super::{Experts, Family, Flag, LLAMA, Vectors};

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
            ..LLAMA.vectors
        },
        ..LLAMA
    },
    Family {
        model_types: &["phi3"],
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
