//! Meta's Muse Glimmer.

use super::assemble::{Context, attention, gated_attention};
use super::kinds::{self, FULL, Kind};
use super::{Family, Flag, LLAMA, Vectors};
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::{Layer, Reach};

pub(super) const FAMILIES: &[Family] = &[Family {
    model_types: &["muse_glimmer", "muse_glimmer_text"],
    head_dim: Some(128),
    window: Some(2048),
    kinds: full_last,
    mixer,
    // Queries and keys are normed without weights.
    vectors: Vectors { block_norms: 4, mlp_bias: Flag::Never, ..LLAMA.vectors },
    harmless: &["qk_scale_factor", "layer_rope_theta", "out_hidden_size", "output_multiplier"],
    ..LLAMA
}];

/// Of each four layers, counted from the end, the last sees everything.
fn full_last(keys: &Keys, family: &Family, spec: &ModelSpec) -> Result<Vec<Kind>, Box<Diagnostic>> {
    if let Some(kinds) = kinds::by_words(keys, family, spec)? {
        return Ok(kinds);
    }
    let window = kinds::window(keys, family, spec);
    let sliding = window.map_or(FULL, |window| Kind::Attention(Reach::Window(window)));
    let full = |index: u32| (spec.layers - 1 - index).is_multiple_of(4);
    Ok((0..spec.layers).map(|i| if full(i) { FULL } else { sliding }).collect())
}

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
