//! What went to host memory and back.

use crate::base::Nanos;

/// What a run copied between GPUs and host memory. Bytes are those of all GPUs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffloadTotals {
    /// KV blocks that host memory holds.
    pub blocks: u64,
    /// Sum over the replicas of the most blocks that each had there at once.
    pub peak_blocks: u64,
    /// Admissions that found a part of their prompt there.
    pub reloads: u64,
    /// Tokens of prompts that these copied back.
    pub reloaded_tokens: u64,
    /// Preemptions that copied the request there.
    pub swap_outs: u64,
    /// Requests that came back.
    pub swap_ins: u64,
    /// Preemptions by recomputation because host memory was full.
    pub swap_fallbacks: u64,
    /// Blocks of evicted prefixes that were copied there.
    pub stored_blocks: u64,
    /// Blocks of these that were dropped since.
    pub dropped_blocks: u64,
    /// Bytes copied there.
    pub bytes_to_host: u64,
    /// Bytes copied back.
    pub bytes_from_host: u64,
    /// Time by which copies made iterations longer.
    pub waiting: Nanos,
}

impl OffloadTotals {
    /// Adds those of another part of the cluster.
    pub fn add(&mut self, other: &OffloadTotals) {
        self.blocks += other.blocks;
        self.peak_blocks += other.peak_blocks;
        self.reloads += other.reloads;
        self.reloaded_tokens += other.reloaded_tokens;
        self.swap_outs += other.swap_outs;
        self.swap_ins += other.swap_ins;
        self.swap_fallbacks += other.swap_fallbacks;
        self.stored_blocks += other.stored_blocks;
        self.dropped_blocks += other.dropped_blocks;
        self.bytes_to_host += other.bytes_to_host;
        self.bytes_from_host += other.bytes_from_host;
        self.waiting += other.waiting;
    }
}
