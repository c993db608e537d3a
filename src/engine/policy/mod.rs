//! Scheduling policies: which requests form a replica's next batch. One file each, and a line in
//! [`crate::registry::Registry::built_in`].
//!
//! A [`Policy`] is a component on the replica's entity. Its [`Policy::plan`] looks at the replica
//! through a [`PlanView`] and plans one batch: it admits waiting requests, lets running ones
//! decode, preempts. Blocks move at once, in the same transaction, because what fits next depends
//! on it. The operations work on the running requests as a group.

mod adapters;
mod admit;
mod any;
mod draft;
mod drafts;
mod faster_transformer;
mod go_on;
mod group_plan;
mod kv_groups;
mod light_llm;
mod orca;
mod plans;
mod preempt;
mod receive;
mod reload;
mod sarathi;
mod sg_lang;
mod swap;
mod view;
mod vllm_cadence;
mod vllm_v0;
mod vllm_v1;
mod vllm_version;
mod waiting;

use bevy_ecs::component::{Component, Mutable};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use admit::AdmissionTerms;
pub use any::AnyPolicy;
pub(crate) use draft::PlanDraft;
pub use faster_transformer::FasterTransformer;
pub use go_on::{AdvanceRule, DecodeRule, Fit};
pub use light_llm::LightLlm;
pub use orca::Orca;
#[doc(hidden)]
pub use orca::Reserve;
pub use plans::Plans;
pub use preempt::Victim;
pub use sarathi::Sarathi;
#[doc(hidden)]
pub use sg_lang::SchedulePolicy;
pub use sg_lang::SgLang;
pub use swap::ResumeRule;
pub use view::PlanView;
#[doc(hidden)]
pub use vllm_cadence::Cadence;
pub use vllm_v0::VllmV0;
#[doc(hidden)]
pub use vllm_v1::Queueing;
pub use vllm_v1::VllmV1;
#[doc(hidden)]
pub use vllm_version::VllmRules;
pub use vllm_version::VllmVersion;
pub use waiting::{RunningRequest, WaitingRequest};

use crate::base::SettingError;
use crate::engine::state::kv::{GroupRules, KvCacheGroup};

/// The limits of the engine that a policy works within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// Most tokens of a request, prompt and output together.
    pub max_model_len: u32,
    /// Tokens per KV block.
    pub block_size: u32,
    /// KV blocks of a replica.
    pub num_blocks: u32,
    /// Pipeline stages; as many batches of a replica are in flight at most.
    pub stages: u32,
    /// Vidur's handling of lengths, for parity only: nothing checks a request against
    /// `max_model_len`, and a reservation of it is rounded down to whole blocks.
    pub vidur_lengths: bool,
}

impl EngineLimits {
    /// Blocks that hold `tokens` tokens.
    pub fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_size)
    }

    /// Blocks that a policy reserves for a request of `max_model_len`.
    pub fn blocks_for_longest(&self) -> u32 {
        match self.vidur_lengths {
            true => self.max_model_len / self.block_size,
            false => self.blocks_for(self.max_model_len),
        }
    }
}

/// A scheduling policy, which is a component on the replica and its own settings at once: the
/// fields that serde sees are what a scenario may set, the others are state.
///
/// `examples/custom_policy.rs` has a complete one.
pub trait Policy: Component<Mutability = Mutable> + Clone + Serialize + DeserializeOwned {
    /// Name in scenarios.
    const NAME: &'static str;
    /// One line for `vidur-ecs list`.
    const ABOUT: &'static str;

    /// Complains about settings that make no sense, alone or with the engine's limits.
    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        let _ = limits;
        Ok(())
    }

    /// Whether the policy may see true output lengths, which no real scheduler knows.
    fn is_oracle(&self) -> bool {
        false
    }

    /// Whether the engine plans a batch when the one before it starts, as vLLM's asynchronous
    /// scheduling does: the plan does not see what arrives meanwhile, and a request that ends with
    /// the running batch keeps its place and its blocks for one more plan.
    fn is_asynchronous(&self) -> bool {
        false
    }

    /// Milliseconds of each step in which the GPU waits for the engine's own work on the CPU:
    /// scheduling, preparing inputs, launching kernels, reading tokens and handing them out. Full
    /// compositions of a step count it, unless their `overhead_ms` says otherwise.
    fn step_overhead_ms(&self) -> f64 {
        0.0
    }

    /// Blocks of the pool that the engine keeps for itself.
    fn reserved_blocks(&self) -> u32 {
        0
    }

    /// Whether prefix caching is on where the scenario does not say.
    fn caches_prefixes(&self) -> bool {
        false
    }

    /// Whether freed blocks that hold no cached prefix are reused before all others, as vLLM does
    /// since 0.23, and not last.
    fn reuses_unhashed_first(&self) -> bool {
        false
    }

    /// The engine's version whose rules it follows, if it knows several.
    fn version(&self) -> Option<String> {
        None
    }

    /// Whether it serves more urgent requests first: for estimates of who waits for whom.
    fn schedules_by_priority(&self) -> bool {
        false
    }

    /// Whether it passes over waiting requests whose LoRA adapter would be one too many
    /// ([`PlanView::adapter_fits`]).
    fn serves_adapters(&self) -> bool {
        false
    }

    /// Whether its replicas can hand requests over or take them from others: the blocks are each
    /// request's own, and a decoding one gets them as it needs them.
    fn disaggregates(&self) -> bool {
        false
    }

    /// The rules by which it manages these KV cache groups; `None` if it cannot plan for groups.
    #[doc(hidden)]
    fn group_rules(&self, _groups: &[KvCacheGroup], _limits: &EngineLimits) -> Option<GroupRules> {
        None
    }

    /// Whether it lets requests go on that were preempted by swapping ([`PlanView::resume`]),
    /// before any that waits.
    fn swaps(&self) -> bool {
        false
    }

    /// Upper bounds on a batch, as far as the settings give them: for the memory plan and for
    /// `vidur-ecs check`.
    fn batch_limits(&self, limits: &EngineLimits) -> BatchLimits;

    /// Plans one batch of one replica. Called for a replica to which a request was routed, whose
    /// batch ended, or which asked to be woken, as long as it has a free batch slot and the last
    /// call planned something.
    ///
    /// A policy that a system plans for ([`Plans`]) leaves it out.
    fn plan(&mut self, view: &mut PlanView<'_>) {
        view.fail(format!(
            "policy {} has neither a plan nor a system that plans for it",
            Self::NAME
        ));
    }
}

/// Upper bounds on a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most requests running at once on a replica.
    pub max_num_seqs: u32,
    /// Most tokens in one batch.
    pub max_num_batched_tokens: u32,
}

/// Refuses a cap of zero, in which nothing could ever run.
pub(crate) fn at_least_one(path: &str, value: u32) -> Result<(), SettingError> {
    match value {
        0 => Err(SettingError::new(path, 0, "at least 1")),
        _ => Ok(()),
    }
}

/// Refuses a share outside `0..1`.
pub(crate) fn share_below_one(path: &str, value: f64) -> Result<(), SettingError> {
    match (0.0..1.0).contains(&value) {
        true => Ok(()),
        false => Err(SettingError::new(path, value, "at least 0 and below 1")),
    }
}
