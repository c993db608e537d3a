//! How much a scenario asks for, before it runs.

use super::{Verdicts, jobs, seeds};
use crate::scenario::Scenario;

/// Simulations that can run side by side.
pub(crate) fn simulations(scenario: &Scenario) -> usize {
    jobs(scenario, scenario.seeds.clone(), Verdicts::Shown).len()
}

/// Requests that all runs together will end, for a progress bar; `None` if nobody knows.
pub(crate) fn expected_requests(scenario: &Scenario) -> Option<u64> {
    let mut sum = 0_u64;
    for configuration in &scenario.configurations {
        let mut requests = 0_u64;
        for model in configuration.cluster.entry_pools() {
            requests = requests.saturating_add(model.workload.request_count()?);
        }
        sum = sum.saturating_add(requests.saturating_mul(seeds(scenario) as u64));
    }
    Some(sum)
}
