//! The invariants hold for every built-in policy over random scenarios, and for policies that use
//! what no built-in one uses.

use bevy_ecs::prelude::Component;
use serde::{Deserialize, Serialize};
use vidur_ecs::base::Nanos;
use vidur_ecs::engine::policy::{
    AdmissionTerms, BatchLimits, DecodeRule, EngineLimits, FasterTransformer, LightLlm, Orca,
    PlanView, Policy, Queueing, Reserve, Sarathi, SchedulePolicy, SgLang, VllmV0, VllmV1,
};
use vidur_ecs::testing::PolicyCheck;

#[test]
fn vllm_v0_keeps_the_books() {
    let tight = VllmV0 { max_num_seqs: 6, max_num_batched_tokens: 200, ..VllmV0::default() };
    let (_, preemptions) = PolicyCheck::new(tight).first_come_first_served().run();
    assert!(preemptions > 0, "the scenarios must be tight enough to preempt");
    let vidur = VllmV0 { vidur_spare_block: true, watermark: 0.0, ..VllmV0::default() };
    PolicyCheck::new(vidur).first_come_first_served().seeds(200..400).run();
}

#[test]
fn sarathi_keeps_the_books() {
    for chunk_size in [7, 64] {
        let policy = Sarathi { chunk_size, max_num_seqs: 9, ..Sarathi::default() };
        let (_, preemptions) = PolicyCheck::new(policy).first_come_first_served().run();
        assert!(preemptions > 0, "the scenarios must be tight enough to preempt");
    }
    let vidur = Sarathi {
        chunk_size: 16,
        max_num_seqs: 3,
        watermark: 0.0,
        vidur_spare_block: true,
        // Vidur's partial restart does not conserve tokens, which is why it is off by default.
        vidur_partial_restart: false,
        vidur_batch_cap: true,
    };
    PolicyCheck::new(vidur).first_come_first_served().seeds(200..400).run();
}

#[test]
fn orca_keeps_the_books() {
    for reserve in [Reserve::Max, Reserve::Pow2, Reserve::Oracle] {
        let policy = Orca { max_num_seqs: 5, reserve };
        let (_, preemptions) = PolicyCheck::new(policy).first_come_first_served().run();
        assert_eq!(preemptions, 0, "reserved memory is never taken back");
    }
}

#[test]
fn faster_transformer_keeps_the_books() {
    let mut policy = FasterTransformer::default();
    policy.max_num_seqs = 4;
    PolicyCheck::new(policy).first_come_first_served().run();
}

#[test]
fn light_llm_keeps_the_books() {
    let mut policy = LightLlm::default();
    policy.max_waiting_iters = 3;
    PolicyCheck::new(policy).first_come_first_served().seeds(0..600).run();
}

#[test]
fn vllm_v1_keeps_the_books() {
    let (mut runs, mut preemptions) = (0, 0);
    for (async_scheduling, scheduling_policy) in
        [(true, Queueing::Fcfs), (false, Queueing::Fcfs), (true, Queueing::Priority)]
    {
        let policy = VllmV1 {
            max_num_seqs: 6,
            max_num_batched_tokens: 24,
            scheduler_reserve_full_isl: scheduling_policy == Queueing::Priority,
            async_scheduling,
            scheduling_policy,
            ..VllmV1::default()
        };
        let check = PolicyCheck::new(policy);
        let check = match scheduling_policy {
            Queueing::Fcfs => check.first_come_first_served(),
            Queueing::Priority => check,
        };
        let counts = check.run();
        runs += counts.0;
        preemptions += counts.1;
    }
    assert!(runs > 300 && preemptions > 100, "{runs} runs with {preemptions} preemptions");
}

#[test]
fn sg_lang_keeps_the_books() {
    let mut preemptions = 0;
    for (chunked_prefill_size, lpm_queue_max, max_overtakes) in [(16, 128, 0), (64, 5, 2)] {
        let mut policy = SgLang::default();
        policy.max_num_seqs = 6;
        policy.chunked_prefill_size = chunked_prefill_size;
        policy.lpm_queue_max = lpm_queue_max;
        policy.max_overtakes = max_overtakes;
        preemptions += PolicyCheck::new(policy).run().1;
    }
    assert!(preemptions > 100, "{preemptions} preemptions");
    let mut policy = SgLang::default();
    policy.schedule_policy = SchedulePolicy::Fcfs;
    PolicyCheck::new(policy).first_come_first_served().run();
}

/// First come, first served, with a spare block for each request; it asks to be woken every 70 us,
/// and then preempts the latest request.
#[derive(Component, Clone, Debug, Default, Serialize, Deserialize)]
struct Fidgety {
    spare_blocks: u32,
    #[serde(skip)]
    next: Nanos,
    #[serde(skip)]
    calls: u64,
}

impl Policy for Fidgety {
    const NAME: &'static str = "Fidgety";
    const ABOUT: &'static str = "preempts by the clock";

    fn batch_limits(&self, _: &EngineLimits) -> BatchLimits {
        BatchLimits { max_num_seqs: u32::MAX, max_num_batched_tokens: u32::MAX }
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        self.calls += 1;
        if view.now() >= self.next {
            self.next = view.now() + Nanos(70_000);
            // Not the only one: it must get on.
            if view.running().len() > 1 {
                let latest = view.running().map(|r| r.id()).max();
                assert!(latest.is_some_and(|id| view.preempt(id)));
            }
        }
        view.wake_at(self.next);
        while let Some(head) = view.first_waiting() {
            let tokens = head.prompt_tokens();
            let blocks = view.limits().blocks_for(tokens) + self.spare_blocks;
            if blocks > view.limits().num_blocks {
                view.reject(0, "with its spare block it never fits");
            } else if !view.admit(0, AdmissionTerms { tokens, blocks, group: None }) {
                break;
            }
        }
        if view.planned() == 0 {
            view.decode(DecodeRule::default());
        }
        view.hold_until_change();
    }
}

#[test]
fn a_policy_may_wake_preempt_and_hold_spare_blocks() {
    for spare_blocks in [0, 2] {
        let policy = Fidgety { spare_blocks, ..Fidgety::default() };
        let (_, preemptions) = PolicyCheck::new(policy).run();
        assert!(preemptions > 100, "{preemptions} preemptions");
    }
}
