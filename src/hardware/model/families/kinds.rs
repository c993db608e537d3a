//! Which kind of mixer each layer has, by the keys that families share.

use super::Family;
use crate::base::Diagnostic;
use crate::hardware::model::ModelSpec;
use crate::hardware::model::config::Keys;
use crate::hardware::model::layers::Reach;

/// What a config says of a layer's mixer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hardware::model) enum Kind {
    /// Attention to these tokens.
    Attention(Reach),
    /// A recurrence, a state-space layer or a short convolution, as the family has it.
    Linear,
    /// Attention to images.
    Cross,
    /// None: an MLP alone.
    Mlp,
    /// None: experts alone.
    Moe,
}

/// Everything is seen.
pub(in crate::hardware::model) const FULL: Kind = Kind::Attention(Reach::All);

/// Keys with the kinds of layers, one word for each.
const WORDS: [&str; 2] = ["layer_types", "layers_block_type"];
/// Keys of the window.
pub(in crate::hardware::model) const WINDOWS: [&str; 3] =
    ["sliding_window", "sliding_window_size", "attention_window_size"];

/// The kinds by `layer_types`, or else by `sliding_window_pattern` and the class's own pattern.
///
/// # Errors
/// A key makes no sense, or a word is not known (which is noted, and the layer taken as full).
pub(in crate::hardware::model) fn by_keys(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let sliding = window(keys, family, spec).map_or(Reach::All, Reach::Window);
    let chunked = chunk(keys, spec)?;
    if let Some(words) = keys.words(&WORDS, spec.layers)? {
        let kinds = words.iter().take(spec.layers as usize).map(|word| match *word {
            "full_attention" | "attention" | "global" | "deepseek_sparse_attention" => FULL,
            "sliding_attention" | "local_attention" | "sliding_window" => Kind::Attention(sliding),
            "chunked_attention" => Kind::Attention(chunked),
            "linear_attention" | "mamba" | "mamba2" | "conv" | "recurrent" | "kda"
            | "linear" => Kind::Linear,
            "mlp" => Kind::Mlp,
            "moe" => Kind::Moe,
            other => {
                keys.not_modelled(keys.written(&WORDS), format!("layers called `{other}`"));
                FULL
            }
        });
        keys.understands(&["sliding_window_pattern", "global_attn_every_n_layers"]);
        return Ok(kinds.collect());
    }
    let every = ["sliding_window_pattern", "global_attn_every_n_layers", "layer_switch"];
    let every = keys.optional(&every)?.or(family.full_every);
    let kind = |index: u32| match every {
        Some(every) if (index + 1).is_multiple_of(every) => FULL,
        _ => Kind::Attention(sliding),
    };
    Ok((0..spec.layers).map(kind).collect())
}

/// The window, if it is on and hides anything.
pub(in crate::hardware::model) fn window(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Option<u32> {
    let on = keys.flag("use_sliding_window").unwrap_or(!family.window_is_off);
    let mut found = None;
    for key in WINDOWS {
        let window = match (keys.outer(key), keys.get(key)) {
            (_, Some(value)) => value.as_u64().and_then(|window| u32::try_from(window).ok()),
            // A null says that there is none, an absent key leaves it to the class.
            (None, None) if key == WINDOWS[0] => family.window,
            _ => None,
        };
        found = found.or(window.filter(|window| *window > 0));
    }
    found.filter(|window| on && *window < spec.max_position)
}

/// What layers of chunked attention see.
fn chunk(keys: &Keys, spec: &ModelSpec) -> Result<Reach, Box<Diagnostic>> {
    let chunk = keys.count(&["attention_chunk_size"])?.filter(|chunk| *chunk > 0);
    let chunk = chunk.filter(|chunk| *chunk < spec.max_position);
    Ok(chunk.map_or(Reach::All, Reach::Chunk))
}

/// The first `first` kinds, and `rest` for every other layer.
pub(in crate::hardware::model) fn every(layers: u32, full: impl Fn(u32) -> bool) -> Vec<Kind> {
    (0..layers).map(|index| if full(index) { FULL } else { Kind::Linear }).collect()
}
