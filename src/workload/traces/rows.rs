//! What is read from a trace, row by row.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::share_gpt::Turn;
use super::text::Text;
use crate::workload::{Content, LengthPair};

/// What a reader must find. A replay needs both, and only a replay keeps ids, priorities, classes
/// and what prompts have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub times: bool,
    pub lengths: bool,
    /// Which requests follow others, since these wait for their answers.
    pub links: bool,
}

impl Need {
    pub const TIMES: Need = Need { times: true, lengths: false, links: false };
    pub const LENGTHS: Need = Need { times: false, lengths: true, links: false };
    pub const REPLAY: Need = Need { times: true, lengths: true, links: false };

    pub fn replay(self) -> bool {
        self.times && self.lengths
    }
}

/// One row; what was not asked for is 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    /// Where it starts in the text, in bytes.
    pub at: u64,
    pub id: Option<u64>,
    /// Nanoseconds: on the file's own clock while a row is read, then from the trace's start.
    pub time: i64,
    /// The time as it is written, in the file's unit; 0 for dates.
    pub written: f64,
    pub lengths: LengthPair,
    pub priority: i32,
    /// Index of the name of its class among those of the trace.
    pub class: u32,
    pub identity: Identity,
    /// Which conversation it goes on with, if that is asked for.
    pub link: Option<Link>,
}

/// A request's place in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The conversation's name in the file.
    pub conversation: Arc<str>,
    /// Nanoseconds from the answer before it until it is sent, if the file says so.
    pub delay: Option<i64>,
}

/// The name of a class in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClassName {
    /// As it is written; empty where a row names none.
    pub name: String,
    /// Where it stands first: `t.csv:17`.
    pub place: String,
}

/// Numbers the names of classes in the order in which rows name them.
#[derive(Debug, Default)]
pub(super) struct ClassNames {
    numbers: BTreeMap<String, u32>,
    /// Each name, and the byte at which the first row with it starts.
    names: Vec<(String, u64)>,
}

impl ClassNames {
    /// The number of a class that the row at a byte names.
    pub fn number(&mut self, name: &str, at: u64) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(name.to_owned(), number);
        self.names.push((name.to_owned(), at));
        number
    }

    /// All names in `text`; none if no row names any.
    pub fn named(&self, text: &Text) -> Vec<ClassName> {
        if self.names.iter().all(|(name, _)| name.is_empty()) {
            return Vec::new();
        }
        let at: Vec<u64> = self.names.iter().map(|&(_, at)| at).collect();
        let places = text.places(&at).into_iter();
        let named = self.names.iter().zip(places);
        named.map(|((name, _), place)| ClassName { name: name.clone(), place }).collect()
    }
}

/// What a row's prompt has in common with those of other rows.
#[derive(Clone, Debug, Default)]
pub(crate) enum Identity {
    #[default]
    Unique,
    /// Spans that the file names.
    Named(Arc<Content>),
    /// A turn of a conversation: the prompt begins with the turns before it and their answers.
    Turn(Box<Turn>),
}
