//! Qwen2 and Qwen3, with and without experts and eyes.

use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors, kinds};

/// Llama's blocks with a bias on QKV.
const QWEN2: Family = Family {
    model_types: &["qwen2", "qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"],
    window: Some(4096),
    window_is_off: true,
    kinds: kinds::full_before,
    vectors: Vectors { qkv_bias: Flag::Always, output_bias: Flag::Never, ..LLAMA.vectors },
    ..LLAMA
};

/// Llama's blocks with heads of 128, whatever the hidden width, and a norm on each.
const QWEN3: Family = Family {
    model_types: &["qwen3", "qwen3_vl", "qwen3_vl_text"],
    head_dim: Some(128),
    window: Some(4096),
    window_is_off: true,
    kinds: kinds::full_before,
    vectors: Vectors { head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
    ..LLAMA
};

/// Class defaults of sizes.
pub(super) const SIZES: &[(&str, u32)] = &[
    ("vocab_size", 151_936),
    ("hidden_size", 4096),
    ("intermediate_size", 22016),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("num_key_value_heads", 32),
    ("max_position_embeddings", 32768),
];

pub(super) const FAMILIES: &[Family] = &[
    QWEN2,
    QWEN3,
    Family {
        model_types: &["qwen2_moe"],
        experts: Experts::ByKey,
        vectors: Vectors { qkv_bias: Flag::Key("qkv_bias", true), ..QWEN2.vectors },
        shared_module: "shared_expert",
        shared_gate: true,
        ..QWEN2
    },
    Family {
        model_types: &["qwen3_moe", "qwen3_vl_moe", "qwen3_vl_moe_text"],
        // Unlike Qwen3's class its experts' has none.
        head_dim: None,
        experts: Experts::ByKey,
        ..QWEN3
    },
];
