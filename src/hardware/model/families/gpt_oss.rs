//! OpenAI's gpt-oss.

use super::assemble::Context;
use super::{Experts, Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::layers::Layer;

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["gpt_oss"],
    head_dim: Some(64),
    experts: Experts::ByKey,
    window: Some(128),
    full_every: Some(2),
    vectors: Vectors {
        qkv_bias: Flag::Key("attention_bias", true),
        output_bias: Flag::Key("attention_bias", true),
        mlp_bias: Flag::Never,
        ..LLAMA.vectors
    },
    finish,
    ..LLAMA
}];

/// A sink for each query head, and biases of the router and of each expert.
fn finish(context: &Context, _: u32, layer: &mut Layer) -> Result<(), Box<Diagnostic>> {
    layer.vectors += u64::from(context.spec.q_heads);
    if let Some(moe) = layer.experts {
        let expert = 2 * u64::from(moe.moe_intermediate) + context.hidden();
        layer.vectors += u64::from(moe.experts) * (1 + expert);
    }
    Ok(())
}
