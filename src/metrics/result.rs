//! The results of an experiment, as plain data: what the report, `summary.json` and the
//! expectations read. Whoever runs a scenario fills these.

use super::across::Spread;
use super::capacity::{Capacity, Load, Verdict};
use super::classes::ClassResult;
use super::expect::Outcome;
use super::summary::RunSummary;
use super::trend::WaitingTrend;
use super::unit::percent;
use crate::timing::TimingNote;
use crate::workload::Slo;

/// One configuration (a variant, or the only one), run once per seed.
#[derive(Clone, Debug)]
pub struct VariantResult {
    /// The variant's name; empty for a scenario without variants.
    pub name: String,
    /// What ran, without the number of requests: `Llama-2-7B | 1 x A100-SXM-80G | VllmV0`.
    pub what: String,
    /// One per seed, in the order of the seeds.
    pub runs: Vec<RunSummary>,
    /// Number of GPUs.
    pub gpus: u64,
    /// How requests come.
    pub load: Load,
    /// What is known of its capacity.
    pub capacity: Capacity,
    /// The objectives, if any.
    pub slo: Option<Slo>,
    /// KV blocks of one replica.
    pub kv_blocks: u64,
    /// Tokens per KV block.
    pub block_size: u32,
    /// What the times rest on.
    pub timing: TimingNote,
    /// The models, where there are several.
    pub models: Vec<ModelResult>,
    /// The classes of requests, if there are any.
    pub classes: Vec<ClassResult>,
}

/// A configuration that does not fit in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The variant's name; empty for a scenario without variants.
    pub name: String,
    /// What is missing, in one line.
    pub why: String,
}

/// One of several models that are served together. Its figures are in the runs.
#[derive(Clone, Debug)]
pub struct ModelResult {
    /// Its name in the scenario.
    pub name: String,
    /// What ran, as in [`VariantResult::what`].
    pub what: String,
    /// KV blocks of one replica.
    pub kv_blocks: u64,
    /// Tokens per KV block.
    pub block_size: u32,
    /// GiB of weights on each GPU.
    pub weight_gib: f64,
    /// GiB of KV blocks on each GPU.
    pub kv_gib: f64,
    /// How its requests come.
    pub load: Load,
}

impl VariantResult {
    /// A metric over the seeds; `None` if no run has a value.
    pub fn spread(&self, metric: &str) -> Option<Spread> {
        Spread::of_metric(&self.runs, metric)
    }

    /// The mean of a metric over the seeds.
    pub fn mean(&self, metric: &str) -> Option<f64> {
        self.spread(metric).map(|spread| spread.mean)
    }

    /// The mean over the seeds of a metric of one of several models.
    pub fn mean_of(&self, model: &str, metric: &str) -> Option<f64> {
        let values: Vec<f64> =
            self.runs.iter().filter_map(|run| run.get_of(model, metric)).collect();
        Spread::of(&values).map(|spread| spread.mean)
    }

    /// The mean over the seeds of a metric of a class of requests.
    pub fn mean_of_class(&self, class: &str, metric: &str) -> Option<f64> {
        let values: Vec<f64> =
            self.runs.iter().filter_map(|run| run.get_of_class(class, metric)).collect();
        Spread::of(&values).map(|spread| spread.mean)
    }

    /// How much of the busy time rests on what, in whole percent; `None` for a closed form.
    pub fn basis(&self) -> Option<String> {
        let share = |name: &str| self.mean(&format!("busy_{name}")).map(percent);
        Some(format!(
            "of the busy time {} % measured, {} % transferred, {} % extrapolated",
            share("measured")?,
            share("transferred")?,
            share("extrapolated")?
        ))
    }

    /// What the load is to the engine.
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.load, self.capacity.rate(), &self.trend())
    }

    /// How the queue went while requests arrived, over all runs.
    pub fn trend(&self) -> WaitingTrend {
        WaitingTrend::sum(self.runs.iter().map(|run| run.trend))
    }

    /// Offered rate / capacity.
    pub fn load_ratio(&self) -> Option<f64> {
        match (self.load, self.capacity.rate()) {
            (Load::Open { offered }, Some(capacity)) if capacity > 0.0 => Some(offered / capacity),
            _ => None,
        }
    }
}

/// A scenario's results.
#[derive(Clone, Debug)]
pub struct ExperimentResult {
    /// The scenario's name: the file's stem.
    pub name: String,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// One element for a scenario without variants, otherwise one per variant in the file's order.
    pub variants: Vec<VariantResult>,
    /// Configurations that did not run because they do not fit in memory.
    pub misfits: Vec<Misfit>,
    /// Whether every iteration was a step of its own.
    pub exact_steps: bool,
    /// Its expectations, evaluated (`evaluate_all`), in the file's order.
    pub outcomes: Vec<Outcome>,
}

impl ExperimentResult {
    /// The first name that was set or asked for in any run and is no metric's, as
    /// [`Metrics::unknown`](super::Metrics::unknown).
    pub fn unknown_metric(&self) -> Option<&str> {
        self.variants.iter().flat_map(|variant| &variant.runs).find_map(RunSummary::unknown_metric)
    }
}
