//! vLLM V1: running requests first, then waiting ones, within a budget of tokens.

use std::cmp::Reverse;

use vidur_ecs::engine::policy::{Queueing, VllmV1, VllmVersion};

use super::super::job::Job;
use super::super::planner::Planner;

pub fn plan(policy: &VllmV1, p: &mut Planner<'_>) {
    let threshold = threshold(policy, p);
    let held = holds_prompts(policy, p);
    run(policy, p, if held { 0 } else { threshold });
    let step = p.s.steps + 1;
    if p.batch.iter().any(|&job| !p.jobs[job].prefilled) {
        p.s.last_prefill = Some(step);
    }
    if p.preempted == 0 {
        let left = admit(policy, p, threshold, held);
        if !held {
            p.s.short_of_room = left;
        }
    }
}

/// Most tokens of a prompt in this step.
fn threshold(policy: &VllmV1, p: &Planner<'_>) -> u32 {
    let threshold = policy.long_prefill_token_threshold;
    let requests = p.num_running() + p.visible().count() as u32;
    let alone = requests <= 1 && policy.version >= VllmVersion::minor(30);
    if threshold == 0 || alone {
        return u32::MAX;
    }
    match policy.long_prefill_token_threshold_adaptive {
        true => threshold.max(policy.max_num_batched_tokens / requests),
        false => threshold,
    }
}

/// Whether the cadence of prompts lets none be processed in this step.
fn holds_prompts(policy: &VllmV1, p: &Planner<'_>) -> bool {
    let decodes = p.s.running.iter().any(|&job| p.jobs[job].prefilled);
    let step = p.s.steps + 1;
    decodes | !p.s.lingering.is_empty()
        && !p.s.short_of_room
        && p.s.last_prefill.is_some_and(|last| step - last < policy.prefill_schedule_interval)
}

/// The running list, in order of admission.
fn run(policy: &VllmV1, p: &mut Planner<'_>, threshold: u32) {
    let mut list = std::mem::take(&mut p.s.running);
    list.sort_by_key(|&job| p.jobs[job].admission);
    let mut held_back = Vec::new();
    let mut next = 0;
    'walk: while next < list.len() && p.tokens < policy.max_num_batched_tokens {
        let job = list[next];
        let tokens = match p.jobs[job].prefilled {
            true => 1,
            false => {
                let (it, budget) = (&p.jobs[job], policy.max_num_batched_tokens);
                let tokens = (it.prompt - it.done).min(threshold).min(budget - p.tokens);
                match &p.s.kv {
                    Some(groups) if p.s.memory.caching() => {
                        groups.chunk(it.done, tokens, it.prompt, it.longer, budget.min(threshold))
                    }
                    _ => tokens,
                }
            }
        };
        if tokens == 0 {
            held_back.push(job);
            next += 1;
            continue;
        }
        while p.missing(job, tokens) > p.s.memory.free() {
            let out = victim(policy, &list, p);
            if p.s.lingering.contains(&out) {
                p.preempt_lingering(out);
                continue;
            }
            // With others of a pipeline under way, which hold blocks and come back, a request that
            // would have to preempt itself waits for them.
            if out == job && p.s.in_flight > 0 {
                break 'walk;
            }
            let place = list.iter().position(|&other| other == out).expect("a running request");
            list.remove(place);
            held_back.retain(|&other| other != out);
            if place < next {
                p.take_back(out);
                next -= 1;
            }
            p.preempt(out, false);
            if out == job {
                match policy.version >= VllmVersion::minor(33) {
                    true => continue 'walk,
                    false => break 'walk,
                }
            }
        }
        p.extend(job, tokens);
        next += 1;
    }
    p.s.running = list.split_off(next);
    p.s.running.extend(held_back);
}

/// Who gives way: the last of the running list, or the largest priority value, of these the latest
/// arrival. A request that has its last token is one of them as long as the scheduler does not
/// know.
fn victim(policy: &VllmV1, list: &[usize], p: &Planner<'_>) -> usize {
    let all = || list.iter().chain(&p.s.lingering).copied();
    let out = match policy.scheduling_policy {
        Queueing::Fcfs => all().max_by_key(|&job| p.jobs[job].admission),
        Queueing::Priority => all().max_by_key(|&job| {
            let it = &p.jobs[job];
            (it.new.priority, it.arrived_at, it.new.id, Reverse(it.admission))
        }),
    };
    out.expect("somebody runs")
}

/// Whether requests are left waiting that could not be admitted.
fn admit(policy: &VllmV1, p: &mut Planner<'_>, threshold: u32, held: bool) -> bool {
    let most = policy.max_num_active_seqs.unwrap_or(policy.max_num_seqs);
    while p.tokens < policy.max_num_batched_tokens && p.num_running() < most {
        let key = |job: &Job| (job.new.priority, job.arrived_at, job.new.id);
        let next = match policy.scheduling_policy {
            Queueing::Fcfs => p.visible().next(),
            Queueing::Priority => p.visible().min_by_key(|&(_, job)| key(job)),
        };
        let Some((place, prompt)) = next.map(|(place, job)| (place, job.prompt)) else {
            return false;
        };
        let most_blocks = match &p.s.kv {
            None => p.blocks_for(prompt),
            Some(groups) => groups.most(prompt),
        };
        if most_blocks > p.limits.num_blocks as usize {
            p.reject(place);
            continue;
        }
        let hit = p.find_in_groups(place);
        let found = if hit.is_some() { Vec::new() } else { p.look_up(place) };
        let cached = match &hit {
            None => found.len() as u32 * p.limits.block_size,
            Some(hit) => hit.tokens,
        };
        let left = prompt - cached;
        let budget = policy.max_num_batched_tokens - p.tokens;
        let tokens = left.min(threshold);
        if held && left > 1 || tokens > budget && !policy.enable_chunked_prefill {
            return true;
        }
        let mut tokens = tokens.min(budget);
        if let (Some(groups), Some(hit), true) = (&p.s.kv, &hit, p.s.memory.caching()) {
            let most = policy.max_num_batched_tokens.min(threshold);
            tokens = groups.chunk(cached, tokens, prompt, hit.longer, most);
        }
        if tokens == 0 {
            return true;
        }
        let all_blocks = p.limits.num_blocks + 1;
        let spare = match p.num_running() {
            0 => 0,
            _ => (policy.watermark * f64::from(all_blocks)) as usize,
        };
        let room = |tokens, whole| match &hit {
            None => p.takes(p.blocks_for(tokens), &found) + spare <= p.s.memory.free(),
            Some(hit) => p.groups_fit(place, hit, tokens, whole, spare),
        };
        if policy.scheduler_reserve_full_isl && !room(prompt, true) || !room(cached + tokens, false)
        {
            return true;
        }
        if !p.admit(place, tokens, p.blocks_for(cached + tokens), None) {
            return true;
        }
        if tokens > 1 {
            p.s.last_prefill = Some(p.s.steps + 1);
        }
    }
    p.visible().next().is_some()
}
