//! What a policy sees of single requests.

use std::iter::Peekable;

use crate::base::Nanos;
use crate::engine::state::request::Sequence;

/// A request in the waiting queue.
#[derive(Clone, Copy, Debug)]
pub struct WaitingRequest {
    pub(super) sequence: Sequence,
    pub(super) oracle: bool,
}

impl WaitingRequest {
    /// Its id.
    pub fn id(&self) -> u64 {
        self.sequence.id
    }

    /// When it arrived.
    pub fn arrived_at(&self) -> Nanos {
        self.sequence.arrived_at
    }

    /// Smaller is more urgent.
    pub fn priority(&self) -> i32 {
        self.sequence.priority
    }

    /// Tokens to prefill: the prompt and, after a preemption, what it had generated.
    pub fn prompt_tokens(&self) -> u32 {
        self.sequence.prompt
    }

    /// Whether it has run before and was preempted.
    pub fn was_preempted(&self) -> bool {
        self.sequence.started
    }

    /// Output tokens still to come: only an oracle knows.
    pub fn remaining_output(&self) -> Option<u32> {
        self.oracle.then(|| self.sequence.target - self.sequence.prompt)
    }
}

/// The running requests that are in no batch, in list order: those of the decode group and the
/// others, merged by their place.
pub(super) struct Running<G: Iterator<Item = Sequence>, O: Iterator<Item = Sequence>> {
    pub group: Peekable<G>,
    pub others: Peekable<O>,
    pub left: usize,
    pub oracle: bool,
}

impl<G: Iterator<Item = Sequence>, O: Iterator<Item = Sequence>> Iterator for Running<G, O> {
    type Item = RunningRequest;

    fn next(&mut self) -> Option<RunningRequest> {
        let sequence = match (self.group.peek(), self.others.peek()) {
            (Some(grouped), Some(other)) if other.place < grouped.place => self.others.next(),
            (Some(_), _) => self.group.next(),
            (None, _) => self.others.next(),
        }?;
        self.left -= 1;
        Some(RunningRequest { sequence, oracle: self.oracle })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<G: Iterator<Item = Sequence>, O: Iterator<Item = Sequence>> ExactSizeIterator
    for Running<G, O>
{
}

/// An admitted request between two iterations.
#[derive(Clone, Copy, Debug)]
pub struct RunningRequest {
    pub(super) sequence: Sequence,
    pub(super) oracle: bool,
}

impl RunningRequest {
    /// Its id.
    pub fn id(&self) -> u64 {
        self.sequence.id
    }

    /// When it arrived.
    pub fn arrived_at(&self) -> Nanos {
        self.sequence.arrived_at
    }

    /// Tokens to prefill in this attempt.
    pub fn prompt_tokens(&self) -> u32 {
        self.sequence.prompt
    }

    /// Whether its prefill is complete, so that it decodes.
    pub fn is_decoding(&self) -> bool {
        self.sequence.prefilled
    }

    /// Context length in tokens, with the token that is fed next.
    pub fn context_tokens(&self) -> u32 {
        self.sequence.processed
    }

    /// KV blocks that it holds.
    pub fn blocks(&self) -> u32 {
        self.sequence.blocks
    }

    /// Output tokens still to come: only an oracle knows.
    pub fn remaining_output(&self) -> Option<u32> {
        self.oracle
            .then(|| self.sequence.target - self.sequence.processed.max(self.sequence.prompt))
    }
}
