//! LG's EXAONE 4 and K-EXAONE.

use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors};

const EXAONE4: Family = Family {
    model_types: &["exaone4"],
    window: Some(4096),
    full_every: Some(4),
    vectors: Vectors {
        head_norms: HeadNorms::PerHead,
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    EXAONE4,
    Family {
        model_types: &["exaone_moe"],
        experts: Experts::ByKey,
        defaults: &[("first_k_dense_replace", 1), ("num_shared_experts", 1)],
        ..EXAONE4
    },
];
