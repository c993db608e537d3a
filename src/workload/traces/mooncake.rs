//! Mooncake's JSON Lines (Qin et al., "Mooncake: A KVCache-centric Disaggregated Architecture for
//! LLM Serving"), and the sessions that AIPerf writes in the same format.

use std::sync::Arc;

use super::jsonl::{Object, TimeKey, whole_number};
use super::rows::{Identity, Row};
use super::sessions::{Sessions, name_of};
use super::share_gpt::Turn;
use super::{Need, TimeUnit};
use crate::base::SettingError;
use crate::base::text::cut;
use crate::workload::LengthPair;
use crate::workload::{Content, TokenSpan};

/// Keys of the arrival time; a file has one of them.
const TIMES: [TimeKey<'static>; 2] = [
    TimeKey { name: "timestamp", unit: TimeUnit::Millis, certain: false },
    TimeKey { name: "timestamp_ms", unit: TimeUnit::Millis, certain: true },
];

/// Keys of the conversation.
const SESSION: [&str; 2] = ["session_id", "conversation_id"];

/// `{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}`. A turn of a
/// session without hash ids has the length of what it adds, as AIPerf sends it; that matters where
/// turns wait for answers.
pub(super) fn row(
    object: &Object<'_>,
    need: Need,
    tokens_per_hash: u32,
    sessions: &mut Sessions,
) -> Result<Row, SettingError> {
    let session = match object.key(&SESSION)? {
        Some(key) if need.replay() => Some(name_of(object, key)?),
        _ => None,
    };
    let mut row = requests_row(object, need, tokens_per_hash)?;
    sessions.place(object, &mut row, session.as_ref(), &TIMES)?;
    if need.links
        && let (Some(conversation), Identity::Unique) = (session, &row.identity)
    {
        let turn = Turn { conversation, number: None, added: row.lengths.prompt };
        row.identity = Identity::Turn(Box::new(turn));
    }
    Ok(row)
}

/// Lengths and what the prompt has in common with others, without the time.
pub(super) fn requests_row(
    object: &Object<'_>,
    need: Need,
    tokens_per_hash: u32,
) -> Result<Row, SettingError> {
    let mut row = Row::default();
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
) -> Result<Option<Box<[TokenSpan]>>, SettingError> {
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
            let id = id.to_string();
            let found = format!("`{}` in key hash_ids at {}", cut(&id), object.place());
            SettingError::new("file", found, "whole numbers of at least 0")
        })?;
        let tokens = left.min(tokens_per_hash);
        spans.push(TokenSpan { id, tokens });
        left -= tokens;
    }
    Ok(Some(spans.into()))
}
