//! The files of a result folder.

use super::{RunError, seeds};
use crate::base::paths::file_name;
use crate::metrics::ExperimentResult;
use crate::output::{
    BATCHES, CsvSink, OutputError, Place, REQUESTS, RunLog, TIME_SERIES, summary_json, tables,
};
use crate::records::BatchRecords;
use crate::scenario::{Configuration, PoolConfig, Scenario, Tie};

/// The per-request and per-batch files are those of the first seed, one folder a variant.
pub(super) fn create_csv(
    scenario: &Scenario,
    configuration: &Configuration,
    folder: &Place,
) -> Result<CsvSink, OutputError> {
    let place = match configuration.name.as_str() {
        "" => folder.clone(),
        name => folder.subfolder(name)?,
    };
    let cluster = &configuration.cluster;
    let names: Vec<&str> = match cluster.tie {
        Tie::Models(_) => cluster.pools.iter().map(|model| model.served_as.as_str()).collect(),
        Tie::Single | Tie::Disaggregated(_) => vec![&cluster.first().model.name],
    };
    let sink = CsvSink::create(place.path(), &names, &scenario.output)?;
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
    match scenario.output.time_series() {
        None => Ok(sink),
        Some(interval) => {
            let blocks = |model: &PoolConfig| {
                let own = model.limits.num_blocks.saturating_sub(model.policy.reserved_blocks());
                u64::from(own) * u64::from(model.replicas)
            };
            let blocks = cluster.pools.iter().map(blocks).sum();
            sink.with_time_series(interval, blocks)
        }
    }
}

/// Writes what is about the whole scenario and returns the names of all files, of a variant's
/// folder only that.
pub(super) fn write_files(
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
        files.extend(scenario.output.request_metrics.then(|| REQUESTS.to_owned()));
        let batches = scenario.output.batch_metrics != BatchRecords::Off;
        files.extend(batches.then(|| BATCHES.to_owned()));
        files.extend(scenario.output.time_series().map(|_| TIME_SERIES.to_owned()));
    }
    Ok(files)
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
