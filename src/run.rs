//! Runs a scenario: every configuration under every seed, side by side, into one result folder.

use std::time::Instant;

use rayon::prelude::*;

use crate::metrics::{
    BatchRecord, BatchRecords, ByPool, Completions, ExperimentResult, Load, ModelResult,
    RequestRecord, RunContext, RunSink, RunSummary, RunTotals, Slo, StatsSink, VariantResult,
    expect,
};
use crate::output::{
    BATCHES, CsvSink, OutputError, Place, REQUESTS, RunLog, TIME_SERIES, cpu_seconds, file_name,
    peak_memory_mib, report, summary_json, tables,
};
use crate::scenario::{Configuration, Diagnostic, GpuSharing, Scenario};
use crate::sim::{Nanos, PoolSpec, RandomStream, SimError, SimSpec, Simulation, Traffic};
use crate::timing::TimingNote;
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
        for warning in configuration.pools().flat_map(|model| model.predictor.warnings()) {
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
        let mut requests = 0_u64;
        for model in configuration.models() {
            requests = requests.saturating_add(model.workload.request_count()?);
        }
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
    // The capacity for several models depends on their mix. Conversations that all begin at once are
    // another load: every one of them is under way at the same time, at the same turn, and none leaves
    // its cached prefix alone.
    configuration.beside.is_empty()
        && !configuration.workload.is_closed_loop()
        && matches!(configuration.load(), Load::Open { .. })
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
                let stats = StatsSink::new(common_slo(configuration));
                let pools = configuration.named_pools();
                let by_model = ByPool(pools.iter().map(|(_, pool)| stats_of(pool)).collect());
                let mut sinks = ((csv, (stats, by_model)), Ticks { progress, count: 0 });
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
                let ((csv, (stats, by_model)), _) = sinks;
                if let Some(csv) = csv {
                    csv.finish()?;
                }
                let (all, by_pool) = totals;
                let mut summary = stats.finish(&all, &context_of_all(configuration, seed));
                summary.models = by_model
                    .0
                    .into_iter()
                    .zip(pools.iter().zip(&by_pool))
                    .map(|(stats, ((name, pool), totals))| {
                        let summary = stats.finish(totals, &context(pool, seed));
                        ((*name).to_owned(), summary.metrics)
                    })
                    .collect();
                Ok(Outcome::Run(Box::new(summary), all.batches))
            }
        }
    }
}

fn stats_of(model: &Configuration) -> StatsSink {
    StatsSink::new(model.slo.clone())
}

/// The objectives that hold for all requests, if they are the same for all models.
fn common_slo(configuration: &Configuration) -> Option<Slo> {
    let same = configuration.beside.iter().all(|model| model.slo == configuration.slo);
    configuration.slo.clone().filter(|_| same)
}

/// What the statistics of one model need to know.
fn context(model: &Configuration, seed: u64) -> RunContext {
    RunContext {
        seed,
        block_size: model.limits.block_size,
        stages: model.replicas * model.parallel.pipeline,
        flops: model.flops(),
    }
}

/// The same for all models together. FLOPs and tokens per block of different models cannot be
/// added up; what depends on them has no value then.
fn context_of_all(configuration: &Configuration, seed: u64) -> RunContext {
    let first = context(configuration, seed);
    if let Some(decode) = configuration.decode() {
        let flops = first.flops.zip(decode.flops()).map(|(own, other)| own.with(&other));
        return RunContext { stages: configuration.stages(), flops, ..first };
    }
    if configuration.beside.is_empty() {
        return first;
    }
    let size = first.block_size;
    let same = configuration.models().all(|model| model.limits.block_size == size);
    RunContext {
        block_size: if same { size } else { 0 },
        stages: configuration.stages(),
        flops: None,
        ..first
    }
}

/// The totals of a run, and those of each pool.
fn simulate(
    spec: SimSpec,
    sink: &mut dyn RunSink,
) -> Result<(RunTotals, Vec<RunTotals>), SimError> {
    let mut simulation = Simulation::new(spec)?;
    let totals = simulation.run(sink)?;
    Ok((totals, simulation.totals_by_pool()))
}

/// The simulation of a configuration under a seed. `workload` is that of its first model.
pub(crate) fn spec(configuration: &Configuration, workload: &Workload, seed: u64) -> SimSpec {
    let mut pools = vec![pool(configuration, workload, seed)];
    pools.extend(configuration.beside.iter().map(|model| pool(model, &model.workload, seed)));
    if let Some(sides) = &configuration.disaggregated {
        // A scenario with sides has one model.
        pools[0].hand_over = Some(sides.hand_over(1));
        pools.push(decode_pool(&sides.decode));
    }
    if configuration.gpus == GpuSharing::TimeSliced {
        for pool in &mut pools {
            pool.shared_gpus = Some(0);
        }
    }
    SimSpec { pools, time_limit: configuration.time_limit(), ..SimSpec::of_none(seed) }
}

/// The replicas of one model and their requests, which depend on the seed and its name.
fn pool(model: &Configuration, workload: &Workload, seed: u64) -> PoolSpec {
    let own = RandomStream::seed_of(seed, &model.served_as);
    let window = workload.window(own);
    PoolSpec {
        name: model.served_as.clone(),
        replicas: model.replicas,
        limits: model.limits,
        prefix_caching: model.prefix_caching,
        speculation: model.speculation(),
        policy: model.policy.boxed(),
        router: model.router.boxed(),
        predictor: model.predictor.clone(),
        shared_gpus: None,
        hand_over: None,
        traffic: Traffic {
            source: workload.source(own),
            concurrency: workload.concurrency(),
            api_overhead: Nanos::from_millis_f64(model.api_overhead_ms),
            until: workload.arrivals_end(),
            window: Box::new(move |index, time| window.contains(index, time)),
        },
    }
}

/// The decode side, to which no requests come but those that are handed over.
fn decode_pool(side: &Configuration) -> PoolSpec {
    PoolSpec {
        name: "decode".to_owned(),
        replicas: side.replicas,
        limits: side.limits,
        prefix_caching: side.prefix_caching,
        speculation: None,
        policy: side.policy.boxed(),
        router: side.router.boxed(),
        predictor: side.predictor.clone(),
        shared_gpus: None,
        hand_over: None,
        traffic: Traffic {
            source: Box::new(NoRequests),
            concurrency: None,
            api_overhead: Nanos::ZERO,
            until: None,
            window: Box::new(|_, _| true),
        },
    }
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
    let names: Vec<&str> = match configuration.served_as.as_str() {
        "" => vec![&configuration.model.name],
        _ => configuration.models().map(|model| model.served_as.as_str()).collect(),
    };
    let sink = CsvSink::create(place.path(), &names, scenario.output.batch_metrics)?;
    let sink = match configuration.models().any(|model| model.speculative.is_some()) {
        true => sink.with_drafts(),
        false => sink,
    };
    let sink = match configuration.decode() {
        Some(_) => sink.with_transfers(),
        None => sink,
    };
    match scenario.output.time_series() {
        None => Ok(sink),
        Some(interval) => {
            let blocks = |model: &Configuration| {
                let own = model.limits.num_blocks.saturating_sub(model.policy.reserved_blocks());
                u64::from(own) * u64::from(model.replicas)
            };
            let blocks = configuration.pools().map(blocks).sum();
            sink.with_time_series(interval, blocks)
        }
    }
}

/// The models that are described by files, each once.
fn described_models(scenario: &Scenario) -> Vec<String> {
    let mut models = Vec::new();
    for configuration in scenario.configurations.iter().flat_map(Configuration::models) {
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
        load: load_of_all(configuration),
        capacity: None,
        slo: common_slo(configuration),
        kv_blocks: u64::from(configuration.limits.num_blocks),
        block_size: configuration.limits.block_size,
        timing: note_of_all(configuration),
        models: configuration.named_pools().into_iter().map(model_result).collect(),
    }
}

fn model_result((name, model): (&str, &Configuration)) -> ModelResult {
    const GIB: f64 = (1_u64 << 30) as f64;
    let blocks = u64::from(model.limits.num_blocks);
    let block_bytes =
        model.model.kv_bytes_per_token(model.parallel) * u64::from(model.limits.block_size);
    ModelResult {
        name: name.to_owned(),
        what: format!("{} | {}", model.model.name, model.policy.name()),
        kv_blocks: blocks,
        block_size: model.limits.block_size,
        weight_gib: model.model.weight_bytes(model.parallel) as f64 / GIB,
        kv_gib: (blocks * block_bytes) as f64 / GIB,
        load: model.load(),
    }
}

/// The rates of all models together; how they come if none has a rate.
fn load_of_all(configuration: &Configuration) -> Load {
    let rate = |model: &Configuration| match model.load() {
        Load::Open { offered } => Some(offered),
        _ => None,
    };
    let rates: Option<Vec<f64>> = configuration.models().map(rate).collect();
    rates.map_or(configuration.load(), |rates| Load::Open { offered: rates.iter().sum() })
}

/// What the times of all models rest on, each thing said once.
fn note_of_all(configuration: &Configuration) -> TimingNote {
    let mut note = configuration.predictor.note();
    for other in configuration.pools().skip(1).map(|model| model.predictor.note()) {
        let parts = [
            (&mut note.rests_on, other.rests_on),
            (&mut note.not_modelled, other.not_modelled),
            (&mut note.checked_against, other.checked_against),
        ];
        for (text, more) in parts {
            if !text.contains(&more) {
                text.push_str(&format!("; {more}"));
            }
        }
        note.physical &= other.physical;
        note.estimate |= other.estimate;
    }
    note
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

/// No requests at all.
struct NoRequests;

impl RequestSource for NoRequests {
    fn next_request(&mut self) -> Option<NewRequest> {
        None
    }
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
