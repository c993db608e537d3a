//! Sarvam's mixture of experts, and Upstage's Solar Open.

use super::{Experts, Family, HeadNorms, LLAMA, Vectors};

pub(super) const FAMILIES: &[Family] = &[
    Family {
        model_types: &["sarvam_moe"],
        head_dim: Some(64),
        experts: Experts::ByKey,
        defaults: &[("first_k_dense_replace", 1), ("n_shared_experts", 1)],
        vectors: Vectors { head_norms: HeadNorms::PerHeadIf("use_qk_norm", true), ..LLAMA.vectors },
        ..LLAMA
    },
    Family {
        model_types: &["solar_open"],
        head_dim: Some(128),
        experts: Experts::ByKey,
        defaults: &[("n_shared_experts", 1)],
        ..LLAMA
    },
];
