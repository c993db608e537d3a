//! Vidur's `config.json`, value by value, with the place of each for messages.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::base::{Diagnostic, Place, Source};
use crate::scenario::document::SourceMap;

/// A `config.json`.
pub(super) struct Config {
    value: Value,
    map: SourceMap,
}

/// A value of the file, or the complaint about it.
type Read<T> = Result<T, Box<Diagnostic>>;

impl Config {
    /// Reads the file.
    pub fn open(path: &Path) -> Read<Config> {
        let text = crate::base::input::read_to_string(path).map_err(|error| {
            Box::new(Diagnostic::error(format!("cannot read {}: {error}", path.display())))
        })?;
        Config::parse(Source::new(path.display().to_string(), text))
    }

    /// Reads a text.
    pub fn parse(source: Arc<Source>) -> Read<Config> {
        let value: Value = serde_json::from_str(&source.text).map_err(|error| {
            let place = Place::at_line(&source, error.line(), error.column());
            Box::new(Diagnostic::error("this is not JSON").at(place, error.to_string()))
        })?;
        if value.get("cluster_config").is_none() {
            let place = Place { source, span: 0..0 };
            return Err(Box::new(
                Diagnostic::error("this is not a config.json of Vidur")
                    .at(place, "has no `cluster_config`")
                    .help("Vidur writes it into the output folder of every run"),
            ));
        }
        Ok(Config { value, map: SourceMap::new(source) })
    }

    /// The value at a dotted path; `None` where it is absent or null.
    fn find(&self, path: &str) -> Option<&Value> {
        path.split('.')
            .try_fold(&self.value, |value, step| value.get(step))
            .filter(|v| !v.is_null())
    }

    /// The complaint about the value at `path`.
    pub fn error(&self, path: &str, expected: &str) -> Box<Diagnostic> {
        let title = match self.find(path) {
            Some(found) => format!("`{path}` is {found}, expected {expected}"),
            None => format!("`{path}` is missing, expected {expected}"),
        };
        Box::new(
            Diagnostic::error(title).at(self.map.nearest(path), format!("expected {expected}")),
        )
    }

    /// A whole number.
    pub fn count(&self, path: &str) -> Read<u32> {
        self.optional_count(path)?.ok_or_else(|| self.error(path, "a whole number"))
    }

    /// A whole number, where Vidur allows null. It writes some of them as `1024.0`.
    pub fn optional_count(&self, path: &str) -> Read<Option<u32>> {
        let Some(value) = self.find(path) else { return Ok(None) };
        let number = value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..=4e9).contains(n));
        number
            .map(|n| Some(n as u32))
            .ok_or_else(|| self.error(path, "a whole number of at least 0"))
    }

    /// A whole number of at least 1.
    pub fn at_least_one(&self, path: &str) -> Read<u32> {
        match self.count(path)? {
            0 => Err(self.error(path, "at least 1")),
            number => Ok(number),
        }
    }

    /// A number above 0.
    pub fn positive(&self, path: &str) -> Read<f64> {
        let number = self.number(path)?;
        if number > 0.0 { Ok(number) } else { Err(self.error(path, "a number above 0")) }
    }

    /// A number.
    pub fn number(&self, path: &str) -> Read<f64> {
        self.optional_number(path)?.ok_or_else(|| self.error(path, "a number"))
    }

    /// A number, where Vidur allows null.
    pub fn optional_number(&self, path: &str) -> Read<Option<f64>> {
        let Some(value) = self.find(path) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.error(path, "a number"))
    }

    /// A text.
    pub fn text(&self, path: &str) -> Read<&str> {
        self.find(path).and_then(Value::as_str).ok_or_else(|| self.error(path, "a text"))
    }

    /// A truth value, `default` where it is absent.
    pub fn flag(&self, path: &str, default: bool) -> Read<bool> {
        match self.find(path) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.error(path, "true or false")),
        }
    }
}
