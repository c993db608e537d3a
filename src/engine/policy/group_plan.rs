//! Planning the decode group as one, where that gives the plan that a walk over its members would,
//! and batches without it.

use super::{Fit, PlanView};
use crate::engine::state::Replica;

impl PlanView<'_> {
    /// Continues incomplete prefills, in order, without any decode, each with the rest of its prompt
    /// or what is left of `budget` tokens for the whole batch. Their blocks were allocated on
    /// admission.
    pub fn prefill_only(&mut self, budget: u32) {
        self.chunks.extend(self.replica.running.extract_if(.., |s| !s.prefilled));
        self.extend_prefills(budget);
    }

    /// Whether there is a decode group that is not in this batch yet.
    pub(super) fn group_is_idle(&self) -> bool {
        !self.group_planned && self.replica.has_idle_group()
    }

    /// Puts the group into the batch, if it comes first, all its members find their blocks and
    /// `spare` blocks are left then. At most `room` requests decode.
    pub(super) fn plan_group(&mut self, fit: Fit, room: usize, spare: u32) -> bool {
        let size = self.replica.decoding.len();
        // When the limit is reached, a walk would not come past the incomplete prefills behind.
        let all = size < room || size == room && self.replica.running.is_empty();
        if !all || !self.planned.is_empty() {
            return false;
        }
        if fit != Fit::Reserved {
            let free = self.replica.pool.free();
            let Some((needed, last_needs)) = self.replica.decoding.needed() else { return false };
            let fits = match fit {
                Fit::Needed => needed + spare <= free,
                // One after the other each finds a spare block, the last one too.
                _ => free > needed - u32::from(last_needs),
            };
            if !fits {
                return false;
            }
        }
        self.grow_group(fit != Fit::Reserved);
        self.group_planned = true;
        self.planned_tokens += size as u32;
        self.ledger.counts.used += size as u64;
        true
    }

    /// Gives the group's members the blocks that they need if they `grow`, and makes those that get full findable.
    fn grow_group(&mut self, grow: bool) {
        let Replica { decoding, pool, .. } = &mut *self.replica;
        if !pool.caches_prefixes() {
            match grow {
                true => {
                    let new = decoding.take_blocks(0..=0, pool, &mut self.blocks);
                    self.ledger.counts.allocated += u64::from(new);
                }
                false => decoding.stay(),
            }
            return;
        }
        decoding.block_changes(0, grow, self.changes);
        for change in self.changes.iter() {
            if let Ok((mut table, _, hashes)) = self.requests.get_mut(change.entity) {
                let new = change.apply(pool, &mut table, hashes, &mut self.blocks);
                self.ledger.counts.allocated += u64::from(new);
            }
        }
    }

    /// As [`PlanView::plan_group`], for a walk under a budget of tokens in which incomplete prefills
    /// get chunks.
    pub(super) fn plan_group_within(&mut self, budget: u32, chunk: u32) -> bool {
        let group = &self.replica.decoding;
        let first = self.replica.running.first().map_or(i64::MAX, |sequence| sequence.place);
        let size = group.len() as u32;
        if self.planned_tokens > 0 || size > budget || group.last_place() > first {
            return false;
        }
        let (mut left, mut spare) = (budget - size, 0);
        for sequence in &self.replica.running {
            let tokens = left.min(chunk).min(sequence.prompt - sequence.processed);
            if tokens == 0 {
                break;
            }
            let held = self.limits.blocks_for(sequence.kv_tokens() + tokens);
            spare += held.saturating_sub(sequence.blocks);
            left -= tokens;
        }
        self.plan_group(Fit::Needed, usize::MAX, spare)
    }
}
