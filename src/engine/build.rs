//! Builds the world of a simulation.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::error::FallbackErrorHandler;
use bevy_ecs::prelude::*;

use super::arrivals::Arrivals;
use super::driver::keep_error;
use super::event_queue::MAX_STAGES;
use super::events::LifecycleLog;
use super::lora::Adapters;
use super::policy::EngineLimits;
use super::schedule::{StepPlace, StepSchedules, StepSystems};
use super::speculation::Estimate;
use super::state::batch::{Batch, Form};
use super::state::kv::{BlockPool, CachingRules, StagedBlocks};
use super::state::transfers::Transfers;
use super::state::{AsyncPlanning, BatchOf, Replica, SharedGpus, Stage, StageOf, SwappedRequests};
use super::systems::{
    Gates, ask_admission, bring_in_arrivals, complete_batches, cut_off_runs, despawn_ended,
    dispatch_events, launch_batches, record_ended, send_transfers, spawn_blocks,
};
use super::{
    Engine, Extensions, HandOver, Ledger, Pool, PoolSpec, Series, SimError, SimSpec, SimState,
    StepSet,
};
use crate::base::{Nanos, RandomStream, memory};
use crate::records::BatchRecords;

/// Replicas between two looks at the memory.
const LOOK_EVERY: u32 = 256;

/// A world and what runs in it.
pub(super) struct Built {
    pub world: World,
    pub schedules: StepSchedules,
    /// Whether requests may be routed in a step without arrivals.
    pub hands_over: bool,
    /// Whether the Metrics set runs in every step.
    pub always_ends: bool,
    /// Whether a plug-in may look at the world in the middle of a run.
    pub open: bool,
}

/// Builds the world of `spec`.
///
/// # Errors
/// As [`super::Simulation::new`].
pub(super) fn build(spec: SimSpec) -> Result<Built, SimError> {
    check_pools(&spec.pools)?;
    let mut world = World::new();
    world.insert_resource(FallbackErrorHandler(keep_error));
    let systems = systems_of(&spec.pools, &spec.extensions);
    let always_ends = spec.extensions.systems.uses(StepSet::Metrics);
    let open = !spec.extensions.is_empty();
    spec.extensions.prepare(&mut world);

    let sizes: Vec<u32> = spec.pools.iter().map(|pool| pool.replicas).collect();
    let mut ledger = Ledger::new(&sizes);
    ledger.series = spec.time_series.map(Series::new);
    ledger.events = spec.events.then(Vec::new);
    if spec.steady_window {
        ledger.watch_window();
    }
    ledger.log = LifecycleLog::of(spec.extensions.heard.iter().copied());
    let takers: BTreeSet<u32> =
        spec.pools.iter().filter_map(|pool| Some(pool.hand_over?.to)).collect();
    let mut builder = Builder {
        world,
        single: sizes.iter().sum::<u32>() == 1,
        exact_steps: spec.exact_steps,
        plain_lists: spec.plain_lists,
        batch_records: spec.batch_records,
        seed: spec.seed,
        takers,
        shared: BTreeMap::new(),
        stages: 0,
        replicas: Vec::new(),
    };
    let (mut pools, mut traffic, mut gates) = (Vec::new(), Vec::new(), Vec::new());
    for (pool, index) in spec.pools.into_iter().zip(0..) {
        let built = builder.pool(&pool, index)?;
        ledger.totals(index).kv_blocks_total =
            u64::from(pool.replicas) * u64::from(built.limits.num_blocks);
        pools.push(built);
        gates.push(pool.admission);
        traffic.push(pool.traffic);
    }
    let Builder { mut world, replicas, .. } = builder;
    if gates.iter().any(Option::is_some) {
        world.insert_resource(Gates(gates));
    }
    let hands_over = pools.iter().any(|pool| pool.hand_over.is_some());
    let caching = pools.iter().any(|pool| pool.prefix_caching);
    let engine =
        Engine { pools, time_limit: spec.time_limit, batch_records: spec.batch_records, replicas };
    let mut state = SimState::new(engine, Arrivals::new(traffic.into_iter()), ledger);
    state.lists.staged = StagedBlocks::new(caching);
    world.insert_resource(state);
    let schedules = StepSchedules::new(systems, &mut world)?;
    Ok(Built { world, schedules, hands_over, always_ends, open })
}

/// Whether every pool that hands over does so to another one, and the event queue can number all
/// stages.
fn check_pools(pools: &[PoolSpec]) -> Result<(), SimError> {
    let stages_of = |pool: &PoolSpec| u64::from(pool.replicas) * u64::from(pool.limits.stages);
    let stages: u64 = pools.iter().map(stages_of).sum();
    if stages > MAX_STAGES {
        return Err(SimError::Cluster(format!(
            "the cluster has {stages} pipeline stages; {MAX_STAGES} are possible"
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

/// The systems of a cluster with these pools: the engine's, those of its policies and routers,
/// those of plug-ins.
fn systems_of(pools: &[PoolSpec], extensions: &Extensions) -> StepSystems {
    let mut systems = StepSystems::default();
    systems.add(StepSet::Completion, complete_batches);
    systems.add(StepSet::Arrival, bring_in_arrivals);
    if pools.iter().any(|pool| pool.admission.is_some()) {
        systems.add(StepSet::Admission, ask_admission);
    }
    systems.add(StepSet::Cutoff, cut_off_runs);
    systems.add(StepSet::Paging, spawn_blocks);
    systems.add(StepSet::Execution, launch_batches);
    if pools.iter().any(|pool| pool.hand_over.is_some()) {
        systems.add(StepSet::Transfer, send_transfers);
    }
    systems.add(StepSet::Metrics, record_ended);
    if !extensions.heard.is_empty() {
        systems.add(StepSet::Metrics, dispatch_events);
    }
    // One system runs all routers or policies of a type.
    let mut kinds: BTreeSet<TypeId> = BTreeSet::new();
    for pool in pools {
        if kinds.insert(pool.router.kind()) {
            pool.router.add_system(&mut systems);
        }
        if kinds.insert(pool.policy.kind()) && !extensions.plans(pool.policy.kind()) {
            pool.policy.add_system(&mut systems);
        }
    }
    systems.extend(&extensions.systems);
    systems.add(StepPlace::After(StepSet::Metrics), despawn_ended);
    systems
}

/// How the replicas of a pool are built.
#[derive(Clone, Copy)]
struct ReplicaShape {
    /// Index of the pool.
    pool: u32,
    /// The form of the running list.
    form: Form,
    /// Whether they hand requests over, or take them.
    hands: bool,
}

/// What the pools of a cluster have in common while they are built.
struct Builder {
    world: World,
    single: bool,
    exact_steps: bool,
    plain_lists: bool,
    batch_records: BatchRecords,
    seed: u64,
    /// Pools that others hand over to.
    takers: BTreeSet<u32>,
    /// GPUs by set, replica and stage.
    shared: BTreeMap<(u32, u32, u32), Entity>,
    stages: u32,
    replicas: Vec<Entity>,
}

impl Builder {
    /// Spawns the replicas of a pool and inserts its router.
    ///
    /// # Errors
    /// There is no memory for them.
    fn pool(&mut self, pool: &PoolSpec, index: u32) -> Result<Pool, SimError> {
        // How many tokens a step makes is only known when it ends.
        let speculates = pool.speculation.is_some();
        // Requests leave in mid-life, or come then.
        let hands = pool.hand_over.is_some() || self.takers.contains(&index);
        // Every member of a batch may want another adapter, and a step may wait for it.
        let adapts = pool.lora.is_some();
        let steps =
            speculates || hands || adapts || pool.host.is_some() || pool.kv_groups.is_some();
        let grouped = pool.limits.stages == 1 && !self.plain_lists && !steps;
        let form = if grouped { Form::Grouped } else { Form::AlwaysPlain };
        let first_replica = self.replicas.len() as u32;
        let mut limits = pool.limits;
        limits.num_blocks = limits.num_blocks.saturating_sub(pool.policy.reserved_blocks());
        for number in 0..pool.replicas {
            if number.is_multiple_of(LOOK_EVERY) {
                let (time, look) = (Nanos::ZERO, memory::check());
                look.map_err(|error| SimError::Memory { time, error })?;
            }
            let gpus = pool.shared_gpus.map_or(Vec::new(), |set| {
                let stages = (0..limits.stages).map(|stage| (set, number, stage));
                stages.map(|key| self.gpus(key)).collect()
            });
            let shape = ReplicaShape { pool: index, form, hands };
            self.replica(pool, shape, &limits, &gpus);
        }
        let purpose = match pool.name.as_str() {
            "" => "routing".to_owned(),
            name => format!("routing {name}"),
        };
        let random = RandomStream::new(self.seed, &purpose);
        pool.router.insert(&mut self.world, index, random);
        Ok(Pool {
            limits,
            batch_limits: pool.policy.batch_limits(&limits),
            oracle: pool.policy.is_oracle(),
            prefix_caching: pool.prefix_caching,
            speculation: pool.speculation.clone(),
            lora: pool.lora,
            kv_groups: pool.kv_groups.clone(),
            name: pool.name.clone(),
            seed: self.seed,
            predictor: pool.predictor.clone(),
            hand_over: pool.hand_over,
            fast_forward: !self.exact_steps
                && !steps
                && limits.stages == 1
                // Who takes turns with others cannot know when its next iteration starts.
                && pool.shared_gpus.is_none()
                && (self.single || self.batch_records != BatchRecords::Each),
            first_replica,
        })
    }

    fn gpus(&mut self, key: (u32, u32, u32)) -> Entity {
        let world = &mut self.world;
        *self.shared.entry(key).or_insert_with(|| world.spawn(SharedGpus::default()).id())
    }

    /// Spawns a replica with its techniques, its stages and its batch slots.
    fn replica(
        &mut self,
        spec: &PoolSpec,
        shape: ReplicaShape,
        limits: &EngineLimits,
        gpus: &[Entity],
    ) {
        let ReplicaShape { pool, form, hands } = shape;
        let index = self.replicas.len() as u32;
        let world = &mut self.world;
        let rules = CachingRules {
            unhashed_first: spec.policy.reuses_unhashed_first(),
            decoded_late: spec.policy.is_asynchronous(),
        };
        let kv = BlockPool::new(limits.num_blocks, spec.prefix_caching)
            .with_rules(rules)
            .with_groups(spec.kv_groups.clone())
            .with_host(spec.host);
        let mut replica = Replica::new(index, kv, limits.block_size, form);
        replica.pool_index = pool;
        let entity = world.spawn(replica).id();
        spec.policy.insert(world, entity);
        let mut parts = world.entity_mut(entity);
        let mut is_plain = true;
        if spec.policy.is_asynchronous() {
            parts.insert(AsyncPlanning::default());
            is_plain = false;
        }
        if let Some(lora) = &spec.lora {
            parts.insert(Adapters::new(lora));
            is_plain = false;
        }
        if spec.speculation.is_some() {
            parts.insert(Estimate::default());
            is_plain = false;
        }
        if spec.host.is_some_and(|host| host.swap) {
            parts.insert(SwappedRequests::default());
            is_plain = false;
        }
        if hands {
            parts.insert(Transfers::default());
            is_plain = false;
        }
        let stages: Vec<Entity> = (0..limits.stages)
            .map(|stage| Stage {
                index: stage,
                number: self.stages + stage,
                count: limits.stages,
                pool,
                gpus: gpus.get(stage as usize).copied(),
                next: None,
            })
            .map(|stage| world.spawn((stage, StageOf(entity))).id())
            .collect();
        for pair in stages.windows(2) {
            if let Some(mut stage) = world.get_mut::<Stage>(pair[0]) {
                stage.next = Some(pair[1]);
            }
        }
        let slot = || (Batch { replica: index, ..Batch::default() }, BatchOf(entity));
        let mut slots: Vec<Entity> = (0..limits.stages).map(|_| world.spawn(slot()).id()).collect();
        slots.reverse();
        if let Some(mut replica) = world.get_mut::<Replica>(entity) {
            replica.free_slots = slots;
            replica.is_plain = is_plain;
        }
        self.stages += limits.stages;
        self.replicas.push(entity);
    }
}
