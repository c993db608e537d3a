//! MiniMax-M2.

use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["minimax_m2"],
    head_dim: Some(128),
    experts: Experts::ByKey,
    vectors: Vectors {
        head_norms: HeadNorms::Whole,
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    harmless: &["use_qk_norm", "qk_norm_type", "use_routing_bias"],
    ..LLAMA
}];
