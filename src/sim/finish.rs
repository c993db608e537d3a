//! Finish phase: commits the iterations that end now.

use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemParam;

use super::{Agenda, Engine, Ledger, Nanos, Worklists};
use crate::batch::Batch;
use crate::cluster::{BatchOf, Replica, Stage, StageQueue};
use crate::kv::{BlockStore, BlockTable, KvBlock};
use crate::metrics::{BatchRecord, RequestStatus};
use crate::request::{Request, Sequence};

/// What committing a batch reads and writes, the replica and its blocks aside.
#[derive(SystemParam)]
pub(crate) struct Books<'w, 's> {
    requests: Query<'w, 's, (&'static mut BlockTable, &'static mut Request)>,
    ledger: ResMut<'w, Ledger>,
    /// Spans between tokens of the batch that is committed, run-length coded.
    gaps: Local<'s, (Nanos, u64)>,
}

/// Finish phase: a stage that ends hands its batch to the next stage; the last stage's batch is
/// committed: tokens, first tokens, completions, freed blocks.
#[allow(clippy::too_many_arguments)] // a system's parameters are its data dependencies
pub(crate) fn finish(
    mut agenda: ResMut<Agenda>,
    engine: Res<Engine>,
    mut lists: ResMut<Worklists>,
    mut stages: Query<(&Stage, &mut StageQueue)>,
    mut batches: Query<(&mut Batch, &BatchOf)>,
    mut replicas: Query<&mut Replica>,
    mut blocks: Query<&mut KvBlock>,
    mut books: Books,
) -> Result {
    if agenda.stage_ends.is_empty() {
        return Ok(());
    }
    let now = agenda.now();
    let lists = &mut *lists;
    let mut tables = blocks.contiguous_iter_mut().map_err(|e| e.to_string())?;
    let mut table = tables.next();
    let mut blocks = BlockStore {
        spawned: match &mut table {
            Some(table) => table.bypass_change_detection(),
            None => &mut [],
        },
        staged: &mut lists.staged,
    };
    for ending in agenda.stage_ends.drain(..) {
        let (stage, mut queue) = stages.get_mut(ending)?;
        let (index, next) = (stage.index, stage.next);
        let Some(slot) = queue.current.take() else { continue };
        lists.to_serve.push(ending);
        if let Some(next) = next {
            stages.get_mut(next)?.1.fifo.push_back(slot);
            lists.to_serve.push(next);
            continue;
        }
        let (mut batch, &BatchOf(entity)) = batches.get_mut(slot)?;
        let mut replica = replicas.get_mut(entity)?;
        let block_size = engine.limits.block_size;
        let mut commit = Commit { now, ended: &mut lists.ended, block_size, blocks: &mut blocks };
        books.commit(&mut batch, &mut replica, index, &mut commit)?;
        replica.free_slots.push(slot);
        replica.horizon = replica.asynchronous.then_some(batch.started_at);
        lists.touched.add(replica.index, entity);
    }
    Ok(())
}

/// When a batch is committed, and where what ends with it goes.
struct Commit<'a, 'b> {
    now: Nanos,
    ended: &'a mut Vec<(Sequence, RequestStatus)>,
    block_size: u32,
    blocks: &'a mut BlockStore<'b>,
}

impl Books<'_, '_> {
    /// Commits a batch whose last stage ends now. Requests that go on join the running list in
    /// batch order.
    fn commit(
        &mut self,
        batch: &mut Batch,
        replica: &mut Replica,
        stage: u32,
        commit: &mut Commit<'_, '_>,
    ) -> Result {
        let now = commit.now;
        self.count(batch, stage, now);
        let mut any_ended = false;
        for member in &mut batch.members {
            member.execution += batch.execution;
            if member.prefilled {
                member.processed += 1;
                self.token(member, now);
            } else {
                self.chunk(member, batch.started_at, now)?;
            }
            member.tokens = 0;
            any_ended |= member.processed == member.target;
        }
        self.flush_gaps();
        if any_ended {
            for member in batch.members.extract_if(.., |m| m.processed == m.target) {
                self.end(member, replica, commit)?;
            }
        }
        if replica.running.is_empty() {
            std::mem::swap(&mut replica.running, &mut batch.members);
        } else {
            replica.running.append(&mut batch.members);
        }
        Ok(())
    }

    /// The batch's record and its part in the totals.
    fn count(&mut self, batch: &Batch, stage: u32, now: Nanos) {
        let shape = &batch.shape;
        let totals = &mut self.ledger.totals;
        totals.batches += 1;
        totals.prefill_tokens += u64::from(shape.prefill_tokens());
        totals.decode_tokens += u64::from(shape.decodes);
        totals.context_products += shape.context_products();
        for part in &shape.prefills {
            totals.prefill_squares += u64::from(part.tokens) * (u64::from(part.tokens) + 1) / 2;
        }
        self.ledger.digest(batch.id);
        self.ledger.digest(now.0);
        self.ledger.batches.push(BatchRecord {
            id: batch.id,
            replica: batch.replica,
            stage,
            scheduled_at: batch.scheduled_at,
            completed_at: now,
            tokens: shape.tokens,
            prefill_tokens: shape.prefill_tokens(),
            size: batch.members.len() as u32,
        });
    }

    /// Commits a chunk of a prompt; the last chunk produces a token.
    fn chunk(&mut self, member: &mut Sequence, started_at: Nanos, now: Nanos) -> Result {
        member.processed += member.tokens;
        let complete = member.processed == member.prompt;
        if member.started && !complete {
            return Ok(());
        }
        let (_, mut request) = self.requests.get_mut(member.entity)?;
        request.first_stage_at.get_or_insert(started_at);
        member.started = true;
        if complete {
            request.first_token_at.get_or_insert(now);
            member.prefilled = true;
            member.processed += 1;
            self.token(member, now);
        }
        Ok(())
    }

    /// A request got a token now.
    fn token(&mut self, member: &mut Sequence, now: Nanos) {
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
        let (gap, count) = *self.gaps;
        if count > 0 {
            self.ledger.totals.inter_token.record(gap, count);
            self.gaps.1 = 0;
        }
    }

    /// A request has all its tokens: its blocks are freed, now or after the next plan.
    fn end(
        &mut self,
        member: Sequence,
        replica: &mut Replica,
        commit: &mut Commit<'_, '_>,
    ) -> Result {
        commit.ended.push((member, RequestStatus::Finished));
        if replica.asynchronous {
            replica.lingering.push(member);
            return Ok(());
        }
        let (table, _) = &mut self.requests.get_mut(member.entity)?;
        depart(&member, replica, table, commit.block_size, commit.blocks, &mut self.ledger);
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
    ledger.counts.allocated -= u64::from(moved.blocks);
    ledger.counts.used -= u64::from(moved.tokens);
    ledger.counts.running -= 1;
    ledger.loads.add_running(replica.index, -1);
}
