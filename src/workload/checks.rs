//! Checks that several settings share, each with the same words.

use crate::base::SettingError;

/// The longest prompt or output that is accepted, so that their sum fits in 32 bits.
pub(crate) const MAX_TOKENS: u32 = 1 << 30;

/// The longest time that is accepted, in seconds (some 31 years).
pub(crate) const MAX_SECONDS: f64 = 1e9;

/// Finite and above zero.
pub(crate) fn positive(path: &str, value: f64) -> Result<(), SettingError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(SettingError::new(path, value, "a finite number above 0"))
}

/// A time in seconds above zero.
pub(crate) fn seconds(path: &str, value: f64) -> Result<(), SettingError> {
    positive(path, value)?;
    if value <= MAX_SECONDS {
        return Ok(());
    }
    Err(SettingError::new(path, value, "at most 1e9 seconds"))
}

/// A rate in requests per second.
pub(crate) fn rate(path: &str, value: f64) -> Result<(), SettingError> {
    positive(path, value)?;
    if (1e-6..=1e9).contains(&value) {
        return Ok(());
    }
    Err(SettingError::new(path, value, "between 1e-6 and 1e9 requests per second"))
}

/// A scale factor.
pub(crate) fn scale(path: &str, value: f64) -> Result<(), SettingError> {
    positive(path, value)?;
    if value <= 1e6 {
        return Ok(());
    }
    Err(SettingError::new(path, value, "at most 1e6"))
}

/// A number of tokens.
pub(crate) fn tokens(path: &str, value: u32) -> Result<(), SettingError> {
    match value {
        0 => Err(SettingError::new(path, value, "at least 1 token")),
        1..=MAX_TOKENS => Ok(()),
        _ => Err(SettingError::new(path, value, format!("at most {MAX_TOKENS} tokens"))),
    }
}

/// A range of tokens, both ends included.
pub(crate) fn token_range(path: &str, (min, max): (u32, u32)) -> Result<(), SettingError> {
    tokens(path, min)?;
    tokens(path, max)?;
    if min <= max {
        return Ok(());
    }
    Err(SettingError::new(path, format!("({min}, {max})"), "(smallest, largest), smallest first"))
}

/// A share of a whole, strictly between 0 and 1.
pub(crate) fn share(path: &str, value: f64) -> Result<(), SettingError> {
    if value > 0.0 && value < 1.0 {
        return Ok(());
    }
    Err(SettingError::new(path, value, "above 0 and below 1"))
}

/// The exponent of a Zipf distribution.
pub(crate) fn skew(path: &str, value: f64) -> Result<(), SettingError> {
    if (0.0..=20.0).contains(&value) {
        return Ok(());
    }
    Err(SettingError::new(path, value, "between 0 and 20"))
}

/// A limit on prompt plus output.
pub(crate) fn max_total(path: &str, value: Option<u32>) -> Result<(), SettingError> {
    match value {
        Some(total) if total < 2 => Err(SettingError::new(
            path,
            total,
            "at least 2 tokens, one of the prompt and one of the output",
        )),
        Some(total) if total > 2 * MAX_TOKENS => {
            Err(SettingError::new(path, total, format!("at most {} tokens", 2 * MAX_TOKENS)))
        }
        _ => Ok(()),
    }
}

/// The complaint about a setting that must be there.
pub(crate) fn missing(path: &str, expected: &str) -> SettingError {
    SettingError::new(path, "missing", expected)
}
