//! Databricks' DBRX.

use super::{Experts, Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::config::Keys;
use crate::hardware::model::{ModelSpec, Moe};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["dbrx"],
    experts: Experts::Never,
    // In the section of the experts; see below.
    mlp_of_four: true,
    vectors: Vectors {
        qkv_bias: Flag::Never,
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    adjust,
    ..LLAMA
}];

/// KV heads and experts stand in sections of their own.
fn adjust(keys: &Keys, spec: &mut ModelSpec) -> Result<(), Box<Diagnostic>> {
    let number = |section: &str, key: &str| {
        let value = keys.get(section).and_then(|section| section.get(key));
        let number = value.and_then(serde_json::Value::as_u64);
        number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number > 0)
            .ok_or_else(|| {
                keys.wrong(&format!("{section}.{key}"), crate::hardware::model::config::WHOLE)
            })
    };
    spec.kv_heads = number("attn_config", "kv_n_heads")?;
    let width = number("ffn_config", "ffn_hidden_size")?;
    spec.intermediate = width;
    spec.experts = Some(Moe {
        experts: number("ffn_config", "moe_num_experts")?,
        experts_per_token: number("ffn_config", "moe_top_k")?,
        moe_intermediate: width,
    });
    Ok(())
}
