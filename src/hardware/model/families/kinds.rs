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

/// What attention sees that sees everything.
pub(in crate::hardware::model) const REACH: Reach = Reach::All;

/// Keys with the kinds of layers, one word for each.
const WORDS: [&str; 2] = ["layer_types", "layers_block_type"];
/// Keys of the pattern.
const PATTERNS: [&str; 3] =
    ["sliding_window_pattern", "global_attn_every_n_layers", "layer_switch"];
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
    match by_words(keys, family, spec)? {
        Some(kinds) => Ok(kinds),
        None => by_pattern(keys, family, spec),
    }
}

/// The kinds by `layer_types`, if it is there.
///
/// # Errors
/// As [`by_keys`].
pub(in crate::hardware::model) fn by_words(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Option<Vec<Kind>>, Box<Diagnostic>> {
    let Some(words) = keys.words(&WORDS, spec.layers)? else { return Ok(None) };
    let sliding = window(keys, family, spec).map_or(Reach::All, Reach::Window);
    let kinds = words.iter().take(spec.layers as usize).map(|word| match *word {
        "full_attention"
        | "attention"
        | "global"
        | "global_attention"
        | "deepseek_sparse_attention" => FULL,
        "indexed_attention" if keys.peek("index_topk").is_some() => FULL,
        "sliding_attention" | "local_attention" | "sliding_window" => Kind::Attention(sliding),
        "chunked_attention" => match chunk(keys, spec) {
            Ok(chunk) => Kind::Attention(chunk),
            Err(_) => FULL,
        },
        "linear_attention" | "mamba" | "mamba2" | "conv" | "recurrent" | "kda" | "linear" => {
            Kind::Linear
        }
        "mlp" => Kind::Mlp,
        "moe" => Kind::Moe,
        other => {
            keys.not_modelled(keys.written(&WORDS), format!("layers called `{other}`"));
            FULL
        }
    });
    let kinds = kinds.collect();
    keys.understands(&PATTERNS);
    keys.understands(&["max_window_layers"]);
    Ok(Some(kinds))
}

/// The kinds where no key gives each layer its own.
fn by_pattern(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let all = |kind| Ok(vec![kind; spec.layers as usize]);
    let Some(window) = window(keys, family, spec) else {
        if family.full_every.is_some() {
            keys.understands(&PATTERNS);
        }
        return all(FULL);
    };
    let sliding = Kind::Attention(Reach::Window(window));
    if let Some(every) = family.full_every {
        if let Some(letters) = keys.text(PATTERNS[0]) {
            let global: Vec<bool> = letters.chars().map(|letter| letter == 'G').collect();
            let known = letters.chars().all(|letter| matches!(letter, 'L' | 'G'));
            if !known || global.is_empty() {
                return Err(keys.wrong(PATTERNS[0], "a number, or letters L and G"));
            }
            let kind = |index| if global[index % global.len()] { FULL } else { sliding };
            return Ok((0..spec.layers as usize).map(kind).collect());
        }
        let every = keys.optional(&PATTERNS)?.unwrap_or(every);
        keys.understands(&PATTERNS);
        let full = |index: u32| (index + 1).is_multiple_of(every);
        return Ok((0..spec.layers).map(|i| if full(i) { FULL } else { sliding }).collect());
    }
    if family.windowed {
        return all(sliding);
    }
    let key = keys.written(&WINDOWS);
    keys.not_modelled(key, format!("attention within the last {window} tokens in this family"));
    all(FULL)
}

/// All layers see everything where no key gives each layer its kind, whatever the window.
///
/// # Errors
/// As [`by_keys`].
pub(in crate::hardware::model) fn full_unless_said(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    let kinds = by_words(keys, family, spec)?;
    window(keys, family, spec);
    Ok(kinds.unwrap_or_else(|| vec![FULL; spec.layers as usize]))
}

/// The first layers see everything, those behind `max_window_layers` a window.
///
/// # Errors
/// As [`by_keys`].
pub(in crate::hardware::model) fn full_before(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    if let Some(kinds) = by_words(keys, family, spec)? {
        return Ok(kinds);
    }
    let first = keys.count(&["max_window_layers"])?.unwrap_or(0);
    let sliding = window(keys, family, spec).map_or(FULL, |w| Kind::Attention(Reach::Window(w)));
    Ok((0..spec.layers).map(|i| if i < first { FULL } else { sliding }).collect())
}

/// Every so many layers one that sees everything, the first one first; the others see a window.
///
/// # Errors
/// As [`by_keys`].
pub(in crate::hardware::model) fn full_first(
    keys: &Keys,
    family: &Family,
    spec: &ModelSpec,
) -> Result<Vec<Kind>, Box<Diagnostic>> {
    if let Some(kinds) = by_words(keys, family, spec)? {
        return Ok(kinds);
    }
    let every = family.full_every.unwrap_or(1);
    let sliding = window(keys, family, spec).map_or(FULL, |w| Kind::Attention(Reach::Window(w)));
    let full = |index: u32| index.is_multiple_of(every);
    Ok((0..spec.layers).map(|i| if full(i) { FULL } else { sliding }).collect())
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
        let window = match keys.get(key) {
            Some(value) => value.as_u64().and_then(|window| u32::try_from(window).ok()),
            // A null says that there is none, an absent key leaves it to the class.
            None if key == WINDOWS[0] && !keys.is_written(key) => family.window,
            None => None,
        };
        found = found.or(window.filter(|window| *window > 0));
    }
    found.filter(|window| on && *window < spec.max_position)
}

/// Attention to the window, or to everything where there is none.
pub(in crate::hardware::model) fn sliding(keys: &Keys, family: &Family, spec: &ModelSpec) -> Kind {
    window(keys, family, spec).map_or(FULL, |window| Kind::Attention(Reach::Window(window)))
}

/// What layers of chunked attention see.
///
/// # Errors
/// The key makes no sense.
pub(in crate::hardware::model) fn chunk(
    keys: &Keys,
    spec: &ModelSpec,
) -> Result<Reach, Box<Diagnostic>> {
    let chunk = keys.count(&["attention_chunk_size"])?.filter(|chunk| *chunk > 0);
    let chunk = chunk.filter(|chunk| *chunk < spec.max_position);
    Ok(chunk.map_or(Reach::All, Reach::Chunk))
}

/// Layers of full attention among recurrences.
pub(in crate::hardware::model) fn every(layers: u32, full: impl Fn(u32) -> bool) -> Vec<Kind> {
    (0..layers).map(|index| if full(index) { FULL } else { Kind::Linear }).collect()
}
