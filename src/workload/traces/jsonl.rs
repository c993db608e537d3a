//! Rows of a trace of JSON objects, one a line.

use serde_json::{Map, Value};

use super::rows::{ClassNames, Row};
use super::text::{Lines, Text};
use super::{Need, TimeUnit, mooncake, share_gpt};
use crate::base::SettingError;
use crate::workload::checks::MAX_TOKENS;

/// The formats of JSON objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonFormat {
    Mooncake,
    ShareGpt,
}

/// The format of a file, by the keys of its first object.
///
/// # Errors
/// The first line is no JSON object.
pub(super) fn detect(text: &Text) -> Result<JsonFormat, SettingError> {
    let mut lines = text.lines()?;
    let Some((at, line)) = lines.next(text)? else { return Ok(JsonFormat::ShareGpt) };
    let object = Object::parse(at, line, text)?;
    let mooncake = ["input_length", "hash_ids"].iter().any(|key| object.value(key).is_some());
    Ok(if mooncake { JsonFormat::Mooncake } else { JsonFormat::ShareGpt })
}

/// The rows of a file, one at a time.
pub(super) struct JsonRows {
    lines: Lines,
    format: JsonFormat,
    need: Need,
    tokens_per_hash: u32,
    classes: ClassNames,
}

impl JsonRows {
    /// # Errors
    /// The file cannot be read.
    pub fn open(
        text: &Text,
        format: JsonFormat,
        need: Need,
        tokens_per_hash: u32,
    ) -> Result<JsonRows, SettingError> {
        let lines = text.lines()?;
        Ok(JsonRows { lines, format, need, tokens_per_hash, classes: ClassNames::default() })
    }

    /// # Errors
    /// A line that is no JSON object, or that lacks a key or has nonsense in one.
    pub fn next(&mut self, text: &Text) -> Result<Option<Row>, SettingError> {
        let Some((at, line)) = self.lines.next(text)? else { return Ok(None) };
        let object = Object::parse(at, line, text)?;
        let mut row = match self.format {
            JsonFormat::Mooncake => mooncake::row(&object, self.need, self.tokens_per_hash)?,
            JsonFormat::ShareGpt => share_gpt::row(&object, self.need)?,
        };
        row.at = at;
        if self.need.replay() {
            row.id = object.whole(&["request_id"])?;
            row.priority = object.priority()?;
            row.class = self.classes.number(object.class()?, at);
        }
        Ok(Some(row))
    }

    /// Names of the classes so far.
    pub fn classes(&self) -> &ClassNames {
        &self.classes
    }
}

/// One line.
pub(super) struct Object<'a> {
    keys: Map<String, Value>,
    at: u64,
    text: &'a Text,
}

impl<'a> Object<'a> {
    /// # Errors
    /// The line is no JSON object.
    pub fn parse(at: u64, line: &[u8], text: &'a Text) -> Result<Object<'a>, SettingError> {
        let keys = serde_json::from_slice(line).map_err(|error| {
            // The error's own line is always 1.
            let error = error.to_string();
            let what = error.split(" at line").next().unwrap_or_default();
            SettingError::new("file", format!("{}: {what}", text.place(at)), "a JSON object a line")
        })?;
        Ok(Object { keys, at, text })
    }

    /// `t.jsonl:3`.
    pub fn place(&self) -> String {
        self.text.place(self.at)
    }

    /// A complaint about the value of a key.
    pub fn refuse(&self, key: &str, expected: &str) -> SettingError {
        let value = self.value(key).map_or_else(String::new, Value::to_string);
        let found = format!("`{value}` for key {key} at {}", self.place());
        SettingError::new("file", found, expected)
    }

    /// The value of a key; `null` counts as absent.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// The one of these keys, which mean the same, that the line has.
    ///
    /// # Errors
    /// It has two of them.
    pub fn key<'k>(&self, names: &[&'k str]) -> Result<Option<&'k str>, SettingError> {
        let mut there = names.iter().copied().filter(|key| self.value(key).is_some());
        let (first, second) = (there.next(), there.next());
        if let (Some(first), Some(second)) = (first, second) {
            return Err(SettingError::new(
                "file",
                format!("keys {first} and {second} at {}", self.place()),
                "one of them: they mean the same",
            ));
        }
        Ok(first)
    }

    /// The complaint that none of these keys is there.
    pub fn lacks(&self, names: &[&str], what: &str) -> SettingError {
        SettingError::new(
            "file",
            format!("no key {} at {}", names.join(" or "), self.place()),
            format!("a key of {what} on every line"),
        )
    }

    /// A whole number of at least 0 under one of these keys.
    ///
    /// # Errors
    /// Something else is there.
    pub fn whole(&self, names: &[&str]) -> Result<Option<u64>, SettingError> {
        let Some(key) = self.key(names)? else { return Ok(None) };
        match self.value(key).and_then(whole_number) {
            Some(number) => Ok(Some(number)),
            None => Err(self.refuse(key, "a whole number of at least 0")),
        }
    }

    /// A length in tokens under one of these keys.
    ///
    /// # Errors
    /// Something else is there.
    pub fn tokens(&self, names: &[&str]) -> Result<Option<u32>, SettingError> {
        let Some(key) = self.key(names)? else { return Ok(None) };
        let number = self.value(key).and_then(whole_number).and_then(|n| u32::try_from(n).ok());
        match number.filter(|n| (1..=MAX_TOKENS).contains(n)) {
            Some(tokens) => Ok(Some(tokens)),
            None => Err(self.refuse(key, "a whole number of at least 1 token")),
        }
    }

    /// A time in nanoseconds under one of these keys, each with its unit.
    ///
    /// # Errors
    /// There is none, or no time of at least 0.
    pub fn time(&self, names: &[(&str, TimeUnit)]) -> Result<i64, SettingError> {
        let keys: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        let key = self.key(&keys)?.ok_or_else(|| {
            self.lacks(&keys, "arrival times")
                .help("lengths without times go into `lengths: Trace(...)`, beside `arrivals`")
        })?;
        let unit = names.iter().find(|(name, _)| *name == key).map_or(TimeUnit::Seconds, |n| n.1);
        let value = self.value(key).filter(|value| value.is_number());
        let time = value.and_then(|value| unit.parse(&value.to_string()));
        let time = time.ok_or_else(|| self.refuse(key, unit.expected()))?;
        if time < 0 {
            return Err(self.refuse(key, "a time of at least 0"));
        }
        Ok(time)
    }

    /// The name of its class; empty without.
    fn class(&self) -> Result<&str, SettingError> {
        let Some(value) = self.value("class") else { return Ok("") };
        value.as_str().ok_or_else(|| self.refuse("class", "a text, the name of a class"))
    }

    fn priority(&self) -> Result<i32, SettingError> {
        let Some(value) = self.value("priority") else { return Ok(0) };
        let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| self.refuse("priority", "a whole number, the smaller the more urgent"))
    }
}

/// A whole number, also if it is written as `395.0`.
pub(super) fn whole_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
    })
}
