//! Sarathi-Serve: all decodes, then prompts in chunks.

use vidur_ecs::engine::policy::Sarathi;

use super::super::planner::Planner;
use super::vllm_v0::{room, watermark};

pub fn plan(policy: &Sarathi, p: &mut Planner<'_>) {
    let micro_batch = (policy.max_num_seqs / p.limits.stages) as usize;
    let watermark = watermark(policy.watermark, p);
    let budget = |p: &Planner<'_>| policy.chunk_size.saturating_sub(p.tokens);

    let prefills =
        p.decode(micro_batch, room(policy.vidur_spare_block), policy.vidur_partial_restart);
    let mut skipped = Vec::new();
    for job in prefills {
        let tokens = budget(p).min(p.jobs[job].prompt - p.jobs[job].done);
        match tokens {
            0 => skipped.push(job),
            _ => p.put_reserved(job, tokens),
        }
    }
    p.s.running.splice(0..0, skipped);
    p.sort_running_by_arrival();

    while let Some(prompt) = p.head_prompt() {
        let blocks = p.blocks_for(prompt);
        if blocks + watermark > p.limits.num_blocks as usize {
            p.reject_head();
            continue;
        }
        let full = match policy.vidur_batch_cap {
            true => p.batch.len() == micro_batch,
            false => p.batch.len() >= micro_batch,
        };
        if full
            || p.num_running() == policy.max_num_seqs
            || p.s.memory.free() < blocks + watermark
            || !p.admit(0, budget(p), blocks, None)
        {
            break;
        }
    }
}
