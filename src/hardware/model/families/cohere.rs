//! Cohere's Command and Aya.

use super::{Experts, Family, HeadNorms, LLAMA, Vectors};

/// Attention and MLP side by side, behind one norm.
const COHERE: Family = Family {
    model_types: &["cohere"],
    tied: true,
    vectors: Vectors { block_norms: 1, ..LLAMA.vectors },
    harmless: &["use_gated_activation", "use_parallel_block", "use_embedding_sharing"],
    adjust: |keys, spec| {
        // Each element of each head has a weight of its own.
        if keys.flag("use_qk_norm") == Some(true) {
            spec.qk_norm = true;
            let width = u64::from(spec.head_dim) * u64::from(spec.q_heads + spec.kv_heads);
            spec.other_layer_params += width - 2 * u64::from(spec.head_dim);
        }
        Ok(())
    },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    COHERE,
    Family {
        model_types: &["cohere2"],
        vectors: Vectors { head_norms: HeadNorms::None, ..COHERE.vectors },
        window: Some(4096),
        full_every: Some(4),
        ..COHERE
    },
    Family {
        model_types: &["cohere2_moe"],
        head_dim: Some(128),
        experts: Experts::ByKey,
        window: Some(4096),
        full_every: Some(4),
        harmless: &[
            "expert_selection_fn",
            "shared_expert_combination_strategy",
            "prefix_dense_sliding_window_pattern",
            "use_gated_activation",
            "use_parallel_block",
            "use_embedding_sharing",
        ],
        ..COHERE
    },
];
