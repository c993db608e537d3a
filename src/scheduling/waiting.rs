//! What a policy sees of single requests.

use crate::request::Sequence;
use crate::sim::Nanos;

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
