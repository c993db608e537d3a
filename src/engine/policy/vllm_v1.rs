//! vLLM's engine of today (V1): chunked prefill under a token budget, prefix caching, asynchronous
//! scheduling.

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::vllm_v0::reject_if_never_fits;
use super::{
    AdmissionTerms, BatchLimits, EngineLimits, PlanView, Policy, ResumeRule, Victim, at_least_one,
};
use crate::base::SettingError;

/// In which order requests are served (vLLM's `scheduling_policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Queueing {
    /// First come, first served.
    #[default]
    Fcfs,
    /// The smallest priority value first, then the earliest arrival; the least urgent is
    /// preempted first.
    Priority,
}

/// Running requests first, in order, each with its next token or the next chunk of its prompt
/// within `max_num_batched_tokens`; then waiting ones while budget, slots and blocks last. Blocks
/// are allocated as tokens need them, without a watermark; if they run out the tail of the
/// running list is preempted by recomputation, and the step admits nobody.
///
/// One block of the pool is kept by the engine (vLLM's null block).
#[derive(Component, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VllmV1 {
    /// Most requests running at once.
    pub max_num_seqs: u32,
    /// Token budget of a step.
    pub max_num_batched_tokens: u32,
    /// Whether a long prompt may be processed in chunks.
    pub enable_chunked_prefill: bool,
    /// Most tokens of one prompt in a step; 0 for no such limit.
    pub long_prefill_token_threshold: u32,
    /// Whether a request is only admitted if its whole prompt fits, not just its first chunk.
    pub scheduler_reserve_full_isl: bool,
    /// Whether a step is planned when the one before it starts.
    pub async_scheduling: bool,
    /// Order of service.
    pub scheduling_policy: Queueing,
}

impl Default for VllmV1 {
    fn default() -> VllmV1 {
        VllmV1 {
            max_num_seqs: 256,
            max_num_batched_tokens: 2048,
            enable_chunked_prefill: true,
            long_prefill_token_threshold: 0,
            scheduler_reserve_full_isl: true,
            async_scheduling: true,
            scheduling_policy: Queueing::Fcfs,
        }
    }
}

impl VllmV1 {
    /// Milliseconds of a step in which the GPU waits for the CPU under synchronous scheduling.
    ///
    /// vLLM 0.11 on an H100 (`docs/accuracy.md`): decode steps of one request take 0.92 ms longer
    /// than their kernels, prompts of up to 350 tokens 0.7 ms, and steps of up to 3 requests no
    /// more, so that it is a constant of the step. Asynchronous scheduling hides it: steps of
    /// vLLM 0.19 on an RTX PRO 6000 take as long as their kernels.
    pub const SYNCHRONOUS_STEP_MS: f64 = 0.9;
}

impl Policy for VllmV1 {
    const NAME: &'static str = "VllmV1";
    const ABOUT: &'static str = "vLLM V1: chunked prefill, prefix caching, async scheduling";

    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        at_least_one("max_num_seqs", self.max_num_seqs)?;
        at_least_one("max_num_batched_tokens", self.max_num_batched_tokens)?;
        if self.max_num_batched_tokens < self.max_num_seqs {
            return Err(SettingError::new(
                "max_num_batched_tokens",
                self.max_num_batched_tokens,
                format!("at least max_num_seqs, {}", self.max_num_seqs),
            ));
        }
        if limits.num_blocks < 2 {
            return Err(SettingError::new("", limits.num_blocks, "at least 2 KV blocks")
                .help("VllmV1 keeps one block for itself, as vLLM's null block"));
        }
        if !self.enable_chunked_prefill && self.max_num_batched_tokens < limits.max_model_len {
            return Err(SettingError::new(
                "max_num_batched_tokens",
                self.max_num_batched_tokens,
                format!("at least max_model_len, {}", limits.max_model_len),
            )
            .help("without chunked prefill a prompt must fit into one step"));
        }
        if !self.enable_chunked_prefill && self.long_prefill_token_threshold > 0 {
            return Err(SettingError::new(
                "long_prefill_token_threshold",
                self.long_prefill_token_threshold,
                "0 without chunked prefill",
            )
            .help(
                "a longer prompt would never be scheduled: without chunks it must go in one step",
            ));
        }
        if self.async_scheduling && limits.stages > 1 {
            return Err(SettingError::new("async_scheduling", true, "false with pipeline stages")
                .help("set async_scheduling: false; the combination is not modelled"));
        }
        Ok(())
    }

    fn batch_limits(&self, _: &EngineLimits) -> BatchLimits {
        BatchLimits {
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
        }
    }

    fn step_overhead_ms(&self) -> f64 {
        if self.async_scheduling { 0.0 } else { VllmV1::SYNCHRONOUS_STEP_MS }
    }

    fn serves_adapters(&self) -> bool {
        true
    }

    fn schedules_by_priority(&self) -> bool {
        self.scheduling_policy == Queueing::Priority
    }

    fn is_asynchronous(&self) -> bool {
        self.async_scheduling
    }

    fn reserved_blocks(&self) -> u32 {
        1
    }

    fn caches_prefixes(&self) -> bool {
        true
    }

    fn disaggregates(&self) -> bool {
        true
    }

    fn swaps(&self) -> bool {
        true
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        view.sort_running_by_admission();
        let victim = match self.scheduling_policy {
            Queueing::Fcfs => Victim::Tail,
            Queueing::Priority => Victim::LeastUrgent,
        };
        let chunk = match self.long_prefill_token_threshold {
            0 => u32::MAX,
            threshold => threshold,
        };
        view.advance(self.max_num_batched_tokens, chunk, victim);
        if view.preempted() == 0 {
            view.resume(ResumeRule {
                max_num_seqs: self.max_num_seqs as usize,
                budget: self.max_num_batched_tokens,
                chunk,
                by_priority: self.scheduling_policy == Queueing::Priority,
                ..ResumeRule::default()
            });
            if view.num_swapped() == 0 {
                self.admit(view, chunk);
            }
        }
        view.hold_until_change();
    }
}

impl VllmV1 {
    fn admit(&self, view: &mut PlanView<'_>, chunk: u32) {
        while view.num_running() < self.max_num_seqs as usize
            && let Some((index, prompt)) = self.next(view)
        {
            let budget = self.max_num_batched_tokens.saturating_sub(view.planned_tokens());
            if budget == 0 {
                break;
            }
            if reject_if_never_fits(view, index, prompt, 0) {
                continue;
            }
            let cached = view.cached_tokens(index);
            let left = prompt - cached;
            let tokens = left.min(budget).min(chunk);
            if tokens < left && !self.enable_chunked_prefill {
                break;
            }
            if self.scheduler_reserve_full_isl && !view.fits(index, prompt) {
                break;
            }
            let blocks = view.limits().blocks_for(cached + tokens);
            if !view.admit(index, AdmissionTerms { tokens, blocks, group: None }) {
                break;
            }
        }
    }

    /// Index and prompt of the waiting request that is next.
    fn next(&self, view: &PlanView<'_>) -> Option<(usize, u32)> {
        match self.scheduling_policy {
            Queueing::Fcfs => view.next_in_line().map(|(index, r)| (index, r.prompt_tokens())),
            Queueing::Priority => view
                .waiting()
                .enumerate()
                .filter(|(index, _)| view.adapter_fits(*index))
                .min_by_key(|(index, r)| (r.priority(), r.arrived_at(), *index))
                .map(|(index, r)| (index, r.prompt_tokens())),
        }
    }
}
