//! Commits iterations: tokens, first tokens, completions, freed blocks.

use bevy_ecs::prelude::*;

use super::commit_speculation::Verified;
use super::events::Lifecycle;
use super::lists::{EndedRequest, ReadyReplicas};
use super::state::batch::{Batch, BlockChange};
use super::state::kv::{BlockStore, BlockTable};
use super::state::request::{Request, RequestQuery, Sequence};
use super::state::transfers::{HandedOver, Iteration, Sent, Transfers};
use super::state::{Replica, ReplicaParts, Techniques};
use super::transition::{At, Standing};
use super::{Delivery, Engine, Ledger, Pool};
use crate::base::Nanos;
use crate::records::{BatchRecord, BatchRecords, Produced, RequestStatus};

/// What committing batches reads and writes, replicas and batches aside.
pub(crate) struct CommitContext<'a, 'w, 's> {
    pub requests: &'a mut RequestQuery<'w, 's>,
    pub ledger: &'a mut Ledger,
    pub blocks: BlockStore<'a>,
    pub changes: &'a mut Vec<BlockChange>,
    pub ended: &'a mut Vec<EndedRequest>,
    pub batch_records: BatchRecords,
    pub now: Nanos,
    /// Spans between tokens of the batch that is committed, run-length coded.
    pub gaps: TokenGap,
}

/// A span between tokens, and how often it came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TokenGap {
    span: Nanos,
    count: u64,
}

/// A replica whose batch is committed.
pub(crate) struct Committed<'a, 'b> {
    pub replica: &'a mut Replica,
    pub techniques: &'a mut Techniques<'b>,
    pub pool: &'a Pool,
    /// The stage on which the batch ends.
    pub stage: u32,
}

impl Committed<'_, '_> {
    /// Tokens of a KV block.
    pub fn block_size(&self) -> u32 {
        self.pool.limits.block_size
    }

    /// The index of the replica's pool.
    pub fn pool_index(&self) -> u32 {
        self.replica.pool_index
    }
}

impl CommitContext<'_, '_, '_> {
    /// Commits a batch whose last stage ends now. Requests that go on join the running list in
    /// batch order.
    pub fn commit(&mut self, batch: &mut Batch, on: &mut Committed<'_, '_>) -> Result {
        let first_end = match batch.run.iterations() {
            0 | 1 => self.now,
            _ => batch.run.first_end(),
        };
        on.replica.last_end = batch.ready;
        let pool = on.pool_index();
        self.count(batch, on, first_end);
        let mut any_ended = false;
        let mut verified = Verified::default();
        // The members lie beside the batch while they are committed.
        let mut members = std::mem::take(&mut batch.members);
        for member in &mut members {
            member.execution += batch.execution;
            if member.prefilled && on.pool.speculation.is_some() {
                self.verify(member, on, batch.grows, &mut verified, first_end)?;
            } else if member.prefilled {
                member.processed += 1;
                self.token(pool, member, first_end);
            } else {
                self.chunk(pool, member, batch.started_at, first_end)?;
            }
            member.tokens = 0;
            any_ended |= member.processed == member.target;
        }
        batch.members = members;
        self.flush_gaps(pool);
        if on.pool.speculation.is_some() {
            self.learn(batch, on, verified);
        }
        let mut execution = batch.execution;
        if batch.run.iterations() > 1 {
            execution += self.commit_rest(batch, on)?;
            any_ended = batch.members.iter().any(|m| m.processed == m.target);
        }
        if batch.with_group {
            let iterations = batch.run.iterations();
            on.replica.decoding.in_batch = false;
            on.replica.decoding.advance(
                iterations,
                execution,
                first_end,
                self.now,
                &mut self.ledger.totals(pool).inter_token,
            );
            while let Some((member, owed)) = on.replica.decoding.pop_completed() {
                self.end(member, owed, on)?;
            }
        }
        if any_ended {
            for member in batch.members.extract_if(.., |m| m.processed == m.target) {
                self.end(member, 0, on)?;
            }
        }
        on.replica.rejoin(&mut batch.members, batch.with_group);
        batch.size = 0;
        Ok(())
    }

    /// A batch's part in the totals; its first iteration ends at `end`.
    fn count(&mut self, batch: &Batch, on: &Committed<'_, '_>, end: Nanos) {
        let shape = &batch.shape;
        let totals = self.ledger.totals(on.pool_index());
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
        let pool = on.pool_index();
        self.ledger.window(pool, |window| window.iterations([end].into_iter(), output_tokens));
        self.ledger.digest(batch.id);
        self.ledger.digest(end.0);
        let computed = Iteration { begin: batch.scheduled_at, end };
        self.report(batch, batch.id, on.stage, computed);
    }

    /// Tells those who listen of an iteration: the batch's, or one of its run with number `id`. It
    /// begins when it is scheduled.
    pub fn report(&mut self, batch: &Batch, id: u64, stage: u32, iteration: Iteration) {
        let (shape, end) = (&batch.shape, iteration.end);
        if let Some(series) = &mut self.ledger.series {
            series.iteration(end, u64::from(shape.prefill_tokens()), u64::from(shape.decodes));
        }
        if self.batch_records == BatchRecords::Off {
            return;
        }
        let record = BatchRecord {
            id,
            count: 1,
            replica: batch.replica,
            stage,
            scheduled_at: iteration.begin,
            completed_at: end,
            tokens: shape.tokens,
            prefill_tokens: shape.prefill_tokens(),
            size: batch.size,
        };
        let batches = &mut self.ledger.batches;
        let extended = self.batch_records == BatchRecords::RunLength
            && batches.last_mut().is_some_and(|last| last.extend(&record));
        if !extended {
            batches.push(record);
        }
    }

    /// Commits a chunk of a prompt; the last chunk produces a token.
    fn chunk(&mut self, pool: u32, member: &mut Sequence, started_at: Nanos, now: Nanos) -> Result {
        member.processed += member.tokens;
        let complete = member.processed == member.prompt;
        if member.started && !complete {
            return Ok(());
        }
        let (_, mut request, _) = self.requests.get_mut(member.entity)?;
        request.first_stage_at.get_or_insert(started_at);
        member.started = true;
        if complete {
            let mut produced = Produced { output_tokens: 1, ..Produced::default() };
            if request.first_token_at.is_none() {
                request.first_token_at = Some(now);
                produced.prompt_tokens = u64::from(request.prompt_tokens);
                self.ledger.note(Lifecycle::FirstToken, member, request.replica);
            }
            member.prefilled = true;
            member.processed += 1;
            self.token(pool, member, now);
            self.ledger.window(pool, |window| window.produced(now, produced));
            if let Some(series) = &mut self.ledger.series {
                series.first_token(now);
            }
        }
        Ok(())
    }

    /// A request of a pool got a token now.
    pub fn token(&mut self, pool: u32, member: &mut Sequence, now: Nanos) {
        if member.has_token && member.in_window {
            let gap = now.since(member.last_token_at);
            if gap != self.gaps.span {
                self.flush_gaps(pool);
                self.gaps.span = gap;
            }
            self.gaps.count += 1;
        }
        member.has_token = true;
        member.last_token_at = now;
    }

    fn flush_gaps(&mut self, pool: u32) {
        let TokenGap { span, count } = self.gaps;
        if count > 0 {
            self.ledger.totals(pool).inter_token.record(span, count);
            self.gaps.count = 0;
        }
    }

    /// A request has all its tokens: its blocks, of which `owed` are among the shared ones of its
    /// group, are freed, now or after the next plan.
    fn end(&mut self, member: Sequence, owed: u32, on: &mut Committed<'_, '_>) -> Result {
        let mut member = member;
        self.ended.push(EndedRequest { sequence: member, status: RequestStatus::Finished });
        if let Some(series) = &mut self.ledger.series {
            series.finished(self.now);
        }
        let (pool, now) = (on.pool_index(), self.now);
        let produced = Produced { completions: 1, ..Produced::default() };
        self.ledger.window(pool, |window| window.produced(now, produced));
        let (mut table, mut request, _) = self.requests.get_mut(member.entity)?;
        if let Some(planning) = &mut on.techniques.planning {
            if owed > 0 {
                on.replica.decoding.give_blocks(owed, &mut table);
            }
            planning.finished.push(member);
            return Ok(());
        }
        match member.group {
            0 => {
                let Replica { decoding, kv, pool_index, .. } = &mut *on.replica;
                decoding.give_back(owed, kv, &mut self.blocks);
                self.ledger.let_go(*pool_index, owed, 0);
            }
            // Its group keeps them.
            _ => on.replica.decoding.give_blocks(owed, &mut table),
        }
        let held = Departing { table: &mut table, block_size: on.pool.limits.block_size };
        let at = At { replica: on.replica, adapters: on.techniques.adapters.as_deref_mut() };
        depart(&mut member, Some(&mut request), at, held, &mut self.blocks, self.ledger);
        Ok(())
    }

    /// The requests of a replica whose prompts are processed leave it for another pool. The last
    /// iteration was `computed`.
    pub fn hand_over(
        &mut self,
        from: Entity,
        on: &mut Committed<'_, '_>,
        computed: Iteration,
        mut each: impl FnMut(Sequence),
    ) -> Result {
        let done: Vec<Sequence> = on.replica.running.extract_if(.., |m| m.prefilled).collect();
        for mut member in done {
            let (mut table, mut request, _) = self.requests.get_mut(member.entity)?;
            let Some(transfers) = &mut on.techniques.transfers else {
                return Err("a replica that hands requests over has no transfers".into());
            };
            let table = std::mem::take(&mut *table);
            transfers.sending.push(Sent { id: member.id, table, tokens: member.kv_tokens() });
            request.handed_over = Some(HandedOver { from, computed });
            let at = At { replica: on.replica, adapters: on.techniques.adapters.as_deref_mut() };
            let request = Some(&mut *request);
            // Its blocks stay, but a request counts in one place: from now on where it goes on.
            let (before, after) = (Standing::Running, Standing::Unrouted);
            self.ledger.transition(&mut member, request, at, before, after);
            member.blocks = 0;
            member.group = 0;
            each(member);
        }
        Ok(())
    }

    /// KV content has arrived: the sender's blocks are free, and the receiver's next plan may go on
    /// with the request.
    pub fn deliver(
        &mut self,
        delivery: Delivery,
        engine: &Engine,
        replicas: &mut Query<'_, '_, ReplicaParts>,
        ready: &mut ReadyReplicas,
    ) -> Result {
        let Delivery { from, to, id } = delivery;
        let (sender, _, techniques) = replicas.get_mut(from)?.split();
        let sending = &mut transfers_of(techniques)?.sending;
        let Some(index) = sending.iter().position(|sent| sent.id == id) else {
            return Err(format!("request {id} was delivered, but nobody sent it").into());
        };
        let Sent { mut table, tokens, .. } = sending.remove(index);
        let size = engine.pool(sender.pool_index).limits.block_size;
        let moved = sender.kv.release(&mut table, tokens, size, &mut self.blocks);
        self.ledger.let_go(sender.pool_index, moved.blocks, moved.tokens);
        ready.add(sender.index, from);
        let (receiver, _, techniques) = replicas.get_mut(to)?.split();
        let transfers = transfers_of(techniques)?;
        let Some(index) = transfers.receiving.iter().position(|sequence| sequence.id == id) else {
            return Err(format!("request {id} was delivered, but nobody waits for it").into());
        };
        let sequence = transfers.receiving.remove(index);
        transfers.received.push((self.now, sequence));
        let (_, mut request, _) = self.requests.get_mut(sequence.entity)?;
        if let Some(handed) = request.handed_over {
            request.kv_transfer = Some(self.now.since(handed.computed.end));
        }
        ready.add(receiver.index, to);
        Ok(())
    }
}

fn transfers_of(techniques: Techniques<'_>) -> Result<&mut Transfers> {
    techniques.transfers.ok_or_else(|| "a replica of pools that hand over has no transfers".into())
}

/// What a request that leaves its replica holds.
pub(crate) struct Departing<'a> {
    /// Its blocks.
    pub table: &'a mut BlockTable,
    /// Their size in tokens.
    pub block_size: u32,
}

/// A request that ended leaves its replica: its blocks and its place are free.
pub(crate) fn depart(
    member: &mut Sequence,
    request: Option<&mut Request>,
    at: At<'_>,
    held: Departing<'_>,
    blocks: &mut BlockStore<'_>,
    ledger: &mut Ledger,
) {
    let moved = at.replica.give_back(member, held.table, held.block_size, blocks);
    ledger.let_go(at.replica.pool_index, moved.blocks, moved.tokens);
    ledger.transition(member, request, at, Standing::Running, Standing::Ended);
}
