//! SGLang: prefill first, and of the waiting requests the one with the longest cached prefix first
//! (Zheng et al., "SGLang: Efficient Execution of Structured Language Model Programs", NeurIPS
//! 2024, "cache-aware scheduling").

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::vllm_v0::{one_per_stage, watermark_blocks};
use super::{
    AdmissionTerms, BatchLimits, DecodeRule, EngineLimits, Fit, PlanView, Policy, at_least_one,
    share_below_one,
};
use crate::base::SettingError;

/// In which order waiting requests are admitted (SGLang's `schedule_policy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SchedulePolicy {
    /// The longest cached prefix first, the earliest arrival among equals.
    #[default]
    Lpm,
    /// First come, first served.
    Fcfs,
}

/// Batches are either prefills, in chunks up to `chunked_prefill_size` tokens in all, or decodes;
/// as long as there is something to prefill and room for it, it comes first. The blocks of a whole
/// prompt are allocated with its first chunk. If blocks run out, the tail of the running list is
/// preempted by recomputation.
///
/// The order of admission is found anew for each batch: with `Lpm` it looks up the prefix of every
/// waiting request, unless more than `lpm_queue_max` wait, when it falls back to `Fcfs`, as SGLang
/// does. That is SGLang's only bound on how long a request with a short prefix waits;
/// `max_overtakes` is a stricter one.
#[derive(Component, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgLang {
    /// Most requests running at once (SGLang's `max_running_requests`).
    pub max_num_seqs: u32,
    /// Token budget of a batch of prefills.
    pub chunked_prefill_size: u32,
    /// Order of admission.
    pub schedule_policy: SchedulePolicy,
    /// Most waiting requests whose prefixes are looked up.
    pub lpm_queue_max: u32,
    /// After so many admissions past the request that waits longest, that one is next. 0 for no
    /// such limit, as SGLang.
    pub max_overtakes: u32,
    /// Share of the KV blocks that an admission must leave free while others run. It stands in for
    /// SGLang's reserve for the outputs to come (`new_token_ratio`).
    pub watermark: f64,
    /// The request that waits longest, and how many were admitted past it.
    #[serde(skip)]
    passed: Option<(u64, u32)>,
}

impl Default for SgLang {
    fn default() -> SgLang {
        SgLang {
            max_num_seqs: 256,
            chunked_prefill_size: 8192,
            schedule_policy: SchedulePolicy::Lpm,
            lpm_queue_max: 128,
            max_overtakes: 0,
            watermark: 0.01,
            passed: None,
        }
    }
}

impl Policy for SgLang {
    const NAME: &'static str = "SgLang";
    const ABOUT: &'static str = "SGLang: prefill first, the longest cached prefix first";

    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        at_least_one("max_num_seqs", self.max_num_seqs)?;
        at_least_one("chunked_prefill_size", self.chunked_prefill_size)?;
        share_below_one("watermark", self.watermark)?;
        one_per_stage(self.max_num_seqs, limits)
    }

    fn batch_limits(&self, _: &EngineLimits) -> BatchLimits {
        BatchLimits {
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.chunked_prefill_size.max(self.max_num_seqs),
        }
    }

    fn caches_prefixes(&self) -> bool {
        true
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        view.prefill_only(self.chunked_prefill_size);
        self.admit(view);
        if view.planned() == 0 {
            view.decode(DecodeRule {
                limit: (self.max_num_seqs / view.limits().stages) as usize,
                fit: Fit::Needed,
                vidur_partial_restart: false,
            });
        }
        view.hold_until_change();
    }
}

impl SgLang {
    fn admit(&mut self, view: &mut PlanView<'_>) {
        let limits = *view.limits();
        let watermark = watermark_blocks(self.watermark, &limits);
        let most = (self.max_num_seqs / limits.stages) as usize;
        if !self.may_admit(view, most) {
            return;
        }
        let mut order = self.order(view);
        while let Some(next) = self.next(view, &mut order)
            && self.may_admit(view, most)
        {
            let Some(waiting) = view.waiting().nth(next) else { break };
            let (id, prompt) = (waiting.id(), waiting.prompt_tokens());
            // Whatever arrived fits on an idle replica, but perhaps not beside a watermark.
            let spare = if view.num_running() == 0 { 0 } else { watermark };
            if !view.fits(next, prompt + spare * limits.block_size) {
                break;
            }
            let left = self.chunked_prefill_size - view.planned_tokens();
            let tokens = left.min(prompt - view.cached_tokens(next));
            let blocks = limits.blocks_for(prompt);
            let first = view.first_waiting().map(|first| first.id());
            if !view.admit(next, AdmissionTerms { tokens, blocks, group: None }) {
                break;
            }
            self.count_overtakes(first, id);
            for place in &mut order {
                *place -= usize::from(*place > next);
            }
        }
    }

    /// Whether slots and budget are left, and somebody waits for them.
    fn may_admit(&self, view: &PlanView<'_>, most: usize) -> bool {
        view.first_waiting().is_some()
            && view.num_running() < self.max_num_seqs as usize
            && view.planned() < most
            && view.planned_tokens() < self.chunked_prefill_size
    }

    /// The waiting requests' places in the queue, the last one to be admitted first.
    fn order(&self, view: &mut PlanView<'_>) -> Vec<usize> {
        let waiting = view.waiting().len();
        let mut order: Vec<usize> = (0..waiting).collect();
        if self.schedule_policy == SchedulePolicy::Lpm && waiting <= self.lpm_queue_max as usize {
            order.sort_by_cached_key(|&place| std::cmp::Reverse(view.cached_tokens(place)));
        }
        order.reverse();
        order
    }

    /// Takes the next place off `order`; that of the head of the queue if too many overtook it.
    fn next(&self, view: &PlanView<'_>, order: &mut Vec<usize>) -> Option<usize> {
        let head = view.first_waiting()?.id();
        let overdue = self.max_overtakes > 0
            && self.passed.is_some_and(|(id, n)| id == head && n >= self.max_overtakes);
        if overdue && let Some(at) = order.iter().position(|&place| place == 0) {
            return Some(order.remove(at));
        }
        order.pop()
    }

    /// `admitted` left the queue, whose head had been `first`.
    fn count_overtakes(&mut self, first: Option<u64>, admitted: u64) {
        self.passed = match (first, self.passed) {
            (Some(first), _) if first == admitted => None,
            (Some(first), Some((id, count))) if id == first => Some((id, count + 1)),
            (first, _) => first.map(|first| (first, 1)),
        };
    }
}
