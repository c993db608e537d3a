//! From a scenario as it is written to one that can run: every name found, every file read, every
//! setting checked, every default filled in.

use std::path::Path;
use std::sync::Arc;

use super::cluster::{Cluster, Configuration, Tie};
use super::combinations::{self, Technique};
use super::document::Document;
use super::engine::ModelMemory;
use super::pool::PoolConfig;
use super::raw::{OutputSettings, RawScenario};
use super::speculative::Speculated;
use super::timing::{self, Times};
use super::{
    admission, disaggregated, kv_groups, kv_offload, lora, model, models, plugins, sharing,
    speculative,
};
use crate::base::{ByteSpan, Diagnostic, SettingError, suggest};
use crate::engine::speculation;
use crate::hardware::memory::DraftMemory;
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism, device_names, find_device};
use crate::metrics::Expectation;
use crate::registry::Registry;
use crate::timing::{Predictor, SharedTables, TimingContext, check_network};

/// More replicas than this are a slip of the pen.
const MOST_REPLICAS: u32 = 65_536;
/// More seeds than this are a slip of the pen.
const MOST_SEEDS: u32 = 10_000;

/// A longer API overhead is a slip of the pen.
const MOST_API_OVERHEAD_MS: f64 = 60_000.0;

/// What all scenarios of a program are read with.
#[derive(Clone, Copy)]
pub struct LoadContext<'a> {
    /// What scenarios may name.
    pub registry: &'a Registry,
    /// What has been read and built for others.
    pub tables: &'a SharedTables,
}

/// What holds for all variants together.
pub(super) struct Common {
    pub name: Option<String>,
    pub title: Option<String>,
    pub seed: u64,
    pub seeds: u32,
    pub expect: Vec<Expectation>,
    pub output: OutputSettings,
}

/// Resolves one complete document.
pub(super) fn resolve(
    name: &str,
    document: &Document,
    base_dir: &Path,
    shared: LoadContext<'_>,
    warnings: &mut Vec<Diagnostic>,
) -> Result<(Configuration, Common), Box<Diagnostic>> {
    let LoadContext { registry, tables } = shared;
    let one = |document: &Document, warnings: &mut Vec<Diagnostic>| {
        let raw: RawScenario = document.read(document.root())?;
        let checker = Checker { document, base_dir, registry, tables };
        let common = checker.common(&raw)?;
        let pool = checker.pool(&raw, warnings)?;
        let common = Common { name: raw.name, title: raw.title, expect: raw.expect, ..common };
        Ok((pool, common, raw.time_limit_s))
    };
    let (cluster, common, time_limit_s) = if let Some(sides) = disaggregated::read(document)? {
        let (prefill, common, time_limit_s) = one(&sides.prefill, warnings)?;
        // What holds for both has been said.
        let mut noticed = Vec::new();
        let on_side = |d: Diagnostic| d.note("on the decode side");
        let (decode, ..) = one(&sides.decode, &mut noticed)
            .map_err(|error: Box<Diagnostic>| Box::new(on_side(*error)))?;
        noticed.retain(|new| warnings.iter().all(|old| old.title != new.title));
        warnings.extend(noticed.into_iter().map(on_side));
        (disaggregated::join(&sides, prefill, decode, registry)?, common, time_limit_s)
    } else if let Some(several) = models::read(document)? {
        let mut pools = Vec::new();
        let mut last = None;
        for part in several.parts {
            let mut noticed = Vec::new();
            let in_model = |d: Diagnostic| d.note(format!("in model `{}`", part.name));
            let (pool, common, time_limit_s) = one(&part.document, &mut noticed)
                .map_err(|error: Box<Diagnostic>| Box::new(in_model(*error)))?;
            warnings.extend(noticed.into_iter().map(in_model));
            pools.push(PoolConfig { served_as: part.name, ..pool });
            last = Some((common, time_limit_s));
        }
        sharing::apply(document, &several.gpus, &mut pools, &several.names)?;
        // There is at least one.
        let Some((common, time_limit_s)) = last else {
            return Err(Box::new(Diagnostic::error("the scenario has no model")));
        };
        (Cluster { pools, tie: Tie::Models(several.gpus) }, common, time_limit_s)
    } else {
        let (pool, common, time_limit_s) = one(document, warnings)?;
        (Cluster::single(pool), common, time_limit_s)
    };
    let extensions = registry.extensions().clone();
    Ok((Configuration { name: name.to_owned(), cluster, time_limit_s, extensions }, common))
}

pub(super) struct Checker<'a> {
    pub(super) document: &'a Document,
    base_dir: &'a Path,
    registry: &'a Registry,
    tables: &'a SharedTables,
}

impl Checker<'_> {
    pub(super) fn span(&self, path: &str) -> ByteSpan {
        self.document.locate_nearest(path)
    }

    /// A complaint about the value at `path`.
    pub(super) fn error(
        &self,
        path: &str,
        found: impl std::fmt::Display,
        expected: &str,
    ) -> Box<Diagnostic> {
        Box::new(plugins::setting_error(
            self.document,
            "",
            &SettingError::new(path, found, expected),
        ))
    }

    pub(super) fn settings(&self, base: &str, error: &SettingError) -> Box<Diagnostic> {
        Box::new(plugins::setting_error(self.document, base, error))
    }

    fn common(&self, raw: &RawScenario) -> Result<Common, Box<Diagnostic>> {
        if raw.seeds == 0 || raw.seeds > MOST_SEEDS {
            return Err(self.error("seeds", raw.seeds, &format!("1 to {MOST_SEEDS}")));
        }
        if raw.seed.checked_add(u64::from(raw.seeds)).is_none() {
            return Err(self.error("seed", raw.seed, "a smaller number"));
        }
        if raw
            .name
            .as_ref()
            .is_some_and(|name| name.trim().is_empty() || name.contains(['/', '\n']))
        {
            return Err(self.error("name", "not a folder name", "a word or two, without `/`"));
        }
        if raw.title.as_ref().is_some_and(|title| title.contains(char::is_control)) {
            return Err(self.error(
                "title",
                "several lines long or has control characters",
                "one line of text",
            ));
        }
        if let Some(interval) = raw.output.time_series_s
            && !(0.001..=1e9).contains(&interval)
        {
            let expected = "seconds from 0.001 to 1e9";
            return Err(self.error("output.time_series_s", interval, expected));
        }
        Ok(Common {
            name: None,
            title: None,
            seed: raw.seed,
            seeds: raw.seeds,
            expect: Vec::new(),
            output: raw.output,
        })
    }

    fn pool(
        &self,
        raw: &RawScenario,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<PoolConfig, Box<Diagnostic>> {
        let allowed = &raw.allow_unmodelled;
        let named = model::read(self.document, self.base_dir, allowed, warnings)?;
        let (model, model_config) = (named.spec, named.config);
        let model = match &raw.quantization {
            Some(quantization) => {
                quantization.apply(model).map_err(|e| self.settings("quantization", &e))?
            }
            None => model,
        };
        let device = self.device(&raw.device)?;
        let parallel = Parallelism {
            tensor: raw.cluster.tensor_parallel,
            pipeline: raw.cluster.pipeline_parallel,
        };
        parallel.check(&model).map_err(|error| self.settings("", &error))?;
        if raw.cluster.replicas == 0 || raw.cluster.replicas > MOST_REPLICAS {
            return Err(self.error(
                "cluster.replicas",
                raw.cluster.replicas,
                &format!("1 to {MOST_REPLICAS}"),
            ));
        }
        if let Some(network) = &raw.cluster.network {
            check_network("cluster.network", network, self.base_dir)
                .map_err(|error| self.settings("", &error))?;
        }
        if let Some(limit) = raw.time_limit_s
            && !(limit > 0.0 && limit <= 1e9)
        {
            return Err(self.error("time_limit_s", limit, "seconds above 0 and at most 1e9"));
        }
        if let Some(error) = raw.slo.as_ref().and_then(|slo| slo.check().into_iter().next()) {
            return Err(self.settings("slo", &error));
        }
        let policy = plugins::read(self.document, "engine.policy", self.registry.policies(), None)?;
        let router = plugins::read(
            self.document,
            "cluster.router",
            self.registry.routers(),
            Some("RoundRobin"),
        )?;
        router.check().map_err(|error| self.settings("cluster.router", &error))?;
        let techniques = combinations::of_pool(raw, policy.as_ref());
        let value = |technique| match technique {
            Technique::Pipelines => raw.cluster.pipeline_parallel.to_string(),
            _ => "true".to_owned(),
        };
        combinations::check(&techniques, value)
            .and_then(|()| combinations::check_policy(&techniques, policy.as_ref(), self.registry))
            .map_err(|error| self.settings("", &error))?;
        lora::check(raw, &model, router.as_ref()).map_err(|error| self.settings("", &error))?;
        let api_overhead_ms = raw.engine.api_overhead_ms;
        if !(0.0..=MOST_API_OVERHEAD_MS).contains(&api_overhead_ms) {
            let expected = format!("milliseconds from 0 to {MOST_API_OVERHEAD_MS}");
            return Err(self.error("engine.api_overhead_ms", api_overhead_ms, &expected));
        }
        let drafter = match &raw.engine.speculative {
            None => None,
            Some(settings) => {
                let longest = raw.engine.max_model_len.unwrap_or(model.max_position);
                let checked = speculation::check_settings(settings, &model, parallel, longest)
                    .map_err(|error| self.settings("engine.speculative", &error))?;
                Some((settings, checked))
            }
        };
        let mut draft_memory = drafter.as_ref().map_or(DraftMemory::default(), |(_, c)| c.memory);
        // Slots of adapters are weights beside the model's, as a drafter's are.
        draft_memory.weight_bytes += lora::slot_bytes(raw, &model, parallel);
        // The same, were the model spread over other GPUs.
        let draft_at = |parallel: Parallelism| {
            let mut memory = match &raw.engine.speculative {
                None => DraftMemory::default(),
                Some(settings) => {
                    let longest = raw.engine.max_model_len.unwrap_or(model.max_position);
                    let checked = speculation::check_settings(settings, &model, parallel, longest);
                    checked.ok()?.memory
                }
            };
            memory.weight_bytes += lora::slot_bytes(raw, &model, parallel);
            Some(memory)
        };
        let (limits, memory) = self.engine(
            raw,
            ModelMemory { model: &model, draft: draft_memory, draft_at: &draft_at },
            device,
            parallel,
            policy.as_ref(),
            warnings,
        )?;
        policy.check(&limits).map_err(|error| self.settings("engine.policy", &error))?;
        let context = TimingContext {
            model: &model,
            device,
            parallel,
            block_size: limits.block_size,
            network: raw.cluster.network.as_deref(),
            base_dir: self.base_dir,
            step_overhead_ms: policy.step_overhead_ms(),
            tables: self.tables,
        };
        let Times { timing, predictor, chosen } =
            timing::read(self.document, self.registry, &context)?;
        let (predictor, speculative) = match &drafter {
            None => (predictor, None),
            Some((settings, checked)) => {
                let timings = self.registry.timings();
                let built = speculative::build(
                    &Speculated { document: self.document, settings, checked, timings },
                    timing.as_ref(),
                    predictor,
                    &context,
                )?;
                (built.run.predictor.clone() as Arc<dyn Predictor>, Some(built))
            }
        };
        let workload =
            raw.workload.check(self.base_dir).map_err(|error| self.settings("workload", &error))?;
        for warning in workload.warnings() {
            let place = self.document.place(&self.span("workload"));
            warnings.push(Diagnostic::warning(warning).at(place, "of this workload"));
        }
        let admission = admission::read(self.document, self.registry, raw)?;
        let longest = if limits.vidur_lengths { u32::MAX } else { limits.max_model_len };
        self.lengths_fit(raw, &workload, longest, warnings)?;
        let prefix_caching =
            raw.engine.enable_prefix_caching.unwrap_or_else(|| policy.caches_prefixes());
        let bytes_per_token = model.kv_bytes_per_token(parallel) + draft_memory.kv_bytes_per_token;
        if raw.engine.kv_offload.is_some() && !model.keeps_every_token() {
            return Err(self.settings("", &only_parts("engine.kv_offload", &model)));
        }
        let kv_groups = kv_groups::build(&raw.engine, &limits, policy.as_ref())
            .map_err(|error| self.settings("", &error))?;
        let offload =
            kv_offload::build(&raw.engine, &limits, prefix_caching, parallel, bytes_per_token)
                .map_err(|error| self.settings("", &error))?;
        Ok(PoolConfig {
            model,
            model_config,
            quantization: raw.quantization,
            device,
            parallel,
            replicas: raw.cluster.replicas,
            router,
            policy,
            limits,
            prefix_caching,
            kv_groups,
            speculative,
            lora: raw.engine.lora.clone(),
            offload,
            api_overhead_ms,
            gpu_memory_utilization: raw.engine.gpu_memory_utilization,
            memory,
            timing,
            timing_chosen: chosen,
            predictor,
            workload_spec: raw.workload.clone(),
            workload,
            slo: raw.slo.clone(),
            admission,
            cluster_settings: raw.cluster.clone(),
            engine_settings: raw.engine.clone(),
            served_as: String::new(),
            gpu_share: None,
        })
    }

    fn device(&self, name: &str) -> Result<&'static DeviceSpec, Box<Diagnostic>> {
        find_device(name).ok_or_else(|| {
            let place = self.document.place(&self.span("device"));
            Box::new(
                Diagnostic::error(format!("unknown device `{name}`"))
                    .at(place, "no device has this name")
                    .helps(suggest::help(name, device_names())),
            )
        })
    }
}

/// The refusal of a technique that moves the cache of whole requests, for a model of which some
/// layers keep a part only.
pub(super) fn only_parts(path: &'static str, model: &ModelSpec) -> SettingError {
    let expected = "a model whose layers keep every token: none with a window, a chunk or a state";
    SettingError::new(path, model.name.to_string(), expected)
        .help("moving windows and states is not modelled")
}
