//! Requests: the entity's component, and the compact record that moves between a replica's
//! waiting queue, its running list and its batches.

use bevy_ecs::prelude::*;

use crate::base::Nanos;
use crate::engine::speculation::Drafting;
use crate::engine::state::kv::{BlockTable, PrefixHashes};
use crate::engine::state::transfers::HandedOver;

/// Where a request is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// In a replica's waiting queue; also after a preemption.
    Waiting,
    /// Admitted: it holds KV blocks.
    Running,
    /// It has ended; the entity goes at the end of the step.
    Ended,
}

/// A request entity: what the workload said and the rare events of its life. What changes in
/// every iteration lives in [`Sequence`], so that an iteration never looks an entity up.
#[derive(Component, Clone, Debug)]
pub struct Request {
    /// Its id in the run: that of its workload, if there is only one.
    pub id: u64,
    /// Its id in its workload.
    pub source_id: u64,
    /// Index of the pool that serves it.
    pub pool: u32,
    /// Index of its class.
    pub class: u32,
    /// The LoRA adapter that it wants; `None` for the model itself.
    pub adapter: Option<u32>,
    /// When it arrived, at the API server.
    pub arrived_at: Nanos,
    /// Time since the arrival before it; `None` for the first.
    pub inter_arrival: Option<Nanos>,
    /// Prompt length in tokens.
    pub prompt_tokens: u32,
    /// Output length in tokens. A policy sees it only if it declares itself an oracle.
    pub output_tokens: u32,
    /// Whether the statistics count it.
    pub in_window: bool,
    /// Index of its replica, once routed.
    pub replica: Option<u32>,
    /// Where it is.
    pub state: RequestState,
    /// First time in a batch.
    pub scheduled_at: Option<Nanos>,
    /// First time on a stage.
    pub first_stage_at: Option<Nanos>,
    /// First output token.
    pub first_token_at: Option<Nanos>,
    /// Prompt tokens that its first admission found in the prefix cache.
    pub cached_tokens: u32,
    /// Prompt tokens that its first admission copied from host memory.
    pub reloaded_tokens: u32,
    /// Number of preemptions by recomputation.
    pub restarts: u32,
    /// Number of preemptions by swapping.
    pub swaps: u32,
    /// The prefill replica that handed it over, and when.
    pub handed_over: Option<HandedOver>,
    /// From then until its KV content was where it is decoded; `None` before, and for a request
    /// that is never handed over.
    pub kv_transfer: Option<Nanos>,
    /// Its drafts, under speculative decoding.
    pub drafting: Option<Box<Drafting>>,
}

/// What planning and committing change of request entities.
pub(crate) type RequestQuery<'w, 's> =
    Query<'w, 's, (&'static mut BlockTable, &'static mut Request, Option<&'static PrefixHashes>)>;

/// The part of a request that changes while it is served. It is owned by exactly one place at a
/// time: a waiting queue, a running list or a batch of its replica.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    /// The request's entity.
    pub entity: Entity,
    /// The request's id.
    pub id: u64,
    /// When the engine got it: its arrival, and the API overhead.
    pub arrived_at: Nanos,
    /// When its last token came; meaningful once it has one.
    pub last_token_at: Nanos,
    /// Sum of stage times so far.
    pub execution: Nanos,
    /// Tokens to prefill in this attempt: the prompt, and after a preemption also what had been
    /// generated.
    pub prompt: u32,
    /// Prompt plus output tokens of the whole request.
    pub target: u32,
    /// Tokens processed in this attempt. Once the prefill is complete it counts the token that
    /// was produced last and is fed next.
    pub processed: u32,
    /// KV blocks held.
    pub blocks: u32,
    /// Tokens it has in the batch that is being planned or run; of a decoding request its last
    /// token and its drafts.
    pub tokens: u32,
    /// Smaller is more urgent.
    pub priority: i32,
    /// Number of its LoRA adapter plus one; 0 for none.
    pub adapter: u32,
    /// Number of its admission on its replica; later ones are larger.
    pub admission: u32,
    /// Where it is in the running list, while a decode group is in use.
    pub place: i64,
    /// Group whose blocks are freed together (0: none).
    pub group: u32,
    /// Whether the prompt of this attempt is completely processed.
    pub prefilled: bool,
    /// Whether it has been on a stage before.
    pub started: bool,
    /// Whether it has produced a token.
    pub has_token: bool,
    /// Whether the statistics count it.
    pub in_window: bool,
}

impl Sequence {
    /// A record without a request, for counting only.
    pub(crate) fn nameless(entity: Entity) -> Sequence {
        Sequence {
            entity,
            id: 0,
            arrived_at: Nanos::ZERO,
            last_token_at: Nanos::ZERO,
            execution: Nanos::ZERO,
            prompt: 0,
            target: 0,
            processed: 0,
            blocks: 0,
            tokens: 0,
            priority: 0,
            adapter: 0,
            admission: 0,
            place: 0,
            group: 0,
            prefilled: false,
            started: false,
            has_token: false,
            in_window: false,
        }
    }

    /// A request that has just arrived.
    pub(crate) fn new(entity: Entity, request: &Request, priority: i32) -> Sequence {
        Sequence {
            id: request.id,
            arrived_at: request.arrived_at,
            prompt: request.prompt_tokens,
            target: request.prompt_tokens + request.output_tokens,
            priority,
            adapter: request.adapter.map_or(0, |adapter| adapter + 1),
            in_window: request.in_window,
            ..Sequence::nameless(entity)
        }
    }

    /// Tokens that have a place in the KV cache between iterations: the token produced last is
    /// not there yet.
    pub(crate) fn kv_tokens(&self) -> u32 {
        if self.prefilled { self.processed - 1 } else { self.processed }
    }

    /// Back to the start, to be computed again. What was generated becomes part of the prompt.
    pub(crate) fn restart(&mut self, forget_rest_of_prompt: bool) {
        if self.prefilled || forget_rest_of_prompt {
            self.prompt = self.processed;
        }
        self.processed = 0;
        self.tokens = 0;
        self.group = 0;
        self.prefilled = false;
    }
}
