//! The program `vidur-ecs` with a scheduling policy of its own.
//!
//! ```sh
//! cargo test                                  # random scenarios, every block and token counted
//! cargo run --release -- run scenario.ron     # the policy beside VllmV1
//! cargo run --release -- list policies
//! ```

use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use vidur_ecs::base::SettingError;
use vidur_ecs::bevy_ecs;
use vidur_ecs::bevy_ecs::prelude::*;
use vidur_ecs::engine::policy::{BatchLimits, DecodeRule, EngineLimits, PlanView, Policy};
use vidur_ecs::registry::{Plugin, SimBuilder};

/// Whole prompts of waiting requests first, then a token for everybody who runs. The fields are the
/// settings that a scenario may write; each replica has a copy of its own.
#[derive(Component, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MyPolicy {
    /// Most requests that run at once.
    pub max_num_seqs: u32,
}

impl Default for MyPolicy {
    fn default() -> MyPolicy {
        MyPolicy { max_num_seqs: 128 }
    }
}

impl Policy for MyPolicy {
    const NAME: &'static str = "MyPolicy";
    const ABOUT: &'static str = "whole prompts first, then a token for everybody";

    fn check(&self, _: &EngineLimits) -> Result<(), SettingError> {
        match self.max_num_seqs {
            0 => Err(SettingError::new("max_num_seqs", 0, "at least 1")),
            _ => Ok(()),
        }
    }

    fn batch_limits(&self, limits: &EngineLimits) -> BatchLimits {
        BatchLimits {
            max_num_seqs: self.max_num_seqs,
            max_num_batched_tokens: self.max_num_seqs.saturating_mul(limits.max_model_len),
        }
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        // Index 0 is the request that waits longest. `false`: its blocks do not fit now.
        while view.num_running() < self.max_num_seqs as usize && view.admit_whole_prompt(0) {}
        if view.planned() == 0 {
            view.decode(DecodeRule::default());
            // Nothing here depends on the time: as long as nobody comes or goes, the plan is the
            // same.
            view.hold_until_change();
        }
    }
}

/// What this program adds to the built-in policies, routers and timings.
struct Plugins;

impl Plugin for Plugins {
    fn build(&self, builder: &mut SimBuilder) {
        builder.add_policy::<MyPolicy>();
    }
}

fn main() -> ExitCode {
    vidur_ecs::cli::main_with(&[&Plugins])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_keeps_the_books() {
        vidur_ecs::testing::assert_policy_ok(MyPolicy::default());
    }
}
