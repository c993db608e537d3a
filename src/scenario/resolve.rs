//! From a scenario as it is written to one that can run: every name found, every file read, every
//! setting checked, every default filled in.

use std::path::Path;
use std::sync::Arc;

use super::disaggregated::Disaggregated;
use super::document::Document;
use super::kv_offload::{self, KvOffload};
use super::quantization::Quantization;
use super::raw::{OutputSettings, RawScenario};
use super::sharing::{self, GpuSharing};
use super::speculative::{self, Speculative};
use super::{admission, disaggregated, lora, model, models, plugins};
use crate::base::diagnostic::{DOES_NOT_FIT, Diagnostic};
use crate::base::{Nanos, SettingError, Span, suggest};
use crate::engine::admission::AnyAdmission;
use crate::engine::lora::LoraSettings;
use crate::engine::policy::{AnyPolicy, EngineLimits};
use crate::engine::routing::AnyRouter;
use crate::engine::speculation;
use crate::engine::speculation::Speculation;
use crate::hardware::memory::{DraftMemory, MemoryPlan, MemorySettings};
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism, device_names, find_device, memory};
use crate::metrics::{Expectation, FlopsModel, Load};
use crate::registry::Registry;
use crate::timing::{AnyTiming, Predictor, SharedTables, TimingContext, check_network};
use crate::workload::{Slo, Workload, WorkloadSpec};

/// More replicas than this are a slip of the pen.
const MOST_REPLICAS: u32 = 65_536;
/// More seeds than this are a slip of the pen.
const MOST_SEEDS: u32 = 10_000;

/// A longer API overhead is a slip of the pen.
const MOST_API_OVERHEAD_MS: f64 = 60_000.0;

/// One configuration that runs: a variant, or the scenario itself.
pub struct Configuration {
    /// The variant's name; empty for a scenario without variants.
    pub name: String,
    /// The model.
    pub model: Arc<ModelSpec>,
    /// The HuggingFace `config.json` that describes the model, as the scenario has it; `None` for a
    /// built-in model.
    pub model_config: Option<String>,
    /// In how many bits the model is served, if the scenario says so.
    pub quantization: Option<Quantization>,
    /// The GPU.
    pub device: &'static DeviceSpec,
    /// How a replica is spread over GPUs.
    pub parallel: Parallelism,
    /// Number of replicas.
    pub replicas: u32,
    /// The network between a replica's GPUs, if the scenario names one.
    pub network: Option<String>,
    /// The router.
    pub router: Box<dyn AnyRouter>,
    /// The scheduling policy.
    pub policy: Box<dyn AnyPolicy>,
    /// Limits of the engine, KV blocks included.
    pub limits: EngineLimits,
    /// Whether full KV blocks are found again by their prefix.
    pub prefix_caching: bool,
    /// Speculative decoding, if it is on.
    pub speculative: Option<Speculative>,
    /// LoRA adapters, if any are served.
    pub lora: Option<LoraSettings>,
    /// Host memory for KV blocks, if the engine uses it.
    pub offload: Option<KvOffload>,
    /// Milliseconds from a request's arrival until the engine has it.
    pub api_overhead_ms: f64,
    /// Share of the device's memory that the engine takes.
    pub gpu_memory_utilization: f64,
    /// Whether `max_model_len` may exceed the model's limit.
    pub allow_long_max_model_len: bool,
    /// The memory plan; `None` if the KV blocks were given outright.
    pub memory: Option<MemoryPlan>,
    /// The settings of the timing.
    pub timing: Box<dyn AnyTiming>,
    /// The model of execution time.
    pub predictor: Arc<dyn Predictor>,
    /// The workload as it is written.
    pub workload_spec: WorkloadSpec,
    /// The workload, its files read.
    pub workload: Workload,
    /// When the run is cut off.
    pub time_limit_s: Option<f64>,
    /// Objectives.
    pub slo: Option<Slo>,
    /// Admission control, if there is any.
    pub admission: Option<Box<dyn AnyAdmission>>,
    /// The model's name under `models`; empty for a scenario with one model.
    pub served_as: String,
    /// On which GPUs this model and those beside it run.
    pub gpus: GpuSharing,
    /// The decode side, if this is only the prefill side.
    pub disaggregated: Option<Disaggregated>,
    /// The models that are served beside this one in the same cluster.
    pub beside: Vec<Configuration>,
}

impl Configuration {
    /// What runs, in a few words: `Llama-2-7B | 1 x A100-SXM-80G | VllmV0`.
    pub fn what(&self) -> String {
        if !self.beside.is_empty() {
            let models: Vec<&str> = self.models().map(|one| one.model.name.as_ref()).collect();
            let gpus = self.num_gpus();
            let how = match self.gpus {
                GpuSharing::Own => "own GPUs",
                GpuSharing::TimeSliced => "time-sliced",
                GpuSharing::Spatial(_) => "spatial",
            };
            return format!("{} | {gpus} x {} | {how}", models.join(" + "), self.device.name);
        }
        let gpus = u64::from(self.replicas) * u64::from(self.parallel.gpus());
        if let Some(decode) = self.decode() {
            let more = u64::from(decode.replicas) * u64::from(decode.parallel.gpus());
            let (model, device, other) = (self.model.label(), self.device.name, decode.device.name);
            let gpus = match device == other {
                true => format!("{gpus} + {more} x {device}"),
                false => format!("{gpus} x {device} + {more} x {other}"),
            };
            let (a, b) = (self.policy.name(), decode.policy.name());
            let policies = if a == b { a.to_owned() } else { format!("{a} + {b}") };
            return format!("{model} | {gpus} | disaggregated {policies}");
        }
        format!("{} | {gpus} x {} | {}", self.model.label(), self.device.name, self.policy.name())
    }

    /// This model and those beside it.
    pub fn models(&self) -> impl Iterator<Item = &Configuration> {
        std::iter::once(self).chain(&self.beside)
    }

    /// The decode side, if this is only the prefill side.
    pub fn decode(&self) -> Option<&Configuration> {
        self.disaggregated.as_ref().map(|sides| &*sides.decode)
    }

    /// What each pool of replicas runs: all models, or the two sides of one.
    pub fn pools(&self) -> impl Iterator<Item = &Configuration> {
        self.models().chain(self.decode())
    }

    /// The same with names, as expectations and results have them; empty for a single pool.
    pub fn named_pools(&self) -> Vec<(&str, &Configuration)> {
        match self.decode() {
            Some(decode) => vec![("prefill", self), ("decode", decode)],
            None if self.served_as.is_empty() => Vec::new(),
            None => self.models().map(|model| (model.served_as.as_str(), model)).collect(),
        }
    }

    /// GPUs of all models together.
    fn num_gpus(&self) -> u64 {
        let of = |one: &Configuration| u64::from(one.replicas) * u64::from(one.parallel.gpus());
        match self.gpus {
            GpuSharing::Own => self.models().map(of).sum(),
            // All lie on the same.
            GpuSharing::TimeSliced | GpuSharing::Spatial(_) => of(self),
        }
    }

    /// Stages that can run at once.
    pub fn stages(&self) -> u32 {
        let of = |one: &Configuration| one.replicas * one.parallel.pipeline;
        match self.gpus {
            GpuSharing::TimeSliced => of(self),
            GpuSharing::Own | GpuSharing::Spatial(_) => self.pools().map(of).sum(),
        }
    }

    /// How requests of this model come.
    pub fn load(&self) -> Load {
        match (self.workload.concurrency(), self.workload.offered_rate()) {
            (Some(concurrency), _) => Load::ClosedLoop { concurrency },
            (None, Some(offered)) => Load::Open { offered },
            (None, None) => Load::AllAtOnce,
        }
    }

    /// What MFU is computed from; `None` where the timing is not that of a device.
    pub fn flops(&self) -> Option<FlopsModel> {
        let physical = self.predictor.note().physical;
        physical.then(|| FlopsModel {
            flops_per_token: self.model.matmul_flops_per_token(),
            attention_flops_per_pair: self.model.attention_flops_per_pair(),
            peak_flops: self.device.fp16_tflops * 1e12,
            gpus: self.replicas.saturating_mul(self.parallel.gpus()),
        })
    }

    /// How requests speculate, if they do.
    pub fn speculation(&self) -> Option<Speculation> {
        self.speculative.as_ref().map(|speculative| speculative.run.clone())
    }

    /// The time limit.
    pub fn time_limit(&self) -> Option<Nanos> {
        self.time_limit_s.map(Nanos::from_secs_f64)
    }
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
    (registry, tables): (&Registry, &SharedTables),
    warnings: &mut Vec<Diagnostic>,
) -> Result<(Configuration, Common), Box<Diagnostic>> {
    let one = |document: &Document, warnings: &mut Vec<Diagnostic>| {
        let raw: RawScenario = document.read(document.root())?;
        let checker = Checker { document, base_dir, registry, tables };
        let common = checker.common(&raw)?;
        let configuration = checker.configuration(name, &raw, warnings)?;
        let common = Common { name: raw.name, title: raw.title, expect: raw.expect, ..common };
        Ok((configuration, common))
    };
    if let Some(sides) = disaggregated::read(document)? {
        let (prefill, common) = one(&sides.prefill, warnings)?;
        // What holds for both has been said.
        let mut noticed = Vec::new();
        let on_side = |d: Diagnostic| d.note("on the decode side");
        let (decode, _) = one(&sides.decode, &mut noticed)
            .map_err(|error: Box<Diagnostic>| Box::new(on_side(*error)))?;
        noticed.retain(|new| warnings.iter().all(|old| old.title != new.title));
        warnings.extend(noticed.into_iter().map(on_side));
        return Ok((disaggregated::join(&sides, prefill, decode)?, common));
    }
    let Some(several) = models::read(document)? else { return one(document, warnings) };
    let mut all = Vec::new();
    let mut common = None;
    for part in several.parts {
        let mut noticed = Vec::new();
        let in_model = |d: Diagnostic| d.note(format!("in model `{}`", part.name));
        let (configuration, its) = one(&part.document, &mut noticed)
            .map_err(|error: Box<Diagnostic>| Box::new(in_model(*error)))?;
        warnings.extend(noticed.into_iter().map(in_model));
        let gpus = several.gpus.clone();
        all.push(Configuration { served_as: part.name, gpus, ..configuration });
        common = Some(its);
    }
    sharing::apply(document, &several.gpus, &mut all, &several.names)?;
    // There is at least one.
    let mut all = all.into_iter();
    match (all.next(), common) {
        (Some(first), Some(common)) => {
            Ok((Configuration { beside: all.collect(), ..first }, common))
        }
        _ => Err(Box::new(Diagnostic::error("the scenario has no model"))),
    }
}

pub(super) struct Checker<'a> {
    pub(super) document: &'a Document,
    base_dir: &'a Path,
    registry: &'a Registry,
    tables: &'a SharedTables,
}

impl Checker<'_> {
    pub(super) fn span(&self, path: &str) -> Span {
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
            return Err(self.error("name", "no name of a folder", "a word or two, without `/`"));
        }
        if raw.title.as_ref().is_some_and(|title| title.contains(char::is_control)) {
            return Err(self.error(
                "title",
                "of several lines or has control characters",
                "one line of text",
            ));
        }
        if let Some(interval) = raw.output.time_series_s
            && !(0.001..=1e9).contains(&interval)
        {
            let expected = "seconds, from 0.001 to 1e9";
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

    fn configuration(
        &self,
        name: &str,
        raw: &RawScenario,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Configuration, Box<Diagnostic>> {
        let (model, model_config) = model::read(self.document, self.base_dir)?;
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
        lora::check(raw, &model, policy.as_ref(), router.as_ref())
            .map_err(|error| self.settings("", &error))?;
        let api_overhead_ms = raw.engine.api_overhead_ms;
        if !(0.0..=MOST_API_OVERHEAD_MS).contains(&api_overhead_ms) {
            let expected = format!("milliseconds, 0 to {MOST_API_OVERHEAD_MS}");
            return Err(self.error("engine.api_overhead_ms", api_overhead_ms, &expected));
        }
        let drafter = match &raw.engine.speculative {
            None => None,
            Some(settings) => {
                let longest = raw.engine.max_model_len.unwrap_or(model.max_position);
                speculative::goes_with(raw).map_err(|error| self.settings("", &error))?;
                let checked = speculation::check_settings(settings, &model, parallel, longest)
                    .map_err(|error| self.settings("engine.speculative", &error))?;
                Some((settings, checked))
            }
        };
        let mut draft_memory = drafter.as_ref().map_or(DraftMemory::default(), |(_, c)| c.memory);
        // Slots of adapters are weights beside the model's, as a drafter's are.
        draft_memory.weight_bytes += lora::slot_bytes(raw, &model, parallel);
        let (limits, memory) =
            self.engine(raw, (&model, draft_memory), device, parallel, policy.as_ref(), warnings)?;
        policy.check(&limits).map_err(|error| self.settings("engine.policy", &error))?;
        let timing = plugins::read(self.document, "timing", self.registry.timings(), None)?;
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
        let predictor = self
            .tables
            .predictor(timing.as_ref(), &context)
            .map_err(|error| self.settings("timing", &error))?;
        let (predictor, speculative) = match &drafter {
            None => (predictor, None),
            Some((settings, checked)) => {
                let timings = self.registry.timings();
                let built = speculative::build(
                    (self.document, timings),
                    (settings, checked),
                    (timing.as_ref(), predictor),
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
        if prefix_caching && limits.vidur_lengths {
            let expected = "false where prefixes are cached, which Vidur does not do";
            let error = self.error("engine.vidur_lengths", true, expected);
            return Err(Box::new((*error).help("or set enable_prefix_caching: false")));
        }
        let bytes_per_token = model.kv_bytes_per_token(parallel) + draft_memory.kv_bytes_per_token;
        let offload = kv_offload::build(
            &raw.engine,
            (policy.as_ref(), &limits, prefix_caching),
            (parallel, bytes_per_token),
        )
        .map_err(|error| self.settings("", &error))?;
        Ok(Configuration {
            name: name.to_owned(),
            model,
            model_config,
            quantization: raw.quantization,
            device,
            parallel,
            replicas: raw.cluster.replicas,
            network: raw.cluster.network.clone(),
            router,
            policy,
            limits,
            prefix_caching,
            speculative,
            lora: raw.engine.lora.clone(),
            offload,
            api_overhead_ms,
            gpu_memory_utilization: raw.engine.gpu_memory_utilization,
            allow_long_max_model_len: raw.engine.allow_long_max_model_len,
            memory,
            timing,
            predictor,
            workload_spec: raw.workload.clone(),
            workload,
            time_limit_s: raw.time_limit_s,
            slo: raw.slo.clone(),
            admission,
            served_as: String::new(),
            gpus: GpuSharing::Own,
            disaggregated: None,
            beside: Vec::new(),
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

    /// The engine's limits, with the KV blocks as given or as the memory allows.
    fn engine(
        &self,
        raw: &RawScenario,
        (model, draft): (&ModelSpec, DraftMemory),
        device: &DeviceSpec,
        parallel: Parallelism,
        policy: &dyn AnyPolicy,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<(EngineLimits, Option<MemoryPlan>), Box<Diagnostic>> {
        let engine = &raw.engine;
        let max_model_len = engine.max_model_len.unwrap_or(model.max_position);
        if max_model_len == 0 {
            return Err(self.error("engine.max_model_len", 0, "at least 1"));
        }
        if max_model_len > model.max_position && !engine.allow_long_max_model_len {
            let expected = format!("at most {}, the limit of {}", model.max_position, model.name);
            let error = self.error("engine.max_model_len", max_model_len, &expected);
            return Err(Box::new(
                (*error).help("to go beyond it all the same: allow_long_max_model_len: true"),
            ));
        }
        if engine.block_size == 0 {
            return Err(self.error("engine.block_size", 0, "at least 1, such as 16"));
        }
        let utilization = engine.gpu_memory_utilization;
        if !(utilization > 0.0 && utilization <= 1.0) {
            return Err(self.error(
                "engine.gpu_memory_utilization",
                utilization,
                "above 0 and at most 1",
            ));
        }
        let mut limits = EngineLimits {
            max_model_len,
            block_size: engine.block_size,
            num_blocks: 0,
            stages: parallel.pipeline,
            vidur_lengths: engine.vidur_lengths,
        };
        if let Some(blocks) = engine.num_gpu_blocks {
            if blocks == 0 {
                return Err(self.error("engine.num_gpu_blocks", 0, "at least 1"));
            }
            limits.num_blocks = blocks;
            if blocks < limits.blocks_for_longest() {
                let place = self.document.place(&self.span("engine.num_gpu_blocks"));
                let most = u64::from(blocks) * u64::from(engine.block_size);
                warnings.push(
                    Diagnostic::warning(format!(
                        "{blocks} KV blocks hold {most} tokens, less than one request of max_model_len {max_model_len}"
                    ))
                    .at(place, "longer requests will be rejected"),
                );
            }
            return Ok((limits, None));
        }
        // The memory plan needs to know the largest batch, and batches depend on no block count.
        let batch = policy.batch_limits(&EngineLimits { num_blocks: u32::MAX, ..limits });
        // A policy without a budget of tokens could, in theory, batch every prompt at once. As in
        // vLLM's own profiling run one longest prompt is taken to be the largest batch then.
        let unbounded = batch.max_num_seqs.saturating_mul(max_model_len);
        let tokens = if batch.max_num_batched_tokens >= unbounded {
            max_model_len
        } else {
            batch.max_num_batched_tokens
        };
        let settings = MemorySettings {
            gpu_memory_utilization: utilization,
            block_size: engine.block_size,
            max_model_len,
            max_num_batched_tokens: tokens,
            max_num_seqs: batch.max_num_seqs,
            draft,
        };
        let plan = memory::plan(model, device, parallel, settings).map_err(|error| {
            let place = self.document.place(&self.span("model"));
            Box::new(
                Diagnostic::error(format!("{} does not fit on {}", model.label(), device.name))
                    .at(place, "does not fit in memory")
                    .note(error.to_string())
                    .exit(DOES_NOT_FIT),
            )
        })?;
        limits.num_blocks = plan.num_blocks;
        Ok((limits, Some(plan)))
    }
}
