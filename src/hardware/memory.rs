//! How many KV blocks a GPU holds beside the weights.

use crate::base::GIB;
use crate::hardware::kv_layout::KvLayout;
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism};

/// Sequences that vLLM computes logits for in its profiling run, by default.
const PROFILED_SEQUENCES: f64 = 256.0;
/// Logits are computed in fp32.
const LOGIT_BYTES: f64 = 4.0;
/// Bytes per logit while vLLM's profiling run samples with top-p: 16 bits (2) and 32 bits (4),
/// sorted (4) with their places (8), and the sort's second buffers of both (12).
const SAMPLED_BYTES: f64 = 30.0;

/// No engine is run with more.
const MAX_TENSOR_PARALLEL: u32 = 64;

/// What the engine may use of a GPU, besides model and device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemorySettings {
    /// Share of the device's memory that the engine takes, in (0, 1].
    pub gpu_memory_utilization: f64,
    /// Tokens per KV block.
    pub block_size: u32,
    /// Longest sequence in tokens; at least one must fit.
    pub max_model_len: u32,
    /// Most tokens in one iteration; decides how much memory activations need.
    pub max_num_batched_tokens: u32,
    /// Most requests at once; decides how much memory sampling needs.
    pub max_num_seqs: u32,
    /// What speculative decoding needs beside.
    pub draft: DraftMemory,
}

/// What a proposer of tokens needs on each GPU; nothing without speculative decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DraftMemory {
    /// Its weights.
    pub weight_bytes: u64,
    /// Its keys and values of one token: each KV block holds them beside the model's.
    pub kv_bytes_per_token: u64,
    /// Tokens that a decoding request feeds at most, its drafts and its last token.
    pub tokens_per_request: u32,
}

/// The memory of one GPU, divided up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryPlan {
    /// KV blocks of the replica (each spread over its GPUs). Of layers that keep windows or states,
    /// as many as hold the tokens that vLLM says the cache has: each sequence whole in every group.
    pub num_blocks: u32,
    /// Blocks of the pool that the groups of layers share; `num_blocks` where all layers keep every
    /// token.
    pub pool_blocks: u32,
    /// Tokens that the cache holds.
    pub tokens: u64,
    /// Weights on the fullest GPU.
    pub weight_gib: f64,
    /// Peak of activations and logits, estimated.
    pub activation_gib: f64,
    /// What the engine may use: utilization x the device's memory.
    pub available_gib: f64,
    /// Bytes of one KV block on each GPU.
    pub kv_bytes_per_block: u64,
}

/// The model does not fit. The message is a whole sentence; sizes are per GPU.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MemoryError {
    /// Weights and activations alone are too large.
    #[error(
        "{model} needs {needed_gib:.2} GiB per GPU ({weight_gib:.2} weights + {activation_gib:.2} \
         activations) at TP {} x PP {}, but {device} has {available_gib:.2} GiB available; use more \
         tensor or pipeline parallelism, a larger device, or a higher gpu_memory_utilization",
        parallel.tensor, parallel.pipeline
    )]
    Weights {
        /// The model's name.
        model: String,
        /// The device's name.
        device: String,
        /// GPUs it was to be spread over.
        parallel: Parallelism,
        /// Weights and activations.
        needed_gib: f64,
        /// Weights alone.
        weight_gib: f64,
        /// Activations alone.
        activation_gib: f64,
        /// What there is.
        available_gib: f64,
    },
    /// There is no room for the KV cache of one sequence of the greatest length.
    #[error(
        "{model} needs {needed_gib:.2} GiB per GPU for weights, activations and the KV cache of one \
         sequence of max_model_len {max_model_len} tokens at TP {} x PP {}, but {device} has \
         {available_gib:.2} GiB available; lower max_model_len, use more tensor or pipeline \
         parallelism, or a larger device",
        parallel.tensor, parallel.pipeline
    )]
    OneSequence {
        /// The model's name.
        model: String,
        /// The device's name.
        device: String,
        /// GPUs it was to be spread over.
        parallel: Parallelism,
        /// The length that must fit.
        max_model_len: u32,
        /// Weights, activations and one sequence.
        needed_gib: f64,
        /// What there is.
        available_gib: f64,
    },
}

/// Divides the memory of a GPU as vLLM does after its profiling run:
/// `blocks = floor((utilization x memory - weights - activations) / bytes per block)`.
///
/// Activations are an estimate of the peak that vLLM measures with a batch of
/// `max_num_batched_tokens` and then `max_num_seqs` sequences to sample, whichever is more: in the
/// MLP the gate-and-up output, its product and the residual are alive at once,
/// `tokens x (3 x intermediate / TP + 3 x hidden) x bytes`, plus fp32 logits of 256 sequences; the
/// sampler holds the logits several times over, `sequences x vocabulary x 30 bytes`. Memory beside
/// PyTorch's (workspaces, NCCL) and CUDA graphs are not counted. (It comes within 0.5 % of the 7438
/// blocks that vLLM 0.11 logged for Llama-2-7B on an 80 GB H100; see `docs/accuracy.md`.)
///
/// The weights of a proposer of tokens are weights like the model's, and a KV block holds the keys
/// and values of both for its tokens. The proposer's activations are not alive together with the
/// model's.
///
/// `parallel` is taken as checked ([`Parallelism::check`]); zero block sizes count as 1.
///
/// # Errors
/// [`MemoryError`] if the weights, or one sequence of `max_model_len` tokens, do not fit.
pub fn plan(
    model: &ModelSpec,
    device: &DeviceSpec,
    parallel: Parallelism,
    settings: MemorySettings,
) -> Result<MemoryPlan, MemoryError> {
    let block_size = settings.block_size.max(1);
    let available = settings.gpu_memory_utilization * device.memory_gib * GIB;
    let draft = settings.draft;
    let weights = (model.weight_bytes(parallel) + draft.weight_bytes) as f64;
    let activations = activation_bytes(model, parallel, settings);
    let layout = KvLayout::of(model, parallel, block_size);
    let kv_bytes_per_token = match layout.is_plain() {
        true => model.kv_bytes_per_token(parallel) + draft.kv_bytes_per_token,
        false => layout.bytes_per_token(settings.max_model_len) + draft.kv_bytes_per_token,
    };
    let kv_bytes_per_block = kv_bytes_per_token.saturating_mul(u64::from(block_size)).max(1);
    let left = available - weights - activations;
    if left <= 0.0 {
        return Err(MemoryError::Weights {
            model: model.label(),
            device: device.name.to_owned(),
            parallel,
            needed_gib: (weights + activations) / GIB,
            weight_gib: weights / GIB,
            activation_gib: activations / GIB,
            available_gib: available / GIB,
        });
    }
    // The casts saturate: more blocks than u32 holds cannot be told apart anyway.
    let num_blocks = (left / kv_bytes_per_block as f64).floor() as u32;
    let one_sequence = settings.max_model_len.div_ceil(block_size);
    // Of a pool that groups share, a sequence takes no more than its windows and states.
    let (blocks, needed, block_bytes) = match layout.is_plain() {
        true => (num_blocks, one_sequence, kv_bytes_per_block),
        false => {
            let bytes = layout.bytes_per_block.max(1);
            let in_flight = settings.max_num_batched_tokens.saturating_mul(2);
            let needed = layout.blocks_of_sequence(settings.max_model_len, in_flight);
            ((left / bytes as f64).floor() as u32, needed, bytes)
        }
    };
    if blocks < needed {
        let kv = f64::from(needed) * block_bytes as f64;
        return Err(MemoryError::OneSequence {
            model: model.label(),
            device: device.name.to_owned(),
            parallel,
            max_model_len: settings.max_model_len,
            needed_gib: (weights + activations + kv) / GIB,
            available_gib: available / GIB,
        });
    }
    // One sequence fits, although it alone would take more if it were whole in every group.
    let num_blocks = if layout.is_plain() { num_blocks } else { num_blocks.max(one_sequence) };
    Ok(MemoryPlan {
        num_blocks,
        pool_blocks: blocks,
        tokens: u64::from(num_blocks) * u64::from(block_size),
        weight_gib: weights / GIB,
        activation_gib: activations / GIB,
        available_gib: available / GIB,
        kv_bytes_per_block,
    })
}

/// The smallest degree of tensor parallelism above `parallel`'s that is possible for the model and
/// fits.
fn smallest_that_fits(
    model: &ModelSpec,
    parallel: Parallelism,
    fits: impl Fn(Parallelism) -> bool,
) -> Option<u32> {
    (parallel.tensor.saturating_add(1)..=MAX_TENSOR_PARALLEL).find(|&tensor| {
        let parallel = Parallelism { tensor, ..parallel };
        parallel.check(model).is_ok() && fits(parallel)
    })
}

/// Advice to whom a model does not fit: the smallest degree of tensor parallelism above
/// `parallel`'s that does, by whatever plan `fits` asks.
pub fn smallest_help(
    model: &ModelSpec,
    parallel: Parallelism,
    fits: impl Fn(Parallelism) -> bool,
) -> String {
    match smallest_that_fits(model, parallel, fits) {
        Some(tensor) => format!("the smallest tensor_parallel that fits is {tensor}"),
        None => format!("no tensor_parallel up to {MAX_TENSOR_PARALLEL} makes it fit"),
    }
}

/// See [`plan`].
fn activation_bytes(model: &ModelSpec, parallel: Parallelism, settings: MemorySettings) -> f64 {
    let verified = settings.max_num_seqs.saturating_mul(settings.draft.tokens_per_request);
    let tokens = settings.max_num_batched_tokens.max(verified);
    let sequences = settings.max_num_seqs.min(tokens);
    let mlp = 3.0 * f64::from(model.intermediate) / f64::from(parallel.tensor);
    let residual = 3.0 * f64::from(model.hidden);
    let logits = PROFILED_SEQUENCES * f64::from(model.vocab) * LOGIT_BYTES;
    let pass = f64::from(tokens) * (mlp + residual) * model.dtype_bytes + logits;
    pass.max(f64::from(sequences) * f64::from(model.vocab) * SAMPLED_BYTES)
}

/// The outcome of [`vidur_plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VidurPlan {
    /// Requests of the greatest length that fit on one stage's GPUs; Orca and FasterTransformer
    /// batch no more.
    pub max_batch_size: u32,
    /// KV blocks of the replica.
    pub num_blocks: u32,
}

/// A device as Vidur describes it.
#[derive(Clone, Copy, Debug)]
pub struct VidurDevice<'a> {
    /// Vidur's name for it.
    pub name: &'a str,
    /// GiB of memory (80 for an A100).
    pub total_memory_gb: f64,
}

/// Memory as Vidur plans it, for scenarios imported from Vidur: whole sequences of
/// `max_request_tokens`; no embedding, LM head, norms or activations; the request's KV counts all
/// layers and the result is multiplied by the number of stages.
///
/// # Errors
/// [`MemoryError::OneSequence`] if not one sequence fits.
pub fn vidur_plan(
    model: &ModelSpec,
    device: VidurDevice<'_>,
    parallel: Parallelism,
    memory_margin_fraction: f64,
    block_size: u32,
    max_request_tokens: u32,
) -> Result<VidurPlan, MemoryError> {
    let (hidden, stages) = (u64::from(model.hidden), u64::from(parallel.pipeline));
    let head_dim = hidden / u64::from(model.q_heads);
    let q = u64::from(model.q_heads / parallel.tensor);
    let kv = u64::from(model.kv_heads.div_ceil(parallel.tensor));
    let mlp = if model.gated_mlp { 3 } else { 2 } * hidden * u64::from(model.intermediate);
    let layer =
        hidden * head_dim * (q + 2 * kv) + hidden * head_dim * q + mlp / u64::from(parallel.tensor);
    let weights = 2.0 * (layer * u64::from(model.layers_per_stage(parallel))) as f64;
    let available = device.total_memory_gb * GIB * (1.0 - memory_margin_fraction);
    let sequence =
        (4 * head_dim * kv * u64::from(max_request_tokens) * u64::from(model.layers)) as f64;
    let max_batch_size = ((available - weights) / sequence).floor();
    if max_batch_size < 1.0 {
        return Err(MemoryError::OneSequence {
            model: model.name.to_string(),
            device: device.name.to_owned(),
            parallel,
            max_model_len: max_request_tokens,
            needed_gib: (weights + sequence) / GIB,
            available_gib: available / GIB,
        });
    }
    let blocks_per_sequence = f64::from(max_request_tokens / block_size.max(1));
    Ok(VidurPlan {
        max_batch_size: max_batch_size as u32,
        num_blocks: (blocks_per_sequence * max_batch_size * stages as f64) as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::find_device;
    use crate::hardware::model::find;

    const SETTINGS: MemorySettings = MemorySettings {
        gpu_memory_utilization: 0.9,
        block_size: 16,
        max_model_len: 4096,
        max_num_batched_tokens: 4096,
        max_num_seqs: 256,
        draft: DraftMemory { weight_bytes: 0, kv_bytes_per_token: 0, tokens_per_request: 0 },
    };

    fn one_gpu(model: &str, device: &str) -> Result<MemoryPlan, MemoryError> {
        plan(find(model).unwrap(), find_device(device).unwrap(), Parallelism::default(), SETTINGS)
    }

    /// The table in `docs/accuracy.md`. Only the first figure is an engine's log; the others are
    /// what other simulators took for the same engines.
    #[test]
    fn blocks_are_close_to_what_vllm_logged() {
        let tensor = |tensor| Parallelism { tensor, pipeline: 1 };
        let pro = MemorySettings { max_num_batched_tokens: 2048, max_num_seqs: 128, ..SETTINGS };
        let rows = [
            ("Llama-2-7B", "H100-SXM-80G", 1, SETTINGS, 7438, "logged by vLLM 0.11", 0.005),
            ("Llama-3.1-8B", "RTX-PRO-6000", 1, pro, 36_578, "LLMServingSim's assumption", 0.05),
            ("Qwen3-32B", "RTX-PRO-6000", 2, pro, 28_614, "LLMServingSim's assumption", 0.05),
        ];
        for (model, device, gpus, settings, theirs, source, limit) in rows {
            let (model, device) = (find(model).unwrap(), find_device(device).unwrap());
            let settings = MemorySettings { max_model_len: 1024, ..settings };
            let ours = plan(model, device, tensor(gpus), settings).unwrap().num_blocks;
            let error = f64::from(ours) / f64::from(theirs) - 1.0;
            println!(
                "{:13} {:13} TP {gpus}: {ours} blocks planned, {theirs} {source} ({:+.2} %)",
                model.name,
                device.name,
                100.0 * error
            );
            assert!(error.abs() < limit, "{}", model.name);
        }
    }

    #[test]
    fn sampling_of_a_large_vocabulary_needs_more_than_a_small_batch() {
        let few = MemorySettings { max_num_batched_tokens: 512, ..SETTINGS };
        let device = find_device("A100-SXM-80G").unwrap();
        let gib = |settings| {
            let model = find("Llama-3.1-8B").unwrap();
            plan(model, device, Parallelism::default(), settings).unwrap().activation_gib
        };
        let sampler = 256.0 * 128_256.0 * 30.0 / GIB;
        assert!((gib(few) - sampler).abs() < 1e-9, "{}", gib(few));
        assert!(gib(MemorySettings { max_num_seqs: 16, ..few }) < sampler / 5.0);
    }

    /// Llama-2-70B on 4 H100 with a draft of 7B: 80 KiB and 128 KiB per token and GPU.
    #[test]
    fn a_block_holds_the_draft_models_tokens_too() {
        let (model, draft) = (find("Llama-2-70B").unwrap(), find("Llama-2-7B").unwrap());
        let (device, parallel) =
            (find_device("H100-SXM-80G").unwrap(), Parallelism { tensor: 4, pipeline: 1 });
        let with = MemorySettings {
            draft: DraftMemory {
                weight_bytes: draft.weight_bytes(parallel),
                kv_bytes_per_token: draft.kv_bytes_per_token(parallel),
                tokens_per_request: 6,
            },
            ..SETTINGS
        };
        let [alone, with] = [SETTINGS, with].map(|s| plan(model, device, parallel, s).unwrap());
        assert_eq!(alone.kv_bytes_per_block, 16 * 80 * 1024);
        assert_eq!(with.kv_bytes_per_block, 16 * (80 + 128) * 1024);
        assert!(((with.weight_gib - alone.weight_gib) / 3.137 - 1.0).abs() < 0.006, "{with:?}");
        let ratio = f64::from(with.num_blocks) / f64::from(alone.num_blocks);
        assert!((0.34..0.37).contains(&ratio), "{ratio}");
    }

    #[test]
    fn an_a100_holds_29_full_sequences_of_7b() {
        let blocks = one_gpu("Llama-2-7B", "A100-SXM-80G").unwrap().num_blocks;
        assert_eq!(blocks / 256, 29, "{blocks} blocks");
    }

    #[test]
    fn what_does_not_fit_says_how_much_is_missing() {
        let error = one_gpu("Llama-2-70B", "A100-SXM-80G").unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("Llama-2-70B needs 129."), "{text}");
        assert!(text.contains("A100-SXM-80G has 71.33 GiB available"), "{text}");
    }

    #[test]
    fn the_smallest_degree_that_fits_is_found() {
        let (model, device) = (find("Llama-2-70B").unwrap(), find_device("A100-SXM-80G").unwrap());
        let smallest = |settings: MemorySettings| {
            smallest_that_fits(model, Parallelism::default(), |parallel| {
                plan(model, device, parallel, settings).is_ok()
            })
        };
        let fits = |tensor| plan(model, device, Parallelism { tensor, pipeline: 1 }, SETTINGS);
        assert!(fits(2).is_ok() && fits(1).is_err());
        assert_eq!(smallest(SETTINGS), Some(2));
        let little = MemorySettings { gpu_memory_utilization: 0.25, ..SETTINGS };
        assert_eq!(smallest(little), Some(8));
        assert_eq!(smallest(MemorySettings { gpu_memory_utilization: 1e-3, ..SETTINGS }), None);
    }

    #[test]
    fn one_sequence_must_fit() {
        let model = find("CodeLlama-34B").unwrap();
        let device = find_device("A100-SXM-80G").unwrap();
        let long = MemorySettings { max_model_len: 1 << 20, ..SETTINGS };
        let error = plan(model, device, Parallelism::default(), long).unwrap_err();
        assert!(matches!(error, MemoryError::OneSequence { max_model_len: 1_048_576, .. }));
    }

    #[test]
    fn vidurs_plan_is_reproduced() {
        let model = find("Llama-2-7B").unwrap();
        let a100 = VidurDevice { name: "a100", total_memory_gb: 80.0 };
        let vidur =
            |pipeline| vidur_plan(model, a100, Parallelism { tensor: 1, pipeline }, 0.1, 16, 4096);
        assert_eq!(vidur(1), Ok(VidurPlan { max_batch_size: 29, num_blocks: 7424 }));
        assert_eq!(vidur(2), Ok(VidurPlan { max_batch_size: 32, num_blocks: 16384 }));
        let large = find("Llama-2-70B").unwrap();
        let error = vidur_plan(large, a100, Parallelism::default(), 0.1, 16, 4096);
        assert!(error.unwrap_err().to_string().contains("a100 has 72.00 GiB available"));
    }
}
