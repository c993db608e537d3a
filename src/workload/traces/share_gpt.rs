//! JSON Lines made from ShareGPT conversations: lengths, perhaps times, perhaps turns.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::jsonl::{Object, TimeKey};
use super::rows::{Identity, Row};
use super::sessions::{Sessions, name_of};
use super::text::Text;
use super::{Need, TimeUnit};
use crate::base::SettingError;
use crate::base::text::cut;
use crate::workload::checks::MAX_TOKENS;
use crate::workload::{Content, LengthPair, TokenSpan};

/// Keys of the length of the whole prompt as it is sent, earlier turns included.
const PROMPT: [&str; 4] = ["prompt_len", "input_len", "prompt_tokens", "num_prefill_tokens"];
/// Keys of the length of what a turn adds to the conversation before it.
const ADDED: [&str; 1] = ["user_len"];
/// Keys of the output length.
const OUTPUT: [&str; 4] = ["output_len", "completion_tokens", "output_tokens", "num_decode_tokens"];
/// Keys of the arrival time.
const TIMES: [TimeKey<'static>; 3] = [
    TimeKey { name: "timestamp", unit: TimeUnit::Seconds, certain: false },
    TimeKey { name: "arrived_at", unit: TimeUnit::Seconds, certain: false },
    TimeKey { name: "timestamp_ms", unit: TimeUnit::Millis, certain: true },
];
/// Keys of the conversation, a text or a number.
const CONVERSATION: [&str; 2] = ["conversation_id", "session_id"];

/// A row's place in its conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    /// The conversation's name in the file.
    pub conversation: Arc<str>,
    /// Which turn it is, if the file counts them.
    pub number: Option<u64>,
    /// Tokens that it adds to the turns before it. Until the turns are joined, 0 means that the
    /// row has the whole prompt's length instead.
    pub added: u32,
}

/// `{"prompt_len": 120, "output_len": 80, "timestamp": 1.5, "conversation_id": "a", "turn": 1}`.
pub(super) fn row(
    object: &Object<'_>,
    need: Need,
    sessions: &mut Sessions,
) -> Result<Row, SettingError> {
    let mut row = Row::default();
    if !need.lengths {
        row.time = object.time(&TIMES)?;
        return Ok(row);
    }
    let (prompt, added) = (object.tokens(&PROMPT)?, object.tokens(&ADDED)?);
    let prompt = match (prompt, added) {
        (Some(prompt), None) => prompt,
        (None, Some(added)) => added,
        (None, None) => {
            return Err(object.lacks(&[PROMPT.as_slice(), &ADDED].concat(), "prompt lengths"));
        }
        (Some(_), Some(_)) => {
            return Err(SettingError::new(
                "file",
                format!("{} and the whole prompt's length at {}", ADDED[0], object.place()),
                "one of them",
            ));
        }
    };
    let output = object.tokens(&OUTPUT)?;
    let output = output.ok_or_else(|| object.lacks(&OUTPUT, "output lengths"))?;
    row.lengths = LengthPair { prompt, output };
    let number = object.whole(&["turn"])?;
    let conversation = match object.key(&CONVERSATION)? {
        Some(key) => Some(name_of(object, key)?),
        None if number.is_some() => {
            return Err(object.lacks(&CONVERSATION, "the conversation, as there is a `turn`,"));
        }
        None => None,
    };
    if need.times {
        sessions.place(object, &mut row, conversation.as_ref(), &TIMES)?;
    }
    if let Some(conversation) = conversation {
        let turn = Turn { conversation, number, added: added.unwrap_or(0) };
        row.identity = Identity::Turn(Box::new(turn));
    }
    Ok(row)
}

/// Finds out, in the order of the rows, what each turn adds to its conversation and how long its
/// whole prompt is.
#[derive(Debug, Default)]
pub(super) struct Joined {
    /// Length of each conversation so far, and the number of its last turn.
    before: BTreeMap<Arc<str>, (u32, Option<u64>)>,
}

impl Joined {
    /// Joins the next row, which starts at its place in `text`.
    ///
    /// # Errors
    /// A prompt that is no longer than the conversation before it, or turns out of order.
    pub fn join(&mut self, row: &mut Row, text: &Text) -> Result<(), SettingError> {
        let Identity::Turn(turn) = &mut row.identity else { return Ok(()) };
        let (history, last) = self.before.entry(turn.conversation.clone()).or_insert((0, None));
        if let (Some(last), Some(number)) = (*last, turn.number)
            && last.checked_add(1) != Some(number)
        {
            return Err(SettingError::new(
                "file",
                format!(
                    "turn {number} of conversation {} after turn {last} at {}",
                    cut(&turn.conversation),
                    text.place(row.at)
                ),
                "turns in order, without gaps",
            ));
        }
        if turn.added == 0 {
            turn.added = row.lengths.prompt.saturating_sub(*history);
            if turn.added == 0 {
                return Err(SettingError::new(
                    "file",
                    format!(
                        "a prompt of {} tokens in conversation {} at {}",
                        row.lengths.prompt,
                        cut(&turn.conversation),
                        text.place(row.at)
                    ),
                    format!("more than the {history} tokens of the turns before it"),
                )
                .help("a prompt holds the turns before it; what a turn adds alone is `user_len`"));
            }
        } else {
            row.lengths.prompt = history.saturating_add(turn.added);
        }
        if row.lengths.prompt > MAX_TOKENS {
            return Err(SettingError::new(
                "file",
                format!("a prompt of {} tokens at {}", row.lengths.prompt, text.place(row.at)),
                format!("at most {MAX_TOKENS} tokens"),
            ));
        }
        *history = row.lengths.prompt + row.lengths.output;
        *last = turn.number.or(*last);
        Ok(())
    }
}

/// The texts of conversations, turn by turn.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histories {
    spans: BTreeMap<Arc<str>, Vec<TokenSpan>>,
    next: u64,
}

impl Histories {
    /// The lengths of a turn's request that adds `added.prompt` tokens and answers with
    /// `added.output`, as `limit` allows, and the identity of its tokens.
    pub fn turn(
        &mut self,
        conversation: &Arc<str>,
        added: LengthPair,
        limit: impl Fn(LengthPair) -> LengthPair,
    ) -> (LengthPair, Arc<Content>) {
        let history = self.spans.entry(conversation.clone()).or_default();
        let (text, answer) = (self.next, self.next + 1);
        self.next += 2;
        history.push(TokenSpan { id: text, tokens: added.prompt });
        let all = history.iter().fold(0_u32, |sum, span| sum.saturating_add(span.tokens));
        let pair = limit(LengthPair { prompt: all.min(MAX_TOKENS), output: added.output });
        shorten(history, pair.prompt);
        let content = Content { prompt: history.as_slice().into(), answer: Some(answer) };
        history.push(TokenSpan { id: answer, tokens: pair.output });
        (pair, Arc::new(content))
    }
}

/// Keeps the first `tokens` tokens.
fn shorten(spans: &mut Vec<TokenSpan>, tokens: u32) {
    let mut left = tokens;
    spans.retain_mut(|span| {
        span.tokens = span.tokens.min(left);
        left -= span.tokens;
        span.tokens > 0
    });
}
