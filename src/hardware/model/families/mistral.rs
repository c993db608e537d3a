//! Mistral and Mixtral.

use super::{Experts, Family, LLAMA};

/// Class defaults of sizes.
pub(super) const SIZES: &[(&str, u32)] = &[
    ("vocab_size", 32000),
    ("hidden_size", 4096),
    ("intermediate_size", 14336),
    ("num_hidden_layers", 32),
    ("num_attention_heads", 32),
    ("num_key_value_heads", 8),
    ("max_position_embeddings", 131_072),
];

pub(super) const FAMILIES: &[Family] = &[
    Family {
        model_types: &["mistral", "ministral"],
        window: Some(4096),
        windowed: true,
        harmless: &["attention_sink_size"],
        ..LLAMA
    },
    Family {
        model_types: &["ministral3"],
        head_dim: Some(128),
        defaults: &[("max_position_embeddings", 262_144)],
        ..LLAMA
    },
    Family {
        model_types: &["mistral3"],
        head_dim: Some(128),
        windowed: false,
        // The text part of Mistral-Small-3.1, whose wrapper leaves out what its class knows.
        defaults: &[("vocab_size", 131_072), ("max_position_embeddings", 131_072)],
        ..LLAMA
    },
    Family { model_types: &["mixtral"], experts: Experts::ByKey, ..LLAMA },
];
