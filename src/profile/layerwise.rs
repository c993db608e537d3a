//! The layerwise part of the profile format: one decoder layer of a model in vLLM, kernel by
//! kernel.
//!
//! All times are GPU kernel times in microseconds; nothing of it is communication, CPU time or
//! launch gaps.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::format::{Curve, Surface};
use crate::hardware::model::ModelSpec;

/// A model's layers on one device, per tensor-parallel degree.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerwiseTables {
    /// The model that was measured.
    pub model: String,
    /// Number formats of weights and KV cache: `bf16`, `fp8`, `bf16-kvfp8`.
    pub variant: String,
    /// The engine and its version: `vLLM 0.19.0`.
    pub engine: String,
    /// Tokens per KV block.
    pub block_size: u32,
    /// What the times depend on; other models of this shape have the same times.
    pub shape: LayerShape,
    /// The bound that the longest sequence sets, where it is known.
    #[serde(default)]
    pub straggler: Option<Straggler>,
    /// One entry per tensor-parallel degree that was measured.
    pub ranks: Vec<LayerwiseRank>,
}

/// The shape of a layer over all GPUs, and of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerShape {
    /// Width of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub q_heads: u32,
    /// Key/value heads.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Width of the MLP, or of one expert.
    pub intermediate: u32,
    /// Rows of the embedding.
    pub vocab: u32,
    /// Experts; 0 for a dense model.
    #[serde(default)]
    pub experts: u32,
    /// Experts that a token meets.
    #[serde(default)]
    pub experts_per_token: u32,
}

impl LayerShape {
    /// The shape of `model`.
    pub fn of(model: &ModelSpec) -> LayerShape {
        let moe = model.experts;
        LayerShape {
            hidden: model.hidden,
            q_heads: model.q_heads,
            kv_heads: model.kv_heads,
            head_dim: model.head_dim,
            intermediate: moe.map_or(model.intermediate, |moe| moe.moe_intermediate),
            vocab: model.vocab,
            experts: moe.map_or(0, |moe| moe.experts),
            experts_per_token: moe.map_or(0, |moe| moe.experts_per_token),
        }
    }
}

/// A lower bound on the attention of a batch of decoding requests, set by the longest of them.
///
/// FlashAttention splits a sequence's KV cache over several thread blocks only while the batch has
/// fewer (request, KV head) pairs than the GPU has room for; beyond that one thread block reads a
/// head's whole cache, at a speed that the latency of memory limits however idle the rest is.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Straggler {
    /// Requests x KV heads per GPU from which on sequences are not split. FlashAttention 2: 0.8 x
    /// 2 x the GPU's multiprocessors (`num_splits_heuristic`).
    pub from_heads: u32,
    /// Microseconds, whatever the length.
    pub us: f64,
    /// Microseconds per token in the KV cache of the longest sequence.
    pub us_per_token: f64,
}

/// Times on one GPU of a tensor-parallel group.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerwiseRank {
    /// GPUs in the group.
    pub tensor_parallel: u32,
    /// Operators by the batch's tokens.
    pub per_tokens: PerTokens,
    /// Operators by the batch's requests.
    pub per_sequences: PerSequences,
    /// Attention, the writing of keys and values included.
    pub attention: LayerwiseAttention,
    /// The MoE block, router included, on one GPU that holds all experts. Rows: experts that are
    /// met by a token; columns: tokens.
    #[serde(default)]
    pub moe: Option<Surface>,
    /// What contexts of different lengths add; left out where it was not measured.
    #[serde(default)]
    pub skew: Option<Skew>,
}

/// Operators on a common axis of tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerTokens {
    /// Tokens in the batch, ascending.
    pub tokens: Vec<u32>,
    /// The times of each operator at each of these.
    pub us: BTreeMap<TokenOperator, Vec<f64>>,
}

/// An operator whose time depends on the batch's tokens alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenOperator {
    /// Look-up of the token embedding.
    Embedding,
    /// One of the two norms of a layer.
    Layernorm,
    /// QKV projection.
    QkvProj,
    /// Norms of query and key heads together.
    QkNorm,
    /// Rotary embedding.
    RotaryEmb,
    /// Output projection.
    OProj,
    /// Gate and up projection.
    GateUpProj,
    /// Activation.
    ActFn,
    /// Down projection.
    DownProj,
    /// The norm after the last layer.
    FinalLayernorm,
}

impl TokenOperator {
    /// All operators, in the order of execution.
    pub const ALL: [TokenOperator; 10] = [
        TokenOperator::Embedding,
        TokenOperator::Layernorm,
        TokenOperator::QkvProj,
        TokenOperator::QkNorm,
        TokenOperator::RotaryEmb,
        TokenOperator::OProj,
        TokenOperator::GateUpProj,
        TokenOperator::ActFn,
        TokenOperator::DownProj,
        TokenOperator::FinalLayernorm,
    ];

    /// The operator's name in files.
    pub fn name(self) -> &'static str {
        match self {
            TokenOperator::Embedding => "embedding",
            TokenOperator::Layernorm => "layernorm",
            TokenOperator::QkvProj => "qkv_proj",
            TokenOperator::QkNorm => "qk_norm",
            TokenOperator::RotaryEmb => "rotary_emb",
            TokenOperator::OProj => "o_proj",
            TokenOperator::GateUpProj => "gate_up_proj",
            TokenOperator::ActFn => "act_fn",
            TokenOperator::DownProj => "down_proj",
            TokenOperator::FinalLayernorm => "final_layernorm",
        }
    }

    /// How often it runs in a layer: not at all if it is outside.
    pub fn per_layer(self) -> f64 {
        match self {
            TokenOperator::Embedding | TokenOperator::FinalLayernorm => 0.0,
            TokenOperator::Layernorm => 2.0,
            _ => 1.0,
        }
    }

    /// Whether a layer can do without it: heads without norms, experts instead of an MLP.
    pub fn is_optional(self) -> bool {
        matches!(
            self,
            TokenOperator::QkNorm
                | TokenOperator::GateUpProj
                | TokenOperator::ActFn
                | TokenOperator::DownProj
        )
    }
}

/// Operators by the number of requests that a token is sampled for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerSequences {
    /// The LM head, on this GPU's share of the vocabulary.
    pub lm_head: Curve,
    /// Sampling.
    pub sampler: Curve,
}

/// Attention of one prompt chunk and decoding requests in one kernel call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerwiseAttention {
    /// Sets of KV lengths that rows refer to by their place here.
    pub axes: Vec<Vec<u32>>,
    /// Measurements by chunk and decoding requests, ascending.
    pub slices: Vec<AttentionSlice>,
}

/// `(chunk, decodes, rows)`: measurements with a chunk of so many tokens (0 for none) and so many
/// decoding requests (0 for none).
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AttentionSlice(pub u32, pub u32, pub Vec<AttentionRow>);

/// `(kv_prefill, axis, us)`: with so many tokens of the chunk's sequence in the KV cache, the times
/// by the KV length of each decoding request, which is on axis number `axis`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AttentionRow(pub u32, pub usize, pub Vec<f64>);

/// What unequal contexts of decoding requests add to attention: the share `alpha` of the way from
/// the time with the mean context to that with the longest.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Skew {
    /// `alpha` of batches with a chunk, and where nothing better is known.
    pub default: f64,
    /// Upper bounds of the classes by decoding requests.
    pub requests: Vec<f64>,
    /// Upper bounds of the classes by (mean - shortest) / (longest - shortest).
    pub position: Vec<f64>,
    /// Upper bounds of the classes by the longest context.
    pub longest: Vec<f64>,
    /// `alpha` of batches without a chunk: for each class of requests the classes of position, for
    /// each of these the classes of the longest.
    pub alpha: Vec<Vec<f64>>,
}
