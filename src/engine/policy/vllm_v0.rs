//! vLLM as it scheduled in 2023 (version 0), as Vidur models it.

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    BatchLimits, DecodeRule, EngineLimits, Fit, PlanView, Policy, ResumeRule, at_least_one,
    share_below_one,
};
use crate::base::SettingError;

/// Prefill first, never mixed with decode; paged KV; preemption by recomputation from the tail.
///
/// A request is admitted while its prompt's blocks leave a watermark free, the padded batch (the
/// longest prompt times the number of prompts) stays within `max_num_batched_tokens`, and fewer
/// than `max_num_seqs` requests hold blocks. With pipeline stages each batch has at most
/// `max_num_seqs / stages` requests. Running requests decode in order of arrival; one that needs
/// a block when none is free preempts the latest.
#[derive(Component, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VllmV0 {
    /// Most requests running at once.
    pub max_num_seqs: u32,
    /// Most tokens in a prefill batch, padding included.
    pub max_num_batched_tokens: u32,
    /// Share of the KV blocks that an admission must leave free.
    pub watermark: f64,
    /// Vidur's rule that a decode needs a free block even if it has room in its last one.
    pub vidur_spare_block: bool,
    /// Vidur's idling: a replica whose requests were all preempted waits for its next event.
    pub vidur_idle: bool,
}

impl Default for VllmV0 {
    fn default() -> VllmV0 {
        VllmV0 {
            max_num_seqs: 256,
            max_num_batched_tokens: 4096,
            watermark: 0.01,
            vidur_spare_block: false,
            vidur_idle: false,
        }
    }
}

impl Policy for VllmV0 {
    const NAME: &'static str = "VllmV0";
    const ABOUT: &'static str = "vLLM of 2023: prefill first, paged KV, recompute from the tail";

    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        at_least_one("max_num_seqs", self.max_num_seqs)?;
        at_least_one("max_num_batched_tokens", self.max_num_batched_tokens)?;
        share_below_one("watermark", self.watermark)?;
        one_per_stage(self.max_num_seqs, limits)
    }

    fn batch_limits(&self, _: &EngineLimits) -> BatchLimits {
        BatchLimits {
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
        }
    }

    fn disaggregates(&self) -> bool {
        true
    }

    fn serves_adapters(&self) -> bool {
        true
    }

    fn swaps(&self) -> bool {
        !self.vidur_spare_block && !self.vidur_idle
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        // What was swapped out comes before what waits.
        if view.num_swapped() == 0 {
            self.admit(view);
        }
        if view.planned() > 0 {
            return;
        }
        view.sort_running_by_arrival();
        view.decode(DecodeRule {
            limit: (self.max_num_seqs / view.limits().stages) as usize,
            fit: spare_or_needed(self.vidur_spare_block),
            vidur_partial_restart: false,
        });
        view.resume(ResumeRule {
            max_num_seqs: self.max_num_seqs as usize,
            limit: (self.max_num_seqs / view.limits().stages) as usize,
            watermark: watermark_blocks(self.watermark, view.limits()),
            ..ResumeRule::default()
        });
        view.hold_until_change();
        if self.vidur_idle {
            view.stay_idle_after_preemption();
        }
    }
}

impl VllmV0 {
    fn admit(&self, view: &mut PlanView<'_>) {
        let limits = *view.limits();
        let watermark = watermark_blocks(self.watermark, &limits);
        let micro_batch = (self.max_num_seqs / limits.stages) as usize;
        let mut longest = 0;
        while let Some((index, next)) = view.next_in_line() {
            let prompt = next.prompt_tokens();
            if prompt > self.max_num_batched_tokens {
                let cap = self.max_num_batched_tokens;
                view.reject(
                    index,
                    format!("{prompt} tokens to prefill exceed max_num_batched_tokens {cap}"),
                );
                continue;
            }
            if reject_if_never_fits(view, index, prompt, watermark) {
                continue;
            }
            let padded = (view.planned() as u64 + 1) * u64::from(prompt.max(longest));
            if !leaves_watermark(view, prompt, watermark)
                || padded > u64::from(self.max_num_batched_tokens)
                || view.num_running() >= self.max_num_seqs as usize
                || view.planned() >= micro_batch
                || !view.admit_whole_prompt(index)
            {
                break;
            }
            longest = longest.max(prompt);
        }
    }
}

/// Vidur's rule or the needed blocks only.
pub(super) fn spare_or_needed(vidur_spare_block: bool) -> Fit {
    if vidur_spare_block { Fit::SpareBlock } else { Fit::Needed }
}

/// Blocks that an admission must leave free: the share of all, rounded down.
pub(super) fn watermark_blocks(share: f64, limits: &EngineLimits) -> u32 {
    (share * f64::from(limits.num_blocks)) as u32
}

/// Whether the blocks for `prompt` tokens leave `watermark` blocks free.
pub(super) fn leaves_watermark(view: &PlanView<'_>, prompt: u32, watermark: u32) -> bool {
    view.free_blocks() >= view.limits().blocks_for(prompt) + watermark
}

/// Refuses the waiting request at `index` if it would not even fit on an empty replica.
pub(super) fn reject_if_never_fits(
    view: &mut PlanView<'_>,
    index: usize,
    prompt: u32,
    watermark: u32,
) -> bool {
    let (needed, total) = (view.blocks_of(prompt), view.limits().num_blocks);
    if needed + watermark <= total {
        return false;
    }
    view.reject(
        index,
        format!(
            "{prompt} tokens need {needed} KV blocks beside a watermark of {watermark}, the \
             replica has {total}"
        ),
    )
}

/// A cap that is shared out over pipeline stages must leave each at least one request.
pub(super) fn one_per_stage(max_num_seqs: u32, limits: &EngineLimits) -> Result<(), SettingError> {
    if max_num_seqs >= limits.stages {
        return Ok(());
    }
    Err(SettingError::new(
        "max_num_seqs",
        max_num_seqs,
        format!("at least {}, one for each pipeline stage", limits.stages),
    ))
}
