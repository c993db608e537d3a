//! Arcee's AFMoE (Trinity).

use super::assemble::{Context, attention, gated_attention};
use super::kinds::Kind;
use super::{Experts, Family, HeadNorms, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::layers::Layer;

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["afmoe"],
    head_dim: Some(128),
    experts: Experts::ByKey,
    window: Some(1024),
    full_every: Some(4),
    mixer,
    defaults: &[("num_dense_layers", 1), ("num_shared_experts", 2)],
    vectors: Vectors { block_norms: 4, head_norms: HeadNorms::PerHead, ..LLAMA.vectors },
    harmless: &["route_scale", "route_norm", "mup_enabled", "score_func", "load_balance_coeff"],
    ..LLAMA
}];

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    match kind {
        Kind::Attention(reach) => gated_attention(context, false, context.heads(reach), layer),
        _ => attention(context, index, kind, layer)?,
    }
    Ok(())
}
