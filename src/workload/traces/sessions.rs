//! Conversations of a trace of JSON objects: when their turns arrive, and which wait for answers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::jsonl::{Object, TimeKey};
use super::rows::{Link, Row};
use super::{Need, TimeUnit};
use crate::base::SettingError;

/// Milliseconds from an answer until the turn that follows it.
const DELAY: &str = "delay";

/// Keys of conversations that say nothing where every turn arrives at its own time.
const UNUSED: [&str; 4] = ["session_id", "conversation_id", "parent_chat_id", "turn"];

/// What the rows so far were part of.
#[derive(Debug)]
pub(super) struct Sessions {
    need: Need,
    /// Whether rows are going to be sorted by time.
    sort: bool,
    /// Whether every row has its whole prompt, whatever conversation it is part of.
    whole_prompts: bool,
    /// Conversations that have begun, if it matters.
    begun: BTreeSet<Arc<str>>,
    /// The conversation of each chat, if it matters.
    roots: BTreeMap<u64, Arc<str>>,
    /// Time of the last row.
    last: i64,
    /// Keys that were there and are not used.
    unused: BTreeSet<&'static str>,
}

impl Sessions {
    /// For a file of which `need` is needed.
    pub fn new(need: Need, sort: bool, whole_prompts: bool) -> Sessions {
        Sessions {
            need,
            sort,
            whole_prompts,
            begun: BTreeSet::new(),
            roots: BTreeMap::new(),
            last: 0,
            unused: BTreeSet::new(),
        }
    }

    /// Finds out when the row arrives: at its time, or its delay after the answer before it if
    /// turns wait for answers.
    ///
    /// # Errors
    /// It has no time, or a delay that makes no sense.
    pub fn place(
        &mut self,
        object: &Object<'_>,
        row: &mut Row,
        conversation: Option<&Arc<str>>,
        times: &[TimeKey<'_>],
    ) -> Result<(), SettingError> {
        if !self.need.times {
            return Ok(());
        }
        let delay = if self.need.replay() { self.delay(object, times)? } else { None };
        if !self.need.links {
            self.note_unused(object);
            row.time = object.time(times)?;
            return Ok(());
        }
        let follows = conversation.is_some_and(|name| !self.begun.insert(name.clone()));
        let timed = times.iter().any(|key| object.value(key.name).is_some());
        row.time = if follows && !timed { self.last } else { object.time(times)? };
        if !timed && self.sort {
            let found =
                format!("key {DELAY} at {} in a trace that is to be sorted", object.place());
            return Err(SettingError::new("file", found, "rows in order, without `sort`"));
        }
        self.last = row.time;
        if let Some(conversation) = conversation {
            row.link = Some(Link { conversation: conversation.clone(), delay });
        }
        Ok(())
    }

    /// The delay of a row that has one instead of a time.
    fn delay(
        &self,
        object: &Object<'_>,
        times: &[TimeKey<'_>],
    ) -> Result<Option<i64>, SettingError> {
        if object.value(DELAY).is_none() {
            return Ok(None);
        }
        if let Some(time) = times.iter().find(|key| object.value(key.name).is_some()) {
            let found = format!("keys {} and {DELAY} at {}", time.name, object.place());
            let expected = "one of them: a turn arrives at a time, or so long after an answer";
            return Err(SettingError::new("file", found, expected)
                .help("leave out the one that is not meant"));
        }
        if !self.need.links {
            let found = format!("key {DELAY} at {}", object.place());
            return Err(SettingError::new("file", found, "a time of arrival").help(
                "`think: Recorded` makes closed loops: a turn comes its delay after the answer \
                 before it",
            ));
        }
        let number = object.value(DELAY).filter(|value| value.is_number());
        let delay = number.and_then(|value| TimeUnit::Millis.parse(&value.to_string()));
        match delay.filter(|&nanos| (0..=LONGEST_DELAY).contains(&nanos)) {
            Some(delay) => Ok(Some(delay)),
            None => Err(object.refuse(DELAY, "milliseconds from 0 to 1e12")),
        }
    }

    /// The conversation of a row that names the turn before it, if it is part of one.
    ///
    /// # Errors
    /// The names make no sense.
    pub fn root(&mut self, object: &Object<'_>) -> Result<Option<Arc<str>>, SettingError> {
        if !self.need.links {
            return Ok(None);
        }
        let Some(chat) = object.whole(&["chat_id"])? else { return Ok(None) };
        let parent = match object.value("parent_chat_id") {
            // What begins a conversation has -1.
            Some(value) if value.as_i64() == Some(-1) => None,
            _ => object.whole(&["parent_chat_id"])?,
        };
        // The turn before may lie before the part of the trace that this file is.
        let before = parent.and_then(|parent| self.roots.get(&parent).cloned());
        let root = before.unwrap_or_else(|| chat.to_string().into());
        self.roots.insert(chat, root.clone());
        Ok(Some(root))
    }

    fn note_unused(&mut self, object: &Object<'_>) {
        if self.need.replay() && self.whole_prompts && self.unused.len() < UNUSED.len() {
            self.unused.extend(UNUSED.iter().filter(|key| object.value(key).is_some()));
        }
    }

    /// Says which keys are not used.
    pub fn warning(&self, file: &Path) -> Option<String> {
        let keys: Vec<&str> = self.unused.iter().copied().collect();
        let what = if keys.len() == 1 { "key" } else { "keys" };
        let are = if keys.len() == 1 { "is" } else { "are" };
        (!keys.is_empty()).then(|| {
            format!(
                "{what} {} of {} {are} not used: every turn arrives at its own time, as a whole \
                 prompt (`think` makes closed loops of the conversations)",
                keys.join(", "),
                file.display()
            )
        })
    }
}

/// The longest delay, in nanoseconds: as long as any run.
const LONGEST_DELAY: i64 = 1_000_000_000_000_000_000;

/// The name of a conversation, which is a text or a number.
///
/// # Errors
/// It is something else.
pub(super) fn name_of(object: &Object<'_>, key: &str) -> Result<Arc<str>, SettingError> {
    match object.value(key) {
        Some(Value::String(name)) => Ok(name.as_str().into()),
        Some(Value::Number(number)) => Ok(number.to_string().into()),
        _ => Err(object.refuse(key, "a text or a number")),
    }
}
