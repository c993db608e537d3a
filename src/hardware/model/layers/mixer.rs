//! What mixes tokens in a layer, and what it keeps of them.

use super::LinearState;
use crate::hardware::Parallelism;

/// Which earlier tokens attention sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All of them.
    All,
    /// The last so many, the token itself included.
    Window(u32),
    /// Those of its own chunk of so many.
    Chunk(u32),
}

/// What mixes tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixer {
    /// Attention with keys and values of heads.
    Attention {
        /// Query heads.
        q_heads: u32,
        /// Key and value heads.
        kv_heads: u32,
        /// Elements of a key (and of a query).
        key_dim: u32,
        /// Elements of a value.
        value_dim: u32,
        /// Which tokens it sees.
        reach: Reach,
        /// Whether it keeps keys and values of its own; else it reads those of an earlier layer.
        own_cache: bool,
        /// Elements of the key of an indexer that picks blocks of tokens (MiniMax-M3); 0 without.
        indexer: u32,
    },
    /// Latent attention (MLA): one vector for each token, from which all heads' keys and values
    /// are made.
    Latent {
        /// Query heads.
        q_heads: u32,
        /// Elements of the vector that is made into keys and values (`kv_lora_rank`).
        latent: u32,
        /// Elements of the rotary part of the key, shared by all heads.
        rope: u32,
        /// Elements of a head's key without the rotary part.
        nope: u32,
        /// Elements of a head's value.
        value_dim: u32,
        /// Which tokens it sees.
        reach: Reach,
        /// How many times a layer keeps its vector: two halves of LongCat-Flash.
        caches: u32,
        /// The indexer that picks tokens, if it is sparse.
        indexer: Option<Indexer>,
    },
    /// DeepSeek-V4's attention to compressed tokens, beside a window.
    Compressed {
        /// Query heads.
        q_heads: u32,
        /// Elements of a compressed token.
        latent: u32,
        /// Tokens that are compressed into one.
        ratio: u32,
        /// Elements of the indexer's key of a compressed token; 0 without indexer.
        indexer: u32,
        /// Heads of the indexer of this layer; 0 where it takes an earlier layer's picks.
        index_heads: u32,
        /// Compressed tokens that attention sees at most; 0 for all.
        topk: u32,
        /// Whether it keeps compressed tokens of its own; else it reads an earlier layer's.
        own_cache: bool,
    },
    /// A recurrence with a state of a fixed size.
    Linear(LinearState),
    /// Attention to what is not text; nothing is kept of text.
    Cross,
}

/// The indexer of sparse latent attention (DeepSeek sparse attention).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Indexer {
    /// Heads.
    pub heads: u32,
    /// Elements of a key.
    pub dim: u32,
    /// Tokens that attention then sees at most (`index_topk`).
    pub topk: u32,
    /// Tokens that share a key: 1, or a pool.
    pub pool: u32,
    /// Whether this layer has an indexer of its own, rather than using an earlier layer's choice.
    pub own: bool,
}

impl Indexer {
    /// Bytes that vLLM keeps of a token: the key in 8 bits and a 32-bit scale for each 128 of it.
    pub fn bytes_per_token(&self) -> u64 {
        match self.own {
            true => {
                let dim = u64::from(self.dim);
                (dim + 4 * dim.div_ceil(128)) / u64::from(self.pool.max(1))
            }
            false => 0,
        }
    }
}

impl Mixer {
    /// Its kind in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Mixer::Attention { reach: Reach::All, .. } => "full",
            Mixer::Attention { reach: Reach::Window(_), .. } => "sliding",
            Mixer::Attention { reach: Reach::Chunk(_), .. } => "chunked",
            Mixer::Latent { reach: Reach::Window(_), .. } => "sliding",
            Mixer::Latent { reach: Reach::Chunk(_), .. } => "chunked",
            Mixer::Latent { indexer: Some(_), .. } => "dsa",
            Mixer::Latent { indexer: None, .. } => "mla",
            Mixer::Compressed { .. } => "csa",
            Mixer::Linear(_) => "linear",
            Mixer::Cross => "cross",
        }
    }

    /// What the operator is called in texts: `latent attention (MLA)`.
    pub fn operator(&self) -> &'static str {
        match self {
            Mixer::Attention { .. } => "attention",
            Mixer::Latent { indexer: Some(_), .. } => "sparse latent attention (DSA)",
            Mixer::Latent { .. } => "latent attention (MLA)",
            Mixer::Compressed { .. } => "compressed attention (CSA)",
            Mixer::Linear(state) => state.name,
            Mixer::Cross => "cross attention",
        }
    }

    /// Products that bring what it mixed back to the width of the model, each summed over GPUs.
    pub fn outputs(&self) -> u32 {
        match self {
            Mixer::Latent { caches, .. } => *caches,
            Mixer::Cross => 0,
            _ => 1,
        }
    }

    /// Which tokens it sees, if it keeps something of each.
    pub fn reach(&self) -> Option<Reach> {
        match self {
            Mixer::Attention { reach, .. } | Mixer::Latent { reach, .. } => Some(*reach),
            Mixer::Compressed { .. } => Some(Reach::All),
            Mixer::Linear(_) | Mixer::Cross => None,
        }
    }

    /// Elements of the KV cache that it keeps of a token over all heads, the indexer's key of a
    /// latent one not included.
    pub fn kv_elements(&self) -> u64 {
        match self {
            Mixer::Attention { kv_heads, key_dim, value_dim, own_cache: true, .. } => {
                u64::from(*kv_heads) * (u64::from(*key_dim) + u64::from(*value_dim))
            }
            Mixer::Latent { latent, rope, caches, .. } => {
                u64::from(*caches) * (u64::from(*latent) + u64::from(*rope))
            }
            Mixer::Compressed { latent, ratio, indexer, own_cache: true, .. } => {
                let ratio = u64::from(*ratio).max(1);
                (u64::from(*latent) + u64::from(*indexer)) / ratio
            }
            _ => 0,
        }
    }

    /// The same on one GPU: heads are divided, and replicated where they are fewer than GPUs;
    /// latent vectors are on each GPU.
    pub fn kv_elements_per_gpu(&self, parallel: Parallelism) -> u64 {
        match self {
            Mixer::Attention { kv_heads, key_dim, value_dim, own_cache: true, .. } => {
                let heads = u64::from(kv_heads.div_ceil(parallel.tensor));
                heads * (u64::from(*key_dim) + u64::from(*value_dim))
            }
            other => other.kv_elements(),
        }
    }

    /// FLOPs of one pair of query and key over all heads, of what attention does in training and on
    /// prompts: 2 per element of keys and of values.
    pub fn flops_per_pair(&self) -> u64 {
        let of = |heads: u32, dims: u32| 2 * u64::from(heads) * u64::from(dims);
        match self {
            Mixer::Attention { q_heads, key_dim, value_dim, .. } => {
                of(*q_heads, key_dim + value_dim)
            }
            Mixer::Latent { q_heads, rope, nope, value_dim, .. } => {
                of(*q_heads, rope + nope + value_dim)
            }
            Mixer::Compressed { .. } | Mixer::Linear(_) | Mixer::Cross => 0,
        }
    }

    /// Bytes of indexer keys of a token, on each GPU.
    pub fn indexer_bytes(&self) -> u64 {
        match self {
            Mixer::Latent { indexer: Some(indexer), .. } => indexer.bytes_per_token(),
            // In 16 bits, as the cache of this layer.
            Mixer::Attention { indexer, .. } => 2 * u64::from(*indexer),
            _ => 0,
        }
    }

    /// Bytes of the state of a sequence over all heads.
    pub fn state_bytes(&self) -> u64 {
        match self {
            Mixer::Linear(state) => state.bytes(),
            _ => 0,
        }
    }

    /// Heads that tensor parallelism has to divide, each with whether they may be replicated.
    pub fn heads(&self) -> Vec<(&'static str, u32, bool)> {
        match self {
            Mixer::Attention { q_heads, kv_heads, .. } => {
                vec![("query heads", *q_heads, false), ("KV heads", *kv_heads, true)]
            }
            Mixer::Latent { q_heads, .. } => vec![("query heads", *q_heads, false)],
            Mixer::Linear(state) => state.heads(),
            Mixer::Compressed { .. } | Mixer::Cross => Vec::new(),
        }
    }
}
