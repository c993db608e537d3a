//! Gemma 1 to 3.

use super::{Family, HeadNorms, LLAMA, Vectors};

/// Tied, and with heads of 256.
const GEMMA: Family = Family {
    model_types: &["gemma"],
    tied: true,
    head_dim: Some(256),
    defaults: &[("vocab_size", 256_000), ("max_position_embeddings", 8192)],
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    GEMMA,
    Family {
        model_types: &["gemma2"],
        vectors: Vectors { block_norms: 4, ..LLAMA.vectors },
        window: Some(4096),
        full_every: Some(2),
        ..GEMMA
    },
    Family { model_types: &["vaultgemma"], window: Some(4096), full_every: Some(2), ..GEMMA },
    Family {
        model_types: &["gemma3", "gemma3_text"],
        defaults: &[
            ("vocab_size", 262_208),
            ("max_position_embeddings", 131_072),
            ("hidden_size", 2304),
            ("intermediate_size", 9216),
            ("num_hidden_layers", 26),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
        ],
        vectors: Vectors { block_norms: 4, head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
        window: Some(4096),
        full_every: Some(6),
        harmless: &["rope_local_base_freq"],
        ..GEMMA
    },
];
