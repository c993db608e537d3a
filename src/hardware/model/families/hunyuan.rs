//! Tencent's Hunyuan.

use super::{Experts, Family, HeadNorms, LLAMA, Vectors};

/// Heads are normed; a key says so, which the class does not read.
const DENSE: Family = Family {
    model_types: &["hunyuan_v1_dense"],
    vectors: Vectors { head_norms: HeadNorms::PerHeadIf("use_qk_norm", true), ..LLAMA.vectors },
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    DENSE,
    Family {
        model_types: &["hunyuan_v1_moe", "hunyuan"],
        experts: Experts::ByKey,
        shared_module: "shared_mlp",
        defaults: &[("num_shared_expert", 1)],
        harmless: &["use_mixed_mlp_moe", "moe_drop_tokens", "moe_random_routing_dropped_token"],
        adjust: |keys, spec| {
            if spec.experts.is_none() && keys.text("model_type") == Some("hunyuan_v1_moe") {
                keys.not_modelled("num_experts", "a mixture of one expert");
            }
            Ok(())
        },
        ..DENSE
    },
    Family {
        model_types: &["hy_v3"],
        head_dim: Some(128),
        experts: Experts::ByKey,
        defaults: &[("first_k_dense_replace", 1), ("num_shared_experts", 1)],
        vectors: Vectors { head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
        harmless: &["router_scaling_factor", "expert_hidden_dim", "qk_norm"],
        ..LLAMA
    },
];
