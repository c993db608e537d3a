//! What is left of a run when it is over: a flat list of named scalars.

use std::sync::OnceLock;

use super::names::{self, Metric};
use super::trend::WaitingTrend;

/// A value for each metric of the registry ([`names::all`]), in its order; some have none.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    values: Vec<Option<f64>>,
    /// The first name that was set or asked for and is no metric's.
    unknown: OnceLock<String>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { values: vec![None; names::all().len()], unknown: OnceLock::new() }
    }
}

impl Metrics {
    /// The value of that metric; `None` if the run has none. A name that is no metric's has none
    /// either, and is kept for [`Metrics::unknown`].
    pub fn get(&self, name: &str) -> Option<f64> {
        self.index(name).and_then(|index| self.values[index])
    }

    /// Sets a value. What is not finite is no value. A name that is no metric's is kept for
    /// [`Metrics::unknown`].
    pub fn set(&mut self, name: &str, value: impl Into<Option<f64>>) {
        if let Some(index) = self.index(name) {
            self.values[index] = value.into().filter(|value| value.is_finite());
        }
    }

    /// The first name that was set or asked for and is no metric's: a fault of the program or of a
    /// plug-in, with which a run ends.
    pub fn unknown(&self) -> Option<&str> {
        self.unknown.get().map(String::as_str)
    }

    fn index(&self, name: &str) -> Option<usize> {
        let index = names::index(name);
        if index.is_none() {
            self.unknown.get_or_init(|| name.to_owned());
        }
        index
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
    /// Scalars of each model by its name, where there are several; `metrics` are of all together.
    pub models: Vec<(String, Metrics)>,
    /// Scalars of each class of requests by its name, where there are classes.
    pub classes: Vec<(String, Metrics)>,
}

impl RunSummary {
    /// The first name that was set or asked for and is no metric's, as [`Metrics::unknown`].
    pub fn unknown_metric(&self) -> Option<&str> {
        let parts = self.models.iter().chain(&self.classes).map(|(_, metrics)| metrics);
        std::iter::once(&self.metrics).chain(parts).find_map(Metrics::unknown)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_metric_is_kept() {
        let mut run = RunSummary::default();
        run.metrics.set("ttft.mean", 0.2);
        assert_eq!((run.get("ttft.mean"), run.get("ttft.p99")), (Some(0.2), None));
        assert_eq!(run.unknown_metric(), None);
        assert_eq!(run.get("ttft.mena"), None);
        assert_eq!(run.get("other"), None);
        assert_eq!(run.unknown_metric(), Some("ttft.mena"));

        let mut of_model = Metrics::default();
        of_model.set("sped", 1.0);
        let run = RunSummary { models: vec![("a".to_owned(), of_model)], ..RunSummary::default() };
        assert_eq!(run.unknown_metric(), Some("sped"));
    }
}
