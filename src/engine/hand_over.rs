//! Handing requests over: one pool processes their prompts, another goes on.

use crate::base::Nanos;

/// Where a pool's requests go when their prompt is processed, and how long that takes.
///
/// The other pool must have the same block size, cache no prefixes and have no traffic of its own.
/// Neither may share GPUs or run a policy that is not
/// [`crate::engine::policy::Policy::disaggregates`]. Only the other one may speculate, and both
/// serve LoRA adapters or none does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HandOver {
    /// Index of the pool that goes on with them.
    pub to: u32,
    /// Bytes of KV content per token, of all GPUs of a replica together.
    pub bytes_per_token: u64,
    /// Bytes per second of the link that each replica has.
    pub bytes_per_second: f64,
    /// From the last byte's start to its arrival. The link is free for others meanwhile.
    pub latency: Nanos,
    /// Parts that are sent as they are computed: the model's layers, or 1 for all content at once
    /// when the prompt is done.
    pub layers: u32,
}

impl HandOver {
    /// How long the content of so many tokens keeps the link busy: bytes / bandwidth.
    pub fn wire_time(&self, tokens: u32) -> Nanos {
        let bytes = self.bytes_per_token as f64 * f64::from(tokens);
        Nanos::from_secs_f64(bytes / self.bytes_per_second)
    }
}
