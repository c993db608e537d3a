//! The engine's limits: as given, or as the memory allows.

use super::raw::{self, RawScenario};
use super::resolve::Checker;
use crate::base::diagnostic::DOES_NOT_FIT;
use crate::base::{Diagnostic, GIB};
use crate::engine::policy::{AnyPolicy, EngineLimits};
use crate::hardware::kv_layout::KvLayout;
use crate::hardware::memory::{self, DraftMemory, MemoryPlan, MemorySettings};
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism};

/// What is needed beside the model if it is spread like this; `None` if it cannot be.
pub(super) type DraftAt<'a> = dyn Fn(Parallelism) -> Option<DraftMemory> + 'a;

/// A model and what takes memory beside it.
#[derive(Clone, Copy)]
pub(super) struct ModelMemory<'a> {
    pub model: &'a ModelSpec,
    pub draft: DraftMemory,
    /// `draft` with other parallelism.
    pub draft_at: &'a DraftAt<'a>,
}

impl Checker<'_> {
    /// The engine's limits, with the KV blocks as given or as the memory allows.
    pub(super) fn engine(
        &self,
        raw: &RawScenario,
        of: ModelMemory<'_>,
        device: &DeviceSpec,
        parallel: Parallelism,
        policy: &dyn AnyPolicy,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<(EngineLimits, Option<MemoryPlan>), Box<Diagnostic>> {
        let ModelMemory { model, draft, draft_at } = of;
        let engine = &raw.engine;
        let max_model_len = engine.max_model_len.unwrap_or(model.max_position);
        if max_model_len == 0 {
            return Err(self.error("engine.max_model_len", 0, "at least 1"));
        }
        if max_model_len > model.max_position && !engine.allow_long_max_model_len {
            let expected = format!("at most {}, the limit of {}", model.max_position, model.name);
            let error = self.error("engine.max_model_len", max_model_len, &expected);
            return Err(Box::new(
                (*error).help("to exceed it anyway, set allow_long_max_model_len: true"),
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
            let per_token = model.kv_bytes_per_token(parallel) + draft.kv_bytes_per_token;
            let kv_gib = f64::from(blocks) * f64::from(engine.block_size) * per_token as f64 / GIB;
            let weight_gib = (model.weight_bytes(parallel) + draft.weight_bytes) as f64 / GIB;
            if kv_gib + weight_gib > device.memory_gib {
                let place = self.document.place(&self.span("engine.num_gpu_blocks"));
                warnings.push(
                    Diagnostic::warning(format!(
                        "{blocks} KV blocks ({kv_gib:.1} GiB) and the weights ({weight_gib:.1} GiB) need more \
                         than the {:.1} GiB of one {}",
                        device.memory_gib, device.name
                    ))
                    .at(place, "simulated as if they fitted"),
                );
            }
            let shared = self.document.node("gpus").is_some();
            if utilization != raw::DEFAULT_UTILIZATION && !shared {
                // A resolved scenario has both, and they agree.
                let settings = memory_settings(utilization, &limits, draft, policy);
                let plan = memory::plan(model, device, parallel, settings);
                if plan.map_or(0, |plan| plan.num_blocks) != blocks {
                    let place = self.document.place(&self.span("engine.gpu_memory_utilization"));
                    let title = "`engine.gpu_memory_utilization` has no effect beside \
                                 `engine.num_gpu_blocks`";
                    warnings.push(Diagnostic::warning(title).at(place, "changes nothing"));
                }
            }
            if let Some(warning) = one_pool(model, parallel, &limits) {
                let place = self.document.place(&self.span("model"));
                warnings.push(warning.at(place, "of this model"));
            }
            return Ok((limits, None));
        }
        let settings = memory_settings(utilization, &limits, draft, policy);
        let plan = memory::plan(model, device, parallel, settings).map_err(|error| {
            let place = self.document.place(&self.span("model"));
            let at =
                |parallel| draft_at(parallel).map(|draft| MemorySettings { draft, ..settings });
            let help = memory::smallest_help(model, parallel, |parallel| {
                at(parallel).is_some_and(|s| memory::plan(model, device, parallel, s).is_ok())
            });
            Box::new(
                Diagnostic::error(format!("{} does not fit on {}", model.label(), device.name))
                    .at(place, "does not fit in memory")
                    .note(error.to_string())
                    .help(help)
                    .exit(DOES_NOT_FIT),
            )
        })?;
        limits.num_blocks = plan.num_blocks;
        if let Some(warning) = one_pool(model, parallel, &limits) {
            warnings.push(warning.at(self.document.place(&self.span("model")), "of this model"));
        }
        Ok((limits, Some(plan)))
    }
}

/// Says how the cache of a model is simulated of which some layers keep a window or a state.
fn one_pool(model: &ModelSpec, parallel: Parallelism, limits: &EngineLimits) -> Option<Diagnostic> {
    let layout = KvLayout::of(model, parallel, limits.block_size);
    (!layout.is_plain()).then(|| {
        Diagnostic::warning(format!(
            "{}: layers that keep windows or states are simulated as if they kept every token, of \
             as many tokens as vLLM says its cache holds ({} groups)",
            model.name,
            layout.groups.len()
        ))
        .help("long requests leave more room than that in a real engine")
    })
}

/// What the memory plan needs to know.
pub(super) fn memory_settings(
    gpu_memory_utilization: f64,
    limits: &EngineLimits,
    draft: DraftMemory,
    policy: &dyn AnyPolicy,
) -> MemorySettings {
    let max_model_len = limits.max_model_len;
    // The memory plan needs to know the largest batch, and batches depend on no block count.
    let batch = policy.batch_limits(&EngineLimits { num_blocks: u32::MAX, ..*limits });
    // A policy without a budget of tokens could, in theory, batch every prompt at once. As in
    // vLLM's own profiling run one longest prompt is taken to be the largest batch then.
    let unbounded = batch.max_num_seqs.saturating_mul(max_model_len);
    let tokens = if batch.max_num_batched_tokens >= unbounded {
        max_model_len
    } else {
        batch.max_num_batched_tokens
    };
    MemorySettings {
        gpu_memory_utilization,
        block_size: limits.block_size,
        max_model_len,
        max_num_batched_tokens: tokens,
        max_num_seqs: batch.max_num_seqs,
        draft,
    }
}
