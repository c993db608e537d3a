//! Speculative decoding: what a decoding request feeds, and the blocks that it needs for it.

use super::{Fit, PlanView};
use crate::engine::state::request::Sequence;

impl PlanView<'_> {
    /// Tokens that a decoding request feeds in this batch: its last one and its drafts, as far as
    /// `max_model_len` has room for them.
    pub(super) fn fed(&self, sequence: &Sequence) -> u32 {
        let room = self.limits.max_model_len.saturating_sub(sequence.processed);
        1 + self.draft.drafts.min(room)
    }

    /// Tokens that are fed, as far as the blocks that it holds have room.
    pub(super) fn fed_within_blocks(&self, sequence: &Sequence) -> u32 {
        if self.draft.drafts == 0 {
            return 1;
        }
        let room = sequence.blocks * self.limits.block_size;
        self.fed(sequence).min(room.saturating_sub(sequence.kv_tokens())).max(1)
    }

    /// What it feeds, and how many blocks it lacks for that; none where they are reserved.
    pub(super) fn fed_and_missing(&self, sequence: &Sequence, fit: Fit) -> (u32, u32) {
        if fit == Fit::Reserved {
            return (self.fed_within_blocks(sequence), 0);
        }
        let fed = self.fed(sequence);
        let held = self.limits.blocks_for(sequence.kv_tokens() + fed);
        (fed, held.saturating_sub(sequence.blocks))
    }
}
