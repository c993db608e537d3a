//! What is left of a run when it is over: a flat list of named scalars.

use super::names::{self, Metric};
use super::trend::WaitingTrend;

/// A value for each metric of the registry ([`names::all`]), in its order; some have none.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    values: Vec<Option<f64>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { values: vec![None; names::all().len()] }
    }
}

impl Metrics {
    /// The value of that metric; `None` if the run has none, or there is no such metric.
    pub fn get(&self, name: &str) -> Option<f64> {
        names::index(name).and_then(|index| self.values[index])
    }

    /// Sets a value. What is not finite is no value. Returns whether the registry knows the name.
    pub fn set(&mut self, name: &str, value: impl Into<Option<f64>>) -> bool {
        let Some(index) = names::index(name) else { return false };
        self.values[index] = value.into().filter(|value| value.is_finite());
        true
    }

    /// All metrics with their values, in the registry's order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Metric, Option<f64>)> {
        names::all().zip(self.values.iter().copied())
    }
}

/// One run: its seed and its scalars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunSummary {
    /// The run's seed.
    pub seed: u64,
    /// Its scalars.
    pub metrics: Metrics,
    /// Whether percentiles over requests come from histograms, within 0.1 %; they are exact
    /// otherwise.
    pub histograms: bool,
    /// How the queue went while requests arrived.
    pub trend: WaitingTrend,
    /// Of each model by its name, where there are several; `metrics` are of all together.
    pub models: Vec<(String, Metrics)>,
    /// Of each class of requests by its name, where there are classes.
    pub classes: Vec<(String, Metrics)>,
}

impl RunSummary {
    /// The value of a metric, as [`Metrics::get`].
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.get(name)
    }

    /// The value of a metric for one of several models; `None` if it is not served.
    pub fn get_of(&self, model: &str, name: &str) -> Option<f64> {
        let (_, metrics) = self.models.iter().find(|(served_as, _)| served_as == model)?;
        metrics.get(name)
    }

    /// The value of a metric for a class of requests; `None` if there is no such class.
    pub fn get_of_class(&self, class: &str, name: &str) -> Option<f64> {
        let (_, metrics) = self.classes.iter().find(|(known, _)| known == class)?;
        metrics.get(name)
    }
}
