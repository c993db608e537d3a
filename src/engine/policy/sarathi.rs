//! Sarathi-Serve: chunked prefill piggybacked on decodes (Agrawal et al., OSDI 2024), as Vidur
//! models it.

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::vllm_v0::{
    leaves_watermark, one_per_stage, reject_if_never_fits, spare_or_needed, watermark_blocks,
};
use super::{
    AdmissionTerms, BatchLimits, DecodeRule, EngineLimits, PlanView, Policy, ResumeRule,
    at_least_one, share_below_one,
};
use crate::base::SettingError;

/// Every batch holds all decodes, then prompts in chunks up to `chunk_size` tokens in all.
///
/// Decodes are never held back for the chunk budget. The blocks of the whole prompt are allocated
/// with its first chunk. Preemption as in [`super::VllmV0`].
#[derive(Component, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sarathi {
    /// Most requests running at once.
    pub max_num_seqs: u32,
    /// Token budget of a batch.
    pub chunk_size: u32,
    /// Share of the KV blocks that an admission must leave free.
    pub watermark: f64,
    /// Vidur's rule that a decode needs a free block even if it has room in its last one.
    pub vidur_spare_block: bool,
    /// Vidur's bug that a preempted request with an incomplete prefill generates the rest of its
    /// prompt as output.
    pub vidur_partial_restart: bool,
    /// Vidur's bug that the cap on a batch is tested for equality, so that prefills that continue
    /// can push the batch past it.
    pub vidur_batch_cap: bool,
}

impl Default for Sarathi {
    fn default() -> Sarathi {
        Sarathi {
            max_num_seqs: 128,
            chunk_size: 512,
            watermark: 0.01,
            vidur_spare_block: false,
            vidur_partial_restart: false,
            vidur_batch_cap: false,
        }
    }
}

impl Policy for Sarathi {
    const NAME: &'static str = "Sarathi";
    const ABOUT: &'static str = "Sarathi-Serve: chunked prefill mixed with decodes";

    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        at_least_one("max_num_seqs", self.max_num_seqs)?;
        at_least_one("chunk_size", self.chunk_size)?;
        share_below_one("watermark", self.watermark)?;
        one_per_stage(self.max_num_seqs, limits)
    }

    fn batch_limits(&self, _: &EngineLimits) -> BatchLimits {
        BatchLimits {
            max_num_seqs: self.max_num_seqs,
            // Decodes are never held back, so they can exceed the chunk budget.
            max_num_batched_tokens: self.chunk_size.max(self.max_num_seqs),
        }
    }

    fn disaggregates(&self) -> bool {
        true
    }

    fn swaps(&self) -> bool {
        !self.vidur_spare_block && !self.vidur_partial_restart && !self.vidur_batch_cap
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        view.decode(DecodeRule {
            limit: (self.max_num_seqs / view.limits().stages) as usize,
            fit: spare_or_needed(self.vidur_spare_block),
            vidur_partial_restart: self.vidur_partial_restart,
        });
        view.extend_prefills(self.chunk_size);
        view.sort_running_by_arrival();
        view.resume(ResumeRule {
            max_num_seqs: self.max_num_seqs as usize,
            limit: (self.max_num_seqs / view.limits().stages) as usize,
            prefill_budget: self.chunk_size,
            watermark: watermark_blocks(self.watermark, view.limits()),
            ..ResumeRule::default()
        });
        if view.num_swapped() == 0 {
            self.admit(view);
        }
        view.hold_until_change();
    }
}

impl Sarathi {
    fn admit(&self, view: &mut PlanView<'_>) {
        let limits = *view.limits();
        let watermark = watermark_blocks(self.watermark, &limits);
        let micro_batch = (self.max_num_seqs / limits.stages) as usize;
        while let Some(head) = view.first_waiting() {
            let prompt = head.prompt_tokens();
            if reject_if_never_fits(view, 0, prompt, watermark) {
                continue;
            }
            let full = match self.vidur_batch_cap {
                true => view.planned() == micro_batch,
                false => view.planned() >= micro_batch,
            };
            let tokens = prompt.min(self.chunk_size.saturating_sub(view.planned_tokens()));
            let blocks = limits.blocks_for(prompt);
            if full
                || view.num_running() >= self.max_num_seqs as usize
                || !leaves_watermark(view, prompt, watermark)
                || !view.admit(0, AdmissionTerms { tokens, blocks, group: None })
            {
                break;
            }
        }
    }
}
