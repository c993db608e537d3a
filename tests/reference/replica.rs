//! A replica: its scheduler, and the pipeline of stages that its batches go through.

use std::collections::VecDeque;

use vidur_ecs::base::Nanos;
use vidur_ecs::engine::policy::EngineLimits;
use vidur_ecs::timing::{BatchShape, PrefillPart};

use super::Setup;
use super::clock::Moment;
use super::groups::{self, Groups};
use super::job::Job;
use super::memory::Memory;
use super::planner::Scheduler;
use super::routing::Load;

/// One iteration of some requests.
pub struct Batch {
    pub id: u64,
    pub members: Vec<usize>,
    pub shape: BatchShape,
    pub scheduled_at: Nanos,
    /// When its first stage began.
    pub started_at: Nanos,
    /// When it was planned, or when the stage that it is on or was on last ends.
    pub ready: Moment,
    /// Nanoseconds on stages so far.
    pub execution: u64,
}

impl Batch {
    pub fn new(id: u64, members: Vec<usize>, jobs: &[Job], now: Nanos, ready: Moment) -> Batch {
        let mut prefills = Vec::new();
        let mut contexts = Vec::new();
        for job in members.iter().map(|&job| &jobs[job]) {
            match job.prefilled {
                true => contexts.push(job.done),
                false => prefills.push(PrefillPart { tokens: job.planned, context: job.done }),
            }
        }
        let shape = BatchShape::of(&prefills, &contexts);
        Batch { id, members, shape, scheduled_at: now, started_at: now, ready, execution: 0 }
    }
}

/// A pipeline stage runs one batch at a time.
#[derive(Default)]
pub struct Stage {
    pub current: Option<Batch>,
    pub queue: VecDeque<Batch>,
    /// When its last batch ended or will end.
    pub free: Moment,
}

pub struct Replica {
    pub scheduler: Scheduler,
    pub stages: Vec<Stage>,
    /// When its last iteration ended.
    pub last_end: Moment,
    pub peak_blocks: usize,
}

impl Replica {
    pub fn new(limits: &EngineLimits, setup: &Setup) -> Replica {
        Replica {
            scheduler: Scheduler {
                waiting: VecDeque::new(),
                running: Vec::new(),
                holders: Vec::new(),
                memory: Memory::new(
                    limits.num_blocks,
                    setup.prefix_caching,
                    setup.policy.reuses_unnamed_first(),
                ),
                kv: setup.groups.clone().map(Groups::new),
                admissions: 0,
                parked: Vec::new(),
                groups: 0,
                waited: 0,
                in_flight: 0,
                horizon: Nanos::MAX,
                lingering: Vec::new(),
                steps: 0,
                last_prefill: None,
                short_of_room: false,
            },
            stages: (0..limits.stages).map(|_| Stage::default()).collect(),
            last_end: Moment::default(),
            peak_blocks: 0,
        }
    }

    /// When the next of its stages ends.
    pub fn next_end(&self) -> Option<Nanos> {
        let busy = self.stages.iter().filter_map(|stage| stage.current.as_ref());
        busy.map(|batch| batch.ready.shown()).min()
    }

    /// The batch whose time on this stage is over now.
    pub fn take_ended(&mut self, stage: usize, now: Nanos) -> Option<Batch> {
        self.stages[stage].current.take_if(|batch| batch.ready.shown() == now)
    }

    pub fn load(&self) -> Load {
        Load { waiting: self.scheduler.waiting.len(), running: self.scheduler.holders.len() }
    }

    /// A request that ended gives back its place and its blocks; in a static batch, when the last
    /// of the batch does.
    pub fn leave(&mut self, jobs: &mut [Job], job: usize) {
        let scheduler = &mut self.scheduler;
        scheduler.holders.retain(|&holder| holder != job);
        let Some(group) = jobs[job].group else {
            groups::give_back(&mut jobs[job], &mut scheduler.memory);
            return;
        };
        let table = std::mem::take(&mut jobs[job].table);
        scheduler.parked.push((group, table));
        if !scheduler.holders.iter().any(|&holder| jobs[holder].group == Some(group)) {
            for (_, table) in scheduler.parked.extract_if(.., |(of, _)| *of == group) {
                scheduler.memory.give_back(table);
            }
        }
    }

    /// KV tokens in blocks that somebody holds. Those that several hold count once.
    pub fn used_tokens(&self, jobs: &[Job], limits: &EngineLimits) -> u64 {
        let holders = self.scheduler.holders.iter().map(|&job| &jobs[job]);
        if !self.scheduler.memory.caching() {
            return holders.map(|job| u64::from(job.held_tokens())).sum();
        }
        let first = self.scheduler.kv.as_ref().and_then(|groups| groups.rules.groups.first());
        let size = first.map_or(limits.block_size, |group| group.block_size());
        let mut seen = vec![false; self.scheduler.memory.len()];
        let mut tokens = 0;
        for job in holders {
            let of_group = job.tables.iter().take(1).flat_map(|table| &table.blocks);
            let own = job.table.iter().enumerate();
            for (place, block) in
                own.map(|(place, &b)| (place, b)).chain(of_group.map(|(&p, &b)| (p, b)))
            {
                let before = place as u32 * size;
                if !std::mem::replace(&mut seen[block], true) {
                    tokens += u64::from(job.held_tokens().saturating_sub(before).min(size));
                }
            }
        }
        tokens
    }
}
