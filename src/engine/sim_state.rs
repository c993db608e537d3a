//! The state of a run that belongs to no entity.

use bevy_ecs::prelude::*;

use super::arrivals::Arrivals;
use super::policy::PlanDraft;
use super::{Engine, EventQueue, Ledger, Worklists};
use crate::base::Nanos;
use crate::records::BatchRecords;

/// The state of a run that belongs to no entity: the clock and what is to come, what the systems of
/// a step hand to each other, and what is counted. One resource, since each that a system fetches
/// costs as much as many systems do in a step. The engine changes it without marking it as changed.
#[derive(Resource)]
pub struct SimState {
    /// What does not change.
    pub(crate) engine: Engine,
    pub(crate) queue: EventQueue,
    pub(crate) arrivals: Arrivals,
    pub(crate) lists: Worklists,
    pub(crate) ledger: Ledger,
    /// The plan that is being made.
    pub(crate) draft: PlanDraft,
    /// What the first system that failed said.
    pub(crate) failure: Option<String>,
}

impl SimState {
    pub(crate) fn new(engine: Engine, arrivals: Arrivals, ledger: Ledger) -> SimState {
        SimState {
            engine,
            queue: EventQueue::default(),
            arrivals,
            lists: Worklists::default(),
            ledger,
            draft: PlanDraft::default(),
            failure: None,
        }
    }

    /// What stands in for a state that was taken out of its world: it has failed.
    pub(crate) fn lost() -> SimState {
        let engine = Engine {
            pools: Vec::new(),
            time_limit: None,
            batch_records: BatchRecords::Off,
            replicas: Vec::new(),
        };
        let arrivals = Arrivals::new(std::iter::empty());
        let mut state = SimState::new(engine, arrivals, Ledger::new(&[]));
        state.fail(
            "the resource SimState is gone: no system or observer of a plug-in may remove it",
        );
        state
    }

    /// The simulated time.
    pub fn now(&self) -> Nanos {
        self.queue.now()
    }

    /// Whether a system of this run has failed: then those after it do nothing, and the run ends
    /// with its message.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Ends the run with this message, unless it has failed already.
    pub fn fail(&mut self, message: impl Into<String>) {
        self.failure.get_or_insert(message.into());
    }

    /// Does the work of a system, unless one before it has failed. The first error is kept.
    pub(crate) fn attempt(
        &mut self,
        system: &str,
        work: impl FnOnce(&mut SimState) -> Result<(), BevyError>,
    ) {
        if self.failure.is_some() {
            return;
        }
        let result = work(self);
        if let Err(error) = result {
            self.fail(format!("{system}: {error}"));
        } else if let Some(fault) = self.ledger.fault() {
            let message = format!("{system}: {fault}");
            self.fail(message);
        }
    }
}
