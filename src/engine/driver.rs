//! Runs the steps of a simulation until nothing is left to do.

use std::any::Any;
use std::cell::RefCell;

use bevy_ecs::error::ErrorContext;
use bevy_ecs::prelude::*;

use super::build::{Built, build};
use super::hot_state::StatePlace;
use super::ledger::busy_time;
use super::schedule::{StepCause, StepSchedules};
use super::series::{MAX_ROWS, USUAL_ROWS, interval_for};
use super::state::batch::Batch;
use super::state::kv::{BlockId, mark_holders};
use super::state::request::{Request, Sequence};
use super::state::transfers::Transfers;
use super::state::{Replica, Stage, StageQueue, SwappedRequests};
use super::systems::record;
use super::{Series, SimError, SimSpec, SimState};
use crate::base::{Nanos, memory};
use crate::records::{OffloadTotals, RequestStatus, RunSink, RunTotals};

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum NextStep {
    /// A step at this time, to which clock and counts have been brought.
    Ready(Nanos, StepCause),
    /// A step at this time, up to which the time series has to be sampled first.
    Sampled(Nanos, StepCause),
    /// The time limit.
    Beyond(Nanos),
    /// Nothing.
    None,
}

/// Which sets end a step.
#[derive(Clone, Copy, Debug)]
struct StepEnd {
    /// Paging: blocks were handed out for the first time.
    new_blocks: bool,
    /// Metrics: a request ended, or someone wants to hear of the step.
    metrics: bool,
}

impl SimState {
    /// Which sets end this step, if any. Plug-ins may want Metrics `always`.
    fn end(&self, always: bool) -> Option<StepEnd> {
        let new_blocks = !self.lists.staged.is_empty();
        let metrics = always || !self.lists.ended.is_empty() || !self.ledger.log.is_empty();
        (new_blocks || metrics).then_some(StepEnd { new_blocks, metrics })
    }

    /// Sets the clock to the next step.
    fn next_step(&mut self, limit: Option<Nanos>, hands_over: bool) -> NextStep {
        let SimState { queue, arrivals, ledger, lists, .. } = self;
        let event = queue.next_time();
        let arrival = arrivals.next_time(queue.now());
        if arrival.is_none() && ledger.is_idle() {
            // A policy that always asks to be woken must not keep an empty cluster going.
            return NextStep::None;
        }
        let Some(time) = [event, arrival].into_iter().flatten().min() else {
            return NextStep::None;
        };
        lists.arrivals_due = arrival == Some(time);
        lists.brings_in = lists.arrivals_due || hands_over;
        let cause = StepCause { event: event == Some(time), arrivals: lists.brings_in };
        if let Some(limit) = limit.filter(|&limit| time > limit) {
            return NextStep::Beyond(limit);
        }
        queue.advance_to(time);
        if ledger.series.is_some() {
            return NextStep::Sampled(time, cause);
        }
        ledger.advance(time);
        NextStep::Ready(time, cause)
    }
}

/// A run: a world and the systems that advance it.
pub struct Simulation {
    pub(crate) world: World,
    place: StatePlace,
    schedules: StepSchedules,
    /// Whether what is handed over is routed again in the same step.
    hands_over: bool,
    /// Whether the Metrics set runs in every step.
    always_ends: bool,
    /// Whether a plug-in may look at the world in the middle of a run.
    open: bool,
    time_limit: Option<Nanos>,
    /// Whether the time limit has ended the run.
    stopped: bool,
    /// How often the Metrics set has run.
    ended: u64,
    steps: u64,
}

/// Steps between two looks at the memory.
const LOOK_EVERY: u64 = 1 << 14;

/// So many steps in which requests ended are remembered as changes of the world.
const CLEAR_EVERY: u64 = 256;

/// So many records of requests a run hands to the sink at once: what that does with one is more
/// code than a processor keeps at hand beside a step's.
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
    /// [`SimError::Cluster`] if a pool hands over to one that does not exist, or there are more
    /// than 16,777,215 pipeline stages.
    pub fn new(spec: SimSpec) -> Result<Simulation, SimError> {
        let time_limit = spec.time_limit;
        let Built { mut world, schedules, hands_over, always_ends, open } = build(spec)?;
        Ok(Simulation {
            place: StatePlace::from_world(&mut world),
            world,
            schedules,
            hands_over,
            always_ends,
            open,
            time_limit,
            stopped: false,
            ended: 0,
            steps: 0,
        })
    }

    /// The world, for reading: its entities are as of the last committed iteration of each replica.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The state that belongs to no entity.
    pub(crate) fn state(&mut self) -> &mut SimState {
        self.place.of(&mut self.world)
    }

    /// Runs to the end and hands every record to `sink`.
    ///
    /// # Errors
    /// [`SimError::Failed`] if a system or a plug-in fails, [`SimError::Workload`] if the requests
    /// ended before their time.
    pub fn run(&mut self, sink: &mut dyn RunSink) -> Result<RunTotals, SimError> {
        if !self.open {
            self.state().lists.staged.mark_late();
        }
        let totals = self.run_all(sink);
        self.show_holders();
        totals
    }

    fn run_all(&mut self, sink: &mut dyn RunSink) -> Result<RunTotals, SimError> {
        let (limit, hands_over) = (self.time_limit, self.hands_over);
        let mut next = self.state().next_step(limit, hands_over);
        while let Some((time, cause)) = self.begin(next, sink)? {
            self.schedules.run(&mut self.world, cause);
            // The state is fetched once for the end of a step and the beginning of the next.
            let always = self.always_ends;
            let mut state = self.state();
            if let Some(end) = state.end(always) {
                self.end_step(end);
                state = self.state();
            }
            deliver(state, time, sink)?;
            if state.ledger.series.as_ref().is_some_and(Series::is_long) {
                self.deliver_series(sink);
                next = self.state().next_step(limit, hands_over);
            } else {
                next = state.next_step(limit, hands_over);
            }
        }
        self.finish(sink)
    }

    /// Runs the next step and hands its records to `sink`. `None` if there is nothing left to do
    /// within the time limit.
    ///
    /// # Errors
    /// As [`Simulation::run`].
    pub fn step(&mut self, sink: &mut dyn RunSink) -> Result<Option<StepDigest>, SimError> {
        self.show_holders();
        let (limit, hands_over) = (self.time_limit, self.hands_over);
        let next = self.state().next_step(limit, hands_over);
        let Some((time, cause)) = self.begin(next, sink)? else {
            self.deliver_requests(sink);
            return Ok(None);
        };
        self.schedules.run(&mut self.world, cause);
        let always = self.always_ends;
        if let Some(end) = self.state().end(always) {
            self.end_step(end);
        }
        let state = self.state();
        let digest = deliver(state, time, sink)?;
        if state.ledger.series.as_ref().is_some_and(Series::is_long) {
            self.deliver_series(sink);
        }
        self.deliver_requests(sink);
        Ok(Some(StepDigest { time, digest }))
    }

    /// Lets block entities say who holds them, if they did not while nobody could look.
    fn show_holders(&mut self) {
        if !self.state().lists.staged.mark_at_once() {
            return;
        }
        let mut replicas = self.world.query::<&Replica>();
        let free_of = |replica: &Replica| replica.kv.free_list(|_| BlockId::NONE);
        let free: Vec<BlockId> = replicas.iter(&self.world).flat_map(free_of).collect();
        mark_holders(&mut self.world, &free);
    }

    /// Brings the counts up to the next step. `None` if there is none.
    fn begin(
        &mut self,
        next: NextStep,
        sink: &mut dyn RunSink,
    ) -> Result<Option<(Nanos, StepCause)>, SimError> {
        match next {
            NextStep::Ready(time, cause) => {
                self.steps += 1;
                if self.steps.is_multiple_of(LOOK_EVERY) {
                    memory::check().map_err(|error| SimError::Memory { time, error })?;
                }
                Ok(Some((time, cause)))
            }
            NextStep::Sampled(time, cause) => {
                self.sample_until(time, sink)?;
                self.state().ledger.advance(time);
                self.begin(NextStep::Ready(time, cause), sink)
            }
            NextStep::Beyond(limit) => {
                self.stop_at(limit);
                self.begin(NextStep::None, sink)
            }
            NextStep::None => match self.state().arrivals.failure() {
                Some(failure) => Err(SimError::Workload(failure)),
                None => Ok(None),
            },
        }
    }

    /// The time limit ends the run: counts hold until then, and so does the time of what is on a
    /// stage.
    fn stop_at(&mut self, limit: Nanos) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.state().ledger.stop_at(limit);
        let mut cuts = Vec::new();
        let mut stages = self.world.query::<(&Stage, &StageQueue)>();
        for (stage, queue) in stages.iter(&self.world) {
            let batch = queue.current.and_then(|slot| self.world.get::<Batch>(slot));
            let Some(batch) = batch else { continue };
            let (time, end) = (batch.run.first_time(), batch.run.first_end());
            let kept = limit.since(Nanos(end.0.saturating_sub(time.total.0)));
            let whole = busy_time(&time, !batch.shape.prefills.is_empty());
            cuts.push((stage.pool, whole, kept.min(time.total)));
        }
        for (pool, whole, kept) in cuts {
            self.state().ledger.totals(pool).busy.cut(whole, kept);
        }
    }

    /// Runs the sets that end a step.
    fn end_step(&mut self, end: StepEnd) {
        if end.new_blocks {
            self.schedules.run_paging(&mut self.world);
        }
        if end.metrics {
            self.schedules.run_end(&mut self.world);
            self.ended += 1;
            if self.ended.is_multiple_of(CLEAR_EVERY) {
                // bevy_ecs remembers every component that was removed until told to forget.
                self.world.clear_trackers();
            }
        }
    }

    /// Takes the samples of the time series until `time`, and hands on what becomes too much
    /// meanwhile: a gap without any event has as many rows as intervals.
    fn sample_until(&mut self, time: Nanos, sink: &mut dyn RunSink) -> Result<(), SimError> {
        let Some(series) = &self.state().ledger.series else { return Ok(()) };
        if series.rows_until(time) > MAX_ROWS {
            let enough = interval_for(time, USUAL_ROWS);
            return Err(SimError::Series { time, enough });
        }
        loop {
            let ledger = &mut self.state().ledger;
            let counts = ledger.counts_of_all();
            let Some(series) = &mut ledger.series else { return Ok(()) };
            let Some(until) = series.first_part(time) else { return Ok(()) };
            series.sample(until, &counts);
            self.deliver_series(sink);
        }
    }

    /// Hands the records of requests to the sink.
    fn deliver_requests(&mut self, sink: &mut dyn RunSink) {
        for record in self.state().ledger.requests.drain(..) {
            sink.request(&record);
        }
    }

    /// Hands on the rows of the time series that no run under way can change any more.
    fn deliver_series(&mut self, sink: &mut dyn RunSink) {
        let mut batches = self.world.query::<&Batch>();
        let running = batches.iter(&self.world).filter(|batch| batch.size > 0);
        let since = running.map(|batch| batch.scheduled_at).min().unwrap_or(Nanos::MAX);
        if let Some(series) = &mut self.state().ledger.series {
            for row in series.take_before(since) {
                sink.interval(&row);
            }
        }
    }

    /// Records what is not finished and returns the totals.
    fn finish(&mut self, sink: &mut dyn RunSink) -> Result<RunTotals, SimError> {
        let mut unfinished: Vec<Sequence> = Vec::new();
        let pools = self.state().engine.pools.len();
        let mut peak_blocks = vec![0; pools];
        let mut offload: Vec<Option<OffloadTotals>> = vec![None; pools];
        type Parts =
            (&'static Replica, Option<&'static SwappedRequests>, Option<&'static Transfers>);
        let mut replicas = self.world.query::<Parts>();
        for (replica, swapped, transfers) in replicas.iter(&self.world) {
            let pool = replica.pool_index as usize;
            peak_blocks[pool] += u64::from(replica.peak_blocks);
            if let Some(host) = replica.kv.host() {
                offload[pool].get_or_insert_default().add(&host.totals);
            }
            unfinished.extend(replica.waiting.iter().chain(&replica.running));
            unfinished.extend(replica.decoding.members());
            let swapped = swapped.iter().flat_map(|swapped| &swapped.0);
            unfinished.extend(swapped.map(|swapped| swapped.sequence));
            if let Some(transfers) = transfers {
                unfinished.extend(transfers.handed.iter().chain(transfers.on_the_way()));
            }
        }
        for batch in self.world.query::<&Batch>().iter(&self.world) {
            unfinished.extend(&batch.members);
        }
        unfinished.sort_by_key(|sequence| sequence.id);
        self.deliver_requests(sink);
        let mut left = vec![0; pools];
        for sequence in &unfinished {
            let Some(request) = self.world.get::<Request>(sequence.entity) else {
                let (id, time) = (sequence.id, self.state().now());
                let message = format!("request {id} has no entity");
                return Err(SimError::Failed { time, message });
            };
            left[request.pool as usize] += 1;
            sink.request(&record(request, sequence, None, RequestStatus::Unfinished));
        }
        let ledger = &mut self.state().ledger;
        let (end, counts) = (ledger.end_of_all(), ledger.counts_of_all());
        for row in ledger.series.iter_mut().flat_map(|series| series.take_rest(end, &counts)) {
            sink.interval(&row);
        }
        for (((peak, left), offload), pool) in
            peak_blocks.into_iter().zip(left).zip(offload).zip(0..)
        {
            let totals = ledger.totals(pool);
            if let Some(offload) = offload {
                totals.offload.get_or_insert_default().add(&offload);
            }
            totals.unfinished = left;
            totals.kv_allocated_peak = peak;
        }
        Ok(ledger.totals_of_all())
    }

    /// Steps so far: times at which something happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The totals of each pool, after [`Simulation::run`].
    pub fn totals_by_pool(&self) -> Vec<RunTotals> {
        self.world.resource::<SimState>().ledger.totals_by_pool()
    }
}

/// Hands the records of a step's batches to the sink, and those of requests if they are many.
/// Returns the digest.
///
/// # Errors
/// What the first system that failed in this step said.
fn deliver(state: &mut SimState, time: Nanos, sink: &mut dyn RunSink) -> Result<u64, SimError> {
    let SimState { ledger, lists, failure, .. } = state;
    if let Some(message) = take_error().or_else(|| failure.clone()) {
        return Err(match lists.out_of_memory.take() {
            Some(error) => SimError::Memory { time, error },
            None => SimError::Failed { time, message },
        });
    }
    for record in ledger.batches.drain(..) {
        sink.batch(&record);
    }
    for event in ledger.events.iter_mut().flat_map(|events| events.drain(..)) {
        sink.event(&event);
    }
    if ledger.requests.len() >= HANDED_AT_ONCE {
        ledger.requests.drain(..).for_each(|record| sink.request(&record));
    }
    Ok(ledger.digest)
}

thread_local! {
    /// The first error that bevy_ecs met in a step: of an observer, a command, a panic in a system.
    /// bevy_ecs hands errors to a plain function; a simulation runs on one thread at a time.
    static ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the first error of a step.
pub(super) fn keep_error(mut error: BevyError, context: ErrorContext) {
    let text = match error.take_payload() {
        None => error.to_string(),
        Some(payload) => panic_message(&*payload),
    };
    ERROR.with_borrow_mut(|first| {
        first.get_or_insert_with(|| format!("{context}: {text}"));
    });
}

/// What a panic said.
fn panic_message(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it panicked".to_owned())
}

/// Takes the error of a step.
fn take_error() -> Option<String> {
    ERROR.with_borrow_mut(Option::take)
}
