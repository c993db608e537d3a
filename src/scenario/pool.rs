//! What one pool of replicas runs.

use std::sync::Arc;

use super::kv_offload::KvOffload;
use super::quantization::Quantization;
use super::raw::{RawCluster, RawEngine};
use super::sharing::SpatialShare;
use super::speculative::Speculative;
use crate::engine::admission::AnyAdmission;
use crate::engine::lora::LoraSettings;
use crate::engine::policy::{AnyPolicy, EngineLimits};
use crate::engine::routing::AnyRouter;
use crate::engine::speculation::Speculation;
use crate::engine::state::kv::GroupRules;
use crate::hardware::memory::MemoryPlan;
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism};
use crate::metrics::{FlopsModel, Load};
use crate::timing::{AnyTiming, Predictor, TimingNote};
use crate::workload::{Slo, Workload, WorkloadSpec};

/// The configuration of one pool: replicas that run the same engine, and the requests that arrive
/// there.
pub struct PoolConfig {
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
    /// The router.
    pub router: Box<dyn AnyRouter>,
    /// The scheduling policy.
    pub policy: Box<dyn AnyPolicy>,
    /// Limits of the engine, KV blocks included.
    pub limits: EngineLimits,
    /// Whether full KV blocks are found again by their prefix.
    pub prefix_caching: bool,
    /// The KV cache groups of the model's layers, if there are several.
    pub kv_groups: Option<GroupRules>,
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
    /// The memory plan; `None` if the KV blocks were given outright.
    pub memory: Option<MemoryPlan>,
    /// The settings of the timing.
    pub timing: Box<dyn AnyTiming>,
    /// The timing as the scenario would have named it, if it was left to the program.
    pub timing_chosen: Option<String>,
    /// The model of execution time.
    pub predictor: Arc<dyn Predictor>,
    /// The workload as it is written.
    pub workload_spec: WorkloadSpec,
    /// The workload, its files read.
    pub workload: Workload,
    /// Objectives.
    pub slo: Option<Slo>,
    /// Admission control, if there is any.
    pub admission: Option<Box<dyn AnyAdmission>>,
    /// Its `cluster` as the scenario has it.
    pub(super) cluster_settings: RawCluster,
    /// Its `engine` as the scenario has it.
    pub(super) engine_settings: RawEngine,
    /// The model's name under `models`; empty for a scenario with one model.
    pub served_as: String,
    /// The part of its GPUs that it has, if models share them spatially.
    pub gpu_share: Option<SpatialShare>,
}

impl PoolConfig {
    /// What runs, in a few words: `Llama-2-7B | 1 x A100-SXM-80G | VllmV0`.
    pub fn what(&self) -> String {
        let (model, device) = (self.model.label(), self.device.name);
        format!("{model} | {} x {device} | {}", self.num_gpus(), self.policy.title())
    }

    /// GPUs of all its replicas.
    pub fn num_gpus(&self) -> u64 {
        u64::from(self.replicas) * u64::from(self.parallel.gpus())
    }

    /// Pipeline stages of all its replicas.
    pub fn stages(&self) -> u32 {
        self.replicas * self.parallel.pipeline
    }

    /// How requests of this model come.
    pub fn load(&self) -> Load {
        match (self.workload.concurrency(), self.workload.offered_rate()) {
            (Some(concurrency), _) => Load::ClosedLoop { concurrency },
            (None, Some(offered)) => Load::Open { offered },
            (None, None) => Load::AllAtOnce,
        }
    }

    /// What the times rest on, and that they were chosen where the scenario names none.
    pub fn timing_note(&self) -> TimingNote {
        let note = self.predictor.note();
        match &self.timing_chosen {
            None => note,
            Some(chosen) => {
                let rests_on = format!("{chosen}, chosen as the best here: {}", note.rests_on);
                TimingNote { rests_on, ..note }
            }
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
}
