//! The same policy by its trait and as a plain system.

use serde::{Deserialize, Serialize};
use vidur_ecs::bevy_ecs;
use vidur_ecs::bevy_ecs::prelude::*;
use vidur_ecs::engine::policy::{BatchLimits, DecodeRule, EngineLimits, PlanView, Plans, Policy};
use vidur_ecs::registry::{Plugin, SimBuilder};
use vidur_ecs::testing::assert_policy_ok;

/// Plans a batch: the newest waiting requests, or a token for everybody.
fn plan(max_num_seqs: u32, view: &mut PlanView<'_>) {
    while view.num_running() < max_num_seqs as usize {
        let waiting = view.waiting().len();
        if waiting == 0 || !view.admit_whole_prompt(waiting - 1) {
            break;
        }
    }
    if view.planned() == 0 {
        view.decode(DecodeRule::default());
        view.hold_until_change();
    }
}

fn limits(max_num_seqs: u32, limits: &EngineLimits) -> BatchLimits {
    let max_num_batched_tokens = max_num_seqs.saturating_mul(limits.max_model_len);
    BatchLimits { max_num_seqs, max_num_batched_tokens }
}

mod by_trait {
    use super::*;

    /// Admits the newest waiting request first.
    #[derive(Component, Clone, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct NewestFirst {
        pub max_num_seqs: u32,
    }

    impl Policy for NewestFirst {
        const NAME: &'static str = "NewestFirst";
        const ABOUT: &'static str = "the newest waiting request first";

        fn batch_limits(&self, engine: &EngineLimits) -> BatchLimits {
            limits(self.max_num_seqs, engine)
        }

        fn plan(&mut self, view: &mut PlanView<'_>) {
            plan(self.max_num_seqs, view);
        }
    }

    pub struct Added;

    impl Plugin for Added {
        fn build(&self, builder: &mut SimBuilder) {
            builder.add_policy::<NewestFirst>();
        }
    }
}

mod by_system {
    use super::*;

    /// The settings of a policy that a system plans for.
    #[derive(Component, Clone, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct NewestFirst {
        pub max_num_seqs: u32,
    }

    impl Policy for NewestFirst {
        const NAME: &'static str = "NewestFirst";
        const ABOUT: &'static str = "the newest waiting request first";

        fn batch_limits(&self, engine: &EngineLimits) -> BatchLimits {
            limits(self.max_num_seqs, engine)
        }
    }

    pub fn newest_first(mut plans: Plans, policies: Query<&NewestFirst>) {
        for replica in plans.ready() {
            let Ok(policy) = policies.get(replica) else { continue };
            while let Some(mut view) = plans.begin(replica) {
                plan(policy.max_num_seqs, &mut view);
            }
        }
    }

    pub struct Added;

    impl Plugin for Added {
        fn build(&self, builder: &mut SimBuilder) {
            builder.add_policy_system::<NewestFirst, _, _>(newest_first);
        }
    }
}

#[test]
fn a_policy_by_its_trait_and_as_a_system_gives_the_same_bytes() {
    let policy = "NewestFirst(max_num_seqs: 24)";
    for exact_steps in [false, true] {
        let by_trait = crate::results(&by_trait::Added, policy, exact_steps);
        let by_system = crate::results(&by_system::Added, policy, exact_steps);
        assert_eq!(by_trait, by_system);
    }
}

#[test]
fn the_policy_keeps_what_is_counted() {
    assert_policy_ok(by_trait::NewestFirst { max_num_seqs: 6 });
}

/// Over random scenarios with pipelines, closed loops and ties in time.
#[test]
fn random_scenarios_go_the_same_way() {
    let mut extensions = vidur_ecs::engine::Extensions::default();
    extensions.plan_by_system::<by_system::NewestFirst, _, _>(by_system::newest_first);
    for seed in 0..60 {
        let policy = Box::new(by_trait::NewestFirst { max_num_seqs: 6 });
        let (_, by_trait) = crate::run(crate::spec(seed, policy, &Default::default())).unwrap();
        let policy = Box::new(by_system::NewestFirst { max_num_seqs: 6 });
        let (_, by_system) = crate::run(crate::spec(seed, policy, &extensions)).unwrap();
        assert_eq!(format!("{by_trait:?}"), format!("{by_system:?}"), "seed {seed}");
    }
}

#[test]
fn a_policy_without_plan_and_system_says_so() {
    let policy = Box::new(by_system::NewestFirst { max_num_seqs: 6 });
    let error = crate::run(crate::spec(3, policy, &Default::default())).err().unwrap().to_string();
    assert!(error.contains("policy NewestFirst has neither a plan nor a system"), "{error}");
}
