//! Statistics of each class of requests.

use super::stats::StatsSink;
use super::summary::Metrics;
use crate::base::Nanos;
use crate::records::{BatchRecord, RequestRecord, RunSink, RunTotals};
use crate::workload::Slo;

/// A class of requests, as results show it. Its figures are in the runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassResult {
    /// Its name in the scenario.
    pub name: String,
    /// Its objectives, if any.
    pub slo: Option<Slo>,
}

/// Collects the statistics of each class. It counts requests itself: the simulation does not tell
/// classes apart.
#[derive(Debug, Default)]
pub struct ByClass(Vec<Class>);

#[derive(Debug, Default)]
struct Class {
    name: String,
    stats: StatsSink,
    totals: RunTotals,
}

impl ByClass {
    /// Statistics of these classes.
    pub fn new(classes: &[ClassResult]) -> ByClass {
        let class = |class: &ClassResult| Class {
            name: class.name.clone(),
            stats: StatsSink::new(class.slo.clone()),
            totals: RunTotals::default(),
        };
        ByClass(classes.iter().map(class).collect())
    }

    /// The metrics of each class that are about requests; those of the engine have no value. Rates
    /// divide by `duration` (seconds), that of all requests together, so that they add up.
    pub fn finish(self, duration: Option<f64>) -> Vec<(String, Metrics)> {
        self.0
            .into_iter()
            .map(|class| (class.name, class.stats.finish_requests(&class.totals, duration)))
            .collect()
    }
}

impl RunSink for ByClass {
    fn request(&mut self, record: &RequestRecord) {
        let Some(class) = self.0.get_mut(record.class as usize) else { return };
        class.stats.request(record);
        let totals = &mut class.totals;
        if totals.arrived == 0 || record.arrived_at < totals.first_arrival {
            totals.first_arrival = record.arrived_at;
        }
        totals.arrived += 1;
        totals.last_arrival = totals.last_arrival.max(record.arrived_at);
        totals.end = totals.end.max(record.completed_at.unwrap_or(Nanos::ZERO));
        totals.preemptions += u64::from(record.restarts);
        totals.preemptions_max = totals.preemptions_max.max(record.restarts);
        totals.count_end(&record.status);
    }

    fn batch(&mut self, _: &BatchRecord) {}
}
