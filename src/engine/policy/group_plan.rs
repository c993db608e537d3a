//! Planning the decode group as one, where that gives the plan that a walk over its members would,
//! and batches without it.

use super::{Fit, PlanView};
use crate::engine::state::Replica;
use crate::engine::state::batch::DecodeGroup;
use crate::engine::state::request::Sequence;

impl PlanView<'_> {
    /// Continues incomplete prefills, in order, without any decode, each with the rest of its
    /// prompt or what is left of `budget` tokens for the whole batch. Their blocks were allocated
    /// on admission.
    pub fn prefill_only(&mut self, budget: u32) {
        self.draft.chunks.extend(self.replica.running.extract_if(.., |s| !s.prefilled));
        self.extend_prefills(budget);
    }

    /// Puts all running requests into the plain list.
    pub(super) fn dissolve(&mut self) {
        if let Err(error) = self.replica.dissolve(&mut self.requests) {
            self.fail(error.to_string());
        }
    }

    /// Sorts the running requests that are not in the batch by `key` (stable). `of_group` is the
    /// key of the decode group's last member if the group is in this order.
    pub(super) fn sort_running<K: Ord + Copy>(
        &mut self,
        key: impl Fn(&Sequence) -> K,
        of_group: impl Fn(&DecodeGroup) -> Option<K>,
    ) {
        let (idle, requests) = (self.group_is_idle(), &mut self.requests);
        if let Err(error) = self.replica.sort_running(key, of_group, idle, requests) {
            self.fail(error.to_string());
        }
    }

    /// Whether there is a decode group that is not in this batch yet.
    pub(super) fn group_is_idle(&self) -> bool {
        !self.draft.group_planned && self.replica.has_idle_group()
    }

    /// Puts the group into the batch, if it comes first, all its members find their blocks and
    /// `spare` blocks are left then. At most `room` requests decode.
    pub(super) fn plan_group(&mut self, fit: Fit, room: usize, spare: u32) -> bool {
        let size = self.replica.decoding.len();
        // When the limit is reached, a walk would not come past the incomplete prefills behind.
        let all = size < room || size == room && self.replica.running.is_empty();
        if !all || !self.draft.planned.is_empty() {
            return false;
        }
        if fit != Fit::Reserved {
            let free = self.replica.kv.free();
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
        self.draft.group_planned = true;
        self.count_tokens(size as u32);
        true
    }

    /// Gives the group's members the blocks that they need if they `grow`, and makes those that get
    /// full findable.
    fn grow_group(&mut self, grow: bool) {
        let Replica { decoding, kv, pool_index, .. } = &mut *self.replica;
        if !kv.caches_prefixes() {
            match grow {
                true => {
                    let new = decoding.take_blocks(0..=0, kv, &mut self.blocks);
                    self.ledger.hold(*pool_index, new, 0);
                }
                false => decoding.stay(),
            }
            return;
        }
        decoding.block_changes(0, grow, self.changes);
        for change in self.changes.iter() {
            let Ok((mut table, _, hashes)) = self.requests.get_mut(change.entity) else {
                let index = self.replica.index;
                return self.ledger.note_fault(|| {
                    format!("a request in a batch of replica {index} has no entity")
                });
            };
            let new = change.apply(kv, &mut table, hashes, &mut self.blocks);
            self.ledger.hold(*pool_index, new, 0);
        }
    }

    /// Plans the group as [`PlanView::plan_group`] does, for a walk under a budget of tokens in
    /// which incomplete prefills get chunks.
    pub(super) fn plan_group_within(&mut self, budget: u32, chunk: u32) -> bool {
        let group = &self.replica.decoding;
        let first = self.replica.running.first().map_or(i64::MAX, |sequence| sequence.place);
        let size = group.len() as u32;
        if self.draft.planned_tokens > 0 || size > budget || group.last_place() > first {
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
