//! Llama 3.2 Vision: some layers attend to images alone.

use super::assemble::{Context, attention};
use super::kinds::Kind;
use super::{Family, LLAMA};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, Mixer};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["mllama", "mllama_text_model"],
    kinds: by_indices,
    mixer,
    // Eight rows of the embedding stand for images.
    adjust: |_, spec| {
        spec.other_params += 8 * u64::from(spec.hidden);
        Ok(())
    },
    ..LLAMA
}];

/// Attention to images at `cross_attention_layers`.
fn by_indices(keys: &Keys, _: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let listed = keys.indices("cross_attention_layers")?;
    let listed = listed.unwrap_or_else(|| vec![3, 8, 13, 18, 23, 28, 33, 38]);
    let kind = |index| if listed.contains(&index) { Kind::Cross } else { super::kinds::FULL };
    Ok((0..spec.layers).map(kind).collect())
}

fn mixer(
    context: &Context,
    index: u32,
    kind: Kind,
    layer: &mut Layer,
) -> Result<(), Box<Diagnostic>> {
    if kind != Kind::Cross {
        return attention(context, index, kind, layer);
    }
    layer.add_attention("cross_attn", context.heads(super::kinds::REACH));
    layer.mixers = vec![Mixer::Cross];
    // Norms of queries and keys, and two gates.
    layer.vectors += 2 * u64::from(context.spec.head_dim) + 2;
    Ok(())
}
