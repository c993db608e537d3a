//! Mooncake's JSON Lines (Qin et al., "Mooncake: A KVCache-centric Disaggregated Architecture for LLM
//! Serving"), which Alibaba's Qwen traces share.

use std::sync::Arc;

use super::jsonl::{Object, whole_number};
use super::rows::{Identity, Row};
use super::{Need, TimeUnit};
use crate::base::SettingError;
use crate::workload::{Content, LengthPair, Span};

/// Keys of the arrival time; a file has one of them.
const TIMES: [(&str, TimeUnit); 2] =
    [("timestamp", TimeUnit::Millis), ("timestamp_ms", TimeUnit::Millis)];

/// `{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}`.
pub(super) fn row(
    object: &Object<'_>,
    need: Need,
    tokens_per_hash: u32,
) -> Result<Row, SettingError> {
    let mut row = Row::default();
    if need.times {
        row.time = object.time(&TIMES)?;
    }
    if need.lengths {
        let length = |key: &str, what: &str| {
            object.tokens(&[key])?.ok_or_else(|| object.lacks(&[key], what))
        };
        row.lengths = LengthPair {
            prompt: length("input_length", "prompt lengths")?,
            output: length("output_length", "output lengths")?,
        };
    }
    if need.replay()
        && let Some(spans) = spans(object, Some(row.lengths.prompt), tokens_per_hash)?
    {
        row.identity = Identity::Named(Arc::new(Content { prompt: spans, answer: None }));
    }
    Ok(row)
}

/// The spans that `hash_ids` names, if it names any. Each id stands for `tokens_per_hash` tokens
/// from the start of the prompt on; a last id for fewer tokens may be there or not.
pub(super) fn spans(
    object: &Object<'_>,
    prompt: Option<u32>,
    tokens_per_hash: u32,
) -> Result<Option<Box<[Span]>>, SettingError> {
    let Some(value) = object.value("hash_ids") else { return Ok(None) };
    let ids = value.as_array().ok_or_else(|| object.refuse("hash_ids", "a list of numbers"))?;
    if ids.is_empty() {
        return Ok(None);
    }
    let covered = ids.len() as u64 * u64::from(tokens_per_hash);
    let mut left = u32::try_from(covered).unwrap_or(u32::MAX);
    if let Some(prompt) = prompt {
        let full = prompt / tokens_per_hash;
        let most = prompt.div_ceil(tokens_per_hash);
        if !(u64::from(full)..=u64::from(most)).contains(&(ids.len() as u64)) {
            let expected =
                if full == most { format!("{full}") } else { format!("{full} or {most}") };
            return Err(SettingError::new(
                "file",
                format!(
                    "{} hash ids of {tokens_per_hash} tokens for a prompt of {prompt} at {}",
                    ids.len(),
                    object.place()
                ),
                format!("{expected} of them"),
            )
            .help("is `tokens_per_hash` right? Mooncake's traces have 512, Alibaba's 16"));
        }
        left = left.min(prompt);
    }
    let mut spans = Vec::with_capacity(ids.len());
    for id in ids {
        let id = whole_number(id).ok_or_else(|| {
            let found = format!("`{id}` in key hash_ids at {}", object.place());
            SettingError::new("file", found, "whole numbers of at least 0")
        })?;
        let tokens = left.min(tokens_per_hash);
        spans.push(Span { id, tokens });
        left -= tokens;
    }
    Ok(Some(spans.into()))
}
