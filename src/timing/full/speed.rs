//! The least time that an operator's work takes on a device: its speed of light. Times are
//! transferred between shapes in proportion to it.

use crate::profile::operators::{Dtype, Peak};

/// What a device can do at best.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speed {
    /// FLOP per microsecond in bf16.
    bf16: f64,
    /// FLOP per microsecond in fp8; that of bf16 where there is no fp8.
    fp8: f64,
    /// Bytes of device memory per microsecond.
    pub(super) memory: f64,
}

impl Speed {
    pub(super) fn new(peak: &Peak) -> Speed {
        let bf16 = peak.bf16_tflops * 1e6;
        let fp8 = if peak.fp8_tflops > 0.0 { peak.fp8_tflops * 1e6 } else { bf16 };
        Speed { bf16, fp8, memory: peak.memory_gbps * 1e3 }
    }

    /// FLOP per microsecond in 16 bits.
    pub(super) fn half_flops(&self) -> f64 {
        self.bf16
    }

    pub(super) fn flops(&self, dtype: Dtype) -> f64 {
        match dtype {
            Dtype::Bf16 | Dtype::Int8 => self.bf16,
            Dtype::Fp8 => self.fp8,
        }
    }

    /// Compute and memory time of `[m, k] x [k, n]`.
    pub(super) fn gemm(&self, dtype: Dtype, m: f64, n: f64, k: f64) -> [f64; 2] {
        let bytes = dtype.bytes() * (m * n + m * k + n * k);
        [2.0 * m * n * k / self.flops(dtype), bytes / self.memory]
    }

    /// Compute and memory time of `[m, k] x [k, n]` in 16 bits, the weights stored in `bytes` each.
    pub(super) fn weight_only(&self, bytes: f64, m: f64, n: f64, k: f64) -> [f64; 2] {
        let moved = 2.0 * (m * n + m * k) + bytes * n * k;
        [2.0 * m * n * k / self.bf16, moved / self.memory]
    }

    /// Compute and memory time of causal attention of `requests` times `tokens` on themselves.
    pub(super) fn prefill(&self, heads: &Heads, tokens: f64, requests: f64) -> [f64; 2] {
        let (q, kv) = heads.widths();
        let flops = 2.0 * requests * tokens * tokens * q;
        let bytes = 2.0 * requests * (2.0 * q * tokens + 2.0 * kv * tokens);
        [flops / self.bf16, bytes / self.memory]
    }

    /// Compute and memory time of `requests` tokens on contexts of `context` each, the token
    /// itself included.
    pub(super) fn decode(&self, heads: &Heads, requests: f64, context: f64) -> [f64; 2] {
        let (q, kv) = heads.widths();
        let cached = (context - 1.0).max(1.0);
        let flops = 4.0 * requests * q * cached;
        let bytes = requests * (2.0 * q + 2.0 * kv * cached * heads.kv_dtype.bytes() + 2.0 * q);
        [flops / self.bf16, bytes / self.memory]
    }

    /// Compute and memory time of the experts of `shape` on `tokens` tokens, which reach as many
    /// experts as even chance has it.
    pub(super) fn experts(&self, shape: &Experts, tokens: f64) -> [f64; 2] {
        self.experts_of(shape.dtype.bytes(), shape, tokens)
    }

    /// Time of experts with weights stored in `weight_bytes` each.
    pub(super) fn experts_of(&self, weight_bytes: f64, shape: &Experts, tokens: f64) -> [f64; 2] {
        let weights = 3.0 * f64::from(shape.hidden) * shape.width;
        let missed = 1.0 - f64::from(shape.top_k) / f64::from(shape.experts);
        let reached = f64::from(shape.experts) * (1.0 - missed.powf(tokens));
        let pairs = tokens * f64::from(shape.top_k);
        let moved = pairs * (2.0 * f64::from(shape.hidden) + 3.0 * shape.width);
        let bytes = weight_bytes * reached * weights + shape.dtype.bytes() * moved;
        [2.0 * pairs * weights / self.flops(shape.dtype), bytes / self.memory]
    }
}

/// The larger of compute and memory time.
pub(super) fn bound(times: [f64; 2]) -> f64 {
    times[0].max(times[1])
}

/// A GPU's heads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Heads {
    pub(super) q: u32,
    pub(super) kv: u32,
    pub(super) head_dim: u32,
    pub(super) kv_dtype: Dtype,
}

impl Heads {
    /// Elements of all query heads and of all key (or value) heads for one token.
    fn widths(&self) -> (f64, f64) {
        let dim = f64::from(self.head_dim);
        (f64::from(self.q) * dim, f64::from(self.kv) * dim)
    }
}

/// A GPU's share of the experts of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Experts {
    pub(super) dtype: Dtype,
    pub(super) hidden: u32,
    /// Width of an expert on this GPU.
    pub(super) width: f64,
    pub(super) experts: u32,
    pub(super) top_k: u32,
}
