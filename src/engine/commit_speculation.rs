//! Committing a step of requests that speculate: what was accepted is progress, the rest goes.

use bevy_ecs::prelude::*;

use super::commit::{CommitContext, Committed};
use super::state::Replica;
use super::state::batch::Batch;
use super::state::kv::PrefixHashes;
use super::state::request::Sequence;
use crate::base::Nanos;
use crate::records::Produced;
use crate::timing::StagePosition;

/// The only stage: a pipeline does not speculate.
const STAGE: StagePosition = StagePosition { index: 0, count: 1 };

/// What the requests of a batch made of their drafts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Verified {
    /// Tokens of decoding requests.
    tokens: u64,
    accepted: u64,
    /// Drafts up to the first refused one of each request, itself included.
    tested: u64,
}

impl CommitContext<'_, '_, '_> {
    /// Commits the step of a decoding request that ended at `now`: draws which of its drafts are
    /// accepted, gives it these and one token more, as far as it needs them, and takes the blocks
    /// back that only refused drafts were in.
    pub(super) fn verify(
        &mut self,
        member: &mut Sequence,
        on: &mut Committed<'_, '_>,
        grows: bool,
        verified: &mut Verified,
        now: Nanos,
    ) -> Result {
        let Some(speculation) = &on.pool.speculation else { return Ok(()) };
        let size = on.block_size();
        let Replica { kv, pool_index, .. } = &mut *on.replica;
        let pool = *pool_index;
        let (mut table, mut request, hashes) = self.requests.get_mut(member.entity)?;
        let (fed, before) = (member.tokens, member.kv_tokens());
        let drafts = fed - 1;
        let accepted = match &mut request.drafting {
            Some(drafting) => drafting.verify(drafts, &speculation.acceptance),
            None => 0,
        };
        let progress = (accepted + 1).min(member.target - member.processed);
        member.processed += progress;
        let held = member.kv_tokens();
        self.ledger.let_go(pool, 0, fed - progress);
        let planned = (before + fed).div_ceil(size);
        if grows && member.blocks == planned {
            let unused = planned - held.div_ceil(size);
            kv.give_back_last(unused, &mut table, &mut self.blocks);
            member.blocks -= unused;
            self.ledger.let_go(pool, unused, 0);
        }
        // Only now is it known which blocks are full of tokens that stay.
        if let Some(PrefixHashes(hashes)) = hashes.filter(|_| member.group == 0) {
            let full = (before / size) as usize..(held / size) as usize;
            for (&id, &hash) in table.0[full.clone()].iter().zip(&hashes[full]) {
                kv.cache_block(id, hash, &mut self.blocks);
            }
        }
        let totals = &mut self.ledger.totals(pool).speculation;
        totals.steps += 1;
        totals.tokens += u64::from(progress);
        totals.drafted += u64::from(drafts);
        totals.accepted += u64::from(accepted);
        verified.tokens += u64::from(progress);
        verified.accepted += u64::from(accepted);
        verified.tested += u64::from((accepted + 1).min(drafts));
        self.token(pool, member, now);
        let more = u64::from(progress - 1);
        if more > 0 {
            // They all come at once.
            if member.in_window {
                self.ledger.totals(pool).inter_token.record(Nanos::ZERO, more);
            }
            if let Some(series) = &mut self.ledger.series {
                series.more_tokens(now, more);
            }
            let produced = Produced { output_tokens: more, ..Produced::default() };
            self.ledger.window(pool, |window| window.produced(now, produced));
        }
        Ok(())
    }

    /// What a batch that has ended says about drafts: the speed-up, and how many to make from now
    /// on.
    pub(super) fn learn(&mut self, batch: &Batch, on: &mut Committed<'_, '_>, verified: Verified) {
        let Some(speculation) = &on.pool.speculation else { return };
        let pool = on.pool_index();
        let shape = &batch.shape;
        if shape.prefills.is_empty() && shape.decodes > 0 {
            let plain = u128::from(speculation.predictor.plain(shape, STAGE).0);
            // Adapters would be loaded once, and their products computed for each of the batches.
            let adapters = batch.adapters.unwrap_or_default();
            let plain = plain + u128::from(adapters.plain.0);
            let as_many = plain * u128::from(verified.tokens) / u128::from(shape.decodes)
                + u128::from(adapters.load.0);
            let totals = &mut self.ledger.totals(pool).speculation;
            totals.time += batch.execution;
            totals.plain_time += Nanos(as_many as u64);
        }
        if let Some(estimate) = &mut on.techniques.drafts {
            estimate.observe(verified.accepted, verified.tested, &speculation.adaptive);
            speculation.choose(shape, estimate);
        }
    }
}
