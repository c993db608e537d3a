//! The files of a result folder.

use super::{RunError, label, seeds};
use crate::base::paths::file_name;
use crate::metrics::ExperimentResult;
use crate::output::{
    BATCHES, CsvSink, EventLog, OpenFolder, OutputError, REQUESTS, RUN_LOG, TIME_SERIES,
    join_seeds, summary_json, tables,
};
use crate::records::BatchRecords;
use crate::scenario::{Configuration, OutputSettings, PoolConfig, Scenario, Tie};

/// The folder of a variant.
fn place(configuration: &Configuration, folder: &OpenFolder) -> Result<OpenFolder, OutputError> {
    match configuration.name.as_str() {
        "" => Ok(folder.clone()),
        name => folder.subfolder(name),
    }
}

/// What is written of a run while it goes on, in the folder of its variant: requests of every seed,
/// batches and time series of the first; `None` where that is nothing.
pub(super) fn create_csv(
    scenario: &Scenario,
    configuration: &Configuration,
    folder: &OpenFolder,
    seed: u64,
) -> Result<Option<CsvSink>, OutputError> {
    let is_first = seed == scenario.seeds.start;
    if !is_first && !scenario.output.request_metrics {
        return Ok(None);
    }
    let place = place(configuration, folder)?;
    let cluster = &configuration.cluster;
    let names: Vec<&str> = match cluster.tie {
        Tie::Models(_) => cluster.pools.iter().map(|model| model.served_as.as_str()).collect(),
        Tie::Single | Tie::Disaggregated(_) => vec![&cluster.first().model.name],
    };
    let sink = match (seeds(scenario), is_first) {
        (1, _) => CsvSink::create(place.path(), &names, &scenario.output)?,
        (_, true) => CsvSink::create_for_seed(place.path(), &names, &scenario.output, seed)?,
        (_, false) => {
            let output = OutputSettings { batch_metrics: BatchRecords::Off, ..scenario.output };
            CsvSink::create_for_seed(place.path(), &names, &output, seed)?
        }
    };
    let sink = match cluster.pools.iter().any(|pool| pool.speculative.is_some()) {
        true => sink.with_drafts(),
        false => sink,
    };
    let sink = match cluster.pools.iter().any(|pool| pool.offload.is_some()) {
        true => sink.with_offload(),
        false => sink,
    };
    let sink = match cluster.sides().is_some() {
        true => sink.with_transfers(),
        false => sink,
    };
    let sink = match cluster.entry_pools().iter().any(|model| model.lora.is_some()) {
        true => sink.with_adapters(),
        false => sink,
    };
    let sink = match cluster.class_names().as_slice() {
        [] => sink,
        classes => sink.with_classes(classes),
    };
    let sink = if seeds(scenario) > 1 { sink.with_seed(seed) } else { sink };
    match scenario.output.time_series().filter(|_| is_first) {
        None => Ok(Some(sink)),
        Some(interval) => {
            let blocks = |model: &PoolConfig| {
                let own = model.limits.num_blocks.saturating_sub(model.policy.reserved_blocks());
                u64::from(own) * u64::from(model.replicas)
            };
            let blocks = cluster.pools.iter().map(blocks).sum();
            sink.with_time_series(interval, blocks).map(Some)
        }
    }
}

/// Makes one file of the requests of all seeds, of each variant.
pub(super) fn join_requests(scenario: &Scenario, folder: &OpenFolder) -> Result<(), OutputError> {
    if seeds(scenario) > 1 && scenario.output.request_metrics {
        for configuration in &scenario.configurations {
            join_seeds(place(configuration, folder)?.path(), scenario.seeds.clone())?;
        }
    }
    Ok(())
}

/// The events of a run, until the log takes them in; `None` if nobody asked for them.
pub(super) fn create_event_log(
    scenario: &Scenario,
    configuration: &Configuration,
    folder: &OpenFolder,
    seed: u64,
) -> Result<Option<EventLog>, OutputError> {
    if !scenario.log_events {
        return Ok(None);
    }
    EventLog::create(folder, &label(configuration, seed)).map(Some)
}

/// What the event logs of all runs are called, in their order.
pub(super) fn event_logs(scenario: &Scenario) -> Vec<String> {
    if !scenario.log_events {
        return Vec::new();
    }
    let seeds = || scenario.seeds.clone();
    let of = |configuration| seeds().map(move |seed| label(configuration, seed));
    scenario.configurations.iter().flat_map(of).collect()
}

/// Writes what is about the whole scenario, but for the log, and returns the names of all files, of
/// a variant's folder only that.
pub(super) fn write_files(
    scenario: &Scenario,
    folder: &OpenFolder,
    result: &ExperimentResult,
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
    // A variant that does not fit has no settings to write, but nobody shall think that there was
    // none.
    let mut resolved: String = scenario.left_out().map(|said| commented(&said)).collect();
    resolved += &scenario.resolved_text_in(folder.target()).map_err(RunError::Scenario)?;
    write("scenario.ron", resolved)?;
    files.push(RUN_LOG.to_owned());
    if scenario.has_variants() {
        match scenario.configurations.as_slice() {
            many if many.len() > 4 => files.push("<variant>/".to_owned()),
            few => files.extend(few.iter().map(|c| format!("{}/", file_name(&c.name)))),
        }
    } else {
        files.extend(scenario.output.request_metrics.then(|| REQUESTS.to_owned()));
        let batches = scenario.output.batch_metrics != BatchRecords::Off;
        files.extend(batches.then(|| BATCHES.to_owned()));
        files.extend(scenario.output.time_series().map(|_| TIME_SERIES.to_owned()));
    }
    Ok(files)
}

/// A text as comment lines of RON.
fn commented(text: &str) -> String {
    text.lines().map(|line| format!("// {line}\n")).collect()
}

/// The models that are described by files, each once.
pub(super) fn described_models(scenario: &Scenario) -> Vec<String> {
    let mut models = Vec::new();
    for pool in scenario.configurations.iter().flat_map(|one| one.cluster.entry_pools()) {
        let Some(file) = &pool.model_config else { continue };
        let model = format!("{} from {file}", pool.model.about());
        if !models.contains(&model) {
            models.push(model);
        }
    }
    models
}
