//! Commits the iterations of a run after the first, as single steps would have done.

use bevy_ecs::prelude::*;

use super::commit::{CommitContext, Committed};
use super::state::Replica;
use super::state::batch::{Batch, Growth};
use super::state::kv::PrefixHashes;
use super::state::request::Sequence;
use super::state::transfers::Iteration;
use crate::base::Nanos;
use crate::records::BatchRecords;
use crate::timing::StageTime;

impl CommitContext<'_, '_, '_> {
    /// Commits the iterations of a run after the first. Returns their time.
    pub(super) fn commit_rest(
        &mut self,
        batch: &mut Batch,
        on: &mut Committed<'_, '_>,
    ) -> Result<Nanos> {
        let more = batch.run.iterations() - 1;
        let pool = on.pool_index();
        // Blocks that the cluster's counts do not show yet, while the run goes on.
        let (growth, counted) = match batch.with_group {
            true => (on.replica.decoding.growth(), on.replica.decoding.in_window()),
            false => {
                let counted = batch.members.iter().filter(|member| member.in_window).count();
                (Growth::of(&batch.members, on.block_size(), 1), counted as u64)
            }
        };
        let growth = growth.filter(|_| batch.run.grows).unwrap_or_else(Growth::none);
        let time = self.integrate(pool, batch, &growth, counted);
        if self.batch_records != BatchRecords::Off || self.ledger.series.is_some() {
            self.tell(batch, &growth, on.stage);
        }
        self.ledger.pool(pool).count_busy(time, false);
        let (ends, size) = (&batch.run.ends[1..], u64::from(batch.size));
        self.ledger.window(pool, |window| window.iterations(ends.iter().map(|end| end.tick), size));
        self.total(pool, batch, more);
        batch.id += u64::from(more);
        self.ledger.planned += u64::from(more);
        self.ledger.counts(pool).used += u64::from(more) * u64::from(batch.size);
        match batch.with_group {
            true => self.grow_group(batch, on, more)?,
            false => self.grow_members(batch, on, more, time.total)?,
        }
        on.replica.note_peak();
        Ok(time.total)
    }

    /// Adds what the iterations held beyond the counts to the integrals, and their gaps between
    /// tokens, of `counted` requests each. Returns the sum of their times.
    fn integrate(
        &mut self,
        pool: u32,
        batch: &Batch,
        growth: &Growth<'_>,
        counted: u64,
    ) -> StageTime {
        // What an iteration adds is held until the run ends.
        let (mut spans, mut allocated) = (0_u128, 0_u128);
        if let [starts @ .., end] = batch.run.ends.as_slice() {
            for (start, blocks) in starts.iter().zip(growth.each()) {
                let span = end.tick.since(start.tick).0;
                spans += u128::from(span);
                allocated += u128::from(span) * u128::from(blocks);
            }
        }
        let used = spans * u128::from(batch.size);
        let totals = self.ledger.totals(pool);
        totals.kv_used_integral += used;
        totals.kv_allocated_integral += allocated;
        if counted > 0 {
            totals.inter_token.record_each(batch.run.spans(), counted);
        }
        batch.run.rest()
    }

    /// Adds `more` iterations of decoding requests to the totals.
    fn total(&mut self, pool: u32, batch: &Batch, more: u32) {
        let (more, size) = (u64::from(more), u64::from(batch.size));
        let totals = self.ledger.totals(pool);
        totals.batches += more;
        totals.batch_members += more * size;
        totals.decode_tokens += more * size;
        // In each iteration every context is one token longer than in the one before.
        let context = batch.shape.decode_context;
        totals.context_products += more * context + size * (more * (more + 1) / 2);
        if let Some(last) = batch.run.ends.last() {
            totals.end = totals.end.max(last.tick);
            self.ledger.digest(last.tick.0);
        }
        self.ledger.digest(batch.id + more);
    }

    /// Tells of each iteration, if somebody listens.
    fn tell(&mut self, batch: &Batch, growth: &Growth<'_>, stage: u32) {
        let first = batch.id;
        for (number, held) in (1..batch.run.ends.len()).zip(held(batch, growth)) {
            let (begin, end) = (batch.run.ends[number - 1].tick, batch.run.ends[number].tick);
            let iteration = Iteration { begin, end };
            self.report(batch, first + number as u64, stage, iteration);
            if let Some(series) = &mut self.ledger.series {
                series.add_held(begin, end, held.tokens, held.blocks);
            }
        }
    }

    /// The blocks that a decode group got in the iterations of a run after the first.
    fn grow_group(&mut self, batch: &Batch, on: &mut Committed<'_, '_>, more: u32) -> Result {
        let Replica { decoding, kv, pool_index, .. } = &mut *on.replica;
        if !kv.caches_prefixes() {
            if batch.run.grows {
                let new = decoding.take_blocks(1..=more, kv, &mut self.blocks);
                self.ledger.hold(*pool_index, new, 0);
            }
            return Ok(());
        }
        for number in 1..=more {
            decoding.block_changes(number, batch.run.grows, self.changes);
            for change in self.changes.iter() {
                let (mut table, _, hashes) = self.requests.get_mut(change.entity)?;
                let new = change.apply(kv, &mut table, hashes, &mut self.blocks);
                self.ledger.hold(*pool_index, new, 0);
            }
        }
        Ok(())
    }

    /// What the iterations of a run after the first gave to the members of a plain list.
    fn grow_members(
        &mut self,
        batch: &mut Batch,
        on: &mut Committed<'_, '_>,
        more: u32,
        execution: Nanos,
    ) -> Result {
        for member in &mut batch.members {
            member.execution += execution;
            member.last_token_at = self.now;
        }
        // Of two blocks with the same prefix the one that is full first is found, so that the order
        // of iterations matters to a cache.
        let (times, each) = if on.replica.kv.caches_prefixes() { (more, 1) } else { (1, more) };
        for _ in 0..times {
            for member in &mut batch.members {
                self.grow_member(member, each, batch.run.grows, on)?;
            }
        }
        Ok(())
    }

    /// Gives a member of a plain list `more` tokens and, if it `grows`, the blocks for them.
    fn grow_member(
        &mut self,
        member: &mut Sequence,
        more: u32,
        grows: bool,
        on: &mut Committed<'_, '_>,
    ) -> Result {
        let (block_size, Replica { kv, pool_index, .. }) = (on.block_size(), &mut *on.replica);
        let before = member.kv_tokens();
        member.processed += more;
        // The last token of the run is not in the cache yet.
        let held = member.kv_tokens();
        let needed = if grows { held.div_ceil(block_size) } else { 0 };
        let missing = needed.saturating_sub(member.blocks);
        let since = u32::from(kv.caches_decoded_late());
        let full = ((before - since) / block_size) as usize..((held - since) / block_size) as usize;
        let caches = kv.caches_prefixes() && member.group == 0 && !full.is_empty();
        if missing == 0 && !caches {
            return Ok(());
        }
        let (mut table, _, hashes) = self.requests.get_mut(member.entity)?;
        kv.allocate(missing, &mut table, &mut self.blocks);
        member.blocks += missing;
        self.ledger.hold(*pool_index, missing, 0);
        if let Some(PrefixHashes(hashes)) = hashes.filter(|_| caches) {
            for (&id, &hash) in table.0[full.clone()].iter().zip(&hashes[full]) {
                kv.cache_block(id, hash, &mut self.blocks);
            }
        }
        Ok(())
    }
}

/// Tokens and blocks that a run holds beyond the counts.
struct Held {
    tokens: u64,
    blocks: u64,
}

/// What a run holds beyond the counts during each iteration after the first.
fn held(batch: &Batch, growth: &Growth<'_>) -> impl Iterator<Item = Held> {
    let size = u64::from(batch.size);
    let (mut tokens, mut blocks) = (0, 0);
    growth.each().map(move |needed| {
        tokens += size;
        blocks += u64::from(needed);
        Held { tokens, blocks }
    })
}
