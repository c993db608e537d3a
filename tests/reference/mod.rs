//! An eager simulator in plain structs and lists, to compare the real one with.
//!
//! It is written from the rules of the engines and shares no simulation code with `src/`: no
//! entities, no event heap, no decode groups, no runs of iterations. Every iteration touches every
//! request in it, and everything that is counted is counted anew at every step. It is there to be
//! read; it may be slow.
//!
//! What it takes from the library is data (requests, limits, settings of policies, records), the
//! price of a batch ([`Predictor`]), and the stream of random numbers that routers draw from.

mod clients;
mod clock;
mod groups;
mod job;
mod memory;
mod planner;
mod policies;
mod replica;
mod routing;
mod totals;

use std::sync::Arc;

use vidur_ecs::base::Nanos;
use vidur_ecs::engine::policy::EngineLimits;
use vidur_ecs::engine::state::kv::GroupRules;
use vidur_ecs::records::{BatchRecord, RequestRecord, RequestStatus, RunTotals};
use vidur_ecs::timing::{Predictor, StagePosition};
use vidur_ecs::workload::NewRequest;

use clients::Clients;
use groups::Groups;
use job::Job;
use memory::Names;
use planner::{Planner, Scheduler};
pub use policies::Policy;
use replica::{Batch, Replica};
pub use routing::Router;
use routing::{Load, Routing};

/// What is simulated.
pub struct Setup {
    pub replicas: u32,
    pub limits: EngineLimits,
    pub prefix_caching: bool,
    /// The KV cache groups of the model's layers, if there are several.
    pub groups: Option<GroupRules>,
    pub policy: Policy,
    pub router: Router,
    pub predictor: Arc<dyn Predictor>,
    /// With ids from 0.
    pub requests: Vec<NewRequest>,
    /// Those that follow the one before, so long after its end.
    pub follows: Vec<Option<Nanos>>,
    pub concurrency: Option<u32>,
    pub api_overhead: Nanos,
    pub seed: u64,
    pub time_limit: Option<Nanos>,
}

/// What comes of it.
#[derive(Default)]
pub struct Outcome {
    pub requests: Vec<RequestRecord>,
    /// By number.
    pub batches: Vec<BatchRecord>,
    /// Without the histogram of gaps.
    pub totals: RunTotals,
    /// Every span between two tokens of a request.
    pub gaps: Vec<Nanos>,
}

/// Runs `setup` to its end.
pub fn run(setup: &Setup) -> Outcome {
    let mut world = World::new(setup);
    while world.step() {}
    world.finish()
}

struct World<'a> {
    setup: &'a Setup,
    limits: EngineLimits,
    now: Nanos,
    clients: Clients<'a>,
    routing: Routing,
    names: Names,
    jobs: Vec<Job>,
    replicas: Vec<Replica>,
    /// Batches so far.
    planned: u64,
    /// Requests that ended in this step.
    ended: Vec<(usize, RequestStatus)>,
    /// Replicas that may plan in this step.
    touched: Vec<bool>,
    out: Outcome,
}

impl World<'_> {
    fn new(setup: &Setup) -> World<'_> {
        let mut limits = setup.limits;
        limits.num_blocks -= setup.policy.reserved_blocks();
        let count = setup.replicas as usize;
        let mut out = Outcome::default();
        out.totals.kv_blocks_total = u64::from(setup.replicas * limits.num_blocks);
        World {
            setup,
            limits,
            now: Nanos::ZERO,
            clients: Clients::new(setup),
            routing: Routing::new(setup.router.clone(), setup.seed),
            names: Names::default(),
            jobs: Vec::new(),
            replicas: (0..count).map(|_| Replica::new(&limits, setup)).collect(),
            planned: 0,
            ended: Vec::new(),
            touched: vec![false; count],
            out,
        }
    }

    /// All that happens at the next point in time. `false` if there is none.
    fn step(&mut self) -> bool {
        let end = self.replicas.iter().filter_map(Replica::next_end).min();
        let arrival = self.clients.next().map(|(_, got)| got.max(self.now));
        let Some(time) = end.into_iter().chain(arrival).min() else { return false };
        if let Some(limit) = self.setup.time_limit.filter(|&limit| time > limit) {
            self.stop_at(limit);
            return false;
        }
        self.integrate(time);
        self.now = time;
        self.end_batches();
        self.arrive();
        for index in 0..self.replicas.len() {
            if std::mem::take(&mut self.touched[index]) {
                self.plan(index);
            }
        }
        self.start_batches();
        self.record_ended();
        true
    }

    /// The time limit ends the run in the middle of what is under way.
    fn stop_at(&mut self, limit: Nanos) {
        self.integrate(limit);
        self.out.totals.end = limit;
        for stage in self.replicas.iter().flat_map(|replica| &replica.stages) {
            let Some(batch) = &stage.current else { continue };
            let beyond = stage.free.shown().since(limit).0;
            let busy = &mut self.out.totals.busy;
            busy.total.0 -= beyond;
            if !batch.shape.prefills.is_empty() {
                busy.with_prefill.0 -= beyond;
            }
        }
    }

    /// Stages whose time is over hand their batch on; the last one's batch is committed.
    fn end_batches(&mut self) {
        for index in 0..self.replicas.len() {
            // From the last stage to the first, so that a batch moves by one stage at most.
            for stage in (0..self.limits.stages as usize).rev() {
                let Some(batch) = self.replicas[index].take_ended(stage, self.now) else {
                    continue;
                };
                for &job in &batch.members {
                    self.jobs[job].last_stage_end = Some(self.now);
                }
                match self.replicas[index].stages.get_mut(stage + 1) {
                    Some(next) => next.queue.push_back(batch),
                    None => self.commit(index, batch),
                }
            }
        }
    }

    /// An iteration is over: tokens, first tokens, last tokens.
    fn commit(&mut self, index: usize, batch: Batch) {
        self.count_batch(index, &batch);
        let asynchronous = self.setup.policy.is_asynchronous();
        let replica = &mut self.replicas[index];
        replica.scheduler.in_flight -= 1;
        replica.last_end = batch.ready;
        if asynchronous {
            replica.scheduler.horizon = batch.started_at;
        }
        for &job in &batch.members {
            let it = &mut self.jobs[job];
            it.execution += batch.execution;
            let mut token = it.prefilled;
            it.done += it.planned;
            it.planned = 0;
            if !it.prefilled && it.done == it.prompt {
                // The last chunk of a prompt brings a token.
                it.prefilled = true;
                it.done += 1;
                it.first_token_at.get_or_insert(self.now);
                token = true;
            }
            if token {
                self.out.gaps.extend(it.last_token_at.map(|last| self.now.since(last)));
                it.last_token_at = Some(self.now);
            }
            if !it.is_complete() {
                replica.scheduler.running.push(job);
                continue;
            }
            self.ended.push((job, RequestStatus::Finished));
            match asynchronous {
                true => replica.scheduler.lingering.push(job),
                false => replica.leave(&mut self.jobs, job),
            }
        }
        self.touched[index] = true;
    }

    fn arrive(&mut self) {
        let mut arrived = Vec::new();
        while let Some((sent_at, got_at)) = self.clients.next()
            && got_at <= self.now
            && let Some(request) = self.clients.send()
        {
            let mut job = Job::new(request, sent_at, got_at);
            job.inter_arrival = self.jobs.last().map(|last| sent_at.since(last.sent_at));
            if self.setup.prefix_caching {
                job.names = self.names.of(&job.new, self.limits.block_size);
            }
            let totals = &mut self.out.totals;
            if totals.arrived == 0 {
                totals.first_arrival = sent_at;
            }
            totals.arrived += 1;
            totals.last_arrival = sent_at;
            totals.end = totals.end.max(sent_at);
            match self.never_fits(&job) {
                true => {
                    let reason = "too long".to_owned();
                    self.ended.push((self.jobs.len(), RequestStatus::Rejected(reason)));
                }
                false => arrived.push(self.jobs.len()),
            }
            self.jobs.push(job);
        }
        for job in arrived {
            let loads: Vec<Load> = self.replicas.iter().map(Replica::load).collect();
            let index = self.routing.choose(self.now, &loads);
            self.jobs[job].replica = Some(index);
            self.replicas[index].scheduler.waiting.push_back(job);
            self.touched[index] = true;
        }
    }

    /// The last token of a request needs no place in the KV cache.
    fn never_fits(&self, job: &Job) -> bool {
        let tokens = job.total() - 1;
        let blocks = match &self.setup.groups {
            None => tokens.div_ceil(self.limits.block_size),
            Some(rules) => Groups::new(rules.clone()).most(tokens) as u32,
        };
        !self.limits.vidur_lengths
            && (job.total() > self.limits.max_model_len || blocks > self.limits.num_blocks)
    }

    /// Plans batches of a replica until its pipeline is full or there is nothing to plan.
    fn plan(&mut self, index: usize) {
        let policy = &self.setup.policy;
        loop {
            let replica = &mut self.replicas[index];
            if replica.scheduler.in_flight == self.limits.stages as usize {
                break;
            }
            let mut planner = Planner {
                now: self.now,
                limits: self.limits,
                jobs: &mut self.jobs,
                s: &mut replica.scheduler,
                batch: Vec::new(),
                tokens: 0,
                preempted: 0,
                asynchronous: policy.is_asynchronous(),
                rejected: Vec::new(),
            };
            if let Some(groups) = &mut planner.s.kv {
                groups.begin();
            }
            policy.plan(&mut planner);
            let Planner { batch, preempted, rejected, .. } = planner;
            self.out.totals.preemptions += u64::from(preempted);
            for job in rejected {
                let reason = "never fits".to_owned();
                self.ended.push((job, RequestStatus::Rejected(reason)));
            }
            let nothing = batch.is_empty();
            if !nothing {
                let ready = replica.last_end.or_now(self.now);
                let batch = Batch::new(self.planned, batch, &self.jobs, self.now, ready);
                self.planned += 1;
                replica.scheduler.in_flight += 1;
                replica.scheduler.steps += 1;
                replica.stages[0].queue.push_back(batch);
                replica.peak_blocks = replica.peak_blocks.max(replica.scheduler.memory.held());
            }
            // An asynchronous plan was made when the last batch began. What ended with that one
            // gives back slot and blocks only now; if nothing was planned, the engine looks again.
            let was_early = replica.scheduler.horizon != Nanos::MAX;
            replica.scheduler.horizon = Nanos::MAX;
            let lingering = std::mem::take(&mut replica.scheduler.lingering);
            if policy.is_asynchronous() {
                // The tokens of the last batch are known now.
                let Scheduler { kv, memory, running, .. } = &mut replica.scheduler;
                for &job in running.iter().chain(&lingering) {
                    let job = &mut self.jobs[job];
                    if !job.prefilled {
                        continue;
                    }
                    if let Some(groups) = kv {
                        groups.give_names(job, job.cached_context(), memory);
                        continue;
                    }
                    for full in 0..(job.cached_context() / self.limits.block_size) as usize {
                        if let Some(&name) = job.names.get(full) {
                            memory.give_name(job.table[full], name);
                        }
                    }
                }
            }
            for job in lingering {
                replica.leave(&mut self.jobs, job);
            }
            // Whoever was preempted may be admitted again at once.
            let again = was_early || preempted > 0 && !policy.idles();
            if nothing && !again {
                break;
            }
        }
    }

    /// Idle stages take the next batch of their queue.
    fn start_batches(&mut self) {
        for index in 0..self.replicas.len() {
            for number in 0..self.limits.stages as usize {
                let stage = &mut self.replicas[index].stages[number];
                if stage.current.is_some() {
                    continue;
                }
                let Some(mut batch) = stage.queue.pop_front() else { continue };
                let position = StagePosition { index: number as u32, count: self.limits.stages };
                let time = self.setup.predictor.stage_time(&batch.shape, position);
                let since = if batch.ready > stage.free { batch.ready } else { stage.free };
                let end = since.or_now(self.now).after(&time);
                if number == 0 {
                    batch.started_at = self.now;
                }
                let span = end.shown().since(self.now);
                batch.execution += span.0;
                self.out.totals.busy.total += span;
                if !batch.shape.prefills.is_empty() {
                    self.out.totals.busy.with_prefill += span;
                }
                for &job in &batch.members {
                    let it = &mut self.jobs[job];
                    it.preemption += it.last_stage_end.map_or(0, |end| self.now.since(end).0);
                }
                (batch.ready, stage.free) = (end, end);
                stage.current = Some(batch);
            }
        }
    }

    fn record_ended(&mut self) {
        self.ended.sort_by_key(|&(job, _)| self.jobs[job].new.id);
        for (job, status) in std::mem::take(&mut self.ended) {
            match status {
                RequestStatus::Finished => self.out.totals.finished += 1,
                _ => self.out.totals.rejected += 1,
            }
            self.out.requests.push(self.jobs[job].record(Some(self.now), status));
            self.clients.answered(self.jobs[job].new.id, self.now);
        }
    }

    fn finish(mut self) -> Outcome {
        let present = self.replicas.iter().flat_map(|replica| {
            // Those that linger have ended.
            let holders = replica.scheduler.holders.iter();
            let holders = holders.filter(|job| !replica.scheduler.lingering.contains(job));
            replica.scheduler.waiting.iter().chain(holders)
        });
        let mut present: Vec<usize> = present.copied().collect();
        present.sort_by_key(|&job| self.jobs[job].new.id);
        for &job in &present {
            self.out.requests.push(self.jobs[job].record(None, RequestStatus::Unfinished));
        }
        self.out.batches.sort_by_key(|batch| batch.id);
        let totals = &mut self.out.totals;
        totals.unfinished = present.len() as u64;
        totals.preemptions_max = self.jobs.iter().map(|job| job.restarts).max().unwrap_or(0);
        totals.kv_allocated_peak = self.replicas.iter().map(|r| r.peak_blocks as u64).sum();
        self.out
    }
}
