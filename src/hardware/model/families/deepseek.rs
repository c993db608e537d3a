//! DeepSeek's models, and those that share their blocks: latent attention, first layers dense,
//! experts beside shared ones.

use super::{Experts, Family, Flag, LLAMA, Vectors, latent};

/// DeepSeek-V2 and V3.
const DEEPSEEK: Family = Family {
    model_types: &["deepseek_v2", "deepseek_v3", "kimi_k2", "kimi_k25"],
    experts: Experts::ByKey,
    mixer: latent::mixer,
    defaults: latent::DEFAULTS,
    head_dim: Some(64),
    vectors: Vectors {
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    harmless: &["indexer_rope_interleave"],
    ..LLAMA
};

/// The first layer has no experts.
const FIRST_DENSE: &[(&str, u32)] = &[("qk_rope_head_dim", 64), ("first_k_dense_replace", 1)];

pub(super) const FAMILIES: &[Family] = &[
    DEEPSEEK,
    Family { model_types: &["deepseek_v32", "glm_moe_dsa"], ..DEEPSEEK },
    // A norm behind the experts, too.
    Family {
        model_types: &["axk1"],
        defaults: FIRST_DENSE,
        finish: |context, _, layer| {
            layer.vectors += if layer.experts.is_some() { context.hidden() } else { 0 };
            Ok(())
        },
        ..DEEPSEEK
    },
    Family { model_types: &["glm4_moe_lite"], defaults: FIRST_DENSE, ..DEEPSEEK },
    Family { model_types: &["sarvam_mla"], ..DEEPSEEK },
    Family {
        model_types: &["mistral4"],
        defaults: &[("qk_rope_head_dim", 64), ("n_shared_experts", 1)],
        ..DEEPSEEK
    },
    Family { model_types: &["youtu"], tied: true, experts: Experts::Never, ..DEEPSEEK },
    Family {
        model_types: &["minicpm3"],
        tied: true,
        experts: Experts::Never,
        defaults: &[("qk_rope_head_dim", 32), ("v_head_dim", 64), ("kv_lora_rank", 256)],
        harmless: &["scale_emb", "dim_model_base", "scale_depth"],
        ..DEEPSEEK
    },
    // The first generation: attention with keys and values of heads.
    Family { model_types: &["deepseek"], experts: Experts::ByKey, ..LLAMA },
];
