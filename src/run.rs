//! Runs a scenario: every configuration under every seed, side by side, into one result folder.

use std::time::Instant;

use rayon::prelude::*;

use crate::metrics::{
    BatchRecord, BatchRecords, Completions, ExperimentResult, Load, RequestRecord, RunContext,
    RunSink, RunSummary, StatsSink, VariantResult, expect,
};
use crate::output::{
    BATCHES, CsvSink, OutputError, Place, REQUESTS, RunLog, TIME_SERIES, cpu_seconds, file_name,
    peak_memory_mib, report, summary_json, tables,
};
use crate::scenario::{Configuration, Diagnostic, Scenario};
use crate::sim::{Nanos, PoolSpec, SimError, SimSpec, Simulation, Traffic};
use crate::workload::{NewRequest, RequestSource, Workload};

/// The most requests with which the capacity is estimated.
const CAPACITY_REQUESTS: u64 = 2_000;

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
    /// Two runs of the same configuration and seed took different courses.
    #[error("{run} is not deterministic: two runs with the same seed part at {time} s")]
    NotDeterministic {
        /// Which run.
        run: String,
        /// Simulated time of the first difference.
        time: Nanos,
    },
}

/// What a finished scenario leaves to show.
pub struct Finished {
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
    folder: &Place,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Finished, RunError> {
    let started = Instant::now();
    let (result, warnings, iterations) = simulate_all(scenario, Some(folder), progress)?;
    let log = RunLog {
        scenario: scenario.name.clone(),
        scenario_hash: scenario.hash(),
        models: described_models(scenario),
        versions: vec![("bevy_ecs".to_owned(), "0.20".to_owned())],
        seeds: scenario.seeds.clone().collect(),
        timing: result.variants.iter().map(timing_line).collect(),
        exact_steps: scenario.exact_steps,
        warnings: warnings.clone(),
        wall_seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds(),
        peak_memory_mib: peak_memory_mib(),
        iterations,
    };
    let files = write_files(scenario, folder, &result, &log)?;
    Ok(Finished { result, files, warnings })
}

/// Runs `scenario` and writes nothing.
///
/// # Errors
/// The first run that failed.
pub fn results(
    scenario: &Scenario,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<ExperimentResult, RunError> {
    simulate_all(scenario, None, progress).map(|(result, ..)| result)
}

/// The results, the warnings and the number of iterations. Rows are written where there is a folder.
fn simulate_all(
    scenario: &Scenario,
    folder: Option<&Place>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(ExperimentResult, Vec<String>, u64), RunError> {
    let outcomes: Vec<Outcome> = jobs(scenario)
        .into_par_iter()
        .map(|job| job.run(scenario, folder, progress))
        .collect::<Result<_, _>>()?;
    let mut outcomes = outcomes.into_iter();
    let mut variants = Vec::new();
    let mut iterations = 0;
    let mut warnings: Vec<String> = scenario.warnings.iter().map(|w| w.title.clone()).collect();
    for configuration in &scenario.configurations {
        let mut result = empty_result(configuration);
        // The jobs of a configuration follow each other: the capacity if it is estimated, then
        // one run per seed.
        if needs_capacity(configuration)
            && let Some(Outcome::Capacity(capacity)) = outcomes.next()
        {
            result.capacity = capacity;
        }
        for outcome in outcomes.by_ref().take(seeds(scenario)) {
            if let Outcome::Run(summary, batches) = outcome {
                iterations += batches;
                result.runs.push(*summary);
            }
        }
        for warning in configuration.predictor.warnings() {
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
        exact_steps: scenario.exact_steps,
        outcomes,
    };
    Ok((result, warnings, iterations))
}

/// Requests that all runs together will end, for a progress bar; `None` if nobody knows.
pub fn expected_requests(scenario: &Scenario) -> Option<u64> {
    let mut sum = 0_u64;
    for configuration in &scenario.configurations {
        let requests = configuration.workload.request_count()?;
        sum = sum.saturating_add(requests.saturating_mul(seeds(scenario) as u64));
        if needs_capacity(configuration) {
            sum = sum.saturating_add(requests.min(CAPACITY_REQUESTS));
        }
    }
    Some(sum)
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
        let build =
            || Simulation::new(spec(configuration, &configuration.workload, seed)).map_err(failed);
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
    /// The rate at which a configuration completes requests that are all there from the start.
    Capacity(&'a Configuration),
    /// One seed.
    Run(&'a Configuration, u64),
}

enum Outcome {
    Capacity(Option<f64>),
    /// The summary and the number of iterations.
    Run(Box<RunSummary>, u64),
}

fn jobs(scenario: &Scenario) -> Vec<Job<'_>> {
    let mut jobs = Vec::new();
    for configuration in &scenario.configurations {
        if needs_capacity(configuration) {
            jobs.push(Job::Capacity(configuration));
        }
        jobs.extend(scenario.seeds.clone().map(|seed| Job::Run(configuration, seed)));
    }
    jobs
}

fn seeds(scenario: &Scenario) -> usize {
    (scenario.seeds.end - scenario.seeds.start) as usize
}

/// Only an offered rate can be compared with a capacity.
fn needs_capacity(configuration: &Configuration) -> bool {
    matches!(configuration.load(), Load::Open { .. })
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
        folder: Option<&Place>,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Outcome, RunError> {
        match *self {
            Job::Capacity(configuration) => {
                let seed = scenario.seeds.start;
                let mut sinks = (Completions::default(), Ticks { progress, count: 0 });
                let workload = configuration.workload.saturated();
                let spec = spec(configuration, &workload, seed);
                let pools = spec.pools.into_iter().map(first_requests).collect();
                let spec = SimSpec { pools, time_limit: None, ..spec };
                simulate(spec, &mut sinks).map_err(|error| RunError::Simulation {
                    run: "capacity estimate".to_owned(),
                    error,
                })?;
                Ok(Outcome::Capacity(sinks.0.capacity()))
            }
            Job::Run(configuration, seed) => {
                let csv = match folder {
                    Some(folder) if seed == scenario.seeds.start => {
                        Some(create_csv(scenario, configuration, folder)?)
                    }
                    _ => None,
                };
                let stats = StatsSink::new(configuration.slo.clone());
                let mut sinks = ((csv, stats), Ticks { progress, count: 0 });
                let spec = SimSpec {
                    batch_records: match sinks.0.0 {
                        Some(_) => scenario.output.batch_metrics,
                        None => BatchRecords::Off,
                    },
                    time_series: sinks.0.0.as_ref().and(scenario.output.time_series()),
                    exact_steps: scenario.exact_steps,
                    ..spec(configuration, &configuration.workload, seed)
                };
                let totals = simulate(spec, &mut sinks).map_err(|error| RunError::Simulation {
                    run: label(configuration, seed),
                    error,
                })?;
                let ((csv, stats), _) = sinks;
                if let Some(csv) = csv {
                    csv.finish()?;
                }
                let context = RunContext {
                    seed,
                    block_size: configuration.limits.block_size,
                    stages: configuration.replicas * configuration.parallel.pipeline,
                    flops: configuration.flops(),
                };
                Ok(Outcome::Run(Box::new(stats.finish(&totals, &context)), totals.batches))
            }
        }
    }
}

fn simulate(spec: SimSpec, sink: &mut dyn RunSink) -> Result<crate::metrics::RunTotals, SimError> {
    Simulation::new(spec)?.run(sink)
}

/// The simulation of a configuration under a seed.
pub(crate) fn spec(configuration: &Configuration, workload: &Workload, seed: u64) -> SimSpec {
    let window = workload.window(seed);
    let pool = PoolSpec {
        name: String::new(),
        replicas: configuration.replicas,
        limits: configuration.limits,
        prefix_caching: configuration.prefix_caching,
        policy: configuration.policy.boxed(),
        router: configuration.router.boxed(),
        predictor: configuration.predictor.clone(),
        traffic: Traffic {
            source: workload.source(seed),
            concurrency: workload.concurrency(),
            api_overhead: Nanos::from_millis_f64(configuration.api_overhead_ms),
            until: workload.arrivals_end(),
            window: Box::new(move |index, time| window.contains(index, time)),
        },
    };
    SimSpec { time_limit: configuration.time_limit(), ..SimSpec::of_one(pool, seed) }
}

/// The per-request and per-batch files are those of the first seed, one folder a variant.
fn create_csv(
    scenario: &Scenario,
    configuration: &Configuration,
    folder: &Place,
) -> Result<CsvSink, OutputError> {
    let place = match configuration.name.as_str() {
        "" => folder.clone(),
        name => folder.subfolder(name)?,
    };
    let sink =
        CsvSink::create(place.path(), &configuration.model.name, scenario.output.batch_metrics)?;
    match scenario.output.time_series() {
        None => Ok(sink),
        Some(interval) => {
            let limits = &configuration.limits;
            let blocks =
                u64::from(limits.num_blocks.saturating_sub(configuration.policy.reserved_blocks()))
                    * u64::from(configuration.replicas);
            sink.with_time_series(interval, blocks)
        }
    }
}

/// The models that are described by files, each once.
fn described_models(scenario: &Scenario) -> Vec<String> {
    let mut models = Vec::new();
    for configuration in &scenario.configurations {
        let Some(file) = &configuration.model_config else { continue };
        let model = format!("{} from {file}", configuration.model.about());
        if !models.contains(&model) {
            models.push(model);
        }
    }
    models
}

fn empty_result(configuration: &Configuration) -> VariantResult {
    VariantResult {
        name: configuration.name.clone(),
        what: configuration.what(),
        runs: Vec::new(),
        load: configuration.load(),
        capacity: None,
        slo: configuration.slo.clone(),
        kv_blocks: u64::from(configuration.limits.num_blocks),
        block_size: configuration.limits.block_size,
        timing: configuration.predictor.note(),
    }
}

/// What the times of a variant rest on, and how much of them.
fn timing_line(variant: &VariantResult) -> String {
    let name = match variant.name.as_str() {
        "" => String::new(),
        name => format!("{name}: "),
    };
    let basis = report::basis(variant).map_or(String::new(), |basis| format!("; {basis}"));
    format!("{name}{}{basis}", variant.timing.rests_on)
}

/// Writes what is about the whole scenario and returns the names of all files, of a variant's
/// folder only that.
fn write_files(
    scenario: &Scenario,
    folder: &Place,
    result: &ExperimentResult,
    log: &RunLog,
) -> Result<Vec<String>, RunError> {
    let mut files = Vec::new();
    let mut write = |name: &str, text: String| {
        files.push(name.to_owned());
        folder.write(name, text)
    };
    write("summary.json", summary_json::render(result))?;
    if seeds(scenario) > 1 {
        write(tables::SEEDS, tables::seeds_csv(result))?;
    }
    if scenario.has_variants() {
        write(tables::VARIANTS, tables::variants_csv(result))?;
    }
    let resolved = scenario.resolved_text_in(folder.target()).map_err(RunError::Scenario)?;
    write("scenario.ron", resolved)?;
    write("run.log", log.render())?;
    if scenario.has_variants() {
        match scenario.configurations.as_slice() {
            many if many.len() > 4 => files.push("<variant>/".to_owned()),
            few => files.extend(few.iter().map(|c| format!("{}/", file_name(&c.name)))),
        }
    } else {
        files.push(REQUESTS.to_owned());
        let batches = scenario.output.batch_metrics != BatchRecords::Off;
        files.extend(batches.then(|| BATCHES.to_owned()));
        files.extend(scenario.output.time_series().map(|_| TIME_SERIES.to_owned()));
    }
    Ok(files)
}

/// The pool with the first requests of its traffic.
fn first_requests(pool: PoolSpec) -> PoolSpec {
    let source = Box::new(First { source: pool.traffic.source, left: CAPACITY_REQUESTS });
    PoolSpec { traffic: Traffic { source, ..pool.traffic }, ..pool }
}

/// The first requests of a source.
struct First {
    source: Box<dyn RequestSource>,
    left: u64,
}

impl RequestSource for First {
    fn next_request(&mut self) -> Option<NewRequest> {
        self.left = self.left.checked_sub(1)?;
        self.source.next_request()
    }

    fn ended(&mut self, id: u64, finished: bool, now: Nanos) -> Option<NewRequest> {
        let following = self.source.ended(id, finished, now)?;
        self.left = self.left.checked_sub(1)?;
        Some(following)
    }
}

/// Listens to nothing.
struct Deaf;

impl RunSink for Deaf {
    fn request(&mut self, _: &RequestRecord) {}
    fn batch(&mut self, _: &BatchRecord) {}
}

/// Tells the progress bar, now and then.
struct Ticks<'a> {
    progress: &'a (dyn Fn(u64) + Sync),
    count: u64,
}

impl RunSink for Ticks<'_> {
    fn request(&mut self, _: &RequestRecord) {
        self.count += 1;
        if self.count == 64 {
            (self.progress)(self.count);
            self.count = 0;
        }
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

impl Drop for Ticks<'_> {
    fn drop(&mut self) {
        (self.progress)(self.count);
    }
}
