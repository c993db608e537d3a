//! Orca: iteration-level batching with KV memory reserved on admission (Yu et al., OSDI 2022).

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    AdmissionTerms, BatchLimits, DecodeRule, EngineLimits, Fit, PlanView, Policy, at_least_one,
};
use crate::base::SettingError;

/// How much KV memory a request reserves for its whole life. The names are those of the
/// PagedAttention paper (Kwon et al., SOSP 2023, section 6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reserve {
    /// The longest request that the engine serves.
    #[default]
    Max,
    /// The prompt, and the output rounded up to a power of two. Knows the output's length.
    Pow2,
    /// Exactly what the request will need. Knows the output's length.
    Oracle,
}

/// Iteration-level batching: every batch holds all running requests, and new ones with their
/// whole prompt while their reservation fits. There is no token budget and no preemption.
#[derive(Component, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Orca {
    /// Most requests in a batch.
    pub max_num_seqs: u32,
    /// What each request reserves.
    pub reserve: Reserve,
}

impl Default for Orca {
    fn default() -> Orca {
        Orca { max_num_seqs: 128, reserve: Reserve::Max }
    }
}

impl Policy for Orca {
    const NAME: &'static str = "Orca";
    const ABOUT: &'static str = "Orca: iteration-level batching, KV reserved on admission";

    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        at_least_one("max_num_seqs", self.max_num_seqs)?;
        reservation_fits(limits)
    }

    fn is_oracle(&self) -> bool {
        self.reserve != Reserve::Max
    }

    fn batch_limits(&self, limits: &EngineLimits) -> BatchLimits {
        whole_prompt_limits(self.max_num_seqs, limits)
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        let limit = self.max_num_seqs as usize;
        view.decode(DecodeRule { limit, fit: Fit::Reserved, vidur_partial_restart: false });
        while view.planned() < limit
            && let Some(head) = view.first_waiting()
        {
            let tokens = head.prompt_tokens();
            let longest = view.limits().blocks_for_longest();
            let blocks_for = |reserved| view.limits().blocks_for(reserved).min(longest);
            let blocks = match (self.reserve, head.remaining_output()) {
                (Reserve::Oracle, Some(output)) => blocks_for(tokens + output),
                (Reserve::Pow2, Some(output)) => blocks_for(tokens + output.next_power_of_two()),
                _ => longest,
            };
            if !view.admit(0, AdmissionTerms { tokens, blocks, group: None }) {
                break;
            }
        }
        view.hold_until_change();
    }
}

/// A reservation of the longest request must fit on an empty replica.
pub(super) fn reservation_fits(limits: &EngineLimits) -> Result<(), SettingError> {
    let needed = limits.blocks_for_longest();
    if needed <= limits.num_blocks {
        return Ok(());
    }
    Err(SettingError::new(
        "",
        format!("a policy that reserves max_model_len = {} tokens", limits.max_model_len),
        format!("at least {needed} KV blocks, there are {}", limits.num_blocks),
    )
    .help("lower engine.max_model_len, or give the replica more KV blocks"))
}

/// Limits of a policy that batches whole prompts without a token budget.
pub(super) fn whole_prompt_limits(max_num_seqs: u32, limits: &EngineLimits) -> BatchLimits {
    BatchLimits {
        max_num_seqs,
        max_num_batched_tokens: max_num_seqs.saturating_mul(limits.max_model_len),
    }
}
