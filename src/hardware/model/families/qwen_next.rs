//! Qwen3-Next, Qwen3.5 and Qwen3.6: Gated DeltaNet with attention every few layers.

use super::assemble::Context;
use super::kinds::{self, Kind};
use super::{Experts, Family, Flag, HeadNorms, LLAMA, Vectors, recurrent};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::Layer;

/// Every so many layers one of attention, the others Gated DeltaNet.
fn by_interval(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    if keys.peek("layer_types").is_some() {
        keys.understands(&["full_attention_interval"]);
        return kinds::by_keys(keys, family, spec);
    }
    let interval = keys.required(&["full_attention_interval"])?;
    Ok(kinds::every(spec.layers, |index| (index + 1).is_multiple_of(interval)))
}

/// Gated DeltaNet, or attention whose queries come with a gate.
fn gated_delta_net(
    context: &Context,
    _: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    let next = context.family.model_types.contains(&"qwen3_next");
    match kind {
        Kind::Attention(reach) => {
            let gated = next || context.keys.flag("attn_output_gate").unwrap_or(true);
            let mut heads = context.heads(reach);
            heads.gated_queries = gated;
            layer.add_attention("self_attn", heads);
            Ok(())
        }
        _ => recurrent::gated_delta_net(context, next, layer),
    }
}

/// Qwen3-Next.
const QWEN3_NEXT: Family = Family {
    model_types: &["qwen3_next"],
    head_dim: Some(256),
    experts: Experts::ByKey,
    kinds: by_interval,
    mixer: gated_delta_net,
    shared_module: "shared_expert",
    shared_gate: true,
    vectors: Vectors {
        head_norms: HeadNorms::PerHead,
        qkv_bias: Flag::Key("attention_bias", false),
        output_bias: Flag::Never,
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    defaults: &[("full_attention_interval", 4)],
    harmless: &["output_gate_type"],
    ..LLAMA
};

pub(super) const FAMILIES: &[Family] = &[
    QWEN3_NEXT,
    Family { model_types: &["qwen3_5", "qwen3_5_text"], experts: Experts::Never, ..QWEN3_NEXT },
    Family { model_types: &["qwen3_5_moe", "qwen3_5_moe_text"], ..QWEN3_NEXT },
];
