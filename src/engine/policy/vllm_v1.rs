//! vLLM's engine of today (V1): chunked prefill under a token budget, prefix caching, asynchronous
//! scheduling.

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::vllm_cadence::Cadence;
use super::vllm_v0::reject_if_never_fits;
use super::{
    AdmissionTerms, AdvanceRule, BatchLimits, EngineLimits, PlanView, Policy, ResumeRule, Victim,
    VllmVersion, at_least_one, share_below_one,
};
use crate::base::SettingError;
use crate::engine::state::kv::{GroupRules, KvCacheGroup};

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
/// are allocated as tokens need them; if they run out the tail of the running list is preempted by
/// recomputation, and the step admits nobody.
///
/// One block of the pool is kept by the engine (vLLM's null block). The version selects the rules
/// ([`VllmRules`](super::VllmRules)).
#[derive(Component, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VllmV1 {
    /// The version whose rules it follows.
    pub version: VllmVersion,
    /// Most requests running at once.
    pub max_num_seqs: u32,
    /// Token budget of a step.
    pub max_num_batched_tokens: u32,
    /// Whether a long prompt may be processed in chunks.
    pub enable_chunked_prefill: bool,
    /// Most tokens of one prompt in a step; 0 for no such limit.
    pub long_prefill_token_threshold: u32,
    /// Whether that limit rises to an equal share of the budget for each running and waiting
    /// request, where this is more.
    pub long_prefill_token_threshold_adaptive: bool,
    /// Whether a request is only admitted if its whole prompt fits, not just its first chunk.
    pub scheduler_reserve_full_isl: bool,
    /// Whether a step is planned when the one before it starts.
    pub async_scheduling: bool,
    /// Order of service.
    pub scheduling_policy: Queueing,
    /// Share of the KV blocks that an admission must leave free, unless nothing runs.
    pub watermark: f64,
    /// Steps from one that processes prompts to the next, while something decodes; 1 for prompts in
    /// each step. While requests cannot be admitted for lack of room, it does not apply.
    pub prefill_schedule_interval: u32,
    /// Most requests running at once beyond which none is admitted; `max_num_seqs` if it is `None`.
    pub max_num_active_seqs: Option<u32>,
    /// Of layers that keep a window or a state, which blocks stay findable: what a later request
    /// needs to go on at every multiple of so many tokens; with 0, at the end of the prompt or of a
    /// part that others shared, as if it is `None`.
    pub prefix_cache_retention_interval: Option<u32>,
    /// Where it is in the cadence of prompts.
    #[doc(hidden)]
    #[serde(skip)]
    pub cadence: Cadence,
}

impl Default for VllmV1 {
    fn default() -> VllmV1 {
        VllmV1 {
            version: VllmVersion::NEWEST,
            max_num_seqs: 256,
            max_num_batched_tokens: 2048,
            enable_chunked_prefill: true,
            long_prefill_token_threshold: 0,
            long_prefill_token_threshold_adaptive: false,
            scheduler_reserve_full_isl: true,
            async_scheduling: true,
            scheduling_policy: Queueing::Fcfs,
            watermark: 0.0,
            prefill_schedule_interval: 1,
            max_num_active_seqs: None,
            prefix_cache_retention_interval: None,
            cadence: Cadence::default(),
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
        share_below_one("watermark", self.watermark)?;
        at_least_one("prefill_schedule_interval", self.prefill_schedule_interval)?;
        if let Some(most) = self.max_num_active_seqs
            && !(1..=self.max_num_seqs).contains(&most)
        {
            let expected = format!("1 to max_num_seqs, {}", self.max_num_seqs);
            return Err(SettingError::new("max_num_active_seqs", most, expected));
        }
        if self.long_prefill_token_threshold_adaptive && self.long_prefill_token_threshold == 0 {
            return Err(SettingError::new(
                "long_prefill_token_threshold_adaptive",
                true,
                "false without a threshold",
            )
            .help("set long_prefill_token_threshold, from which it rises"));
        }
        self.check_version()?;
        if self.prefill_schedule_interval > 1 && limits.stages > 1 {
            let found = self.prefill_schedule_interval;
            return Err(SettingError::new(
                "prefill_schedule_interval",
                found,
                "1 with pipeline stages",
            )
            .help("the combination is not modelled"));
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

    fn reuses_unhashed_first(&self) -> bool {
        self.version.rules().unhashed_blocks_first
    }

    fn version(&self) -> Option<String> {
        Some(self.version.to_string())
    }

    fn caches_prefixes(&self) -> bool {
        true
    }

    fn disaggregates(&self) -> bool {
        true
    }

    fn group_rules(&self, groups: &[KvCacheGroup], limits: &EngineLimits) -> Option<GroupRules> {
        // The rules for groups changed from version to version.
        (self.version >= VllmVersion::NEWEST).then(|| GroupRules {
            groups: groups.to_vec(),
            hash_block: limits.block_size,
            retention: self.prefix_cache_retention_interval.unwrap_or(0),
            // The batch that is planned, beside the one that runs if planning is asynchronous.
            in_flight: match self.async_scheduling {
                true => self.max_num_batched_tokens.saturating_mul(2),
                false => self.max_num_batched_tokens,
            },
            longest: limits.max_model_len,
        })
    }

    fn swaps(&self) -> bool {
        true
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        view.sort_running_by_admission();
        let interval = self.prefill_schedule_interval;
        let held = self.cadence.begin(interval, view);
        let chunk = self.threshold(view);
        view.advance(AdvanceRule {
            budget: self.max_num_batched_tokens,
            chunk: if held { 0 } else { chunk },
            victim: match self.scheduling_policy {
                Queueing::Fcfs => Victim::Tail,
                Queueing::Priority => Victim::LeastUrgent,
            },
            past_itself: self.version.rules().goes_on_past_itself,
        });
        self.cadence.chunks(interval, view);
        if view.preempted() == 0 {
            view.resume(ResumeRule {
                max_num_seqs: self.max_num_seqs as usize,
                budget: self.max_num_batched_tokens,
                chunk,
                by_priority: self.scheduling_policy == Queueing::Priority,
                ..ResumeRule::default()
            });
            let still_wait = view.num_swapped() > 0 || self.admit(view, chunk, held);
            if !held {
                self.cadence.capacity_bound = still_wait;
            }
        }
        // While requests wait, the cadence changes what the next plans do.
        if interval == 1 || view.waiting().len() == 0 {
            view.hold_until_change();
        }
    }
}

impl VllmV1 {
    /// Refuses settings that the version does not have.
    fn check_version(&self) -> Result<(), SettingError> {
        let settings = [
            ("watermark", self.watermark != 0.0, 25, self.watermark.to_string()),
            (
                "prefill_schedule_interval",
                self.prefill_schedule_interval != 1,
                33,
                self.prefill_schedule_interval.to_string(),
            ),
            (
                "max_num_active_seqs",
                self.max_num_active_seqs.is_some(),
                31,
                self.max_num_active_seqs.map_or(String::new(), |most| most.to_string()),
            ),
            (
                "prefix_cache_retention_interval",
                self.prefix_cache_retention_interval.is_some(),
                29,
                self.prefix_cache_retention_interval.map_or(String::new(), |all| all.to_string()),
            ),
            (
                "long_prefill_token_threshold_adaptive",
                self.long_prefill_token_threshold_adaptive,
                31,
                "true".to_owned(),
            ),
        ];
        for (name, is_set, minor, found) in settings {
            let since = VllmVersion::minor(minor);
            if is_set && self.version < since {
                let expected = format!("nothing: vLLM {} does not have it", self.version);
                return Err(SettingError::new(name, found, expected)
                    .help(format!("leave it out, or set version: \"{since}\" or later")));
            }
        }
        Ok(())
    }

    /// Most tokens of one prompt in this step.
    fn threshold(&self, view: &PlanView<'_>) -> u32 {
        let threshold = self.long_prefill_token_threshold;
        if threshold == 0 {
            return u32::MAX;
        }
        let requests = (view.num_running() + view.num_swapped() + view.waiting().len()) as u32;
        if requests <= 1 && self.version.rules().lone_request_is_exempt {
            return u32::MAX;
        }
        match self.long_prefill_token_threshold_adaptive {
            true => threshold.max(self.max_num_batched_tokens / requests.max(1)),
            false => threshold,
        }
    }

    /// Blocks that an admission must leave free now.
    fn spare(&self, view: &PlanView<'_>) -> u32 {
        match view.num_running() {
            0 => 0,
            _ => {
                let blocks = view.limits().num_blocks + self.reserved_blocks();
                (self.watermark * f64::from(blocks)) as u32
            }
        }
    }

    /// Admits waiting requests; while prompts are `held` back, only those with a single token to
    /// compute. Whether some still wait that could not be admitted.
    fn admit(&mut self, view: &mut PlanView<'_>, chunk: u32, held: bool) -> bool {
        let most = self.max_num_active_seqs.unwrap_or(self.max_num_seqs);
        loop {
            let budget = self.max_num_batched_tokens.saturating_sub(view.planned_tokens());
            if budget == 0 || view.num_running() >= most as usize {
                return view.waiting().len() > 0;
            }
            let Some((index, prompt)) = self.next(view) else { return false };
            if reject_if_never_fits(view, index, prompt, 0) {
                continue;
            }
            let cached = view.cached_tokens(index);
            let left = prompt - cached;
            if held && left > 1 {
                return true;
            }
            let tokens = left.min(chunk);
            if tokens > budget && !self.enable_chunked_prefill {
                return true;
            }
            let most = self.max_num_batched_tokens.min(chunk);
            let tokens = view.chunk_of_waiting(index, cached, (tokens.min(budget), most));
            if tokens == 0 {
                return true;
            }
            let spare = self.spare(view);
            if self.scheduler_reserve_full_isl && !view.fits_whole(index, spare) {
                return true;
            }
            let total = cached + tokens;
            if spare > 0 && !view.fits_beside(index, total, spare) {
                return true;
            }
            let blocks = view.limits().blocks_for(total);
            if !view.admit(index, AdmissionTerms { tokens, blocks, group: None }) {
                return true;
            }
            self.cadence.admitted(tokens);
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
                .min_by_key(|(_, r)| (r.priority(), r.arrived_at(), r.id()))
                .map(|(index, r)| (index, r.prompt_tokens())),
        }
    }
}
