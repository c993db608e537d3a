//! The JSON Lines of Alibaba's Qwen traces (Bailian; `alibaba-edu/qwen-bailian-usagetraces-anon`):
//! Mooncake's keys, but seconds, 16 tokens a hash id, and conversations by the turn before.

use super::jsonl::{Object, TimeKey};
use super::mooncake::requests_row;
use super::rows::Row;
use super::sessions::Sessions;
use super::{Need, TimeUnit};
use crate::base::SettingError;

/// Tokens that a hash id stands for.
pub(super) const TOKENS_PER_HASH: u32 = 16;

/// Keys of the arrival time.
const TIMES: [TimeKey<'static>; 2] = [
    TimeKey { name: "timestamp", unit: TimeUnit::Seconds, certain: false },
    TimeKey { name: "timestamp_ms", unit: TimeUnit::Millis, certain: true },
];

/// `{"chat_id": 160, "parent_chat_id": 159, "timestamp": 75.85, "input_length": 70,
/// "output_length": 30, "turn": 2, "hash_ids": [11, 12, 13, 14, 15]}`. Prompts are whole: they hold
/// the turns before.
pub(super) fn row(
    object: &Object<'_>,
    need: Need,
    tokens_per_hash: u32,
    sessions: &mut Sessions,
) -> Result<Row, SettingError> {
    let conversation = if need.replay() { sessions.root(object)? } else { None };
    let mut row = requests_row(object, need, tokens_per_hash)?;
    sessions.place(object, &mut row, conversation.as_ref(), &TIMES)?;
    Ok(row)
}
