//! LightLLM: prefill and decode batches alternate; admission looks ahead.

use vidur_ecs::engine::policy::LightLlm;

use super::super::planner::{Planner, Room};

pub fn plan(policy: &LightLlm, p: &mut Planner<'_>) {
    if p.s.running.is_empty() {
        admit(policy, p);
        if !p.batch.is_empty() {
            p.s.waited = 0;
        }
        return;
    }
    if p.s.waited >= policy.max_waiting_iters {
        p.s.waited = 0;
        admit(policy, p);
        if !p.batch.is_empty() {
            return;
        }
    }
    p.s.waited += 1;
    p.decode(usize::MAX, Room::Needed, false);
}

fn admit(policy: &LightLlm, p: &mut Planner<'_>) {
    // Tokens that a request holds and tokens that it will still add.
    let mut needs: Vec<(u32, u32)> = Vec::new();
    for &job in &p.s.running {
        let job = &p.jobs[job];
        needs.push((job.done, (job.total() - job.done).saturating_sub(1)));
    }
    while let Some(head) = p.head() {
        let prompt = head.prompt;
        let need = (prompt + 1, head.output_left().saturating_sub(2));
        if prompt > policy.max_num_batched_tokens {
            p.reject_head();
            continue;
        }
        needs.push(need);
        let fits = peak(&needs) < p.limits.num_blocks;
        if !fits && p.num_running() == 0 {
            // It does not even fit alone.
            needs.clear();
            p.reject_head();
            continue;
        }
        if !fits
            || p.tokens + prompt > policy.max_num_batched_tokens
            || p.num_running() == policy.max_num_seqs
            || !p.admit_whole_prompt()
        {
            break;
        }
    }
}

/// Most tokens held at once while the requests end, the one with the fewest tokens to come first.
fn peak(needs: &[(u32, u32)]) -> u32 {
    needs
        .iter()
        .map(|&(_, end)| {
            // When this one ends, those with at least as much to come are there.
            let there = needs.iter().filter(|&&(_, left)| left >= end);
            there.map(|&(held, _)| held + end).sum()
        })
        .max()
        .unwrap_or(0)
}
