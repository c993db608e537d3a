//! Runs from a program of one's own.

use super::{RunError, Verdicts, simulate_all, spec};
use crate::engine::{SimError, Simulation};
use crate::metrics::ExperimentResult;
use crate::scenario::{Configuration, Scenario};

impl Scenario {
    /// Runs every variant under `seed` and writes nothing. The seeds of the file do not matter, and
    /// capacities are not estimated.
    ///
    /// # Errors
    /// [`RunError::Simulation`] of the first run that failed.
    pub fn run(&self, seed: u64) -> Result<ExperimentResult, RunError> {
        let seeds = seed..seed.saturating_add(1);
        let (result, ..) = simulate_all(self, seeds, None, Verdicts::NotShown, &|_| ())?;
        Ok(result)
    }
}

impl Configuration {
    /// Its simulation under `seed`, before the first step: for stepping through it, for its world,
    /// or for a [`RunSink`](crate::records::RunSink) of one's own.
    ///
    /// # Errors
    /// [`SimError`] if the engine cannot serve what the configuration asks for.
    pub fn simulation(&self, seed: u64) -> Result<Simulation, SimError> {
        Simulation::new(spec(self, &self.cluster.first().workload, seed))
    }
}
