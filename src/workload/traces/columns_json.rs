//! JSON objects with keys that the scenario names.

use std::sync::Arc;

use super::jsonl::{Object, TimeKey};
use super::rows::Row;
use super::{ColumnMap, Need};
use crate::base::SettingError;
use crate::workload::LengthPair;

/// The row of an object, and the name of its class.
pub(super) fn row(
    object: &Object<'_>,
    need: Need,
    map: &ColumnMap,
) -> Result<(Row, Arc<str>), SettingError> {
    let named = |key: &Option<String>, what: &str| {
        key.clone().ok_or_else(|| {
            let expected = format!("the key of {what}");
            SettingError::new("format", "`Columns` without it", expected)
        })
    };
    let mut row = Row { at: object.at, ..Row::default() };
    if need.times {
        let name = named(&map.arrived_at, "arrival times")?;
        row.time = object.time(&[TimeKey { name: &name, unit: map.time_unit, certain: true }])?;
    }
    if need.lengths {
        let length = |key: &Option<String>, what: &str| {
            let key = named(key, what)?;
            object.tokens(&[&key])?.ok_or_else(|| object.lacks(&[&key], what))
        };
        row.lengths = LengthPair {
            prompt: length(&map.prompt, "prompt lengths")?,
            output: length(&map.output, "output lengths")?,
        };
    }
    let mut class = Arc::from("");
    if need.replay() {
        if let Some(key) = &map.id {
            let id = object.whole(&[key])?;
            row.id = Some(id.ok_or_else(|| object.lacks(&[key], "ids"))?);
        }
        if let Some(key) = &map.priority {
            row.priority = object.priority(key)?;
        }
        if let Some(key) = &map.class {
            class = super::sessions::name_of(object, key)?;
        }
    }
    Ok((row, class))
}
