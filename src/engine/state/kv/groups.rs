//! KV cache groups: what the layers of a hybrid model keep, and how many blocks that takes.
//!
//! Rules of vLLM 0.33's managers (read, and checked by running its scheduler on recorded
//! workloads): all groups take blocks from one pool; blocks that fall out of a window are given
//! back when the request is planned next; a prefix is found where every group has what it needs of
//! it.

use serde::{Deserialize, Serialize};

/// What a group of layers keeps of a request (`engine.kv_cache_groups`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum KvCacheGroup {
    /// Keys and values of every token.
    Full {
        /// Tokens of a block.
        block_size: u32,
    },
    /// Those of the last tokens.
    SlidingWindow {
        /// Tokens of a block.
        block_size: u32,
        /// Tokens that a token sees, itself included.
        window: u32,
    },
    /// Those of the present chunk.
    ChunkedLocal {
        /// Tokens of a block.
        block_size: u32,
        /// Tokens of a chunk.
        chunk: u32,
    },
    /// A state of fixed size.
    Mamba {
        /// Tokens that a block stands for.
        block_size: u32,
        /// What is kept of states for other requests.
        #[serde(default)]
        mode: MambaMode,
    },
}

/// What is kept of states for other requests (vLLM's `mamba_cache_mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MambaMode {
    /// Nothing: one state a request.
    #[default]
    None,
    /// States at the ends of blocks.
    Align,
}

impl KvCacheGroup {
    /// Tokens of a block.
    pub fn block_size(self) -> u32 {
        match self {
            KvCacheGroup::Full { block_size }
            | KvCacheGroup::SlidingWindow { block_size, .. }
            | KvCacheGroup::ChunkedLocal { block_size, .. }
            | KvCacheGroup::Mamba { block_size, .. } => block_size,
        }
    }

    /// Whether it keeps every token.
    pub(crate) fn is_full(self) -> bool {
        matches!(self, KvCacheGroup::Full { .. })
    }

    /// Whether it keeps states at the ends of blocks.
    pub(crate) fn is_aligned(self) -> bool {
        matches!(self, KvCacheGroup::Mamba { mode: MambaMode::Align, .. })
    }

    /// How many of the first `processed` tokens no later token needs.
    pub(crate) fn skipped(self, processed: u32) -> u32 {
        match self {
            KvCacheGroup::Full { .. } => 0,
            KvCacheGroup::SlidingWindow { window, .. } => (processed + 1).saturating_sub(window),
            KvCacheGroup::ChunkedLocal { chunk, .. } => processed / chunk * chunk,
            KvCacheGroup::Mamba { .. } => processed.saturating_sub(1),
        }
    }

    /// Most blocks of a request that are held at once, with `in_flight` tokens computed at once and
    /// `longest` tokens in all; `None` if they are held to its end.
    pub(crate) fn most_blocks(self, in_flight: u32, longest: u32) -> Option<u32> {
        let blocks = |tokens: u32| tokens.min(longest).div_ceil(self.block_size());
        match self {
            KvCacheGroup::SlidingWindow { window, .. } => {
                Some(blocks((window - 1).saturating_add(in_flight)) + 1)
            }
            KvCacheGroup::ChunkedLocal { chunk, .. } => {
                Some(blocks(chunk.saturating_add(in_flight)))
            }
            KvCacheGroup::Full { .. } | KvCacheGroup::Mamba { .. } => None,
        }
    }

    /// Blocks in a row that a window needs for a prefix to be found.
    pub(crate) fn row(window: u32, block_size: u32) -> u32 {
        (window - 1).div_ceil(block_size)
    }
}

/// The groups of a pool of replicas, and the rules that go with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// The groups, in the order in which they take blocks.
    pub groups: Vec<KvCacheGroup>,
    /// Tokens that are hashed together; block sizes are multiples of it.
    pub hash_block: u32,
    /// Which blocks of windows and states stay findable: the last before every so many tokens, 0
    /// for only what the same prompt or a shared part of it needs.
    pub retention: u32,
    /// Most tokens that are computed and not yet known to be.
    pub in_flight: u32,
    /// Most tokens of a request.
    pub longest: u32,
}

impl GroupRules {
    /// The smallest number of tokens that is whole blocks in every group.
    pub fn alignment(&self) -> u32 {
        let sizes = self.groups.iter().map(|group| group.block_size());
        sizes.fold(1, |all, size| all / gcd(all, size) * size)
    }

    /// Blocks that a request of `tokens` tokens takes at most at once.
    pub fn blocks_of(&self, tokens: u32) -> u32 {
        let of = |group: &KvCacheGroup| {
            let all = match group.is_aligned() {
                // Two around the end of a block, three with a step in flight.
                true => tokens.div_ceil(group.block_size()).min(3),
                false => tokens.div_ceil(group.block_size()),
            };
            group.most_blocks(self.in_flight, self.longest).map_or(all, |most| all.min(most))
        };
        self.groups.iter().map(of).sum()
    }

    /// Tokens of the blocks at whose ends chunks of prompts end, if states are kept there.
    pub(crate) fn chunk_block(&self) -> Option<u32> {
        let aligned = self.groups.iter().find(|group| group.is_aligned());
        aligned.map(|group| group.block_size())
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
