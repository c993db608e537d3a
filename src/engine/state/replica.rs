//! Replica and pipeline-stage entities.
//!
//! A replica owns the requests that were routed to it: each is a [`Sequence`] in its waiting
//! queue, in its running list (between two iterations) or in one of its batches. Stages and
//! batches point to their replica by relationships.

use std::collections::VecDeque;

use bevy_ecs::prelude::*;

use crate::base::{Instant, Nanos};
use crate::engine::state::batch::{DecodeGroup, Form};
use crate::engine::state::kv::{BlockId, BlockPool, BlockStore, BlockTable, Grouped, Moved};
use crate::engine::state::request::Sequence;

/// A replica: one copy of the model with its queues and its KV blocks. The scheduling policy is
/// another component on the same entity, and so is what only some replicas have
/// (`Techniques`).
#[derive(Component, Debug)]
#[require(Stages, Batches)]
pub struct Replica {
    /// Its index, from 0.
    pub index: u32,
    /// Index of its pool of replicas.
    pub pool_index: u32,
    /// Whether it has no technique that only some replicas have.
    pub(crate) is_plain: bool,
    /// Requests that wait, first come first.
    pub(crate) waiting: VecDeque<Sequence>,
    /// Admitted requests that are in no batch at the moment, in the policy's order, but for those
    /// of the decode group.
    pub(crate) running: Vec<Sequence>,
    /// The running requests that decode, if `form` says so.
    pub(crate) decoding: DecodeGroup,
    /// In which form the running requests are kept.
    pub(crate) form: Form,
    /// The outermost places of the running list so far.
    pub(crate) first_place: i64,
    pub(crate) last_place: i64,
    /// Requests that were admitted and have not ended, in a batch or not.
    pub(crate) num_admitted: u32,
    /// Its KV blocks.
    pub(crate) kv: BlockPool,
    /// Batch slots that are free; the last is used next.
    pub(crate) free_slots: Vec<Entity>,
    /// Blocks of ended requests that their group still holds.
    pub(crate) groups: Vec<BlockGroup>,
    /// Number of admissions so far.
    pub(crate) admissions: u32,
    /// Iterations that ended since the last plan.
    pub(crate) committed: u32,
    /// Most blocks held at once.
    pub(crate) peak_blocks: u32,
    /// The earliest wake-up that is already in the event queue.
    pub(crate) wake: Option<Nanos>,
    /// When its last batch ended.
    pub(crate) last_end: Instant,
}

/// Requests whose blocks are given back together, when the last of them ends.
#[derive(Debug, Default)]
pub(crate) struct BlockGroup {
    pub id: u32,
    pub members: u32,
    pub ended: BlockTable,
}

impl Replica {
    pub(crate) fn new(index: u32, kv: BlockPool, block_size: u32, form: Form) -> Replica {
        Replica {
            index,
            pool_index: 0,
            is_plain: true,
            waiting: VecDeque::new(),
            running: Vec::new(),
            decoding: DecodeGroup::new(block_size, kv.caches_prefixes(), kv.caches_decoded_late()),
            form,
            first_place: 0,
            last_place: 0,
            num_admitted: 0,
            kv,
            free_slots: Vec::new(),
            groups: Vec::new(),
            admissions: 0,
            committed: 0,
            peak_blocks: 0,
            wake: None,
            last_end: Instant::default(),
        }
    }

    /// Whether the plan for the batch that was just launched would be made again: nobody is left
    /// out of the batch, and no waiting request depends on more than free blocks and slots. Under
    /// asynchronous scheduling the next plan may see requests that this one did not; with prefix
    /// caching, what the batch adds to the cache may be what a waiting request lacks.
    pub(crate) fn repeats(&self, asynchronous: bool) -> bool {
        self.running.is_empty()
            && !self.has_idle_group()
            && (self.waiting.is_empty() || !(asynchronous || self.kv.caches_prefixes()))
    }

    /// The KV blocks that the replica holds itself and no request's table has: those that members
    /// of its decode group got there, those of requests whose block group is not done, and all
    /// where the model's layers are in several KV cache groups.
    pub fn held_blocks(&self) -> impl Iterator<Item = BlockId> + '_ {
        let ended = self.groups.iter().flat_map(|group| &group.ended.0);
        let of_groups = self.kv.grouped().into_iter().flat_map(Grouped::blocks);
        self.decoding.shared_blocks().0.iter().chain(ended).chain(of_groups).copied()
    }

    /// Notes how many blocks are held now.
    pub(crate) fn note_peak(&mut self) {
        self.peak_blocks = self.peak_blocks.max(self.kv.allocated());
    }

    /// Takes the blocks off a request that ended, or keeps them for its group. Returns the blocks
    /// and tokens that are free now.
    pub(crate) fn give_back(
        &mut self,
        sequence: &Sequence,
        table: &mut BlockTable,
        block_size: u32,
        blocks: &mut BlockStore<'_>,
    ) -> Moved {
        let tokens = sequence.kv_tokens();
        let of = sequence.entity;
        let moved = self.kv.with_grouped(|grouped, kv| grouped.release(of, tokens, kv, blocks));
        if let Some(moved) = moved {
            return moved;
        }
        match self.groups.iter_mut().find(|group| group.id == sequence.group) {
            None => self.kv.release(table, tokens, block_size, blocks),
            Some(group) => {
                group.ended.0.append(&mut table.0);
                Moved { blocks: self.leave_group(sequence.group, blocks), tokens }
            }
        }
    }

    /// Takes one member out of a group. The last one gives back the blocks that the group held
    /// for those who left before; returns how many these are.
    pub(crate) fn leave_group(&mut self, id: u32, blocks: &mut BlockStore<'_>) -> u32 {
        let Some(index) = self.groups.iter().position(|g| g.id == id) else { return 0 };
        let group = &mut self.groups[index];
        group.members -= 1;
        if group.members > 0 {
            return 0;
        }
        let mut group = self.groups.swap_remove(index);
        let freed = group.ended.0.len() as u32;
        // What they held is no longer counted as used.
        self.kv.release(&mut group.ended, 0, 1, blocks);
        freed
    }
}

/// The pipeline stages of a replica, in order.
#[derive(Component, Debug, Default)]
#[relationship_target(relationship = StageOf)]
pub struct Stages(Vec<Entity>);

/// The replica that a stage belongs to.
#[derive(Component, Debug)]
#[relationship(relationship_target = Stages)]
pub struct StageOf(pub Entity);

/// A pipeline stage: it runs one batch, the others wait in its FIFO.
#[derive(Component, Debug)]
#[require(StageQueue)]
pub struct Stage {
    /// Position in the pipeline, from 0.
    pub index: u32,
    /// Number among the stages of the cluster, from 0.
    pub number: u32,
    /// Number of stages of the pipeline.
    pub count: u32,
    /// Index of its replica's pool.
    pub pool: u32,
    /// Its GPUs, if stages of other pools run on them too.
    pub gpus: Option<Entity>,
    /// The stage after it, if any.
    pub next: Option<Entity>,
}

/// What a stage works on.
#[derive(Component, Debug, Default)]
pub struct StageQueue {
    /// The batch that runs.
    pub(crate) current: Option<Entity>,
    /// Batches that wait for the stage.
    pub(crate) fifo: VecDeque<Entity>,
    /// When the last batch left it.
    pub(crate) free: Instant,
}

/// The batch slots of a replica.
#[derive(Component, Debug, Default)]
#[relationship_target(relationship = BatchOf)]
pub struct Batches(Vec<Entity>);

impl Batches {
    /// The slots' entities.
    pub fn entities(&self) -> &[Entity] {
        &self.0
    }
}

impl Stages {
    /// The stages' entities, in pipeline order.
    pub fn entities(&self) -> &[Entity] {
        &self.0
    }
}

/// The replica that a batch slot belongs to.
#[derive(Component, Debug)]
#[relationship(relationship_target = Batches)]
pub struct BatchOf(pub Entity);
