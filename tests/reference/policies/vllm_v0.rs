//! vLLM of 2023: prefills first, alone; then decodes in order of arrival.

use vidur_ecs::engine::policy::VllmV0;

use super::super::planner::{Planner, Room};

pub fn plan(policy: &VllmV0, p: &mut Planner<'_>) {
    let micro_batch = (policy.max_num_seqs / p.limits.stages) as usize;
    let watermark = watermark(policy.watermark, p);
    let mut longest = 0;
    while let Some(prompt) = p.head_prompt() {
        let blocks = p.blocks_for(prompt);
        if prompt > policy.max_num_batched_tokens
            || blocks + watermark > p.limits.num_blocks as usize
        {
            p.reject_head();
            continue;
        }
        let padded = (p.batch.len() as u32 + 1) * prompt.max(longest);
        if p.s.memory.free() < blocks + watermark
            || padded > policy.max_num_batched_tokens
            || p.num_running() == policy.max_num_seqs
            || p.batch.len() == micro_batch
            || !p.admit_whole_prompt()
        {
            break;
        }
        longest = longest.max(prompt);
    }
    if p.batch.is_empty() {
        p.sort_running_by_arrival();
        p.decode(micro_batch, room(policy.vidur_spare_block), false);
    }
}

/// Blocks that an admission leaves free.
pub fn watermark(share: f64, p: &Planner<'_>) -> usize {
    (share * f64::from(p.limits.num_blocks)) as usize
}

pub fn room(vidur_spare_block: bool) -> Room {
    if vidur_spare_block { Room::Spare } else { Room::Needed }
}
