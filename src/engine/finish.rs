//! Commits the iterations that end now.

use bevy_ecs::prelude::*;

use super::launch::go_on;
use super::speculate::Verified;
use super::{Control, Event, Floor, Ledger};
use crate::base::Nanos;
use crate::engine::speculation::Speculation;
use crate::engine::state::batch::{Batch, BlockChange};
use crate::engine::state::kv::{BlockRows, BlockStore, BlockTable};
use crate::engine::state::request::{RequestQuery, Sequence};
use crate::engine::state::{BatchOf, Replica};
use crate::records::{BatchRecord, BatchRecords, Produced, RequestStatus};

/// What committing a batch reads and writes, the replica and its blocks aside.
pub(crate) struct Books<'a, 'w, 's> {
    pub(super) requests: &'a mut RequestQuery<'w, 's>,
    pub(super) ledger: &'a mut Ledger,
    /// Spans between tokens of the batch that is committed, run-length coded.
    gaps: (Nanos, u64),
    pub(super) changes: &'a mut Vec<BlockChange>,
}

/// Takes what is due off the event queue. A stage that ends hands its batch to the next stage; the last
/// stage's batch is committed: tokens, first tokens, completions, freed blocks.
pub(super) fn finish(
    control: &mut Control,
    floor: &mut Floor<'_, '_>,
    changes: &mut Vec<BlockChange>,
) -> Result {
    let Control { engine, agenda, lists, ledger, .. } = control;
    let Floor { replicas, stages, batches, requests, blocks, .. } = floor;
    let mut books = Books { requests, ledger, gaps: (Nanos::ZERO, 0), changes };
    let now = agenda.now();
    let mut rows = BlockRows::of(blocks, &lists.staged)?;
    let mut blocks = rows.with(&mut lists.staged);
    while let Some(event) = agenda.pop_due() {
        let ending = match event {
            Event::StageEnd(stage) => stage,
            Event::Wake(entity) => {
                let (mut replica, _) = replicas.get_mut(entity)?;
                if replica.wake.is_some_and(|wake| wake <= now) {
                    replica.wake = None;
                }
                lists.touched.add(replica.index, entity);
                continue;
            }
            Event::Delivered(from, to, id) => {
                let rest = (&mut blocks, &mut lists.touched);
                books.deliver((from, to, id), engine, replicas, rest, now)?;
                continue;
            }
        };
        let (stage, mut queue) = stages.get_mut(ending)?;
        let (index, next) = (stage.index, stage.next);
        let Some(slot) = queue.current else { continue };
        if let Ok((mut batch, _)) = batches.get_mut(slot)
            && batch.run.goes_on()
        {
            let end = go_on(&mut batch, queue.free, stage, engine, Nanos::MAX);
            if end != queue.free {
                (queue.free, batch.ready) = (end, end);
                agenda.push_stage_end(end.tick, (ending, stage.number));
                continue;
            }
        }
        queue.current = None;
        lists.to_serve.push(ending);
        if let Some(next) = next {
            stages.get_mut(next)?.1.fifo.push_back(slot);
            lists.to_serve.push(next);
            continue;
        }
        let (mut batch, &BatchOf(entity)) = batches.get_mut(slot)?;
        let (mut replica, _) = replicas.get_mut(entity)?;
        let pool = engine.pool(replica.pool_index);
        let block_size = pool.limits.block_size;
        books.ledger.open(replica.pool_index);
        let mut commit = Commit {
            now,
            batch_records: engine.batch_records,
            speculation: pool.speculation.as_ref(),
            ended: &mut lists.ended,
            block_size,
            blocks: &mut blocks,
        };
        books.commit(&mut batch, &mut replica, index, &mut commit)?;
        if let Some(hand_over) = pool.hand_over {
            let done: Vec<_> = replica.running.extract_if(.., |m| m.prefilled).collect();
            for member in done {
                let computed = (batch.started_at, now);
                let member = books.hand_over(member, (entity, &mut replica), computed)?;
                lists.incoming.push((hand_over.to, member));
            }
        }
        replica.free_slots.push(slot);
        replica.committed += batch.run.iterations();
        if replica.asynchronous {
            replica.horizon = Some(batch.run.last_start(batch.started_at));
        }
        lists.touched.add(replica.index, entity);
    }
    Ok(())
}

/// When a batch is committed, and where what ends with it goes.
pub(super) struct Commit<'a, 'b> {
    pub now: Nanos,
    pub batch_records: BatchRecords,
    speculation: Option<&'a Speculation>,
    ended: &'a mut Vec<(Sequence, RequestStatus)>,
    pub block_size: u32,
    pub blocks: &'a mut BlockStore<'b>,
}

impl Books<'_, '_, '_> {
    /// Commits a batch whose last stage ends now. Requests that go on join the running list in
    /// batch order.
    fn commit(
        &mut self,
        batch: &mut Batch,
        replica: &mut Replica,
        stage: u32,
        commit: &mut Commit<'_, '_>,
    ) -> Result {
        let first_end = match batch.run.iterations() {
            0 | 1 => commit.now,
            _ => batch.run.first_end(),
        };
        replica.last_end = batch.ready;
        self.count(batch, stage, first_end, batch.scheduled_at, commit);
        let mut any_ended = false;
        let mut verified = Verified::default();
        for member in &mut batch.members {
            member.execution += batch.execution;
            if member.prefilled
                && let Some(speculation) = commit.speculation
            {
                let drafts = (speculation, &mut verified);
                self.verify(member, (&mut *replica, batch.grows), drafts, first_end, commit)?;
            } else if member.prefilled {
                member.processed += 1;
                self.token(member, first_end);
            } else {
                self.chunk(member, batch.started_at, first_end)?;
            }
            member.tokens = 0;
            any_ended |= member.processed == member.target;
        }
        self.flush_gaps();
        if let Some(speculation) = commit.speculation {
            self.learn(batch, replica, speculation, verified);
        }
        let mut execution = batch.execution;
        if batch.run.iterations() > 1 {
            execution += self.commit_rest(batch, replica, stage, commit)?;
            any_ended = batch.members.iter().any(|m| m.processed == m.target);
        }
        if batch.with_group {
            let iterations = batch.run.iterations();
            replica.decoding.in_batch = false;
            replica.decoding.advance(
                iterations,
                execution,
                first_end,
                commit.now,
                &mut self.ledger.totals.inter_token,
            );
            while let Some((member, owed)) = replica.decoding.pop_completed() {
                self.end(member, owed, replica, commit)?;
            }
        }
        if any_ended {
            for member in batch.members.extract_if(.., |m| m.processed == m.target) {
                self.end(member, 0, replica, commit)?;
            }
        }
        replica.rejoin(&mut batch.members, batch.with_group);
        batch.size = 0;
        Ok(())
    }

    /// A batch's part in the totals.
    fn count(
        &mut self,
        batch: &Batch,
        stage: u32,
        end: Nanos,
        scheduled_at: Nanos,
        commit: &Commit<'_, '_>,
    ) {
        let shape = &batch.shape;
        let totals = &mut self.ledger.totals;
        totals.batches += 1;
        totals.batch_members += u64::from(batch.size);
        totals.end = totals.end.max(end);
        totals.prefill_tokens += u64::from(shape.prefill_tokens());
        totals.decode_tokens += u64::from(shape.decodes) + u64::from(shape.drafts);
        totals.context_products += shape.context_products();
        for part in &shape.prefills {
            totals.prefill_squares += u64::from(part.tokens) * (u64::from(part.tokens) + 1) / 2;
        }
        let output_tokens = u64::from(shape.decodes);
        self.ledger.window(|window| window.iterations([end].into_iter(), output_tokens));
        self.ledger.digest(batch.id);
        self.ledger.digest(end.0);
        self.report(batch, batch.id, stage, end, scheduled_at, commit);
    }

    /// Tells those who listen of an iteration: the batch's, or one of its run with number `id`.
    pub(super) fn report(
        &mut self,
        batch: &Batch,
        id: u64,
        stage: u32,
        end: Nanos,
        scheduled_at: Nanos,
        commit: &Commit<'_, '_>,
    ) {
        let shape = &batch.shape;
        if let Some(series) = &mut self.ledger.series {
            series.iteration(end, u64::from(shape.prefill_tokens()), u64::from(shape.decodes));
        }
        if commit.batch_records == BatchRecords::Off {
            return;
        }
        let record = BatchRecord {
            id,
            count: 1,
            replica: batch.replica,
            stage,
            scheduled_at,
            completed_at: end,
            tokens: shape.tokens,
            prefill_tokens: shape.prefill_tokens(),
            size: batch.size,
        };
        let batches = &mut self.ledger.batches;
        let extended = commit.batch_records == BatchRecords::RunLength
            && batches.last_mut().is_some_and(|last| last.extend(&record));
        if !extended {
            batches.push(record);
        }
    }

    /// Commits a chunk of a prompt; the last chunk produces a token.
    fn chunk(&mut self, member: &mut Sequence, started_at: Nanos, now: Nanos) -> Result {
        member.processed += member.tokens;
        let complete = member.processed == member.prompt;
        if member.started && !complete {
            return Ok(());
        }
        let (_, mut request, _) = self.requests.get_mut(member.entity)?;
        request.first_stage_at.get_or_insert(started_at);
        member.started = true;
        if complete {
            let first = request.first_token_at.is_none();
            let prompt_tokens = if first { u64::from(request.prompt_tokens) } else { 0 };
            request.first_token_at.get_or_insert(now);
            member.prefilled = true;
            member.processed += 1;
            self.token(member, now);
            let produced = Produced { prompt_tokens, output_tokens: 1, completions: 0 };
            self.ledger.window(|window| window.produced(now, produced));
            if let Some(series) = &mut self.ledger.series {
                series.first_token(now);
            }
        }
        Ok(())
    }

    /// A request got a token now.
    pub(super) fn token(&mut self, member: &mut Sequence, now: Nanos) {
        if member.has_token && member.in_window {
            let gap = now.since(member.last_token_at);
            if gap != self.gaps.0 {
                self.flush_gaps();
                self.gaps.0 = gap;
            }
            self.gaps.1 += 1;
        }
        member.has_token = true;
        member.last_token_at = now;
    }

    fn flush_gaps(&mut self) {
        let (gap, count) = self.gaps;
        if count > 0 {
            self.ledger.totals.inter_token.record(gap, count);
            self.gaps.1 = 0;
        }
    }

    /// A request has all its tokens: its blocks, of which `owed` are on the pile of its group, are
    /// freed, now or after the next plan.
    fn end(
        &mut self,
        member: Sequence,
        owed: u32,
        replica: &mut Replica,
        commit: &mut Commit<'_, '_>,
    ) -> Result {
        commit.ended.push((member, RequestStatus::Finished));
        if let Some(series) = &mut self.ledger.series {
            series.finished(commit.now);
        }
        let produced = Produced { completions: 1, ..Produced::default() };
        self.ledger.window(|window| window.produced(commit.now, produced));
        if replica.asynchronous {
            if owed > 0 {
                let (mut table, ..) = self.requests.get_mut(member.entity)?;
                replica.decoding.give_blocks(owed, &mut table);
            }
            replica.lingering.push(member);
            return Ok(());
        }
        let (mut table, ..) = self.requests.get_mut(member.entity)?;
        match member.group {
            0 => {
                replica.decoding.give_back(owed, &mut replica.pool, commit.blocks);
                self.ledger.counts.allocated -= u64::from(owed);
            }
            // Its group keeps them.
            _ => replica.decoding.give_blocks(owed, &mut table),
        }
        depart(&member, replica, &mut table, commit.block_size, commit.blocks, self.ledger);
        Ok(())
    }
}

/// A request that ended leaves its replica: its blocks and its place are free.
pub(crate) fn depart(
    member: &Sequence,
    replica: &mut Replica,
    table: &mut BlockTable,
    block_size: u32,
    blocks: &mut BlockStore<'_>,
    ledger: &mut Ledger,
) {
    let moved = replica.give_back(member, table, block_size, blocks);
    replica.holding -= 1;
    if let Some(adapters) = &mut replica.adapters {
        adapters.leave(member.adapter);
    }
    ledger.counts.allocated -= u64::from(moved.blocks);
    ledger.counts.used -= u64::from(moved.tokens);
    ledger.counts.running -= 1;
    ledger.loads.add_running(replica.index, -1);
}
