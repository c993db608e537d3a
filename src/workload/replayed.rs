//! A trace that has been checked, ready to be replayed.

use std::sync::Arc;

use super::conversations::{Chains, Linked, Think};
use super::lengths::trim;
use super::recording::{Convert, Items, Recorder, Recording};
use super::traces::{ClassName, Clock, Histories, Identity, Row, TraceFile, TraceReader};
use super::{LengthPair, NewRequest, TraceReplay};
use crate::base::{Nanos, SettingError};

/// What a trace yields.
#[derive(Clone, Debug)]
pub(super) struct Replayed {
    requests: Arc<Recording<ToRequests>>,
    /// How many of them are taken.
    count: u64,
    /// All arrive at time 0, with ids from 0.
    at_once: bool,
    /// Which requests follow others, if they wait for them.
    chains: Option<Chains>,
    /// The names that their classes are numbers of; none if the file names none.
    pub classes: Arc<[ClassName]>,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Whether they bring along what their prompts have in common.
    pub has_content: bool,
    /// Longest prompt plus output.
    pub longest: Option<u32>,
    /// Arrival of the first.
    pub first: Nanos,
    /// Arrival of the last that follows no other.
    pub last: Nanos,
}

impl Replayed {
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Which requests follow others, if they wait for them.
    pub fn chains(&self) -> Option<&Chains> {
        self.chains.as_ref()
    }

    /// Whether any request follows another.
    pub fn has_followers(&self) -> bool {
        self.chains.as_ref().is_some_and(Chains::any)
    }

    /// The first `limit` requests, all arriving at time 0 with ids from 0; nobody thinks.
    pub fn at_once(&self, limit: Option<u64>) -> Replayed {
        Replayed {
            count: self.count.min(limit.unwrap_or(u64::MAX)),
            at_once: true,
            chains: self.chains.as_ref().map(|chains| chains.with_think(Think::Fixed(0.0))),
            first: Nanos::ZERO,
            last: Nanos::ZERO,
            ..self.clone()
        }
    }

    /// The requests in their order; they end early if [`Replayed::failure`] says so.
    pub fn requests(&self) -> Replaying {
        let items = self.requests.items();
        Replaying { items, index: 0, count: self.count, at_once: self.at_once }
    }

    /// One of the requests, if they are kept, as those that follow others are.
    pub fn kept(&self, index: usize) -> Option<NewRequest> {
        let request = self.requests.kept()?.get(index)?.clone();
        Some(if self.at_once { at_once(request, index as u64) } else { request })
    }

    /// Why requests ended early, if the file has gone or changed since it was checked.
    pub fn failure(&self) -> Option<&str> {
        self.requests.failure()
    }
}

fn at_once(request: NewRequest, id: u64) -> NewRequest {
    NewRequest { id, arrived_at: Nanos::ZERO, ..request }
}

/// The requests of a trace, one at a time.
pub(super) struct Replaying {
    items: Items<ToRequests>,
    index: u64,
    count: u64,
    at_once: bool,
}

impl Iterator for Replaying {
    type Item = NewRequest;

    fn next(&mut self) -> Option<NewRequest> {
        let index = self.index;
        if index >= self.count {
            return None;
        }
        let request = self.items.next()?;
        self.index += 1;
        Some(if self.at_once { at_once(request, index) } else { request })
    }
}

/// Makes requests of rows.
#[derive(Clone, Debug)]
pub(super) struct ToRequests {
    clock: Clock,
    prompt_scale: f64,
    output_scale: f64,
    max_total: Option<u32>,
    histories: Histories,
    next: u64,
}

impl ToRequests {
    pub fn new(trace: &TraceReplay, clock: Clock) -> ToRequests {
        ToRequests {
            clock,
            prompt_scale: trace.prompt_scale,
            output_scale: trace.output_scale,
            max_total: trace.max_total,
            histories: Histories::default(),
            next: 0,
        }
    }
}

impl Convert for ToRequests {
    type Item = NewRequest;

    fn convert(&mut self, row: Row) -> NewRequest {
        let arrived_at = self.clock.time(&row);
        let max_total = self.max_total;
        let limit = |pair: LengthPair| max_total.map_or(pair, |most| trim::off_prompt(pair, most));
        let scale = |pair: LengthPair| pair.scaled(self.prompt_scale, self.output_scale);
        let (pair, content) = match row.identity {
            Identity::Unique => (limit(scale(row.lengths)), None),
            Identity::Named(content) => (limit(scale(row.lengths)), Some(content)),
            Identity::Turn(turn) => {
                let added = scale(LengthPair { prompt: turn.added, ..row.lengths });
                let (pair, content) = self.histories.turn(&turn.conversation, added, limit);
                (pair, Some(content))
            }
        };
        let index = self.next;
        self.next += 1;
        NewRequest {
            id: row.id.unwrap_or(index),
            arrived_at,
            prompt_tokens: pair.prompt,
            output_tokens: pair.output,
            priority: row.priority,
            // By the names of the trace, until it is known which classes there are.
            class: row.class,
            adapter: None,
            content,
        }
    }

    fn size(request: &NewRequest) -> u64 {
        1 + request.content.as_ref().map_or(0, |content| content.prompt.len() as u64)
    }
}

/// Looks at every row of a trace while it is read.
pub(super) struct Look {
    limit: u64,
    think: Option<Think>,
    recorder: Recorder<ToRequests>,
    rows: u64,
    linked: Linked,
    has_content: bool,
    longest: Option<u32>,
    first: Option<Nanos>,
    last: Nanos,
}

impl Look {
    /// Takes the first `limit` rows, and finds out which follow others if there is a time of
    /// thought.
    pub fn new(limit: Option<u64>, think: Option<Think>, recorder: Recorder<ToRequests>) -> Look {
        Look {
            limit: limit.unwrap_or(u64::MAX),
            think,
            recorder,
            rows: 0,
            linked: Linked::default(),
            has_content: false,
            longest: None,
            first: None,
            last: Nanos::ZERO,
        }
    }

    /// The next row.
    ///
    /// # Errors
    /// It says nothing of when it arrives, or there is no memory for it.
    pub fn at(&mut self, row: Row) -> Result<(), SettingError> {
        self.rows += 1;
        if self.rows > self.limit {
            return Ok(());
        }
        let mut follows = false;
        if let Some(think) = self.think {
            follows = self.linked.add(row.link.as_ref());
            let delay = row.link.as_ref().and_then(|link| link.delay);
            if follows && think == Think::Recorded && delay.is_none() {
                let found = format!("request {} without a delay after an answer", self.rows);
                return Err(SettingError::new(
                    "think",
                    found,
                    "a `delay` in each turn that follows",
                ));
            }
        }
        let request = self.recorder.add(row)?;
        self.has_content |= request.content.is_some();
        self.longest = self.longest.max(Some(request.prompt_tokens + request.output_tokens));
        self.first.get_or_insert(request.arrived_at);
        if !follows {
            self.last = request.arrived_at;
        }
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows have been read from `file` by `reader`.
    pub fn done(self, file: TraceFile, reader: &TraceReader) -> Replayed {
        let count = self.recorder.count();
        Replayed {
            requests: Arc::new(self.recorder.done(file)),
            count,
            at_once: false,
            chains: self.think.map(|think| self.linked.done(think)),
            classes: reader.classes().into(),
            warnings: reader.warnings(),
            has_content: self.has_content,
            longest: self.longest,
            first: self.first.unwrap_or(self.last),
            last: self.last,
        }
    }
}
