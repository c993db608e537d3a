//! Bytes of a weight and of an element of the KV cache, by how they are stored.

use serde::{Deserialize, Serialize};

/// Bits of the scale of a group of integer weights (fp16).
const SCALE_BITS: f64 = 16.0;

/// How the weights of the blocks' matrices are stored. Embedding, LM head, norms, biases and a
/// mixture's router stay in 16 bits, as GPTQ, AWQ and FP8 checkpoints have them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// fp16 or bf16.
    #[default]
    Half,
    /// 8-bit floats; scales are of whole matrices, channels or blocks, and not counted (below
    /// 0.1 %).
    Fp8,
    /// 8-bit integers; products are of 16 bits.
    Int8(Groups),
    /// 4-bit integers; products are of 16 bits.
    Int4(Groups),
    /// 8-bit integers multiplied with 8-bit integers (W8A8); one scale per output channel.
    W8A8,
    /// 4-bit floats with an 8-bit scale for every 32 (OCP MX).
    Mxfp4,
    /// 8-bit floats with an 8-bit scale for every 32 (OCP MX).
    Mxfp8,
    /// 4-bit floats with an 8-bit scale for every 16 (NVIDIA).
    Nvfp4,
    /// 4-bit normal floats of bitsandbytes, with a doubly quantised scale for every 64.
    Nf4,
}

/// Integer weights that share a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Groups {
    /// Weights of a group along the input; `None` for one scale per output channel, which is not
    /// counted (below 0.1 %).
    pub size: Option<u32>,
    /// Whether each group also has a zero point, of as many bits as a weight (AWQ).
    pub zero_points: bool,
}

impl Groups {
    /// Default of GPTQ and AWQ: 128 weights.
    pub const DEFAULT_SIZE: u32 = 128;

    /// Bytes of a weight of `bits` bits with its share of the group's scale and zero point.
    fn bytes(self, bits: f64) -> f64 {
        let zero_bits = if self.zero_points { bits } else { 0.0 };
        let shared = self.size.map_or(0.0, |size| (SCALE_BITS + zero_bits) / f64::from(size));
        (bits + shared) / 8.0
    }
}

impl Weights {
    /// Bytes of a weight, its share of scales and zero points included.
    ///
    /// ```
    /// use vidur_ecs::hardware::model::{Groups, Weights};
    /// let gptq = Weights::Int4(Groups { size: Some(128), zero_points: false });
    /// assert_eq!(gptq.bytes(), (4.0 + 16.0 / 128.0) / 8.0);
    /// ```
    pub fn bytes(self) -> f64 {
        match self {
            Weights::Half => 2.0,
            Weights::Fp8 => 1.0,
            Weights::Int8(groups) => groups.bytes(8.0),
            Weights::Int4(groups) => groups.bytes(4.0),
            Weights::W8A8 => 1.0,
            Weights::Mxfp4 => (4.0 + 8.0 / 32.0) / 8.0,
            Weights::Mxfp8 => (8.0 + 8.0 / 32.0) / 8.0,
            Weights::Nvfp4 => (4.0 + 8.0 / 16.0) / 8.0,
            // 8 bits of scale for 64 weights, 32 bits for 256 of those (QLoRA, arXiv:2305.14314).
            Weights::Nf4 => (4.0 + 8.0 / 64.0 + 32.0 / (64.0 * 256.0)) / 8.0,
        }
    }

    /// Whether they take less than 16 bits.
    pub fn quantized(self) -> bool {
        self != Weights::Half
    }

    /// In texts: `int4 g128`.
    pub fn label(self) -> String {
        let grouped = |name: &str, groups: Groups| {
            let size = groups.size.map_or("per channel".to_owned(), |size| format!("g{size}"));
            let zeros = if groups.zero_points { " + zeros" } else { "" };
            format!("{name} {size}{zeros}")
        };
        match self {
            Weights::Half => "16-bit".to_owned(),
            Weights::Fp8 => "fp8".to_owned(),
            Weights::Int8(groups) => grouped("int8", groups),
            Weights::Int4(groups) => grouped("int4", groups),
            Weights::W8A8 => "int8 W8A8".to_owned(),
            Weights::Mxfp4 => "mxfp4".to_owned(),
            Weights::Mxfp8 => "mxfp8".to_owned(),
            Weights::Nvfp4 => "nvfp4".to_owned(),
            Weights::Nf4 => "nf4".to_owned(),
        }
    }
}

/// How keys and values are stored. Scales are of whole tensors or heads, and not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KvCache {
    /// 16 bits: fp16, or bf16 (`Bf16`).
    #[default]
    #[serde(alias = "Bf16")]
    Fp16,
    /// 8-bit floats.
    Fp8,
    /// 8-bit integers.
    Int8,
}

impl KvCache {
    /// Bytes of an element.
    pub fn bytes(self) -> f64 {
        match self {
            KvCache::Fp16 => 2.0,
            KvCache::Fp8 | KvCache::Int8 => 1.0,
        }
    }

    /// Whether elements take less than 16 bits.
    pub fn quantized(self) -> bool {
        self != KvCache::Fp16
    }

    /// In texts: `fp8`.
    pub fn label(self) -> &'static str {
        match self {
            KvCache::Fp16 => "16-bit",
            KvCache::Fp8 => "fp8",
            KvCache::Int8 => "int8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::GIB;
    use crate::hardware::Parallelism;
    use crate::hardware::model::{ModelSpec, find};

    fn llama(weights: Weights) -> ModelSpec {
        ModelSpec { weights, ..find("Llama-2-70B").unwrap().clone() }
    }

    fn int4(size: Option<u32>, zero_points: bool) -> Weights {
        Weights::Int4(Groups { size, zero_points })
    }

    /// Llama-2-70B by hand: 80 blocks with 855,638,016 weights in matrices, 2 norms of 8192; a last
    /// norm, embedding and LM head of 32000 x 8192.
    #[test]
    fn a_70b_in_4_bits_by_hand() {
        let matrices = 80 * (2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 28672_u64);
        assert_eq!(matrices, 68_451_041_280);
        let sixteen = 2 * (80 * 2 * 8192 + 8192 + 2 * 32000 * 8192);
        for (weights, quantised) in [
            // 4 bits, and 16 of scale for 128.
            (int4(Some(128), false), matrices / 2 + 2 * (matrices / 128)),
            // AWQ: 4 more of zero point.
            (int4(Some(128), true), matrices / 2 + 2 * (matrices / 128) + matrices / 128 / 2),
            (int4(None, false), matrices / 2),
            (
                Weights::Int8(Groups { size: Some(128), zero_points: false }),
                matrices + matrices / 64,
            ),
            (Weights::Fp8, matrices),
            (Weights::Half, 2 * matrices),
        ] {
            let found = llama(weights).weight_bytes(Parallelism::default());
            assert_eq!(found, quantised + sixteen, "{}", weights.label());
        }
        let gib = llama(int4(Some(128), false)).weight_bytes(Parallelism::default()) as f64 / GIB;
        assert!((gib - 33.85).abs() < 0.01, "{gib}");
    }

    #[test]
    fn a_router_stays_in_16_bits() {
        let half = find("Mixtral-8x7B").unwrap();
        let fp8 = ModelSpec { weights: Weights::Fp8, ..half.clone() };
        let parallel = Parallelism::default();
        let saved = half.weight_bytes(parallel) - fp8.weight_bytes(parallel);
        let experts = 8 * 3 * 4096 * 14336_u64;
        assert_eq!(saved, 32 * (experts + 2 * 4096 * 4096 + 2 * 4096 * 1024));
    }

    #[test]
    fn a_cache_of_8_bits_takes_half() {
        let half = find("Llama-2-70B").unwrap();
        for kv_cache in [KvCache::Fp8, KvCache::Int8] {
            let spec = ModelSpec { kv_cache, ..half.clone() };
            let bytes = |spec: &ModelSpec| spec.kv_bytes_per_token(Parallelism::default());
            assert_eq!(2 * bytes(&spec), bytes(half));
            assert_eq!(spec.weight_bytes(Parallelism::default()), 2 * spec.params());
        }
    }

    #[test]
    fn labels_say_what_is_quantised() {
        let half = find("Llama-2-70B").unwrap();
        assert_eq!(half.label(), "Llama-2-70B");
        let both = ModelSpec { kv_cache: KvCache::Fp8, ..llama(int4(Some(64), true)) };
        assert_eq!(both.label(), "Llama-2-70B (int4 g64 + zeros weights, fp8 KV cache)");
        let kv = ModelSpec { kv_cache: KvCache::Int8, ..half.clone() };
        assert_eq!(kv.label(), "Llama-2-70B (int8 KV cache)");
    }
}
