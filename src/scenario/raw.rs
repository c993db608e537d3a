//! A scenario as it is written: types and field names only. [`super::resolve`] gives it meaning.

use indexmap::IndexMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::kv_offload::{KvOffloadSettings, PreemptionMode};
use super::quantization::Quantization;
use crate::base::Nanos;
use crate::engine::lora::LoraSettings;
use crate::engine::speculation::SpeculativeSettings;
use crate::engine::state::kv::KvCacheGroup;
use crate::metrics::Expectation;
use crate::records::BatchRecords;
use crate::workload::{Slo, WorkloadSpec};

/// The whole file, or the whole of one variant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScenario {
    /// What results are called; the file's stem if absent.
    pub name: Option<String>,
    /// One line for `vidur-ecs list`.
    pub title: Option<String>,
    /// A model's name, or where it is described; read by [`super::model`].
    #[serde(rename = "model")]
    pub _model: IgnoredAny,
    /// Keys of the model's config that may be left out although they mean something.
    #[serde(default)]
    pub allow_unmodelled: Vec<String>,
    /// In how many bits it is served.
    pub quantization: Option<Quantization>,
    /// Name of the GPU.
    pub device: String,
    #[serde(default)]
    pub cluster: RawCluster,
    pub engine: RawEngine,
    pub workload: WorkloadSpec,
    /// A plug-in with its settings, read by [`super::timing`]; the best that there is if absent.
    #[serde(default, rename = "timing")]
    pub _timing: IgnoredAny,
    #[serde(default = "default_seed")]
    pub seed: u64,
    #[serde(default = "one")]
    pub seeds: u32,
    pub time_limit_s: Option<f64>,
    /// Several models; read by [`super::models`], as are the two below.
    #[serde(default, rename = "models")]
    pub _models: IgnoredAny,
    #[serde(default, rename = "serve")]
    pub _serve: IgnoredAny,
    #[serde(default, rename = "gpus")]
    pub _gpus: IgnoredAny,
    /// Prefill and decode on replicas of their own; read by [`super::disaggregated`].
    #[serde(default, rename = "disaggregated")]
    pub _disaggregated: IgnoredAny,
    /// A plug-in with its settings, read through the registry.
    #[serde(default, rename = "admission")]
    pub _admission: IgnoredAny,
    pub slo: Option<Slo>,
    /// Partial overrides; each is merged into the rest before anything is read.
    #[serde(default, rename = "variants")]
    pub _variants: IndexMap<String, IgnoredAny>,
    #[serde(default)]
    pub expect: Vec<Expectation>,
    #[serde(default)]
    pub output: OutputSettings,
}

/// What a variant cannot change, because it holds for all of them together.
pub(super) const COMMON_FIELDS: [&str; 7] =
    ["name", "title", "seed", "seeds", "variants", "expect", "output"];

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCluster {
    pub replicas: u32,
    pub tensor_parallel: u32,
    pub pipeline_parallel: u32,
    /// A plug-in with its settings.
    #[serde(rename = "router", skip_serializing)]
    pub _router: IgnoredAny,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

impl Default for RawCluster {
    fn default() -> RawCluster {
        RawCluster {
            replicas: 1,
            tensor_parallel: 1,
            pipeline_parallel: 1,
            _router: IgnoredAny,
            network: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEngine {
    /// A plug-in with its settings; needed, and read through the registry.
    #[serde(default, rename = "policy", skip_serializing)]
    pub _policy: IgnoredAny,
    /// Most tokens of a request; the model's limit if absent.
    pub max_model_len: Option<u32>,
    /// Allows a `max_model_len` above the model's limit, as vLLM's environment variable does.
    #[serde(default)]
    pub allow_long_max_model_len: bool,
    /// Vidur's handling of lengths; see [`crate::engine::policy::EngineLimits::vidur_lengths`].
    #[serde(default)]
    pub vidur_lengths: bool,
    #[serde(default = "default_utilization")]
    pub gpu_memory_utilization: f64,
    #[serde(default = "default_block_size")]
    pub block_size: u32,
    /// Outright, without a memory plan.
    pub num_gpu_blocks: Option<u32>,
    /// Whether full KV blocks are found again by their prefix; as the policy has it if absent.
    pub enable_prefix_caching: Option<bool>,
    /// What the model's layers keep of a request, if not all keep every token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_cache_groups: Option<Vec<KvCacheGroup>>,
    /// Speculative decoding; off if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speculative: Option<SpeculativeSettings>,
    /// LoRA adapters; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraSettings>,
    /// Host memory for KV blocks; not used if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_offload: Option<KvOffloadSettings>,
    /// What becomes of what a preempted request has computed.
    #[serde(default)]
    pub preemption_mode: PreemptionMode,
    /// Milliseconds from a request's arrival until the engine has it.
    #[serde(default)]
    pub api_overhead_ms: f64,
}

/// What is written into the result folder.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[doc(hidden)]
pub struct OutputSettings {
    /// Whether `request_metrics.csv` is written: a row per request.
    pub request_metrics: bool,
    /// Whether `batch_metrics.csv` is written: a row per iteration (`true`), a row per run of equal
    /// iterations (`RunLength`), or not at all (`false`).
    pub batch_metrics: BatchRecords,
    /// Interval of `time_series.csv` in seconds; it is not written without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_series_s: Option<f64>,
}

impl OutputSettings {
    /// The interval of the time series.
    pub fn time_series(&self) -> Option<Nanos> {
        self.time_series_s.map(Nanos::from_secs_f64)
    }
}

impl Default for OutputSettings {
    fn default() -> OutputSettings {
        OutputSettings {
            request_metrics: true,
            batch_metrics: BatchRecords::Each,
            time_series_s: None,
        }
    }
}

fn default_seed() -> u64 {
    42
}

fn one() -> u32 {
    1
}

/// Share of the GPU's memory that an engine takes.
pub(super) const DEFAULT_UTILIZATION: f64 = 0.90;

fn default_utilization() -> f64 {
    DEFAULT_UTILIZATION
}

fn default_block_size() -> u32 {
    16
}
