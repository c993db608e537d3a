//! Policies that reserve a request's memory for its whole life: Orca, and static batching.

use vidur_ecs::engine::policy::{Orca, Reserve};

use super::super::planner::{Planner, Room};

/// Blocks of the longest request; Vidur rounds down.
fn longest(p: &Planner<'_>) -> usize {
    match p.limits.vidur_lengths {
        true => (p.limits.max_model_len / p.limits.block_size) as usize,
        false => p.blocks_for(p.limits.max_model_len),
    }
}

pub fn plan_orca(policy: &Orca, p: &mut Planner<'_>) {
    let most = policy.max_num_seqs as usize;
    p.decode(most, Room::Reserved, false);
    while p.batch.len() < most
        && let Some(head) = p.head()
    {
        let (prompt, output) = (head.prompt, head.output_left());
        let reserved = match policy.reserve {
            Reserve::Max => longest(p),
            Reserve::Pow2 => p.blocks_for(prompt + output.next_power_of_two()).min(longest(p)),
            Reserve::Oracle => p.blocks_for(prompt + output).min(longest(p)),
        };
        if !p.admit(0, prompt, reserved, None) {
            break;
        }
    }
}

/// FasterTransformer. The batch whose members have been idle longest goes on; without one a new
/// batch is filled.
pub fn plan_static(max_num_seqs: u32, p: &mut Planner<'_>) {
    if let Some(&first) = p.s.running.first() {
        let group = p.jobs[first].group;
        for job in std::mem::take(&mut p.s.running) {
            match p.jobs[job].group == group {
                true => p.put_reserved(job, 1),
                false => p.s.running.push(job),
            }
        }
        return;
    }
    p.s.groups += 1;
    while p.batch.len() < max_num_seqs as usize
        && let Some(prompt) = p.head_prompt()
        && p.admit(0, prompt, longest(p), Some(p.s.groups))
    {}
}
