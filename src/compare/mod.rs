//! Results side by side: whether a metric differs by more than seeds do.

mod difference;
mod side;
mod table;

pub use difference::{Change, Difference, Pairing};
pub use side::{Side, SideError};
pub use table::{csv, json, text};

use crate::metrics::{RunSummary, names};

/// A side against the first one.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What is compared with the baseline.
    pub label: String,
    /// How the seeds of the two match.
    pub basis: Pairing,
    /// Every metric that both have, in the order of the registry.
    pub metrics: Vec<(&'static str, Difference)>,
}

impl Comparison {
    /// Compares `other` with `baseline`.
    pub fn new(baseline: &Side, other: &Side) -> Comparison {
        let basis = Pairing::of(&seeds(&baseline.runs), &seeds(&other.runs));
        let metrics = names::all().filter_map(|metric| {
            let name = metric.name.as_str();
            let (a, b) = (values(&baseline.runs, name), values(&other.runs, name));
            Difference::of(basis, &a, &b).map(|difference| (name, difference))
        });
        Comparison { label: other.label.clone(), basis, metrics: metrics.collect() }
    }

    /// The difference of a metric.
    pub fn metric(&self, name: &str) -> Option<&Difference> {
        self.metrics.iter().find(|(known, _)| *known == name).map(|(_, difference)| difference)
    }
}

fn seeds(runs: &[RunSummary]) -> Vec<u64> {
    runs.iter().map(|run| run.seed).collect()
}

/// Seed and value of each run that has one.
fn values(runs: &[RunSummary], metric: &str) -> Vec<(u64, f64)> {
    runs.iter().filter_map(|run| run.get(metric).map(|value| (run.seed, value))).collect()
}
