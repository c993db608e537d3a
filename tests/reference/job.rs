//! A request and all that happens to it.

use vidur_ecs::base::Nanos;
use vidur_ecs::records::{RequestRecord, RequestStatus};
use vidur_ecs::workload::NewRequest;

use super::groups::Table;
use super::memory::Name;

pub struct Job {
    pub new: NewRequest,
    /// When its client sent it, and when the engine got it.
    pub sent_at: Nanos,
    pub arrived_at: Nanos,
    pub inter_arrival: Option<Nanos>,
    /// Names of its full blocks, if prefixes are cached.
    pub names: Vec<Name>,
    pub replica: Option<usize>,
    /// Tokens to prefill in this attempt.
    pub prompt: u32,
    /// Tokens processed in this attempt; once the prefill is complete, with the token that came
    /// last and is fed next.
    pub done: u32,
    pub prefilled: bool,
    /// Tokens that it has in its batch.
    pub planned: u32,
    /// Its KV blocks.
    pub table: Vec<usize>,
    /// Those in each KV cache group, if there are several.
    pub tables: Vec<Table>,
    /// End of a prefix that some groups had and others had not when it was admitted.
    pub longer: u32,
    /// Number of the last step that it was in, and its tokens there.
    pub fed: (u32, u32),
    /// Number of its admission.
    pub admission: usize,
    /// Static batch to which it belongs.
    pub group: Option<u32>,
    pub scheduled_at: Option<Nanos>,
    pub first_token_at: Option<Nanos>,
    pub last_token_at: Option<Nanos>,
    pub last_stage_end: Option<Nanos>,
    pub cached: u32,
    pub execution: u64,
    pub preemption: u64,
    pub restarts: u32,
}

impl Job {
    pub fn new(new: NewRequest, sent_at: Nanos, arrived_at: Nanos) -> Job {
        Job {
            prompt: new.prompt_tokens,
            new,
            sent_at,
            arrived_at,
            inter_arrival: None,
            names: Vec::new(),
            replica: None,
            done: 0,
            prefilled: false,
            planned: 0,
            table: Vec::new(),
            tables: Vec::new(),
            longer: 0,
            fed: (0, 0),
            admission: 0,
            group: None,
            scheduled_at: None,
            first_token_at: None,
            last_token_at: None,
            last_stage_end: None,
            cached: 0,
            execution: 0,
            preemption: 0,
            restarts: 0,
        }
    }

    /// Prompt and output tokens of the whole request.
    pub fn total(&self) -> u32 {
        self.new.prompt_tokens + self.new.output_tokens
    }

    pub fn is_complete(&self) -> bool {
        self.done == self.total()
    }

    /// Tokens in the KV cache, those of the batch under way not included: the token that came last
    /// is not there yet.
    pub fn cached_context(&self) -> u32 {
        if self.prefilled { self.done - 1 } else { self.done }
    }

    /// Tokens in the KV cache, with those of the batch under way.
    pub fn held_tokens(&self) -> u32 {
        self.cached_context() + self.planned
    }

    /// Output tokens still to come.
    pub fn output_left(&self) -> u32 {
        self.total() - self.done.max(self.prompt)
    }

    /// Back to the start. What it had generated is part of the prompt now.
    pub fn restart(&mut self, forget_rest_of_prompt: bool) {
        if self.prefilled || forget_rest_of_prompt {
            self.prompt = self.done;
        }
        self.done = 0;
        self.prefilled = false;
        self.restarts += 1;
    }

    pub fn record(&self, completed_at: Option<Nanos>, status: RequestStatus) -> RequestRecord {
        RequestRecord {
            id: self.new.id,
            pool: 0,
            class: 0,
            adapter: None,
            drafted: 0,
            accepted: 0,
            kv_transfer: None,
            replica: self.replica.map(|index| index as u32),
            arrived_at: self.sent_at,
            inter_arrival: self.inter_arrival,
            scheduled_at: self.scheduled_at,
            first_token_at: self.first_token_at,
            completed_at,
            prompt_tokens: self.new.prompt_tokens,
            output_tokens: self.new.output_tokens,
            cached_tokens: self.cached,
            execution_time: Nanos(self.execution),
            preemption_time: Nanos(self.preemption),
            reloaded_tokens: 0,
            restarts: self.restarts,
            swaps: 0,
            in_window: true,
            status,
        }
    }
}
