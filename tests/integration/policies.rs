//! The invariants hold for every built-in policy over random scenarios.

use vidur_ecs::scheduling::{
    FasterTransformer, LightLlm, Orca, Queueing, Reserve, Sarathi, VllmV0, VllmV1,
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
