//! Model shapes, and what follows from them: parameters, bytes per GPU, FLOPs.

mod builtin;
mod config;
mod families;
mod known;
#[doc(hidden)]
pub mod layers;
mod precision;
mod size;
mod stacked;

use std::borrow::Cow;

pub(crate) use builtin::closest;
pub use builtin::{find, names};
#[doc(hidden)]
pub use precision::{Groups, KvCache, Weights};

use layers::LayerRun;

/// The shape of a decoder-only transformer, in the terms of a HuggingFace `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// The name users write: `Llama-2-7B`.
    pub name: Cow<'static, str>,
    /// The family that its layers are built like, HuggingFace's `model_type`: `llama`.
    pub family: &'static str,
    /// Transformer blocks (`num_hidden_layers`).
    pub layers: u32,
    /// Width of the residual stream (`hidden_size`).
    pub hidden: u32,
    /// Query heads (`num_attention_heads`).
    pub q_heads: u32,
    /// Key/value heads (`num_key_value_heads`); fewer than `q_heads` under GQA.
    pub kv_heads: u32,
    /// Width of a head (`head_dim`, or `hidden_size / num_attention_heads`).
    pub head_dim: u32,
    /// Width of the MLP (`intermediate_size`); unused where every block has experts.
    pub intermediate: u32,
    /// Whether the MLP has a gate (three matrices rather than two).
    pub gated_mlp: bool,
    /// Rows of the embedding (`vocab_size`).
    pub vocab: u32,
    /// Whether embedding and LM head are one matrix.
    pub tie_word_embeddings: bool,
    /// Longest sequence in tokens (`max_position_embeddings`).
    pub max_position: u32,
    /// Whether each block has a second norm, before its MLP.
    pub post_attn_norm: bool,
    /// Whether query and key heads are normed (`q_norm`, `k_norm`: Qwen3).
    pub qk_norm: bool,
    /// Whether the QKV projection has a bias (Qwen2).
    pub qkv_bias: bool,
    /// Experts in place of each block's MLP.
    pub experts: Option<Moe>,
    /// Parameters of a block on each GPU that are neither matrices nor the norms and biases above.
    pub other_layer_params: u64,
    /// Parameters outside the blocks beside embedding, last norm and LM head: positions, biases.
    pub other_params: u64,
    /// Bytes of an activation and of an element of the embedding: 2 for fp16 and bf16.
    pub dtype_bytes: f64,
    /// How the weights of the blocks are stored.
    pub weights: Weights,
    /// Rows and columns of a block of 8-bit floats that share a scale: slices of matrices have to
    /// be whole blocks.
    pub weight_block: Option<(u32, u32)>,
    /// How keys and values are stored.
    pub kv_cache: KvCache,
    /// How the LM head is stored.
    pub head_weights: Weights,
    /// The layers in order, where they are not all alike: then the fields above describe what the
    /// config has for most of them. Empty where they describe each.
    pub stack: Vec<LayerRun>,
    /// Keys of the model's config that are left out, because a scenario allowed it.
    pub unmodelled: Vec<String>,
}

/// Experts of a mixture-of-experts model: each an MLP; a router picks some for each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub struct Moe {
    /// Experts per block (`num_experts`, `num_local_experts`, `n_routed_experts`).
    pub experts: u32,
    /// Experts that each token meets (`num_experts_per_tok`).
    pub experts_per_token: u32,
    /// Width of an expert (`moe_intermediate_size`; Mixtral: `intermediate_size`).
    pub moe_intermediate: u32,
}

impl ModelSpec {
    /// Whether several query heads share one key/value head (GQA or MQA).
    pub fn is_gqa(&self) -> bool {
        self.q_heads > self.kv_heads
    }

    /// Whether weights or KV cache take less than 16 bits.
    pub fn quantized(&self) -> bool {
        self.weights.quantized() || self.kv_cache.quantized()
    }

    /// The name, and what is left out: `mine/small (not modelled: layer_types)`.
    pub fn title(&self) -> String {
        match self.unmodelled.is_empty() {
            true => self.name.to_string(),
            false => format!("{} (not modelled: {})", self.name, self.unmodelled.join(" ")),
        }
    }

    /// The name, what is quantised, and what is left out: `Llama-2-70B (int4 g128 weights, fp8 KV
    /// cache)`.
    pub fn label(&self) -> String {
        let mut parts = Vec::new();
        if self.weights.quantized() {
            parts.push(format!("{} weights", self.weights.label()));
        }
        if self.kv_cache.quantized() {
            parts.push(format!("{} KV cache", self.kv_cache.label()));
        }
        if !self.unmodelled.is_empty() {
            parts.push(format!("not modelled: {}", self.unmodelled.join(" ")));
        }
        match parts.is_empty() {
            true => self.name.to_string(),
            false => format!("{} ({})", self.name, parts.join(", ")),
        }
    }

    /// The HuggingFace name, if this is a built-in model: `meta-llama/Llama-2-7b-hf`.
    pub fn hugging_face_name(&self) -> Option<&'static str> {
        builtin::hugging_face_name(&self.name)
    }
}
