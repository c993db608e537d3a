//! Settings of a plug-in as RON text, both ways.

use std::fmt;

use ron::extensions::Extensions;
use ron::value::RawValue;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::ron_options;

/// What is wrong with a plug-in's settings.
#[derive(Debug)]
pub enum FragmentError {
    /// The text is not RON of the right type. Positions are relative to the text.
    Ron(ron::error::SpannedError),
    /// There is no such setting.
    UnknownSetting {
        /// The setting that was found.
        found: String,
        /// The settings that there are.
        known: Vec<String>,
    },
}

impl fmt::Display for FragmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FragmentError::Ron(error) => error.fmt(f),
            FragmentError::UnknownSetting { found, known } => {
                write!(f, "unknown setting `{found}`, expected one of {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for FragmentError {}

/// Reads settings from `(name: value, ...)`; an empty text means no settings.
///
/// Every setting that the text names must be one that the value writes out again. So a type that
/// forgot `deny_unknown_fields` cannot ignore a misspelt setting in silence.
pub fn read<T: Serialize + DeserializeOwned>(text: &str) -> Result<T, FragmentError> {
    let text = if text.trim().is_empty() { "()" } else { text };
    let value: T = ron_options().from_str(text).map_err(FragmentError::Ron)?;
    let known = fields(&body(&value));
    for (found, is_none) in named(text) {
        if !is_none && !known.contains(&found) {
            return Err(FragmentError::UnknownSetting { found, known });
        }
    }
    Ok(value)
}

/// `Name(setting: value, ...)` on one line, with every setting.
pub fn write<T: Serialize>(name: &str, value: &T) -> String {
    match body(value).as_str() {
        "()" => name.to_owned(),
        body => format!("{name}{body}"),
    }
}

fn body<T: Serialize>(value: &T) -> String {
    let config = ron::ser::PrettyConfig::new()
        .compact_structs(true)
        .compact_arrays(true)
        .compact_maps(true)
        .extensions(Extensions::IMPLICIT_SOME);
    // Settings are plain data; what cannot be written is written as no settings, which the
    // round-trip test of every built-in plug-in would show.
    let text = ron_options().to_string_pretty(value, config).unwrap_or_else(|_| "()".to_owned());
    // The extensions' attribute line is not part of a fragment.
    match text.split_once("(") {
        Some((_, rest)) => {
            format!("({rest}")
        }
        None => "()".to_owned(),
    }
}

fn fields(text: &str) -> Vec<String> {
    named(text).into_iter().map(|(name, _)| name).collect()
}

/// The names in `(name: value, ...)`, and whether the value is the literal `None`.
fn named(text: &str) -> Vec<(String, bool)> {
    struct Names(Vec<(String, bool)>);
    impl<'de> Deserialize<'de> for Names {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
            struct NamesVisitor;
            impl<'de> Visitor<'de> for NamesVisitor {
                type Value = Names;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("settings by name")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                    let mut names = Vec::new();
                    while let Some(name) = map.next_key::<String>()? {
                        let value = map.next_value::<&RawValue>()?;
                        names.push((name, value.get_ron().trim() == "None"));
                    }
                    Ok(Names(names))
                }
            }
            deserializer.deserialize_any(NamesVisitor)
        }
    }
    ron_options().from_str::<Names>(text).map(|names| names.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_refused_even_by_a_lax_type() {
        #[derive(Serialize, Deserialize)]
        struct Lax {
            #[serde(default)]
            budget: Option<u32>,
        }
        assert_eq!(read::<Lax>("(budget: 3)").unwrap().budget, Some(3));
        assert_eq!(read::<Lax>("(budget: None)").unwrap().budget, None);
        assert_eq!(read::<Lax>("").unwrap().budget, None);
        let error = read::<Lax>("(budgte: 3)").err().unwrap();
        assert_eq!(error.to_string(), "unknown setting `budgte`, expected one of budget");
    }
}
