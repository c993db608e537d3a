//! poolside's Laguna, JetBrains' Mellum 2 and StepFun's Step 3.5 and 3.7: heads of their own in
//! each layer, a gate behind attention.

use super::assemble::{Context, attention, gated_attention};
use super::kinds::Kind;
use super::{Experts, Family, HeadNorms, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::layers::parts::Heads;
use crate::hardware::model::layers::{Layer, Reach};

const LAGUNA: Family = Family {
    model_types: &["laguna"],
    head_dim: Some(128),
    experts: Experts::ByKey,
    window: Some(512),
    kinds: super::kinds::full_unless_said,
    mixer,
    defaults: &[("first_k_dense_replace", 1), ("shared_expert_intermediate_size", 512)],
    vectors: Vectors { head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
    harmless: &["moe_routed_scaling_factor", "moe_apply_router_weight_on_input"],
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    LAGUNA,
    Family {
        model_types: &["mellum"],
        window: Some(1024),
        mixer: attention,
        defaults: &[],
        harmless: &["mtp_layer_types", "mtp_mlp_layer_types", "num_mtp_layers"],
        ..LAGUNA
    },
    Family {
        model_types: &["step3p5", "step3p7"],
        window: None,
        defaults: &[("first_k_dense_replace", 3)],
        harmless: &[
            "use_moe_router_bias",
            "moe_router_activation",
            "moe_router_scaling_factor",
            "swiglu_limits",
            "swiglu_limits_shared",
            "need_fp32_gate",
            "use_moe",
        ],
        ..LAGUNA
    },
];

/// Attention with the heads of this layer, each gated, or each element.
fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let Kind::Attention(reach) = kind else { return attention(context, index, kind, layer) };
    let Context { keys, spec, .. } = context;
    let listed = keys.numbers("num_attention_heads_per_layer", spec.layers)?;
    let near = match keys.get("attention_other_setting") {
        Some(other) => other.get("num_attention_heads").and_then(serde_json::Value::as_u64),
        None => keys.optional(&["num_sliding_attention_heads"])?.map(u64::from),
    };
    let near = near.and_then(|heads| u32::try_from(heads).ok()).filter(|_| reach != Reach::All);
    let q = listed.map(|listed| listed[index as usize]).or(near).unwrap_or(spec.q_heads);
    let per_head = match keys.get("gating") {
        Some(gating) => gating.as_bool() == Some(true) || gating.as_str() == Some("per-head"),
        None => true,
    };
    gated_attention(context, per_head, Heads { q, ..context.heads(reach) }, layer);
    Ok(())
}
