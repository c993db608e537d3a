//! LightLLM: token-level KV memory with a look-ahead on what the running requests will need, as
//! Vidur models it.

use std::cmp::Reverse;

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::vllm_v0::one_per_stage;
use super::{BatchLimits, DecodeRule, EngineLimits, Fit, PlanView, Policy, at_least_one};
use crate::base::SettingError;

/// Prefill and decode batches alternate: waiting requests are considered when nothing runs, or
/// after `max_waiting_iters` decode iterations in a row. One is admitted if, as the running ones
/// end one by one, the KV memory never overflows; this uses the true output lengths.
///
/// KV blocks are single tokens. Out of memory, the latest requests are preempted by recomputation
/// (Vidur gives up there).
#[derive(Component, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LightLlm {
    /// Most requests running at once.
    pub max_num_seqs: u32,
    /// Most tokens in a prefill batch.
    pub max_num_batched_tokens: u32,
    /// Decode iterations between two looks at the waiting queue.
    pub max_waiting_iters: u32,
    #[serde(skip)]
    waited: u32,
}

impl Default for LightLlm {
    fn default() -> LightLlm {
        LightLlm {
            max_num_seqs: 128,
            max_num_batched_tokens: 4096,
            max_waiting_iters: 10,
            waited: 0,
        }
    }
}

/// Tokens that a request holds now, and output tokens it will still add.
type Need = (u32, u32);

impl Policy for LightLlm {
    const NAME: &'static str = "LightLlm";
    const ABOUT: &'static str = "LightLLM: token-level KV memory with a look-ahead (oracle)";

    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        at_least_one("max_num_seqs", self.max_num_seqs)?;
        at_least_one("max_num_batched_tokens", self.max_num_batched_tokens)?;
        if limits.block_size != 1 {
            return Err(SettingError::new(
                "",
                format!("LightLlm with block_size {}", limits.block_size),
                "engine.block_size 1",
            )
            .help("LightLLM manages KV memory by the token: set engine: (block_size: 1, ...)"));
        }
        if limits.stages != 1 {
            return Err(SettingError::new(
                "",
                format!("LightLlm with {} pipeline stages", limits.stages),
                "cluster.pipeline_parallel 1",
            ));
        }
        one_per_stage(self.max_num_seqs, limits)
    }

    fn is_oracle(&self) -> bool {
        true
    }

    fn batch_limits(&self, _: &EngineLimits) -> BatchLimits {
        BatchLimits {
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_batched_tokens,
        }
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        self.waited += view.committed().saturating_sub(1);
        if view.running().len() == 0 {
            self.admit(view);
            if view.planned() > 0 {
                self.waited = 0;
            }
            return;
        }
        if self.waited >= self.max_waiting_iters {
            self.waited = 0;
            self.admit(view);
            if view.planned() > 0 {
                return;
            }
        }
        self.waited += 1;
        view.decode(DecodeRule {
            limit: usize::MAX,
            fit: Fit::Needed,
            vidur_partial_restart: false,
        });
        view.hold_for(1 + self.max_waiting_iters.saturating_sub(self.waited));
    }
}

impl LightLlm {
    fn admit(&self, view: &mut PlanView<'_>) {
        if view.first_waiting().is_none() {
            return;
        }
        let mut needs: Vec<Need> = view
            .running()
            .map(|r| (r.context_tokens(), r.remaining_output().unwrap_or(0).saturating_sub(1)))
            .collect();
        while let Some(head) = view.first_waiting() {
            let prompt = head.prompt_tokens();
            if prompt > self.max_num_batched_tokens {
                let cap = self.max_num_batched_tokens;
                view.reject(
                    0,
                    format!("{prompt} tokens to prefill exceed max_num_batched_tokens {cap}"),
                );
                continue;
            }
            needs.push((prompt + 1, head.remaining_output().unwrap_or(0).saturating_sub(2)));
            let fits = fits_until_the_end(&mut needs, view.limits().num_blocks);
            if !fits && view.num_running() == 0 {
                let total = view.limits().num_blocks;
                view.reject(0, format!("its tokens would fill the replica's {total} KV tokens"));
                needs.clear();
                continue;
            }
            if !fits
                || view.planned_tokens() + prompt > self.max_num_batched_tokens
                || view.num_running() >= self.max_num_seqs as usize
                || !view.admit_whole_prompt(0)
            {
                break;
            }
        }
    }
}

/// Whether the peak of KV tokens stays below `capacity` as the requests end, the shortest first:
/// `max over i of left_i * i + sum of held_1..i`, by falling `left`.
fn fits_until_the_end(needs: &mut [Need], capacity: u32) -> bool {
    needs.sort_by_key(|&(_, left)| Reverse(left));
    let mut held = 0;
    needs.iter().zip(1_u64..).all(|(&(tokens, left), i)| {
        held += u64::from(tokens);
        u64::from(left) * i + held < u64::from(capacity)
    })
}
