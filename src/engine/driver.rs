//! Builds the world and the schedule, and runs steps until nothing is left to do.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::prelude::*;

use super::admit::{Gates, admit};
use super::agenda::MOST_STAGES;
use super::arrive::{Arrivals, arrive};
use super::ledger::busy_time;
use super::observe::{record, record_ended};
use super::phase::Phases;
use super::series::{MOST_ROWS, USUAL_ROWS, interval_for};
use super::turn::finish_first;
use super::{
    Agenda, Control, Engine, HandOver, Ledger, Phase, Pool, PoolSpec, Series, SimError, SimSpec,
    TurnPart, Worklists,
};
use crate::base::{Nanos, RandomStream, memory};
use crate::engine::lora::Adapters;
use crate::engine::policy::EngineLimits;
use crate::engine::state::batch::{Batch, Form};
use crate::engine::state::kv::{BlockPool, StagedBlocks, spawn_staged_blocks};
use crate::engine::state::request::{Request, Sequence};
use crate::engine::state::{BatchOf, Replica, SharedGpus, Stage, StageOf, StageQueue};
use crate::records::{BatchRecords, OffloadTotals, RequestStatus, RunSink, RunTotals};

/// A run: a world and the schedule that advances it.
pub struct Simulation {
    pub(crate) world: World,
    pub(crate) control: Control,
    phases: Phases,
    /// Whether what is handed over is routed again in the same step.
    hands_over: bool,
    time_limit: Option<Nanos>,
    /// Whether the time limit has ended the run.
    stopped: bool,
    /// How often the phase Observe has run.
    observed: u64,
    steps: u64,
}

/// Steps between two looks at the memory.
const LOOK_EVERY: u64 = 1 << 14;

/// So many steps in which requests ended are remembered as changes of the world.
const CLEAR_EVERY: u64 = 256;

/// So many records of requests a run hands to the sink at once: what that does with one is more code than
/// a processor keeps at hand beside a step's.
const HANDED_AT_ONCE: usize = 32;

/// The rolling hash of a run after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepDigest {
    /// The step's time.
    pub time: Nanos,
    /// Hash over everything that happened until then.
    pub digest: u64,
}

impl Simulation {
    /// Builds the world of `spec`.
    ///
    /// # Errors
    /// [`SimError::Cluster`] if a pool hands over to one that does not exist, or there are more than
    /// 16,777,215 pipeline stages.
    pub fn new(spec: SimSpec) -> Result<Simulation, SimError> {
        check_pools(&spec.pools)?;
        let mut world = World::new();
        let mut phases = phases_of(&spec.pools);

        let sizes: Vec<u32> = spec.pools.iter().map(|pool| pool.replicas).collect();
        let single = sizes.iter().sum::<u32>() == 1;
        let mut ledger = Ledger::new(&sizes);
        let mut shared: BTreeMap<(u32, u32, u32), Entity> = BTreeMap::new();
        let mut replicas = Vec::new();
        let mut stages = 0;
        let mut pools = Vec::new();
        let mut traffic = Vec::new();
        let mut gates = Vec::new();
        let receivers: Vec<u32> =
            spec.pools.iter().filter_map(|pool| Some(pool.hand_over?.to)).collect();
        for (pool, index) in spec.pools.into_iter().zip(0..) {
            // How many tokens a step makes is only known when it ends.
            let speculates = pool.speculation.is_some();
            // Requests leave in mid-life, or come then.
            let hands = pool.hand_over.is_some() || receivers.contains(&index);
            // Every member of a batch may want another adapter, and a step may wait for it.
            let adapts = pool.lora.is_some();
            let offloads = pool.host.is_some();
            let plain = spec.plain_lists || speculates || hands || adapts || offloads;
            let grouped = pool.limits.stages == 1 && !plain;
            let form = if grouped { Form::Grouped } else { Form::AlwaysPlain };
            let first_replica = replicas.len() as u32;
            let mut limits = pool.limits;
            limits.num_blocks = limits.num_blocks.saturating_sub(pool.policy.reserved_blocks());
            for number in 0..pool.replicas {
                if u64::from(number).is_multiple_of(LOOK_EVERY / 64) {
                    let (time, look) = (Nanos::ZERO, memory::check());
                    look.map_err(|error| SimError::Memory { time, error })?;
                }
                let replica = first_replica + number;
                let place = Place { pool: index, replica, first_stage: stages, form };
                let gpus = pool.shared_gpus.map_or(Vec::new(), |set| {
                    let stages = (0..limits.stages).map(|stage| (set, number, stage));
                    stages
                        .map(|key| *shared.entry(key).or_insert_with(|| spawn_gpus(&mut world)))
                        .collect()
                });
                replicas.push(spawn_replica(&mut world, place, &limits, &pool, &gpus));
                stages += limits.stages;
            }
            let purpose = match pool.name.as_str() {
                "" => "routing".to_owned(),
                name => format!("routing {name}"),
            };
            pool.router.insert(&mut world, index, RandomStream::new(spec.seed, &purpose));
            ledger.open(index);
            ledger.totals.kv_blocks_total = u64::from(pool.replicas) * u64::from(limits.num_blocks);
            pools.push(Pool {
                limits,
                prefix_caching: pool.prefix_caching,
                speculation: pool.speculation,
                lora: pool.lora,
                name: pool.name,
                seed: spec.seed,
                predictor: pool.predictor,
                hand_over: pool.hand_over,
                fast_forward: !spec.exact_steps
                    && !speculates
                    && !hands
                    && !adapts
                    && !offloads
                    && limits.stages == 1
                    // Who takes turns with others cannot know when its next iteration starts.
                    && pool.shared_gpus.is_none()
                    && (single || spec.batch_records != BatchRecords::Each),
                first_replica,
            });
            gates.push(pool.admission);
            traffic.push(pool.traffic);
        }
        if gates.iter().any(Option::is_some) {
            phases.add(Phase::Admit, admit);
            world.insert_resource(Gates(gates));
        }
        ledger.series = spec.time_series.map(Series::new);
        ledger.events = spec.events.then(Vec::new);
        if spec.steady_window {
            ledger.watch_window();
        }
        let hands_over = pools.iter().any(|pool: &Pool| pool.hand_over.is_some());
        let caching = pools.iter().any(|pool: &Pool| pool.prefix_caching);
        let lists = Worklists { staged: StagedBlocks::new(caching), ..Worklists::default() };
        let engine = Engine {
            pools,
            time_limit: spec.time_limit,
            batch_records: spec.batch_records,
            replicas,
        };
        let control = Control {
            engine,
            agenda: Agenda::default(),
            arrivals: Arrivals::new(traffic.into_iter()),
            lists,
            ledger,
        };
        phases.initialize(&mut world);
        Ok(Simulation {
            world,
            control,
            phases,
            hands_over,
            time_limit: spec.time_limit,
            stopped: false,
            observed: 0,
            steps: 0,
        })
    }

    /// Runs to the end and hands every record to `sink`.
    ///
    /// # Errors
    /// [`SimError::Failed`] if a system or a plug-in fails, [`SimError::Workload`] if the requests
    /// ended before their time.
    pub fn run(&mut self, sink: &mut dyn RunSink) -> Result<RunTotals, SimError> {
        while self.advance(sink)?.is_some() {
            if self.control.ledger.requests.len() >= HANDED_AT_ONCE {
                self.deliver_requests(sink);
            }
        }
        self.finish(sink)
    }

    /// Runs the next step and hands its records to `sink`. `None` if there is nothing left to do within
    /// the time limit.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn step(&mut self, sink: &mut dyn RunSink) -> Result<Option<StepDigest>, SimError> {
        let digest = self.advance(sink)?;
        self.deliver_requests(sink);
        Ok(digest)
    }

    /// Runs the next step and hands the records of its batches to `sink`.
    fn advance(&mut self, sink: &mut dyn RunSink) -> Result<Option<StepDigest>, SimError> {
        let digest = self.try_step(sink)?;
        if digest.is_none()
            && let Some(failure) = self.control.arrivals.failure()
        {
            return Err(SimError::Workload(failure));
        }
        Ok(digest)
    }

    fn try_step(&mut self, sink: &mut dyn RunSink) -> Result<Option<StepDigest>, SimError> {
        let Control { agenda, arrivals, ledger, .. } = &mut self.control;
        let event = agenda.next_time();
        let arrival = arrivals.next_time(agenda.now());
        if arrival.is_none() && ledger.is_idle() {
            // A policy that always asks to be woken must not keep an empty cluster going.
            return Ok(None);
        }
        let Some(time) = [event, arrival].into_iter().flatten().min() else { return Ok(None) };
        if let Some(limit) = self.time_limit.filter(|&limit| time > limit) {
            self.stop_at(limit);
            return Ok(None);
        }
        agenda.advance_to(time);
        if ledger.series.is_some() {
            self.sample_until(time, sink)?;
        }
        self.control.ledger.advance(time);
        self.steps += 1;
        if self.steps.is_multiple_of(LOOK_EVERY) {
            memory::check().map_err(|error| SimError::Memory { time, error })?;
        }
        self.run_phases(event == Some(time), arrival == Some(time))
            .map_err(|message| SimError::Failed { time, message })?;
        if let Some(error) = self.control.lists.out_of_memory.take() {
            return Err(SimError::Memory { time, error });
        }
        Ok(Some(StepDigest { time, digest: self.deliver(sink) }))
    }

    /// The time limit ends the run: counts hold until then, and so does the time of what is on a stage.
    fn stop_at(&mut self, limit: Nanos) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let ledger = &mut self.control.ledger;
        ledger.stop_at(limit);
        let mut stages = self.world.query::<(&Stage, &StageQueue)>();
        for (stage, queue) in stages.iter(&self.world) {
            let batch = queue.current.and_then(|slot| self.world.get::<Batch>(slot));
            let Some(batch) = batch else { continue };
            let (time, end) = (batch.run.first_time(), batch.run.first_end());
            let kept = limit.since(Nanos(end.0.saturating_sub(time.total.0)));
            ledger.open(stage.pool);
            let whole = busy_time(&time, !batch.shape.prefills.is_empty());
            ledger.totals.busy.cut(whole, kept.min(time.total));
        }
    }

    /// Runs those phases of a step, in which events are due, or arrivals, or both, that have something
    /// to do.
    fn run_phases(&mut self, events: bool, arrivals: bool) -> Result<(), String> {
        let Simulation { world, control, phases, .. } = self;
        if events && (arrivals || self.hands_over) {
            phases.run(Phase::Finish, control, world)?;
        }
        control.lists.routed = arrivals || control.lists.is_to_route();
        if control.lists.routed {
            phases.run(Phase::Arrive, control, world)?;
            if control.lists.out_of_memory.is_some() {
                return Ok(());
            }
            for phase in [Phase::Admit, Phase::Route] {
                phases.run(phase, control, world)?;
            }
        }
        phases.run(Phase::Turn, control, world)?;
        if control.lists.is_to_observe() {
            phases.run(Phase::Observe, control, world)?;
            self.observed += 1;
            if self.observed.is_multiple_of(CLEAR_EVERY) {
                // bevy_ecs remembers every component that was removed until told to forget.
                world.clear_trackers();
            }
        }
        Ok(())
    }

    /// Hands the records of this step's batches to the sink. Returns the digest.
    fn deliver(&mut self, sink: &mut dyn RunSink) -> u64 {
        let ledger = &mut self.control.ledger;
        for record in ledger.batches.drain(..) {
            sink.batch(&record);
        }
        for event in ledger.events.iter_mut().flat_map(|events| events.drain(..)) {
            sink.event(&event);
        }
        let digest = ledger.digest;
        if ledger.series.as_ref().is_some_and(Series::is_long) {
            self.deliver_series(sink);
        }
        digest
    }

    /// Takes the samples of the time series until `time`, and hands on what becomes too much meanwhile:
    /// a gap without any event has as many rows as intervals.
    fn sample_until(&mut self, time: Nanos, sink: &mut dyn RunSink) -> Result<(), SimError> {
        let ledger = &mut self.control.ledger;
        let Some(series) = &ledger.series else { return Ok(()) };
        if series.rows_until(time) > MOST_ROWS {
            let enough = interval_for(time, USUAL_ROWS);
            return Err(SimError::Series { time, enough });
        }
        while let Some(series) = &mut self.control.ledger.series
            && let Some(until) = series.first_part(time)
        {
            let counts = self.control.ledger.counts_of_all();
            if let Some(series) = &mut self.control.ledger.series {
                series.sample(until, &counts);
            }
            self.deliver_series(sink);
        }
        Ok(())
    }

    /// Hands the records of requests to the sink.
    fn deliver_requests(&mut self, sink: &mut dyn RunSink) {
        for record in self.control.ledger.requests.drain(..) {
            sink.request(&record);
        }
    }

    /// Hands on the rows of the time series that no run under way can change any more.
    fn deliver_series(&mut self, sink: &mut dyn RunSink) {
        let mut batches = self.world.query::<&Batch>();
        let running = batches.iter(&self.world).filter(|batch| batch.size > 0);
        let since = running.map(|batch| batch.scheduled_at).min().unwrap_or(Nanos::MAX);
        if let Some(series) = &mut self.control.ledger.series {
            for row in series.take_before(since) {
                sink.interval(&row);
            }
        }
    }

    /// Records what is not finished and returns the totals.
    fn finish(&mut self, sink: &mut dyn RunSink) -> Result<RunTotals, SimError> {
        let mut unfinished: Vec<Sequence> = Vec::new();
        let pools = self.control.engine.pools.len();
        let mut peak_blocks = vec![0; pools];
        let mut offload: Vec<Option<OffloadTotals>> = vec![None; pools];
        let mut lists = self.world.query::<AnyOf<(&Replica, &Batch)>>();
        for (replica, batch) in lists.iter(&self.world) {
            if let Some(replica) = replica {
                let pool = replica.pool_index as usize;
                peak_blocks[pool] += u64::from(replica.peak_blocks);
                if let Some(host) = replica.pool.host() {
                    offload[pool].get_or_insert_default().add(&host.totals);
                }
                unfinished.extend(replica.waiting.iter().chain(&replica.running));
                unfinished.extend(replica.decoding.members());
                unfinished.extend(replica.swapped.iter().map(|swapped| swapped.sequence));
                unfinished.extend(&replica.transfers.handed);
                unfinished.extend(replica.transfers.on_the_way());
            }
            if let Some(batch) = batch {
                unfinished.extend(&batch.members);
            }
        }
        unfinished.sort_by_key(|sequence| sequence.id);
        self.deliver_requests(sink);
        let mut left = vec![0; pools];
        for sequence in &unfinished {
            let Some(request) = self.world.get::<Request>(sequence.entity) else { continue };
            left[request.pool as usize] += 1;
            sink.request(&record(request, sequence, None, RequestStatus::Unfinished));
        }
        let ledger = &mut self.control.ledger;
        let (end, counts) = (ledger.end_of_all(), ledger.counts_of_all());
        for row in ledger.series.iter_mut().flat_map(|series| series.take_rest(end, &counts)) {
            sink.interval(&row);
        }
        for (((peak, left), offload), pool) in
            peak_blocks.into_iter().zip(left).zip(offload).zip(0..)
        {
            ledger.open(pool);
            if let Some(offload) = offload {
                ledger.totals.offload.get_or_insert_default().add(&offload);
            }
            ledger.totals.unfinished = left;
            ledger.totals.kv_allocated_peak = peak;
        }
        Ok(ledger.totals_of_all())
    }

    /// Steps so far: times at which something happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The totals of each pool, after [`Simulation::run`].
    pub fn totals_by_pool(&self) -> Vec<RunTotals> {
        self.control.ledger.totals_by_pool()
    }
}

/// Whether every pool that hands over does so to another one, and the agenda can number all stages.
fn check_pools(pools: &[PoolSpec]) -> Result<(), SimError> {
    let stages_of = |pool: &PoolSpec| u64::from(pool.replicas) * u64::from(pool.limits.stages);
    let stages: u64 = pools.iter().map(stages_of).sum();
    if stages > MOST_STAGES {
        return Err(SimError::Cluster(format!(
            "the cluster has {stages} pipeline stages; {MOST_STAGES} are possible"
        )));
    }
    for (pool, index) in pools.iter().zip(0..) {
        if let Some(HandOver { to, .. }) = pool.hand_over
            && (to == index || to as usize >= pools.len())
        {
            let (name, count) = (&pool.name, pools.len());
            return Err(SimError::Cluster(format!(
                "pool {index} {name:?} hands over to pool {to}, which is to be another one of {count}"
            )));
        }
    }
    Ok(())
}

/// The systems of a cluster with these pools.
fn phases_of(pools: &[PoolSpec]) -> Phases {
    let mut phases = Phases::default();
    phases.add(Phase::Finish, finish_first);
    phases.add(Phase::Arrive, arrive);
    // One system runs all routers or policies of a type; several take turns in the order of pools.
    let (mut kinds, mut policies) = (BTreeSet::new(), Vec::new());
    for pool in pools {
        if kinds.insert(pool.router.kind()) {
            phases.push(Phase::Route, pool.router.route_system());
        }
        if kinds.insert(pool.policy.kind()) {
            policies.push(&pool.policy);
        }
    }
    for (index, policy) in policies.iter().enumerate() {
        let part = TurnPart { first: index == 0, last: index + 1 == policies.len() };
        phases.push(Phase::Turn, policy.turn_system(part));
    }
    phases.add(Phase::Observe, spawn_staged_blocks);
    phases.add(Phase::Observe, record_ended);
    phases
}

fn spawn_gpus(world: &mut World) -> Entity {
    world.spawn(SharedGpus::default()).id()
}

/// Where a replica belongs: its pool and its number in the cluster, that of its first stage; the form
/// of its running list.
#[derive(Clone, Copy)]
struct Place {
    pool: u32,
    replica: u32,
    first_stage: u32,
    form: Form,
}

fn spawn_replica(
    world: &mut World,
    place: Place,
    limits: &EngineLimits,
    spec: &PoolSpec,
    gpus: &[Entity],
) -> Entity {
    let index = place.replica;
    let pool = BlockPool::new(limits.num_blocks, spec.prefix_caching).with_host(spec.host);
    let mut replica = Replica::new(index, pool, limits.block_size, place.form);
    replica.pool_index = place.pool;
    replica.asynchronous = spec.policy.is_asynchronous();
    replica.adapters = spec.lora.as_ref().map(|lora| Box::new(Adapters::new(lora)));
    let entity = world.spawn(replica).id();
    spec.policy.insert(world, entity);
    let stages: Vec<Entity> = (0..limits.stages)
        .map(|index| Stage {
            index,
            number: place.first_stage + index,
            count: limits.stages,
            pool: place.pool,
            gpus: gpus.get(index as usize).copied(),
            next: None,
        })
        .map(|stage| world.spawn((stage, StageOf(entity))).id())
        .collect();
    for pair in stages.windows(2) {
        if let Some(mut stage) = world.get_mut::<Stage>(pair[0]) {
            stage.next = Some(pair[1]);
        }
    }
    let mut slots: Vec<Entity> = (0..limits.stages)
        .map(|_| world.spawn((Batch { replica: index, ..Batch::default() }, BatchOf(entity))).id())
        .collect();
    slots.reverse();
    if let Some(mut replica) = world.get_mut::<Replica>(entity) {
        replica.free_slots = slots;
    }
    entity
}
