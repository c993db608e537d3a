//! Runs a scenario: every configuration under every seed, side by side, into one result folder.

mod about;
mod capacity;
mod embed;
#[cfg(feature = "cli")]
mod extent;
mod files;
mod listeners;
mod spec;

use std::time::Instant;

use rayon::prelude::*;

use self::about::{
    classes, common_slo, context, context_of_all, empty_result, slos, stats_by_pool, timing_line,
};
#[cfg(feature = "cli")]
pub(crate) use self::extent::{expected_requests, simulations};
use self::files::{
    create_csv, create_event_log, described_models, event_logs, join_requests, write_files,
};
use self::listeners::{Deaf, Ticks};
pub(crate) use self::spec::spec;
use crate::base::{Diagnostic, Nanos};
use crate::engine::{SimError, SimSpec, Simulation};
use crate::metrics::{
    ByClass, ByPool, Capacity, ExperimentResult, RunSummary, StatsSink, VariantResult, expect,
};
use crate::output::{
    OpenFolder, OutputError, RunLog, SeedCounts, Work, command_line, cpu_seconds, peak_memory_mib,
};
use crate::records::{BatchRecords, RunSink, RunTotals};
use crate::scenario::{Configuration, PoolConfig, Scenario};

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The simulation stopped.
    #[error("{run}: {error}")]
    Simulation {
        /// Which run: variant and seed.
        run: String,
        /// What happened.
        error: SimError,
    },
    /// Results could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The resolved scenario could not be written.
    #[error("{0}")]
    Scenario(Box<Diagnostic>),
    /// A metric was set or asked for that does not exist: a fault of the program or of a plug-in.
    #[error(
        "there is no metric {0:?}\n  = help: this is a fault of the program or of a plug-in; please report it"
    )]
    UnknownMetric(String),
    /// Two runs of the same configuration and seed took different courses.
    #[error("{run} is not deterministic: two runs with the same seed diverge at {time} s")]
    NotDeterministic {
        /// Which run.
        run: String,
        /// Simulated time of the first difference.
        time: Nanos,
    },
}

/// What a finished scenario leaves to show.
pub struct FinishedScenario {
    /// The results.
    pub result: ExperimentResult,
    /// Names of the files in the result folder.
    pub files: Vec<String>,
    /// What the user should know, each once.
    pub warnings: Vec<String>,
}

/// Runs `scenario` and fills `folder`, which the caller commits. `progress` is told of every
/// request that ended; it is called from several threads.
///
/// # Errors
/// The first run that failed, or a file that could not be written.
pub fn run(
    scenario: &Scenario,
    folder: &OpenFolder,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<FinishedScenario, RunError> {
    run_with_report(scenario, folder, progress, &|_| String::new())
}

/// Runs `scenario` as [`run`] does, and puts what `report` makes of the results into `run.log`.
///
/// # Errors
/// The first run that failed, or a file that could not be written.
pub(crate) fn run_with_report(
    scenario: &Scenario,
    folder: &OpenFolder,
    progress: &(dyn Fn(u64) + Sync),
    report: &(dyn Fn(&FinishedScenario) -> String + Sync),
) -> Result<FinishedScenario, RunError> {
    let started = Instant::now();
    let seeds = scenario.seeds.clone();
    let (result, warnings, work) =
        simulate_all(scenario, seeds, Some(folder), Verdicts::Shown, progress)?;
    join_requests(scenario, folder)?;
    let files = write_files(scenario, folder, &result)?;
    let finished = FinishedScenario { result, files, warnings };
    let result = &finished.result;
    let log = RunLog {
        scenario: scenario.name.clone(),
        command: command_line(),
        scenario_hash: scenario.hash(),
        models: described_models(scenario),
        versions: vec![("bevy_ecs".to_owned(), "0.20".to_owned())],
        seeds: scenario.seeds.clone().collect(),
        counts: result.variants.iter().flat_map(counts).collect(),
        timing: result.variants.iter().map(timing_line).collect(),
        exact_steps: scenario.exact_steps,
        warnings: finished.warnings.clone(),
        wall_seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds(),
        peak_memory_mib: peak_memory_mib(),
        work,
        report: report(&finished),
    };
    known_metrics(result)?;
    log.write(folder, &event_logs(scenario))?;
    Ok(finished)
}

/// What every seed of a variant came to.
fn counts(variant: &VariantResult) -> impl Iterator<Item = SeedCounts> {
    variant.runs.iter().map(|run| {
        let count = |metric: &str| run.get(metric).unwrap_or_default() as u64;
        SeedCounts {
            variant: variant.name.clone(),
            seed: run.seed,
            arrived: count("arrived"),
            finished: count("finished"),
            rejected: count("rejected"),
            unfinished: count("unfinished"),
            preemptions: count("preemptions"),
            iterations: count("batch_iterations"),
        }
    })
}

/// Runs `scenario` and writes nothing. Capacities are not estimated.
///
/// # Errors
/// The first run that failed.
pub fn results(
    scenario: &Scenario,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExperimentResult, RunError> {
    let seeds = scenario.seeds.clone();
    let (result, ..) = simulate_all(scenario, seeds, None, Verdicts::NotShown, progress)?;
    Ok(result)
}

/// Refuses results of which something asked for a metric that does not exist.
fn known_metrics(result: &ExperimentResult) -> Result<(), RunError> {
    match result.unknown_metric() {
        Some(name) => Err(RunError::UnknownMetric(name.to_owned())),
        None => Ok(()),
    }
}

/// Whether anybody reads what the load is to the engine, for which its capacity is estimated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdicts {
    Shown,
    NotShown,
}

/// The results under these seeds, the warnings and what was done for them. Rows are written where
/// there is a folder.
fn simulate_all(
    scenario: &Scenario,
    seeds: impl Iterator<Item = u64> + Clone,
    folder: Option<&OpenFolder>,
    verdicts: Verdicts,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(ExperimentResult, Vec<String>, Work), RunError> {
    let runs = seeds.clone().count();
    let outcomes: Vec<Outcome> = jobs(scenario, seeds, verdicts)
        .into_par_iter()
        .map(|job| job.run(scenario, folder, progress))
        .collect::<Result<_, _>>()?;
    let mut outcomes = outcomes.into_iter();
    let mut variants = Vec::new();
    let mut work = Work::default();
    let said = scenario.warnings.iter().map(|warning| warning.title.clone());
    let mut warnings: Vec<String> = said.chain(scenario.left_out()).collect();
    for configuration in &scenario.configurations {
        let mut result = empty_result(configuration);
        // The jobs of a configuration follow each other: the capacity if it is estimated, then
        // one run per seed.
        if verdicts == Verdicts::Shown
            && capacity::is_asked(configuration)
            && let Some(Outcome::Capacity(capacity)) = outcomes.next()
        {
            result.capacity = capacity;
        }
        for outcome in outcomes.by_ref().take(runs) {
            if let Outcome::Run(summary, done) = outcome {
                work += done;
                result.runs.push(*summary);
            }
        }
        for warning in configuration.cluster.pools.iter().flat_map(|pool| pool.predictor.warnings())
        {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        variants.push(result);
    }
    let outcomes = expect::evaluate_all(&scenario.expectations, &variants);
    let result = ExperimentResult {
        name: scenario.name.clone(),
        title: scenario.title.clone(),
        variants,
        misfits: scenario.misfits.clone(),
        exact_steps: scenario.exact_steps,
        outcomes,
    };
    known_metrics(&result)?;
    Ok((result, warnings, work))
}

/// Runs every configuration and seed twice, step by step side by side.
///
/// # Errors
/// [`RunError::NotDeterministic`] with the time of the first difference.
pub fn check_determinism(scenario: &Scenario) -> Result<(), RunError> {
    let runs: Vec<(&Configuration, u64)> = scenario
        .configurations
        .iter()
        .flat_map(|configuration| scenario.seeds.clone().map(move |seed| (configuration, seed)))
        .collect();
    runs.into_par_iter().try_for_each(|(configuration, seed)| {
        let failed = |error| RunError::Simulation { run: label(configuration, seed), error };
        let build = || {
            Simulation::new(spec(configuration, &configuration.cluster.first().workload, seed))
                .map_err(failed)
        };
        let (mut first, mut second) = (build()?, build()?);
        let mut last = Nanos::ZERO;
        loop {
            let (a, b) =
                (first.step(&mut Deaf).map_err(failed)?, second.step(&mut Deaf).map_err(failed)?);
            if a != b {
                let time = [a, b].into_iter().flatten().map(|step| step.time).min().unwrap_or(last);
                return Err(RunError::NotDeterministic { run: label(configuration, seed), time });
            }
            match a {
                Some(step) => last = step.time,
                None => return Ok(()),
            }
        }
    })
}

/// One piece of work.
enum Job<'a> {
    /// The capacity of a configuration.
    Capacity(&'a Configuration),
    /// One seed.
    Run(&'a Configuration, u64),
}

enum Outcome {
    Capacity(Capacity),
    /// The summary, and what was done for it.
    Run(Box<RunSummary>, Work),
}

fn jobs(
    scenario: &Scenario,
    seeds: impl Iterator<Item = u64> + Clone,
    verdicts: Verdicts,
) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    for configuration in &scenario.configurations {
        if verdicts == Verdicts::Shown && capacity::is_asked(configuration) {
            jobs.push(Job::Capacity(configuration));
        }
        jobs.extend(seeds.clone().map(|seed| Job::Run(configuration, seed)));
    }
    jobs
}

fn seeds(scenario: &Scenario) -> usize {
    (scenario.seeds.end - scenario.seeds.start) as usize
}

/// Whether what counts ends before the run does, or begins later: rates of the whole run are not
/// those of the steady state then.
fn has_window(configuration: &Configuration) -> bool {
    let margin = |pool: &PoolConfig| {
        pool.workload_spec.warmup.is_some() || pool.workload_spec.drain.is_some()
    };
    configuration.time_limit_s.is_some() || configuration.cluster.entry_pools().iter().any(margin)
}

fn label(configuration: &Configuration, seed: u64) -> String {
    match configuration.name.as_str() {
        "" => format!("seed {seed}"),
        name => format!("variant {name}, seed {seed}"),
    }
}

impl Job<'_> {
    fn run(
        &self,
        scenario: &Scenario,
        folder: Option<&OpenFolder>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Outcome, RunError> {
        match *self {
            Job::Capacity(configuration) => {
                capacity::estimate(configuration, scenario.seeds.start).map(Outcome::Capacity)
            }
            Job::Run(configuration, seed) => {
                let (csv, events) = match folder {
                    Some(folder) => (
                        create_csv(scenario, configuration, folder, seed)?,
                        create_event_log(scenario, configuration, folder, seed)?,
                    ),
                    None => (None, None),
                };
                // Batches and time series are those of the first seed.
                let in_full = csv.is_some() && seed == scenario.seeds.start;
                let classes = classes(&configuration.cluster);
                let stats = StatsSink::new(common_slo(&configuration.cluster))
                    .with_classes(slos(&configuration.cluster).into_iter());
                let by_class = (!classes.is_empty()).then(|| ByClass::new(&classes));
                let pools = configuration.cluster.named_pools();
                let by_model = ByPool(stats_by_pool(&configuration.cluster));
                let ticks = Ticks { progress, count: 0 };
                let mut sinks = (((csv, events), (stats, (by_model, by_class))), ticks);
                let spec = SimSpec {
                    batch_records: match in_full {
                        true => scenario.output.batch_metrics,
                        false => BatchRecords::Off,
                    },
                    time_series: scenario.output.time_series().filter(|_| in_full),
                    events: scenario.log_events,
                    exact_steps: scenario.exact_steps,
                    steady_window: has_window(configuration),
                    ..spec(configuration, &configuration.cluster.first().workload, seed)
                };
                let totals = simulate(spec, &mut sinks).map_err(|error| RunError::Simulation {
                    run: label(configuration, seed),
                    error,
                })?;
                let (((csv, events), (stats, (by_model, by_class))), _) = sinks;
                if let Some(csv) = csv {
                    csv.finish()?;
                }
                if let Some(events) = events {
                    events.finish()?;
                }
                let (all, mut by_pool, work) = totals;
                if configuration.cluster.sides().is_some() {
                    // Requests arrive at one side and finish at the other.
                    by_pool.iter_mut().for_each(|totals| totals.window = None);
                }
                let mut summary = stats.finish(&all, &context_of_all(&configuration.cluster, seed));
                if let Some(by_class) = by_class {
                    summary.classes = by_class.finish(summary.get("duration"));
                }
                summary.models = by_model
                    .0
                    .into_iter()
                    .zip(pools.iter().zip(&by_pool))
                    .map(|(stats, ((name, pool), totals))| {
                        let summary = stats.finish(totals, &context(pool, seed));
                        ((*name).to_owned(), summary.metrics)
                    })
                    .collect();
                Ok(Outcome::Run(Box::new(summary), work))
            }
        }
    }
}

/// The totals of a run, those of each pool, and what was done for them.
fn simulate(
    spec: SimSpec,
    sink: &mut dyn RunSink,
) -> Result<(RunTotals, Vec<RunTotals>, Work), SimError> {
    let mut simulation = Simulation::new(spec)?;
    let totals = simulation.run(sink)?;
    let events = simulation.steps();
    let work = Work { iterations: totals.batches, requests: totals.arrived, events };
    Ok((totals, simulation.totals_by_pool(), work))
}
