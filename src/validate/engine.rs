//! `engine.json`: what a measured engine was, by vLLM's names.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::base::{Diagnostic, JsonDocument};
use crate::engine::policy::VllmVersion;
use crate::hardware::{device_names, find_device, model};

/// `engine.json`. What is absent keeps the simulator's default. A key that is neither a setting nor
/// known to be a note is refused, as in scenarios.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Its name: a note.
    #[serde(default, rename = "engine")]
    _engine: IgnoredAny,
    /// Its version: what the scheduler's defaults were.
    pub engine_version: Option<String>,
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
    /// Execution times as a scenario writes them: `Layerwise()`. Default: the best that there are.
    pub timing: Option<String>,
    #[serde(default, rename = "cuda_graphs")]
    _cuda_graphs: IgnoredAny,
    #[serde(default, rename = "allreduce")]
    _allreduce: IgnoredAny,
    #[serde(default, rename = "notes", alias = "note")]
    _notes: IgnoredAny,
    #[serde(default, rename = "source")]
    _source: IgnoredAny,
}

/// The model of an engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineModel {
    /// Our name or the HuggingFace name.
    pub name: String,
    /// Its HuggingFace `config.json`, relative to the case, for a model that has no name here.
    pub config: Option<String>,
    /// Keys of the config that are left out although they mean something.
    #[serde(default)]
    pub allow_unmodelled: Vec<String>,
    /// Number format of activations: 16 bits are simulated.
    pub dtype: Option<String>,
    #[serde(default, rename = "num_layers")]
    _num_layers: IgnoredAny,
    #[serde(default, rename = "hidden_size")]
    _hidden_size: IgnoredAny,
    #[serde(default, rename = "intermediate_size")]
    _intermediate_size: IgnoredAny,
    #[serde(default, rename = "num_attention_heads")]
    _num_attention_heads: IgnoredAny,
    #[serde(default, rename = "num_kv_heads")]
    _num_kv_heads: IgnoredAny,
    #[serde(default, rename = "head_dim")]
    _head_dim: IgnoredAny,
    #[serde(default, rename = "vocab_size")]
    _vocab_size: IgnoredAny,
    #[serde(default, rename = "tie_word_embeddings")]
    _tie_word_embeddings: IgnoredAny,
    #[serde(default, rename = "kv_bytes_per_token")]
    _kv_bytes_per_token: IgnoredAny,
}

/// The GPUs of an engine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Our name, or what the driver calls it: `NVIDIA H100 80GB HBM3`. What stands in parentheses
    /// is a note.
    pub gpu: String,
    /// GPUs of all replicas together.
    pub num_gpus: Option<u32>,
    #[serde(default, rename = "device_memory_bytes")]
    _device_memory_bytes: IgnoredAny,
    #[serde(default, rename = "interconnect")]
    _interconnect: IgnoredAny,
    #[serde(default, rename = "profile")]
    _profile: IgnoredAny,
    #[serde(default, rename = "note")]
    _note: IgnoredAny,
}

/// Parallelism of an engine.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineParallel {
    /// Tensor parallelism.
    pub tp: u32,
    /// Pipeline parallelism.
    pub pp: u32,
    /// Data parallelism: replicas behind one front end.
    pub dp: u32,
    /// Expert parallelism: 1, as it is not simulated.
    pub ep: u32,
}

impl Default for EngineParallel {
    fn default() -> EngineParallel {
        EngineParallel { tp: 1, pp: 1, dp: 1, ep: 1 }
    }
}

/// Settings of vLLM's scheduler, by vLLM's names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
    /// Whether a step is planned when the one before starts. Default: as the engine's version has
    /// it.
    pub async_scheduling: Option<bool>,
    /// Whether a request's whole prompt must fit to be admitted.
    pub scheduler_reserve_full_isl: Option<bool>,
    /// Share of the blocks that admission leaves free.
    pub watermark: Option<f64>,
    #[serde(rename = "preemption")]
    _preemption: IgnoredAny,
    #[serde(rename = "note")]
    _note: IgnoredAny,
}

/// The KV cache of an engine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineKv {
    /// As logged: the first of the two that is there counts.
    pub num_gpu_blocks: Option<u32>,
    /// An estimate, where the log is lost.
    pub suggested_num_gpu_blocks: Option<u32>,
    #[serde(rename = "num_kv_tokens")]
    _num_kv_tokens: IgnoredAny,
    #[serde(rename = "source")]
    _source: IgnoredAny,
    #[serde(rename = "binding")]
    _binding: IgnoredAny,
    #[serde(rename = "note")]
    _note: IgnoredAny,
}

/// Who sent the requests to an engine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// In words. One over HTTP pays `HTTP_API_MS` per request, any other nothing.
    pub driver: Option<String>,
    /// Milliseconds per request, where they are known.
    pub api_overhead_ms: Option<f64>,
    #[serde(rename = "sampling")]
    _sampling: IgnoredAny,
    #[serde(rename = "prompt")]
    _prompt: IgnoredAny,
    #[serde(rename = "note")]
    _note: IgnoredAny,
}

/// Milliseconds from a request's arrival at vLLM's HTTP server until its engine has it, and its
/// token's way back: median TTFT less the engine's own part of it, of the 55 requests of an H100's
/// recorded run that found the engine idle (vLLM 0.11, prompts of 68 to 3500 tokens; 1.2 to 2.7).
pub const HTTP_API_MS: f64 = 1.8;

/// The first version of vLLM in which scheduling is asynchronous by default.
const ASYNC_BY_DEFAULT: (u32, u32) = (0, 14);

impl Client {
    pub(super) fn api_ms(&self) -> f64 {
        let http = self.driver.as_ref().is_some_and(|d| d.to_ascii_uppercase().contains("HTTP"));
        self.api_overhead_ms.unwrap_or(if http { HTTP_API_MS } else { 0.0 })
    }
}

impl Engine {
    /// Reads `engine.json` and checks what can be checked without the scenario.
    ///
    /// # Errors
    /// A key that is not known, a value that makes no sense or is not simulated, with its place.
    pub fn read(path: &Path) -> Result<Engine, Box<Diagnostic>> {
        let document = JsonDocument::read(path)?;
        let engine: Engine = document.to()?;
        engine.check().map_err(|(keys, message)| {
            let title = format!("{}: `{}` {message}", path.display(), keys.join("."));
            Box::new(Diagnostic::error(title).at(document.place(keys), "cannot be simulated"))
        })?;
        Ok(engine)
    }

    fn check(&self) -> Result<(), (&'static [&'static str], String)> {
        self.kv_cache().map_err(|message| (&["kv_cache_dtype"][..], message))?;
        let EngineParallel { tp, pp, dp, ep } = self.parallel;
        if ep > 1 {
            let message = format!("is {ep}: expert parallelism is not simulated");
            return Err((&["parallel", "ep"], message));
        }
        let used = u64::from(tp) * u64::from(pp) * u64::from(dp);
        if let Some(gpus) = self.hardware.num_gpus.filter(|gpus| u64::from(*gpus) != used) {
            let message = format!("is {gpus}, but tp x pp x dp are {used} GPUs");
            return Err((&["hardware", "num_gpus"], message));
        }
        if let Some(policy) =
            self.scheduler.policy.as_deref().filter(|p| !["fcfs", "priority"].contains(p))
        {
            return Err((
                &["scheduler", "policy"],
                format!("is {policy:?}, expected fcfs or priority"),
            ));
        }
        if let Some(dtype) = &self.model.dtype
            && !["auto", "bfloat16", "float16", "half", "bf16", "fp16"].contains(&dtype.as_str())
        {
            return Err((&["model", "dtype"], format!("is {dtype:?}: only 16 bits are simulated")));
        }
        if find_device(self.gpu()).is_none() {
            let known = device_names().join(", ");
            return Err((
                &["hardware", "gpu"],
                format!("is {:?}, expected one of {known}", self.gpu()),
            ));
        }
        Ok(())
    }

    /// What the GPU is called, without notes in parentheses.
    fn gpu(&self) -> &str {
        self.hardware.gpu.split('(').next().unwrap_or_default().trim()
    }

    /// Our name of the GPU.
    pub(super) fn device(&self) -> &str {
        find_device(self.gpu()).map_or(self.gpu(), |device| device.name)
    }

    /// The model's name here, where there is one.
    pub(super) fn model_name(&self) -> &str {
        let name = &self.model.name;
        model::find(name).map_or(name.as_str(), |spec| spec.name.as_ref())
    }

    /// The format of the KV cache as scenarios write it, where it is not the model's own.
    pub(super) fn kv_cache(&self) -> Result<Option<&'static str>, String> {
        let Some(dtype) = &self.kv_cache_dtype else { return Ok(None) };
        // Notes may follow: `auto (bf16)`.
        let word = dtype.split([' ', '(']).next().unwrap_or_default().to_ascii_lowercase();
        match word.as_str() {
            "auto" => Ok(None),
            "float16" | "half" | "fp16" | "bfloat16" | "bf16" => Ok(Some("Fp16")),
            "fp8" | "fp8_e4m3" | "fp8_e5m2" => Ok(Some("Fp8")),
            "int8" => Ok(Some("Int8")),
            _ => Err(format!(
                "is `{dtype}`, expected auto, bfloat16, float16, fp8, fp8_e4m3, fp8_e5m2 or int8"
            )),
        }
    }

    /// Whether scheduling is asynchronous: as it says, or as its version has it.
    fn async_scheduling(&self) -> Option<bool> {
        self.scheduler.async_scheduling.or_else(|| {
            // Pipelines are synchronous; the combination is not simulated.
            Some(self.version()? >= ASYNC_BY_DEFAULT && self.parallel.pp == 1)
        })
    }

    /// Its version: major and minor number.
    fn version(&self) -> Option<(u32, u32)> {
        let version = self.engine_version.as_deref()?.trim_start_matches(['v', 'V']);
        let mut parts = version.split(|c: char| !c.is_ascii_digit());
        let mut number = || parts.next()?.parse::<u32>().ok();
        Some((number()?, number()?))
    }

    /// The version whose rules of scheduling are nearest to its own.
    fn nearest_version(&self) -> Option<VllmVersion> {
        self.version().map(|version| match version {
            (0, minor) => VllmVersion::minor(minor).clamp(VllmVersion::OLDEST, VllmVersion::NEWEST),
            _ => VllmVersion::NEWEST,
        })
    }

    /// The settings of the policy `VllmV1` that are known.
    pub(super) fn policy(&self) -> String {
        let scheduler = &self.scheduler;
        let number = |value: Option<u32>| value.map(|value| value.to_string());
        let flag = |value: Option<bool>| value.map(|value| value.to_string());
        let policy = match scheduler.policy.as_deref() {
            Some("priority") => Some("Priority".to_owned()),
            _ => None,
        };
        let version = self.nearest_version().map(|version| format!("\"{version}\""));
        let settings = [
            ("version", version),
            ("max_num_seqs", number(scheduler.max_num_seqs)),
            ("max_num_batched_tokens", number(scheduler.max_num_batched_tokens)),
            ("enable_chunked_prefill", flag(scheduler.enable_chunked_prefill)),
            ("long_prefill_token_threshold", number(scheduler.long_prefill_token_threshold)),
            ("async_scheduling", flag(self.async_scheduling())),
            ("scheduler_reserve_full_isl", flag(scheduler.scheduler_reserve_full_isl)),
            ("scheduling_policy", policy),
            ("watermark", scheduler.watermark.filter(|w| *w != 0.0).map(|w| format!("{w:?}"))),
        ];
        let settings: Vec<String> = settings
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}: {}", value?)))
            .collect();
        settings.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An engine with `more` keys at its top.
    fn read(more: &str) -> Result<Engine, Box<Diagnostic>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        let text = format!(
            "{{\n{more}\n\"model\": {{\"name\": \"meta-llama/Llama-3.1-8B\"}},
            \"hardware\": {{\"gpu\": \"NVIDIA H100 80GB HBM3 (inferred)\"}}}}"
        );
        std::fs::write(&path, text).unwrap();
        Engine::read(&path)
    }

    #[test]
    fn scheduling_is_asynchronous_from_0_14_on() {
        for (version, expected) in [
            ("0.11.0 (V1)", Some(false)),
            ("v0.13.2", Some(false)),
            ("0.14.0", Some(true)),
            ("0.19.0 (V1)", Some(true)),
            ("1.0", Some(true)),
            ("main", None),
        ] {
            let engine = read(&format!("\"engine_version\": \"{version}\",")).unwrap();
            assert_eq!(engine.async_scheduling(), expected, "{version}");
        }
        let both = "\"engine_version\": \"0.11\", \"scheduler\": {\"async_scheduling\": true},";
        assert_eq!(read(both).unwrap().async_scheduling(), Some(true));
        assert_eq!(read("").unwrap().async_scheduling(), None);
    }

    #[test]
    fn the_rules_of_scheduling_are_those_of_the_nearest_version() {
        for (version, expected) in [
            ("0.9.2", Some("0.10")),
            ("v0.11.0 (V1)", Some("0.11")),
            ("0.19.1", Some("0.19")),
            ("0.33.0", Some("0.33")),
            ("0.40", Some("0.33")),
            ("1.0", Some("0.33")),
            ("main", None),
        ] {
            let engine = read(&format!("\"engine_version\": \"{version}\",")).unwrap();
            let nearest = engine.nearest_version().map(|version| version.to_string());
            assert_eq!(nearest.as_deref(), expected, "{version}");
            let setting = expected.map(|version| format!("version: \"{version}\""));
            assert!(setting.is_none_or(|text| engine.policy().contains(&text)), "{version}");
        }
    }

    #[test]
    fn what_is_not_simulated_is_refused_by_name() {
        for (more, message) in [
            ("\"speculative_config\": {},", "unknown key `speculative_config`"),
            ("\"quantization\": \"fp8\",", "unknown key `quantization`"),
            ("\"block-size\": 64,", "unknown key `block-size`"),
            ("\"scheduler\": {\"max_num_seq\": 4},", "did you mean `max_num_seqs`?"),
            ("\"scheduler\": {\"policy\": \"lifo\"},", "expected fcfs or priority"),
            ("\"parallel\": {\"ep\": 8},", "`parallel.ep` is 8"),
            ("\"parallel\": {\"enable_expert_parallel\": true},", "unknown key"),
            ("\"kv_cache_dtype\": \"nvfp4\",", "`kv_cache_dtype` is `nvfp4`, expected auto"),
        ] {
            let error = read(more).unwrap_err();
            assert_eq!(error.place.as_ref().unwrap().line_column().0, 2, "{error}");
            assert!(error.to_string().contains(message), "{error}");
        }
        assert_eq!(
            read("\"parallel\": {\"ep\": 1}, \"notes\": 3,").unwrap().device(),
            "H100-SXM-80G"
        );
    }
}
