//! One shape for every complaint about a setting, whoever finds it.

use std::fmt;

use crate::base::text::cut_to;

/// A setting that is well formed but makes no sense, or not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// Where, as a dotted path relative to the settings that were checked: `lengths.prompt.p90`.
    /// Empty for the whole of them.
    pub path: String,
    /// What was found, for example `0`.
    pub found: String,
    /// What was expected, for example `at least 1`.
    pub expected: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl SettingError {
    /// A complaint about the setting at `path`.
    pub fn new(
        path: impl Into<String>,
        found: impl fmt::Display,
        expected: impl Into<String>,
    ) -> SettingError {
        SettingError {
            path: path.into(),
            found: shortened(found.to_string()),
            expected: expected.into(),
            help: None,
        }
    }

    /// Adds what to do about it.
    pub fn help(mut self, help: impl Into<String>) -> SettingError {
        self.help = Some(help.into());
        self
    }

    /// This complaint seen from one level further out.
    pub fn within(mut self, parent: &str) -> SettingError {
        self.path = match self.path.as_str() {
            "" => parent.to_owned(),
            path => format!("{parent}.{path}"),
        };
        self
    }
}

/// Characters of what was found that a message holds at most: a place is part of it, so this is
/// more than a value is cut to.
const MOST_FOUND: usize = 300;

/// A number that fills several lines, such as 1e308, with an exponent; a long text without its
/// middle.
fn shortened(found: String) -> String {
    match found.parse::<f64>() {
        Ok(number) if found.len() > 25 => format!("{number:e}"),
        _ => cut_to(&found, MOST_FOUND).into_owned(),
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is {}, expected {}", self.path, self.found, self.expected)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for SettingError {}
