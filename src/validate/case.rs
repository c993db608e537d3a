//! A measured case, and the scenario that simulates it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::hardware::model::ModelSpec;
use crate::hardware::{Parallelism, find_device, model};
use crate::timing::{LayerwiseSettings, SharedTables, TimingContext, TimingSettings};

/// Why a case cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file cannot be read or written.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{file}: {message}")]
    Content {
        /// The file.
        file: String,
        /// What is wrong, with the place where there is one.
        message: String,
    },
}

impl CaseError {
    pub(crate) fn content(file: &Path, message: impl std::fmt::Display) -> CaseError {
        CaseError::Content { file: file.display().to_string(), message: message.to_string() }
    }

    pub(crate) fn read(file: &Path, source: std::io::Error) -> CaseError {
        CaseError::Io { action: "read", file: file.display().to_string(), source }
    }
}

/// `engine.json`. What is absent keeps the simulator's default; unknown keys are ignored, as logs
/// hold more than matters here.
#[derive(Clone, Debug, Deserialize)]
pub struct Engine {
    /// The model.
    pub model: EngineModel,
    /// The GPUs.
    pub hardware: Hardware,
    /// How many GPUs share a model.
    #[serde(default)]
    pub parallel: EngineParallel,
    /// The scheduler's settings.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// Tokens per KV block.
    pub block_size: Option<u32>,
    /// Whether prefixes are cached.
    pub enable_prefix_caching: Option<bool>,
    /// Longest request in tokens.
    pub max_model_len: Option<u32>,
    /// How keys and values are stored, by vLLM's name: `auto`, `fp8`, `int8`.
    pub kv_cache_dtype: Option<String>,
    /// Share of the GPU's memory that the engine takes.
    pub gpu_memory_utilization: Option<f64>,
    /// The KV cache.
    #[serde(default)]
    pub kv: EngineKv,
    /// Who sent the requests.
    #[serde(default)]
    pub client: Client,
    /// Execution times as a scenario writes them: `Layerwise()`. Default: the model's own layers
    /// where they are shipped for the device, otherwise the device's operators.
    pub timing: Option<String>,
}

/// The model of an engine.
#[derive(Clone, Debug, Deserialize)]
pub struct EngineModel {
    /// Our name or the HuggingFace name.
    pub name: String,
    /// Its HuggingFace `config.json`, relative to the case, for a model that has no name here.
    pub config: Option<String>,
}

/// The GPUs of an engine.
#[derive(Clone, Debug, Deserialize)]
pub struct Hardware {
    /// Our name, or what the driver calls it: `NVIDIA H100 80GB HBM3`.
    pub gpu: String,
}

/// Parallelism of an engine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct EngineParallel {
    /// Tensor parallelism.
    pub tp: u32,
    /// Pipeline parallelism.
    pub pp: u32,
    /// Data parallelism: replicas behind one front end.
    pub dp: u32,
}

impl Default for EngineParallel {
    fn default() -> EngineParallel {
        EngineParallel { tp: 1, pp: 1, dp: 1 }
    }
}

/// Settings of vLLM's scheduler, by vLLM's names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Scheduler {
    /// `fcfs` or `priority`.
    pub policy: Option<String>,
    /// Token budget of a step.
    pub max_num_batched_tokens: Option<u32>,
    /// Most requests that run at once.
    pub max_num_seqs: Option<u32>,
    /// Whether prompts are processed in chunks.
    pub enable_chunked_prefill: Option<bool>,
    /// Most tokens of one prompt in a step.
    pub long_prefill_token_threshold: Option<u32>,
    /// Whether a step is planned when the one before starts.
    pub async_scheduling: Option<bool>,
    /// Whether a request's whole prompt must fit to be admitted.
    pub scheduler_reserve_full_isl: Option<bool>,
}

/// The KV cache of an engine.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct EngineKv {
    /// As logged: the first of the two that is there counts.
    pub num_gpu_blocks: Option<u32>,
    /// An estimate, where the log is lost.
    pub suggested_num_gpu_blocks: Option<u32>,
}

/// Who sent the requests to an engine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Client {
    /// In words. One over HTTP pays [`HTTP_API_MS`] per request, any other nothing.
    pub driver: Option<String>,
    /// Milliseconds per request, where they are known.
    pub api_overhead_ms: Option<f64>,
}

/// Milliseconds from a request's arrival at vLLM's HTTP server until its engine has it, and its
/// token's way back: median TTFT less the engine's own part of it, of the 55 requests of an H100's
/// recorded run that found the engine idle (vLLM 0.11, prompts of 68 to 3500 tokens; 1.2 to 2.7).
pub const HTTP_API_MS: f64 = 1.8;

impl Client {
    fn api_ms(&self) -> f64 {
        let http = self.driver.as_ref().is_some_and(|d| d.to_ascii_uppercase().contains("HTTP"));
        self.api_overhead_ms.unwrap_or(if http { HTTP_API_MS } else { 0.0 })
    }
}

/// What was measured of a request, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Measured {
    /// First token - arrival.
    #[serde(rename = "ttft_from_arrival_ms")]
    pub ttft: f64,
    /// (Last token - first token) / (output tokens - 1).
    #[serde(rename = "tpot_ms")]
    pub tpot: f64,
    /// Last token - arrival.
    #[serde(rename = "e2e_from_arrival_ms")]
    pub e2e: f64,
}

/// A case folder that has been read.
#[derive(Clone, Debug)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// Its `engine.json`.
    pub engine: Engine,
    /// Its `measured.csv`, by request.
    pub measured: BTreeMap<u64, Measured>,
    /// Whether it says, in `prefix_blocks.jsonl`, what its prompts have in common.
    pub prefixes: bool,
}

/// What prompts have in common, by blocks of [`PREFIX_BLOCK`] tokens.
pub(crate) const PREFIXES: &str = "prefix_blocks.jsonl";
/// Tokens that each of its ids stands for.
pub(crate) const PREFIX_BLOCK: u32 = 16;

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// A file that is missing or malformed; no measured request.
    pub fn read(folder: &Path) -> Result<Case, CaseError> {
        let path = folder.join("engine.json");
        let text = crate::base::input::read_to_string(&path)
            .map_err(|error| CaseError::read(&path, error))?;
        let engine: Engine =
            serde_json::from_str(&text).map_err(|error| CaseError::content(&path, error))?;
        engine.kv_cache().map_err(|message| CaseError::content(&path, message))?;
        let path = folder.join("measured.csv");
        let measured = read_measured(&path)?;
        if measured.is_empty() {
            return Err(CaseError::content(&path, "it has no request"));
        }
        let name = folder
            .canonicalize()
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
        let name = name.unwrap_or_else(|| folder.display().to_string());
        let prefixes = folder.join(PREFIXES).exists();
        Ok(Case { name, folder: folder.to_owned(), engine, measured, prefixes })
    }

    /// The case as a scenario, whose paths are relative to the case's folder.
    pub fn scenario_text(&self) -> String {
        let engine = &self.engine;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_scenario(&mut text, engine);
        text
    }

    fn write_scenario(&self, f: &mut String, engine: &Engine) -> std::fmt::Result {
        let EngineParallel { tp, pp, dp } = engine.parallel;
        let device = device_name(&engine.hardware.gpu);
        writeln!(f, "(")?;
        writeln!(f, "    name: {:?},", self.name)?;
        writeln!(f, "    title: {:?},", format!("Measured case {}", self.name))?;
        match &engine.model.config {
            Some(config) => writeln!(f, "    model: HuggingFace({config:?}),")?,
            None => {
                let name = &engine.model.name;
                let name = model::find(name).map_or(name.as_str(), |spec| spec.name.as_ref());
                writeln!(f, "    model: {name:?},")?;
            }
        }
        writeln!(f, "    device: {device:?},")?;
        // What it is was checked when the case was read.
        if let Ok(Some(format)) = engine.kv_cache() {
            writeln!(f, "    quantization: (kv_cache: {format}),")?;
        }
        let router = if dp > 1 { ", router: VllmDataParallel" } else { "" };
        writeln!(
            f,
            "    cluster: (replicas: {dp}, tensor_parallel: {tp}, pipeline_parallel: {pp}{router}),"
        )?;
        writeln!(f, "    engine: (")?;
        writeln!(f, "        policy: VllmV1({}),", engine.scheduler.to_ron())?;
        field(f, "max_model_len", engine.max_model_len)?;
        field(f, "gpu_memory_utilization", engine.gpu_memory_utilization)?;
        field(f, "block_size", engine.block_size)?;
        field(f, "enable_prefix_caching", engine.enable_prefix_caching)?;
        let blocks = engine.kv.num_gpu_blocks.or(engine.kv.suggested_num_gpu_blocks);
        field(f, "num_gpu_blocks", blocks)?;
        field(f, "api_overhead_ms", Some(engine.client.api_ms()).filter(|ms| *ms != 0.0))?;
        writeln!(f, "    ),")?;
        let prefixes = match self.prefixes {
            true => format!(", prefixes: {PREFIXES:?}, tokens_per_hash: {PREFIX_BLOCK}"),
            false => String::new(),
        };
        writeln!(f, "    workload: (trace: (file: \"workload.csv\", format: Vidur{prefixes})),")?;
        writeln!(f, "    timing: {},", self.timing())?;
        writeln!(f, "    output: (batch_metrics: false),")?;
        writeln!(f, ")")
    }

    /// What the case says, or the model's own layers where there are any, or the device's operators.
    fn timing(&self) -> String {
        if let Some(timing) = &self.engine.timing {
            return timing.clone();
        }
        let EngineModel { name, config } = &self.engine.model;
        let spec = match config {
            // What is wrong with it is said when the scenario is read.
            Some(config) => ModelSpec::from_hf_config(&self.folder.join(config)).ok(),
            None => model::find(name).cloned(),
        };
        let device = find_device(&device_name(&self.engine.hardware.gpu));
        let layerwise = spec.zip(device).is_some_and(|(model, device)| {
            let EngineParallel { tp, pp, .. } = self.engine.parallel;
            // Layers were measured with a cache of 16 bits.
            if matches!(self.engine.kv_cache(), Ok(Some("Fp8" | "Int8"))) {
                return false;
            }
            let context = TimingContext {
                model: &model,
                device,
                parallel: Parallelism { tensor: tp, pipeline: pp },
                block_size: self.engine.block_size.unwrap_or(16),
                network: None,
                step_overhead_ms: 0.0,
                base_dir: &self.folder,
                tables: &SharedTables::default(),
            };
            LayerwiseSettings::default().build(&context).is_ok()
        });
        if layerwise { "Layerwise()" } else { "Measured(composition: Full)" }.to_owned()
    }
}

impl Engine {
    /// The format of the KV cache as scenarios write it, where it is not the model's own.
    fn kv_cache(&self) -> Result<Option<&'static str>, String> {
        let Some(dtype) = &self.kv_cache_dtype else { return Ok(None) };
        // Notes may follow: `auto (bf16)`.
        let word = dtype.split([' ', '(']).next().unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "auto" => Ok(None),
            "float16" | "half" | "fp16" | "bfloat16" | "bf16" => Ok(Some("Fp16")),
            "fp8" | "fp8_e4m3" | "fp8_e5m2" => Ok(Some("Fp8")),
            "int8" => Ok(Some("Int8")),
            _ => Err(format!(
                "`kv_cache_dtype` is `{dtype}`, expected auto, bfloat16, float16, fp8, fp8_e4m3, \
                 fp8_e5m2 or int8"
            )),
        }
    }
}

impl Scheduler {
    /// The settings of the policy `VllmV1` that are known.
    fn to_ron(&self) -> String {
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let flag = |value: Option<bool>| value.map(|value| value.to_string());
        let policy = match self.policy.as_deref() {
            Some("priority") => Some("Priority".to_owned()),
            _ => None,
        };
        let settings = [
            ("max_num_seqs", number(self.max_num_seqs)),
            ("max_num_batched_tokens", number(self.max_num_batched_tokens)),
            ("enable_chunked_prefill", flag(self.enable_chunked_prefill)),
            ("long_prefill_token_threshold", number(self.long_prefill_token_threshold)),
            ("async_scheduling", flag(self.async_scheduling)),
            ("scheduler_reserve_full_isl", flag(self.scheduler_reserve_full_isl)),
            ("scheduling_policy", policy),
        ];
        let settings: Vec<String> = settings
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}: {}", value?)))
            .collect();
        settings.join(", ")
    }
}

fn field<T: std::fmt::Display>(f: &mut String, name: &str, value: Option<T>) -> std::fmt::Result {
    match value {
        Some(value) => writeln!(f, "        {name}: {value},"),
        None => Ok(()),
    }
}

/// Our name of the GPU that a driver calls `gpu`; `gpu` itself if none is like it.
fn device_name(gpu: &str) -> String {
    if let Some(device) = find_device(gpu) {
        return device.name.to_owned();
    }
    let words = gpu.to_ascii_uppercase();
    let has = |word: &str| words.contains(word);
    let name = match () {
        () if has("RTX PRO 6000") => "RTX-PRO-6000",
        () if has("RTX 4090") => "RTX-4090",
        () if has("A100") && (has("40G") || has("40 G")) => "A100-SXM-40G",
        () if has("A100") => "A100-SXM-80G",
        () if has("H100") => "H100-SXM-80G",
        () if has("H200") => "H200-SXM-141G",
        () if has("B200") => "B200-SXM-180G",
        () if has("L40S") => "L40S",
        () if has("A40") => "A40",
        () => gpu,
    };
    name.to_owned()
}

fn read_measured(path: &Path) -> Result<BTreeMap<u64, Measured>, CaseError> {
    #[derive(Deserialize)]
    struct Row {
        // Written as a float by some tools.
        request_id: f64,
        ttft_from_arrival_ms: f64,
        tpot_ms: Option<f64>,
        e2e_from_arrival_ms: f64,
    }
    let mut reader = csv::Reader::from_path(path).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(source) => CaseError::read(path, source),
        kind => CaseError::content(path, format!("{kind:?}")),
    })?;
    let mut measured = BTreeMap::new();
    for row in reader.deserialize() {
        let row: Row = row.map_err(|error| CaseError::content(path, error))?;
        let times = Measured {
            ttft: row.ttft_from_arrival_ms,
            tpot: row.tpot_ms.unwrap_or(0.0),
            e2e: row.e2e_from_arrival_ms,
        };
        if measured.insert(row.request_id as u64, times).is_some() {
            return Err(CaseError::content(path, format!("request {} twice", row.request_id)));
        }
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = r#"{"engine": "vLLM", "model": {"name": "meta-llama/Llama-3.1-8B"},
        "hardware": {"gpu": "NVIDIA RTX PRO 6000 Blackwell Server Edition"},
        "scheduler": {"policy": "fcfs", "max_num_seqs": 128, "async_scheduling": true},
        "block_size": 16, "kv": {"num_gpu_blocks": null, "suggested_num_gpu_blocks": 36000}}"#;

    fn case(engine: &str, measured: &str) -> Result<Case, CaseError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("engine.json"), engine).unwrap();
        std::fs::write(folder.path().join("measured.csv"), measured).unwrap();
        Case::read(folder.path())
    }

    const MEASURED: &str =
        "request_id,x,ttft_from_arrival_ms,tpot_ms,e2e_from_arrival_ms\n3.0,,12.5,,90\n";

    #[test]
    fn a_case_becomes_a_scenario() {
        let case = case(ENGINE, MEASURED).unwrap();
        assert_eq!(case.measured[&3], Measured { ttft: 12.5, tpot: 0.0, e2e: 90.0 });
        let text = case.scenario_text();
        for part in [
            "model: \"Llama-3.1-8B\",",
            "device: \"RTX-PRO-6000\",",
            "policy: VllmV1(max_num_seqs: 128, async_scheduling: true),",
            "num_gpu_blocks: 36000,",
            "timing: Layerwise(),",
            "cluster: (replicas: 1, tensor_parallel: 1, pipeline_parallel: 1),",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("max_model_len"), "what is unknown is left to the defaults");
        assert!(!text.contains("api_overhead_ms"), "nobody spoke of HTTP");
    }

    #[test]
    fn requests_over_http_pay_for_it() {
        let text = |client: &str| {
            let engine = ENGINE.replacen("{", &format!("{{\"client\": {client},"), 1);
            case(&engine, MEASURED).unwrap().scenario_text()
        };
        assert!(text(r#"{"driver": "HTTP completions API"}"#).contains("api_overhead_ms: 1.8,"));
        assert!(!text(r#"{"driver": "AsyncLLM in-process"}"#).contains("api_overhead_ms"));
        let given = text(r#"{"driver": "http", "api_overhead_ms": 3.5}"#);
        assert!(given.contains("api_overhead_ms: 3.5,"), "{given}");
    }

    #[test]
    fn a_quantised_kv_cache_is_simulated() {
        let with = |dtype: &str| {
            let engine = ENGINE.replacen('{', &format!("{{\"kv_cache_dtype\": \"{dtype}\","), 1);
            case(&engine, MEASURED)
        };
        let text = with("fp8_e4m3").unwrap().scenario_text();
        assert!(text.contains("quantization: (kv_cache: Fp8),"), "{text}");
        assert!(text.contains("timing: Measured(composition: Full)"), "{text}");
        let text = with("auto (bf16)").unwrap().scenario_text();
        assert!(!text.contains("quantization") && text.contains("timing: Layerwise()"), "{text}");
        let message = with("nvfp4").unwrap_err().to_string();
        assert!(
            message.contains("engine.json: `kv_cache_dtype` is `nvfp4`, expected"),
            "{message}"
        );
    }

    #[test]
    fn gpus_are_recognised() {
        for (gpu, name) in [
            ("NVIDIA H100 80GB HBM3", "H100-SXM-80G"),
            ("NVIDIA A100-SXM4-40GB", "A100-SXM-40G"),
            ("A100", "A100-SXM-80G"),
            ("NVIDIA GeForce RTX 4090", "RTX-4090"),
            ("Voodoo 2", "Voodoo 2"),
        ] {
            assert_eq!(device_name(gpu), name);
        }
    }

    #[test]
    fn what_is_wrong_with_a_case_is_said() {
        let message =
            |engine: &str, measured: &str| case(engine, measured).unwrap_err().to_string();
        assert!(message("{}", MEASURED).contains("engine.json: missing field `model`"));
        assert!(message(ENGINE, "request_id\n1\n").contains("missing field"));
        let text = message(ENGINE, MEASURED.split_once('\n').unwrap().0);
        assert!(text.ends_with("measured.csv: it has no request"), "{text}");
        let missing = Case::read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /nonexistent/engine.json"), "{missing}");
    }
}
