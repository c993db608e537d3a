//! A file that says what the prompts of another file have in common.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::jsonl::Objects;
use super::mooncake;
use super::rows::{Identity, Row};
use super::text::Text;
use crate::base::SettingError;
use crate::workload::Content;

/// Reads JSON objects, one a line, with `request_id`, `hash_ids` and perhaps `input_length`, and
/// joins them to the rows of a trace: by id, or by the row's number from 0 if the trace has none.
/// Rows that the file does not name are like no other.
///
/// # Errors
/// A line that makes no sense, whose request the trace does not have, that names a request again,
/// or whose `input_length` is not the request's prompt length. The path is relative to `prefixes`.
pub(crate) fn join_prefixes(
    rows: &mut [Row],
    file: &Path,
    base_dir: &Path,
    tokens_per_hash: u32,
) -> Result<(), SettingError> {
    let text = Text::find(file, base_dir)?;
    let places: BTreeMap<u64, usize> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| (row.id.unwrap_or(index as u64), index))
        .collect();
    let mut named = vec![false; rows.len()];
    let mut objects = Objects::open(&text)?;
    while let Some(object) = objects.next(&text)? {
        let id = object
            .whole(&["request_id"])?
            .ok_or_else(|| object.lacks(&["request_id"], "request ids"))?;
        let Some(&index) = places.get(&id) else {
            return Err(object.refuse("request_id", "the id of a request of the trace"));
        };
        if std::mem::replace(&mut named[index], true) {
            return Err(object.refuse("request_id", "each request once"));
        }
        let row = &mut rows[index];
        let prompt = row.lengths.prompt;
        if object.tokens(&["input_length"])?.is_some_and(|length| length != prompt) {
            let expected = format!("{prompt}, the prompt of request {id} in the trace");
            return Err(object.refuse("input_length", &expected));
        }
        if object.value("hash_ids").is_none() {
            return Err(object.lacks(&["hash_ids"], "hash ids"));
        }
        if let Some(spans) = mooncake::spans(&object, Some(prompt), tokens_per_hash)? {
            row.identity = Identity::Named(Arc::new(Content { prompt: spans, answer: None }));
        }
    }
    if !named.contains(&true) {
        let found = format!("no lines in {}", file.display());
        return Err(SettingError::new("file", found, "at least one line"));
    }
    Ok(())
}
