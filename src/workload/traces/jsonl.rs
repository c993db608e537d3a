//! Rows of a trace of JSON objects, one a line or all in one list.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::json_list::Elements;
use super::reader::TraceSettings;
use super::rows::{ClassNames, Row};
use super::sessions::Sessions;
use super::text::{Lines, Shape, Text};
use super::{
    ColumnMap, Need, TimeUnit, bailian, columns_json, mooncake, share_gpt, share_gpt_texts,
};
use crate::base::SettingError;
use crate::base::text::cut;
use crate::workload::checks::MAX_TOKENS;

/// The formats of JSON objects.
#[derive(Clone, Debug)]
pub(super) enum JsonFormat {
    Mooncake,
    Bailian,
    ShareGpt,
    Texts(share_gpt_texts::Texts),
    Columns(Box<ColumnMap>),
}

/// The format of a file, by the keys of its first object.
///
/// # Errors
/// It begins with no JSON object.
pub(super) fn detect(text: &Text) -> Result<JsonFormat, SettingError> {
    let mut objects = Objects::open(text)?;
    let Some(object) = objects.next(text)? else { return Ok(JsonFormat::ShareGpt) };
    let any = |keys: &[&str]| keys.iter().any(|key| object.value(key).is_some());
    Ok(if any(&["chat_id", "parent_chat_id"]) && any(&["input_length"]) {
        JsonFormat::Bailian
    } else if any(&["input_length", "hash_ids"]) {
        JsonFormat::Mooncake
    } else if any(&["conversations"]) {
        JsonFormat::Texts(share_gpt_texts::Texts::default())
    } else {
        JsonFormat::ShareGpt
    })
}

/// The objects of a file, one at a time.
pub(super) enum Objects {
    Lines(Lines),
    List(Elements),
}

impl Objects {
    /// # Errors
    /// The file cannot be read.
    pub fn open(text: &Text) -> Result<Objects, SettingError> {
        Ok(match text.shape()? {
            Shape::JsonList => Objects::List(Elements::open(text)?),
            Shape::JsonLines | Shape::Table => Objects::Lines(text.lines()?),
        })
    }

    /// # Errors
    /// The file cannot be read any further, or what comes is no JSON object.
    pub fn next<'a>(&mut self, text: &'a Text) -> Result<Option<Object<'a>>, SettingError> {
        let next = match self {
            Objects::Lines(lines) => lines.next(text)?.map(|(at, line)| (at, None, line)),
            Objects::List(list) => {
                list.next(text)?.map(|(at, number, one)| (at, Some(number), one))
            }
        };
        next.map(|(at, element, json)| Object::parse(at, element, json, text)).transpose()
    }
}

/// The rows of a file, one at a time.
pub(super) struct JsonRows {
    objects: Objects,
    format: JsonFormat,
    need: Need,
    time_unit: Option<TimeUnit>,
    tokens_per_hash: u32,
    classes: ClassNames,
    sessions: Sessions,
    /// Rows of the last object that are not handed on yet.
    more: VecDeque<Row>,
}

impl JsonRows {
    /// # Errors
    /// The file cannot be read.
    pub fn open(
        text: &Text,
        format: JsonFormat,
        need: Need,
        settings: &TraceSettings,
    ) -> Result<JsonRows, SettingError> {
        let tokens_per_hash = settings.tokens_per_hash.unwrap_or(match format {
            JsonFormat::Bailian => bailian::TOKENS_PER_HASH,
            _ => super::TOKENS_PER_HASH,
        });
        let whole_prompts = matches!(format, JsonFormat::Mooncake | JsonFormat::Bailian);
        Ok(JsonRows {
            objects: Objects::open(text)?,
            format,
            need,
            time_unit: settings.time_unit,
            tokens_per_hash,
            classes: ClassNames::default(),
            sessions: Sessions::new(need, settings.sort, whole_prompts),
            more: VecDeque::new(),
        })
    }

    /// Whether times count from the first one.
    pub fn rebase(&self) -> bool {
        match &self.format {
            JsonFormat::Columns(map) => map.rebase,
            _ => self.time_unit == Some(TimeUnit::DateTime),
        }
    }

    /// # Errors
    /// What is no JSON object, or lacks a key or has nonsense in one.
    pub fn next(&mut self, text: &Text) -> Result<Option<Row>, SettingError> {
        loop {
            if let Some(row) = self.more.pop_front() {
                return Ok(Some(row));
            }
            let Some(object) = self.objects.next(text)? else { return Ok(None) };
            let object = object.with_unit(self.time_unit);
            let (need, sessions) = (self.need, &mut self.sessions);
            let mut row = match &self.format {
                JsonFormat::Mooncake => {
                    mooncake::row(&object, need, self.tokens_per_hash, sessions)?
                }
                JsonFormat::Bailian => bailian::row(&object, need, self.tokens_per_hash, sessions)?,
                JsonFormat::ShareGpt => share_gpt::row(&object, need, sessions)?,
                JsonFormat::Columns(map) => {
                    let (mut row, class) = columns_json::row(&object, need, map)?;
                    row.class = self.classes.number(&class, object.at);
                    return Ok(Some(row));
                }
                JsonFormat::Texts(texts) => {
                    self.more.extend(texts.rows(&object, need)?);
                    continue;
                }
            };
            row.at = object.at;
            if need.replay() {
                row.id = object.whole(&["request_id"])?;
                row.priority = object.priority("priority")?;
                row.class = self.classes.number(object.class()?, object.at);
            }
            return Ok(Some(row));
        }
    }

    /// Names of the classes so far.
    pub fn classes(&self) -> &ClassNames {
        &self.classes
    }

    /// What the user should know of `file`.
    pub fn warnings(&self, file: &std::path::Path) -> Vec<String> {
        let estimated = match &self.format {
            JsonFormat::Texts(texts) => Some(texts.warning(file)),
            _ => None,
        };
        estimated.into_iter().chain(self.sessions.warning(file)).collect()
    }
}

/// One object.
pub(super) struct Object<'a> {
    keys: Map<String, Value>,
    /// The byte at which it starts.
    pub at: u64,
    /// Its number, in a list.
    element: Option<u64>,
    text: &'a Text,
    /// The unit of times, if the scenario says it.
    time_unit: Option<TimeUnit>,
}

/// A key of the arrival time.
pub(super) struct TimeKey<'k> {
    pub name: &'k str,
    pub unit: TimeUnit,
    /// Whether its name says the unit, or the scenario does. Otherwise only the format has it, and
    /// fractions of milliseconds mean that the file counts seconds.
    pub certain: bool,
}

impl<'a> Object<'a> {
    /// # Errors
    /// The text is no JSON object.
    pub fn parse(
        at: u64,
        element: Option<u64>,
        json: &[u8],
        text: &'a Text,
    ) -> Result<Object<'a>, SettingError> {
        let object = Object { keys: Map::new(), at, element, text, time_unit: None };
        match serde_json::from_slice(json) {
            Ok(keys) => Ok(Object { keys, ..object }),
            Err(error) => {
                // The error's own line is that in this object.
                let error = error.to_string();
                let what = cut(error.split(" at line").next().unwrap_or_default()).into_owned();
                let found = format!("{}: {what}", object.place());
                Err(SettingError::new("file", found, "a JSON object a line"))
            }
        }
    }

    /// The objects with the unit of its times.
    pub fn with_unit(self, time_unit: Option<TimeUnit>) -> Object<'a> {
        Object { time_unit, ..self }
    }

    /// `t.jsonl:3`; in a list also which element.
    pub fn place(&self) -> String {
        match self.element {
            None => self.text.place(self.at),
            Some(number) => format!("{}, element {number}", self.text.place(self.at)),
        }
    }

    /// A complaint about the value of a key.
    pub fn refuse(&self, key: &str, expected: &str) -> SettingError {
        let value = self.value(key).map_or_else(String::new, Value::to_string);
        let found = format!("`{}` for key {} at {}", cut(&value), cut(key), self.place());
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
            format!("no key {} at {}", cut(&names.join(" or ")), self.place()),
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

    /// A time in nanoseconds under one of these keys.
    ///
    /// # Errors
    /// There is none, or no time of at least 0.
    pub fn time(&self, keys: &[TimeKey<'_>]) -> Result<i64, SettingError> {
        let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
        let name = self.key(&names)?.ok_or_else(|| {
            self.lacks(&names, "arrival times")
                .help("lengths without times go into `lengths: Trace(...)`, beside `arrivals`")
        })?;
        let key = keys.iter().find(|key| key.name == name);
        let (unit, certain) = key.map_or((TimeUnit::Seconds, true), |key| (key.unit, key.certain));
        let unit = match self.time_unit {
            Some(wanted) if certain && wanted != unit => {
                let found = format!("key {name} at {}", self.place());
                let expected = format!("times in the unit that `time_unit: {wanted:?}` says");
                return Err(SettingError::new("file", found, expected));
            }
            wanted => wanted.unwrap_or(unit),
        };
        let written = match self.value(name) {
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(date)) if unit == TimeUnit::DateTime => date.clone(),
            _ => return Err(self.refuse(name, unit.expected())),
        };
        let time = unit.parse(&written).ok_or_else(|| self.refuse(name, unit.expected()))?;
        let assumed = !certain && self.time_unit.is_none() && unit == TimeUnit::Millis;
        if assumed && time % 1_000_000 != 0 {
            return Err(self.refuse(name, "whole milliseconds").help(
                "does the file count seconds? `time_unit: Seconds`; \
                 `time_unit: Millis` allows fractions of milliseconds",
            ));
        }
        if time < 0 && unit != TimeUnit::DateTime {
            return Err(self.refuse(name, "a time of at least 0"));
        }
        Ok(time)
    }

    /// The name of its class; empty without.
    fn class(&self) -> Result<&str, SettingError> {
        let Some(value) = self.value("class") else { return Ok("") };
        value.as_str().ok_or_else(|| self.refuse("class", "a text, the name of a class"))
    }

    /// A priority under this key; 0 without.
    ///
    /// # Errors
    /// Something else is there.
    pub fn priority(&self, key: &str) -> Result<i32, SettingError> {
        let Some(value) = self.value(key) else { return Ok(0) };
        let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
        number.ok_or_else(|| self.refuse(key, "a whole number, the smaller the more urgent"))
    }
}

/// A whole number, also if it is written as `395.0`.
pub(super) fn whole_number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64)
    })
}
