//! How long sequences may be: positions, and what extends them.

use super::keys::{Keys, WHOLE};
use crate::base::Diagnostic;

/// What families call it. Where several are there vLLM takes the least.
pub(super) const POSITIONS: [&str; 7] = [
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_sequence_length",
    "max_seq_length",
    "seq_length",
    "model_max_length",
];
/// Kinds of rotary embedding whose positions already are what the config says.
const UNSCALED: [&str; 6] = ["default", "llama3", "longrope", "su", "mrope", "gptj"];

/// Longest sequence in tokens, as vLLM derives it (`_get_and_verify_max_len`): the positions, times
/// the factor of a rotary embedding that is stretched. YARN stretches what the model was trained
/// with.
///
/// # Errors
/// A number is missing or makes no sense.
pub(super) fn read(keys: &Keys, scaled: bool) -> Result<u32, Box<Diagnostic>> {
    let mut least = None;
    for key in POSITIONS {
        if keys.peek(key).is_some() {
            let positions = keys.required(&[key])?;
            least = Some(least.map_or(positions, |least: u32| least.min(positions)));
        }
    }
    let positions = match least {
        Some(positions) => positions,
        None => keys.required(&POSITIONS)?,
    };
    let (key, rope) = match (keys.get("rope_scaling"), keys.get("rope_parameters")) {
        (Some(rope), _) => ("rope_scaling", rope),
        (None, Some(rope)) => ("rope_parameters", rope),
        (None, None) => return Ok(positions),
    };
    let kind = ["rope_type", "type"].iter().find_map(|key| rope.get(*key)?.as_str());
    let Some(kind) = kind.filter(|kind| scaled && !UNSCALED.contains(kind)) else {
        return Ok(positions);
    };
    let factor = match rope.get("factor").filter(|factor| !factor.is_null()) {
        None => 1.0,
        Some(value) => value
            .as_f64()
            .filter(|factor| (1.0..=1e6).contains(factor))
            .ok_or_else(|| keys.wrong(&format!("{key}.factor"), "a number, 1 to 1e6"))?,
    };
    let trained = match rope.get("original_max_position_embeddings") {
        Some(value) if kind == "yarn" && !value.is_null() => {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            number.filter(|number| *number > 0).ok_or_else(|| {
                keys.wrong(&format!("{key}.original_max_position_embeddings"), WHOLE)
            })?
        }
        _ => positions,
    };
    // The cast saturates, and what is too much is refused with the other numbers.
    Ok((f64::from(trained) * factor) as u32)
}
