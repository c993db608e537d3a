//! How several models share GPUs.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::combinations::{self, Technique};
use super::document::Document;
use super::engine::memory_settings;
use super::plugins;
use super::pool::PoolConfig;
use crate::base::diagnostic::{DOES_NOT_FIT, Diagnostic};
use crate::base::{GIB, SettingError};
use crate::engine::speculation;
use crate::hardware::Parallelism;
use crate::hardware::memory::{self, DraftMemory};
use crate::timing::Partition;

/// On which GPUs the models of a scenario run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum GpuSharing {
    /// Each model has GPUs of its own.
    #[default]
    Own,
    /// All have the same GPUs and take turns on them, iteration by iteration.
    TimeSliced,
    /// All have the same GPUs, each a part of them, by the model's name.
    Spatial(IndexMap<String, SpatialShare>),
}

/// The part of a GPU that a model has.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpatialShare {
    /// Share of the multiprocessors.
    pub compute: f64,
    /// Share of the memory bandwidth; as `compute` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<f64>,
}

impl SpatialShare {
    /// Its parts of the compute and of the bandwidth.
    pub fn parts(&self) -> (f64, f64) {
        (self.compute, self.bandwidth.unwrap_or(self.compute))
    }
}

/// Checks that the models can share GPUs in this way, and gives each its part of them. `names` are
/// those of all models, also of those that are not served.
pub(super) fn apply(
    document: &Document,
    sharing: &GpuSharing,
    models: &mut [PoolConfig],
    names: &[String],
) -> Result<(), Box<Diagnostic>> {
    if *sharing == GpuSharing::Own {
        return Ok(());
    }
    let mut used = vec![Technique::SharedGpus];
    used.extend(models.iter().any(|model| model.offload.is_some()).then_some(Technique::KvOffload));
    combinations::check(&used, |_| "shared".to_owned())
        .map_err(|error| Box::new(plugins::setting_error(document, "", &error)))?;
    same_gpus(document, models)?;
    memory_fits(document, models)?;
    let GpuSharing::Spatial(shares) = sharing else { return Ok(()) };
    shares_add_up(document, shares, names)?;
    for model in models {
        let Some(share) = shares.get(&model.served_as) else {
            let found = format!("without a share for `{}`", model.served_as);
            return Err(refuse(document, &found, "a share for every model"));
        };
        let whole = model.predictor.clone();
        let part = Partition::new(whole, &model.model, model.device, model.parallel, share.parts());
        model.predictor = std::sync::Arc::new(part);
        model.gpu_share = Some(*share);
    }
    Ok(())
}

fn refuse(document: &Document, found: &str, expected: &str) -> Box<Diagnostic> {
    let error = SettingError::new("gpus", found, expected);
    Box::new(plugins::setting_error(document, "", &error))
}

/// Replica by replica and stage by stage the models lie on the same GPUs.
fn same_gpus(document: &Document, models: &[PoolConfig]) -> Result<(), Box<Diagnostic>> {
    let layout = |c: &PoolConfig| {
        let (tensor, pipeline) = (c.parallel.tensor, c.parallel.pipeline);
        format!("{} replicas at TP {tensor} x PP {pipeline} on {}", c.replicas, c.device.name)
    };
    let Some((first, rest)) = models.split_first() else { return Ok(()) };
    match rest.iter().find(|other| layout(other) != layout(first)) {
        None => Ok(()),
        Some(other) => {
            let (a, b) = (layout(first), layout(other));
            let found = format!(
                "shared between `{}` ({a}) and `{}` ({b})",
                first.served_as, other.served_as
            );
            let expected =
                "the same device, replicas, tensor_parallel and pipeline_parallel for all models";
            Err(refuse(document, &found, expected))
        }
    }
}

/// The models' parts of the memory are no more than all of it.
fn memory_fits(document: &Document, models: &[PoolConfig]) -> Result<(), Box<Diagnostic>> {
    let sum: f64 = models.iter().map(|model| model.gpu_memory_utilization).sum();
    if sum <= 1.0 + 1e-9 {
        return Ok(());
    }
    let parts: Vec<String> = models
        .iter()
        .map(|model| {
            let gib = model.gpu_memory_utilization * model.device.memory_gib;
            let weights = model.model.weight_bytes(model.parallel) as f64 / GIB;
            let share = model.gpu_memory_utilization;
            format!("`{}` takes {share} = {gib:.2} GiB ({weights:.2} weights)", model.served_as)
        })
        .collect();
    let (device, all) = models.first().map_or(("", 0.0), |m| (m.device.name, m.device.memory_gib));
    let place = document.place(&document.locate_nearest("gpus"));
    Err(Box::new(
        Diagnostic::error(format!("the models do not fit on {device} together"))
            .at(place, "these GPUs are shared")
            .note(format!(
                "each GPU has {all:.2} GiB; {}, {:.2} GiB together",
                parts.join(", "),
                sum * all
            ))
            .help(memory_help(models))
            .exit(DOES_NOT_FIT),
    ))
}

/// Advice to whom the shares are too large: lower ones, if those can be enough.
fn memory_help(models: &[PoolConfig]) -> String {
    const LOWER: &str = "lower gpu_memory_utilization; the sum may be at most 1";
    let fits = |parallel| {
        let needed = models.iter().map(|pool| least_utilization(pool, parallel));
        needed.sum::<Option<f64>>().is_some_and(|sum| sum <= 1.0)
    };
    let Some(first) = models.first() else { return LOWER.to_owned() };
    match fits(first.parallel) {
        true => LOWER.to_owned(),
        false => {
            format!("{LOWER}, and {}", memory::smallest_help(&first.model, first.parallel, fits))
        }
    }
}

/// The share of the memory that a model needs for its weights, a batch and the longest request,
/// were it spread over these GPUs; `None` where it cannot be.
fn least_utilization(pool: &PoolConfig, parallel: Parallelism) -> Option<f64> {
    parallel.check(&pool.model).ok()?;
    let mut draft = DraftMemory::default();
    if let Some(speculative) = &pool.speculative {
        let (settings, longest) = (&speculative.settings, pool.limits.max_model_len);
        let checked = speculation::check_settings(settings, &pool.model, parallel, longest);
        draft = checked.ok()?.memory;
    }
    if let Some(lora) = &pool.lora {
        draft.weight_bytes += lora.slot_bytes(&pool.model, parallel);
    }
    let settings = memory_settings(1.0, &pool.limits, draft, pool.policy.as_ref());
    let plan = memory::plan(&pool.model, pool.device, parallel, settings).ok()?;
    let longest = f64::from(pool.limits.max_model_len.div_ceil(pool.limits.block_size));
    let kv_gib = longest * plan.kv_bytes_per_block as f64 / GIB;
    Some((plan.weight_gib + plan.activation_gib + kv_gib) / pool.device.memory_gib)
}

fn shares_add_up(
    document: &Document,
    shares: &IndexMap<String, SpatialShare>,
    names: &[String],
) -> Result<(), Box<Diagnostic>> {
    if let Some(stranger) = shares.keys().find(|name| !names.contains(name)) {
        let found = format!("with a share for `{stranger}`");
        return Err(refuse(document, &found, &format!("names of models: {}", names.join(", "))));
    }
    let part = |share: f64| share > 0.0 && share <= 1.0;
    for (name, share) in shares {
        if !part(share.compute) || !share.bandwidth.is_none_or(part) {
            let found = format!("with an impossible share for `{name}`");
            return Err(refuse(document, &found, "shares above 0 and at most 1"));
        }
    }
    let sum: f64 = shares.values().map(|share| share.compute).sum();
    match sum <= 1.0 + 1e-9 {
        true => Ok(()),
        false => {
            let found = format!("{sum} of the compute in total");
            Err(refuse(document, &found, "compute shares that add up to at most 1"))
        }
    }
}
