//! What a trace holds once it is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::share_gpt::Turn;
use crate::kv::Content;
use crate::scenario::SettingError;
use crate::sim::Nanos;
use crate::workload::ticks::Ticks;
use crate::workload::{LengthPair, checks};

/// What a reader must find. A replay needs both, and only a replay keeps ids, priorities, classes and
/// what prompts have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub times: bool,
    pub lengths: bool,
}

impl Need {
    pub const TIMES: Need = Need { times: true, lengths: false };
    pub const LENGTHS: Need = Need { times: false, lengths: true };
    pub const REPLAY: Need = Need { times: true, lengths: true };

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
    /// Nanoseconds on the file's own clock.
    pub time: i64,
    /// The time as it is written, in the file's unit; 0 for dates.
    pub written: f64,
    pub lengths: LengthPair,
    pub priority: i32,
    /// Index of the name of its class in [`Trace::classes`].
    pub class: u32,
    pub identity: Identity,
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
    names: Vec<ClassName>,
}

impl ClassNames {
    /// The number of a class that a row names.
    pub fn number(&mut self, name: &str, place: impl FnOnce() -> String) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(name.to_owned(), number);
        self.names.push(ClassName { name: name.to_owned(), place: place() });
        number
    }

    /// All names; none if no row names any.
    pub fn done(self) -> Vec<ClassName> {
        let any = self.names.iter().any(|class| !class.name.is_empty());
        if any { self.names } else { Vec::new() }
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
    Turn(Turn),
}

/// The rows of a trace, at least one, in order of time where times were asked for.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub rows: Vec<Row>,
    /// The time on the file's clock that is time 0 of the simulation.
    pub start: i64,
    /// Names of the classes of its rows, in the order in which they come; none if the file has none.
    pub classes: Vec<ClassName>,
    /// What the user should know of it.
    pub warnings: Vec<String>,
}

impl Trace {
    /// Arrival times, each multiplied by `scale`.
    ///
    /// # Errors
    /// The scale makes no sense, or makes the trace longer than any run.
    pub fn times(&self, scale: f64) -> Result<impl Iterator<Item = Nanos>, SettingError> {
        checks::scale("time_scale", scale)?;
        let start = self.start;
        let last = self.rows.last().map_or(0.0, |row| (row.time - start) as f64 / 1e9);
        if last * scale > checks::MAX_SECONDS {
            return Err(SettingError::new(
                "time_scale",
                format!("{scale} for a trace of {last} s"),
                "arrivals within 1e9 seconds",
            ));
        }
        let mut ticks = Ticks::default();
        Ok(self.rows.iter().map(move |row| {
            let nanos = row.time - start;
            // A scale of 1 leaves even those times alone that a float cannot hold.
            let nanos = if scale == 1.0 {
                Nanos(nanos as u64)
            } else {
                Nanos((nanos as f64 * scale).round_ties_even() as u64)
            };
            ticks.next(row.written, nanos)
        }))
    }
}
