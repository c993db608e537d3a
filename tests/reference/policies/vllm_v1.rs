//! vLLM V1: running requests first, then waiting ones, within a budget of tokens.

use vidur_ecs::engine::policy::{Queueing, VllmV1};

use super::super::job::Job;
use super::super::planner::Planner;

pub fn plan(policy: &VllmV1, p: &mut Planner<'_>) {
    run(policy, p);
    if p.preempted == 0 {
        admit(policy, p);
    }
}

/// Tokens of a prompt of which `left` are left, as far as budget and threshold allow.
fn chunk(policy: &VllmV1, p: &Planner<'_>, left: u32) -> u32 {
    let most = match policy.long_prefill_token_threshold {
        0 => left,
        threshold => left.min(threshold),
    };
    most.min(policy.max_num_batched_tokens - p.tokens)
}

/// The running list, in order of admission.
fn run(policy: &VllmV1, p: &mut Planner<'_>) {
    let mut list = std::mem::take(&mut p.s.running);
    list.sort_by_key(|&job| p.jobs[job].admission);
    let mut next = 0;
    'walk: while next < list.len() {
        let job = list[next];
        let left = match p.jobs[job].prefilled {
            true => 1,
            false => p.jobs[job].prompt - p.jobs[job].done,
        };
        let tokens = chunk(policy, p, left);
        if tokens == 0 {
            break;
        }
        while p.missing(job, tokens) > p.s.memory.free() {
            let victim = match policy.scheduling_policy {
                Queueing::Fcfs => list.len() - 1,
                Queueing::Priority => least_urgent(&list, p.jobs),
            };
            // With others of a pipeline under way, which hold blocks and come back, a request that
            // would have to preempt itself waits for them.
            if victim == next && p.s.in_flight > 0 {
                break 'walk;
            }
            let out = list.remove(victim);
            if victim < next {
                p.take_back(out);
                next -= 1;
            }
            p.preempt(out, false);
            if out == job {
                break 'walk;
            }
        }
        p.extend(job, tokens);
        next += 1;
    }
    p.s.running = list.split_off(next);
}

/// The largest priority value, of these the latest arrival, of these the last admitted.
fn least_urgent(list: &[usize], jobs: &[Job]) -> usize {
    let key = |index: &usize| {
        let job = &jobs[list[*index]];
        (job.new.priority, job.arrived_at, *index)
    };
    (0..list.len()).max_by_key(key).unwrap_or(0)
}

fn admit(policy: &VllmV1, p: &mut Planner<'_>) {
    while p.tokens < policy.max_num_batched_tokens && p.num_running() < policy.max_num_seqs {
        let next = match policy.scheduling_policy {
            Queueing::Fcfs => p.visible().next(),
            Queueing::Priority => {
                p.visible().min_by_key(|&(place, job)| (job.new.priority, job.arrived_at, place))
            }
        };
        let Some((place, prompt)) = next.map(|(place, job)| (place, job.prompt)) else { break };
        if p.blocks_for(prompt) > p.limits.num_blocks as usize {
            p.reject(place);
            continue;
        }
        let found = p.look_up(place);
        let cached = found.len() as u32 * p.limits.block_size;
        let tokens = chunk(policy, p, prompt - cached);
        if tokens < prompt - cached && !policy.enable_chunked_prefill {
            break;
        }
        let whole = p.takes(p.blocks_for(prompt), &found);
        if policy.scheduler_reserve_full_isl && whole > p.s.memory.free() {
            break;
        }
        if !p.admit(place, tokens, p.blocks_for(cached + tokens), None) {
            break;
        }
    }
}
