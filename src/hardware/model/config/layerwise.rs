//! Keys that say something of each layer: lists, patterns, intervals.

use serde_json::Value;

use super::keys::Keys;
use crate::base::Diagnostic;

impl Keys<'_> {
    /// The numbers at `key`, one for each layer.
    ///
    /// # Errors
    /// It is no list, has fewer entries than `layers`, or one is no whole number.
    pub fn numbers(&self, key: &str, layers: u32) -> Result<Option<Vec<u32>>, Box<Diagnostic>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let expected = format!("a list of {layers} whole numbers, one for each layer");
        let wrong = || self.wrong(key, &expected);
        let list = value.as_array().ok_or_else(wrong)?;
        let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let numbers: Option<Vec<u32>> = list.iter().map(number).collect();
        match numbers.filter(|numbers| numbers.len() >= layers as usize) {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(wrong()),
        }
    }

    /// The words at the first of `keys` that is there, one for each layer.
    ///
    /// # Errors
    /// It is no list of words, or has fewer entries than `layers`.
    pub fn words(&self, keys: &[&str], layers: u32) -> Result<Option<Vec<&str>>, Box<Diagnostic>> {
        let Some(key) = keys.iter().find(|key| self.peek(key).is_some()) else { return Ok(None) };
        for key in keys {
            self.get(key);
        }
        let expected = format!("a list of {layers} words, one for each layer");
        let wrong = || self.wrong(key, &expected);
        let list = self.get(key).and_then(Value::as_array).ok_or_else(wrong)?;
        let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        match words.filter(|words| words.len() >= layers as usize) {
            Some(words) => Ok(Some(words)),
            None => Err(wrong()),
        }
    }

    /// The whole numbers of the list at `key`, however many.
    ///
    /// # Errors
    /// It is no list of whole numbers.
    pub fn indices(&self, key: &str) -> Result<Option<Vec<u32>>, Box<Diagnostic>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let numbers = value.as_array().and_then(|list| list.iter().map(number).collect());
        numbers.map(Some).ok_or_else(|| self.wrong(key, "a list of whole numbers"))
    }

    /// The first of `keys` that is there, 0 included, or its class default.
    ///
    /// # Errors
    /// It is no whole number.
    pub fn count(&self, keys: &[&str]) -> Result<Option<u32>, Box<Diagnostic>> {
        for key in keys {
            if self.get(key).and_then(Value::as_u64) == Some(0) {
                return Ok(Some(0));
            }
        }
        self.optional(keys)
    }
}
