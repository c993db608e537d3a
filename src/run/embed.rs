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
        let (result, ..) = simulate_all(self, seed..=seed, None, Verdicts::NotShown, &|_| ())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Source;
    use crate::registry::Registry;

    #[test]
    fn the_greatest_seed_is_a_seed() {
        let text = "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\", \
                    timing: Formula(base: 0.01, per_token: 1e-5, per_context: 1e-8), \
                    engine: (policy: VllmV1(), num_gpu_blocks: 1000), workload: (arrivals: \
                    Poisson(qps: 2.0), lengths: Fixed(prompt: 10, output: 4), requests: 5))";
        let source = Source::new("s.ron", text);
        let base_dir = std::path::Path::new(".");
        let scenario =
            Scenario::from_source(&source, "s".to_owned(), base_dir, &[], &Registry::built_in())
                .unwrap_or_else(|error| panic!("{error}"));
        for seed in [0, u64::MAX] {
            let result = scenario.run(seed).unwrap();
            let [run] = result.variants[0].runs.as_slice() else { panic!("not one run") };
            assert_eq!((run.seed, run.get("finished")), (seed, Some(5.0)));
        }
    }
}
