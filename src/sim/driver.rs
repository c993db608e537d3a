//! Builds the world and the schedule, and runs steps until nothing is left to do.

use std::collections::BTreeMap;

use bevy_ecs::error::FallbackErrorHandler;
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{LogLevel, ScheduleBuildSettings, SingleThreadedExecutor};

use super::admit::{Gates, admit};
use super::arrive::{Arrivals, arrive};
use super::finish::finish;
use super::launch::{cut_off_runs, launch};
use super::observe::{record, record_ended};
use super::phase::add_turns;
use super::{
    Agenda, Control, Engine, Event, Ledger, Nanos, Phase, Pool, PoolSpec, RandomStream, Series,
    SimError, SimSpec, Worklists,
};
use crate::batch::{Batch, Form};
use crate::cluster::{BatchOf, Replica, SharedGpus, Stage, StageOf, StageQueue};
use crate::kv::{BlockPool, StagedBlocks, spawn_staged_blocks};
use crate::lora::Adapters;
use crate::metrics::{BatchRecords, OffloadTotals, RequestStatus, RunSink, RunTotals};
use crate::request::{Request, Sequence};
use crate::scheduling::EngineLimits;

/// A run: a world and the schedule that advances it.
pub struct Simulation {
    pub(crate) world: World,
    step: Step,
    time_limit: Option<Nanos>,
}

/// What happens at one time, as schedules of which each runs only if there is something for it to
/// do: fetching what a system needs costs more than most of them do in a step.
#[derive(Default)]
struct Step {
    /// Batches end.
    finish: Schedule,
    /// Requests arrive.
    arrive: Schedule,
    /// Batches are planned and launched.
    plan: Schedule,
    /// What ended is recorded.
    observe: Schedule,
    /// How often `observe` has run.
    observed: u64,
}

/// So many steps in which requests ended are remembered as changes of the world.
const CLEAR_EVERY: u64 = 256;

impl Step {
    /// Makes the schedules ready.
    fn initialize(&mut self, world: &mut World) -> Result<(), SimError> {
        for schedule in [&mut self.finish, &mut self.arrive, &mut self.plan, &mut self.observe] {
            schedule.set_executor(SingleThreadedExecutor::new());
            schedule.set_build_settings(ScheduleBuildSettings {
                ambiguity_detection: LogLevel::Error,
                ..Default::default()
            });
            schedule
                .initialize(world)
                .map_err(|error| SimError::Schedule(error.to_string(schedule.graph(), world)))?;
        }
        Ok(())
    }

    /// Runs the phases of a step in which events are due, or arrivals, or both.
    fn run(&mut self, world: &mut World, events: bool, arrivals: bool) {
        if events {
            self.finish.run(world);
        }
        if arrivals || events && world.resource::<Control>().lists.is_to_route() {
            self.arrive.run(world);
            // A run was cut off at a boundary that is now.
            if world.resource::<Control>().agenda.is_due() {
                self.finish.run(world);
            }
        }
        if world.resource::<Control>().lists.is_to_plan() {
            self.plan.run(world);
        }
        if world.resource::<Control>().lists.is_to_observe() {
            self.observe.run(world);
            self.observed += 1;
            if self.observed.is_multiple_of(CLEAR_EVERY) {
                // bevy_ecs remembers every component that was removed until told to forget.
                world.clear_trackers();
            }
        }
    }
}

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
    /// [`SimError::Schedule`] if a plug-in's systems have no defined order.
    pub fn new(spec: SimSpec) -> Result<Simulation, SimError> {
        let mut world = World::new();
        let mut step = Step::default();
        step.finish.add_systems(finish.in_set(Phase::Finish));
        step.arrive
            .configure_sets((Phase::Arrive, Phase::Admit, Phase::Route, Phase::CutOff).chain());
        step.arrive.add_systems((arrive.in_set(Phase::Arrive), cut_off_runs.in_set(Phase::CutOff)));
        let routers =
            spec.pools.iter().map(|pool| (pool.router.kind(), pool.router.route_system()));
        add_turns(&mut step.arrive, Phase::Route, routers);
        step.plan.configure_sets((Phase::Schedule, Phase::Launch).chain());
        let policies =
            spec.pools.iter().map(|pool| (pool.policy.kind(), pool.policy.plan_system()));
        add_turns(&mut step.plan, Phase::Schedule, policies);
        step.plan.add_systems(launch.in_set(Phase::Launch));
        let observe = (spawn_staged_blocks, record_ended).chain();
        step.observe.add_systems(observe.in_set(Phase::Observe));

        let sizes: Vec<u32> = spec.pools.iter().map(|pool| pool.replicas).collect();
        let single = sizes.iter().sum::<u32>() == 1;
        let mut ledger = Ledger::new(&sizes);
        let mut shared: BTreeMap<(u32, u32, u32), Entity> = BTreeMap::new();
        let mut replicas = Vec::new();
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
                let place = Place { pool: index, replica: first_replica + number, form };
                let gpus = pool.shared_gpus.map_or(Vec::new(), |set| {
                    let stages = (0..limits.stages).map(|stage| (set, number, stage));
                    stages
                        .map(|key| *shared.entry(key).or_insert_with(|| spawn_gpus(&mut world)))
                        .collect()
                });
                replicas.push(spawn_replica(&mut world, place, &limits, &pool, &gpus));
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
            step.arrive.add_systems(admit.in_set(Phase::Admit));
            world.insert_resource(Gates(gates));
        }
        world.insert_resource(FallbackErrorHandler(|error, context| {
            // Handlers are plain functions; the error travels on to the driver as a panic payload
            // would, but through the thread that runs this one simulation.
            FIRST_ERROR.with_borrow_mut(|first| {
                first.get_or_insert_with(|| format!("{}: {error}", context.name()));
            });
        }));
        ledger.series = spec.time_series.map(Series::new);
        let caching = pools.iter().any(|pool: &Pool| pool.prefix_caching);
        let lists = Worklists { staged: StagedBlocks::new(caching), ..Worklists::default() };
        let engine = Engine {
            pools,
            time_limit: spec.time_limit,
            batch_records: spec.batch_records,
            replicas,
        };
        world.insert_resource(Control {
            engine,
            agenda: Agenda::default(),
            arrivals: Arrivals::new(traffic.into_iter()),
            lists,
            ledger,
        });
        step.initialize(&mut world)?;
        Ok(Simulation { world, step, time_limit: spec.time_limit })
    }

    /// Runs to the end and hands every record to `sink`.
    ///
    /// # Errors
    /// [`SimError::Failed`] if a system or a plug-in fails.
    pub fn run(&mut self, sink: &mut dyn RunSink) -> Result<RunTotals, SimError> {
        while self.step(sink)?.is_some() {}
        self.finish(sink)
    }

    /// Runs the next step. `None` if there is nothing left to do within the time limit.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn step(&mut self, sink: &mut dyn RunSink) -> Result<Option<StepDigest>, SimError> {
        if self.time_limit.is_some() {
            self.drop_stale_events();
        }
        let mut control = self.world.resource_mut::<Control>();
        let Control { agenda, arrivals, ledger, .. } = &mut *control;
        let event = agenda.next_time();
        let arrival = arrivals.next_time(agenda.now());
        if arrival.is_none() && ledger.is_idle() {
            // A policy that always asks to be woken must not keep an empty cluster going.
            return Ok(None);
        }
        let Some(time) = [event, arrival].into_iter().flatten().min() else { return Ok(None) };
        if self.time_limit.is_some_and(|limit| time > limit) {
            return Ok(None);
        }
        agenda.advance_to(time);
        ledger.advance(time);
        self.step.run(&mut self.world, event == Some(time), arrival == Some(time));
        if let Some(message) = FIRST_ERROR.take() {
            return Err(SimError::Failed { time, message });
        }
        Ok(Some(StepDigest { time, digest: self.deliver(sink) }))
    }

    /// Takes the ends of runs that were cut off since off the queue. Nothing happens then, and a run
    /// that a time limit ends must not last until there.
    fn drop_stale_events(&mut self) {
        while let Some(Event::StageEnd(stage, launch)) =
            self.world.resource::<Control>().agenda.next_event()
            && self.world.get::<StageQueue>(stage).is_some_and(|queue| queue.launches != launch)
        {
            self.world.resource_mut::<Control>().agenda.drop_next();
        }
    }

    /// Hands the records of this step to the sink. Returns the digest.
    fn deliver(&mut self, sink: &mut dyn RunSink) -> u64 {
        let ledger = &mut self.world.resource_mut::<Control>().ledger;
        for record in ledger.batches.drain(..) {
            sink.batch(&record);
        }
        for record in ledger.requests.drain(..) {
            sink.request(&record);
        }
        let digest = ledger.digest;
        if ledger.series.as_ref().is_some_and(Series::is_long) {
            self.deliver_series(sink);
        }
        digest
    }

    /// Hands on the rows of the time series that no run under way can change any more.
    fn deliver_series(&mut self, sink: &mut dyn RunSink) {
        let mut batches = self.world.query::<&Batch>();
        let running = batches.iter(&self.world).filter(|batch| batch.size > 0);
        let since = running.map(|batch| batch.scheduled_at).min().unwrap_or(Nanos::MAX);
        if let Some(series) = &mut self.world.resource_mut::<Control>().ledger.series {
            for row in series.take_before(since) {
                sink.interval(&row);
            }
        }
    }

    /// Records what is not finished and returns the totals.
    fn finish(&mut self, sink: &mut dyn RunSink) -> Result<RunTotals, SimError> {
        let mut unfinished: Vec<Sequence> = Vec::new();
        let pools = self.world.resource::<Control>().engine.pools.len();
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
        let mut left = vec![0; pools];
        for sequence in &unfinished {
            let Some(request) = self.world.get::<Request>(sequence.entity) else { continue };
            left[request.pool as usize] += 1;
            sink.request(&record(request, sequence, None, RequestStatus::Unfinished));
        }
        let ledger = &mut self.world.resource_mut::<Control>().ledger;
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

    /// The totals of each pool, after [`Simulation::run`].
    pub fn totals_by_pool(&self) -> Vec<RunTotals> {
        self.world.resource::<Control>().ledger.totals_by_pool()
    }
}

thread_local! {
    /// The first error of the step that runs on this thread.
    static FIRST_ERROR: std::cell::RefCell<Option<String>> =
        const { std::cell::RefCell::new(None) };
}

fn spawn_gpus(world: &mut World) -> Entity {
    world.spawn(SharedGpus::default()).id()
}

/// Where a replica belongs: its pool and its number in the cluster; the form of its running list.
#[derive(Clone, Copy)]
struct Place {
    pool: u32,
    replica: u32,
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
