//! ShareGPT as it is published: conversations of texts, in one JSON list. There are no tokens in
//! it, so lengths are estimated from characters.

use std::path::Path;

use serde_json::Value;

use super::Need;
use super::jsonl::{Object, TimeKey};
use super::rows::Row;
use crate::base::SettingError;
use crate::workload::LengthPair;
use crate::workload::checks::MAX_TOKENS;

/// Characters of a token, unless the scenario says it: English in today's vocabularies.
pub(super) const CHARS_PER_TOKEN: f64 = 4.0;

/// How texts become lengths.
#[derive(Clone, Copy, Debug)]
pub(super) struct Texts {
    pub chars_per_token: f64,
    /// Whether only the first prompt and answer of a conversation are taken.
    pub first_turn: bool,
}

impl Default for Texts {
    fn default() -> Texts {
        Texts { chars_per_token: CHARS_PER_TOKEN, first_turn: false }
    }
}

impl Texts {
    /// The settings, checked.
    ///
    /// # Errors
    /// No text has so many characters a token.
    pub fn check(chars_per_token: f64, first_turn: bool) -> Result<Texts, SettingError> {
        if (0.1..=100.0).contains(&chars_per_token) {
            return Ok(Texts { chars_per_token, first_turn });
        }
        Err(SettingError::new("format.chars_per_token", chars_per_token, "0.1 to 100 characters"))
    }

    /// The turns of a conversation, each with the whole prompt:
    /// `{"id": "a", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", ...}]}`.
    /// What is not answered is left out.
    ///
    /// # Errors
    /// It has no conversation, or what is needed is more than lengths.
    pub fn rows(&self, object: &Object<'_>, need: Need) -> Result<Vec<Row>, SettingError> {
        if need.times {
            object.time(&[TimeKey {
                name: "timestamp",
                unit: super::TimeUnit::Seconds,
                certain: true,
            }])?;
        }
        let turns = object.value("conversations").and_then(Value::as_array);
        let turns = turns.ok_or_else(|| object.lacks(&["conversations"], "turns (a list)"))?;
        let mut rows = Vec::new();
        let (mut history, mut asked) = (0_u32, 0_u32);
        for turn in turns {
            let from = turn.get("from").and_then(Value::as_str);
            let (Some(from), Some(text)) = (from, turn.get("value").and_then(Value::as_str)) else {
                let expected = "turns with `from` and `value`, two texts";
                return Err(object.refuse("conversations", expected));
            };
            let tokens = self.tokens(text);
            let answers = !matches!(from, "human" | "user" | "system");
            if !answers {
                asked = asked.saturating_add(tokens);
                continue;
            }
            let prompt = history.saturating_add(asked);
            if asked > 0 && tokens > 0 && prompt <= MAX_TOKENS && tokens <= MAX_TOKENS {
                let lengths = LengthPair { prompt, output: tokens };
                rows.push(Row { at: object.at, lengths, ..Row::default() });
                if self.first_turn {
                    break;
                }
            }
            history = prompt.saturating_add(tokens);
            asked = 0;
        }
        Ok(rows)
    }

    fn tokens(&self, text: &str) -> u32 {
        (text.chars().count() as f64 / self.chars_per_token).ceil() as u32
    }

    /// The warning that lengths are no more than estimates.
    pub fn warning(&self, file: &Path) -> String {
        format!(
            "lengths of {} are estimated from its texts, at {} characters a token",
            file.display(),
            self.chars_per_token
        )
    }
}
