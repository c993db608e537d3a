//! Times of a model that has a part of its GPUs.

use std::sync::Arc;

use crate::base::Nanos;
use crate::hardware::model::{ModelSpec, Weights};
use crate::hardware::{DeviceSpec, Parallelism};

use super::{BatchShape, Predictor, StagePosition, StageTime, TimingNote};

/// A predictor on a part of the GPUs, as NVIDIA's Multi-Process Service or MIG give to a process: a
/// share of the multiprocessors and a share of the memory bandwidth.
///
/// On the whole GPU a batch needs `c = FLOPs / peak` for its arithmetic (products with fp8 weights
/// at the peak of fp8 where the device multiplies that, all else and attention at that of 16 bits)
/// and `m = bytes / bandwidth` for weights and KV cache, and its time follows the larger of the
/// two. On a part they become `c / compute` and `m / bandwidth`, so all of its time but
/// communication grows by `max(c / compute, m / bandwidth) / max(c, m)`.
pub(crate) struct Partition {
    whole: Arc<dyn Predictor>,
    compute: f64,
    bandwidth: f64,
    flops_per_token: f64,
    flops_per_pair: f64,
    /// FLOP/s of products with weights, and of attention.
    weight_peak: f64,
    attention_peak: f64,
    weight_bytes: f64,
    kv_bytes_per_token: f64,
    bytes_per_second: f64,
}

impl Partition {
    /// The shares `(compute, bandwidth)` of the GPUs on which `whole` predicts.
    pub fn new(
        whole: Arc<dyn Predictor>,
        model: &ModelSpec,
        device: &DeviceSpec,
        parallel: Parallelism,
        (compute, bandwidth): (f64, f64),
    ) -> Partition {
        let gpus = f64::from(parallel.gpus());
        let peak = device.fp16_tflops * 1e12;
        let fp8 = device.fp8 && model.weights == Weights::Fp8;
        Partition {
            whole,
            compute,
            bandwidth,
            flops_per_token: model.matmul_flops_per_token() / gpus,
            flops_per_pair: model.attention_flops_per_pair() / gpus,
            weight_peak: peak * if fp8 { 2.0 } else { 1.0 },
            attention_peak: peak,
            weight_bytes: model.weight_bytes(parallel) as f64,
            kv_bytes_per_token: model.kv_bytes_per_token(parallel) as f64,
            bytes_per_second: device.hbm_gbps * 1e9,
        }
    }

    /// By how much the time of a batch grows.
    fn factor(&self, batch: &BatchShape) -> f64 {
        let chunks = batch.prefills.iter();
        let squares: u64 =
            chunks.map(|p| u64::from(p.tokens) * (u64::from(p.tokens) + 1) / 2).sum();
        let pairs = (batch.context_products() + squares) as f64;
        let products = self.flops_per_token * f64::from(batch.tokens) / self.weight_peak;
        let c = products + self.flops_per_pair * pairs / self.attention_peak;
        let contexts: u64 = batch.prefills.iter().map(|p| u64::from(p.context + p.tokens)).sum();
        let cached = (contexts + batch.decode_context) as f64;
        let bytes = self.weight_bytes + self.kv_bytes_per_token * cached;
        let m = bytes / self.bytes_per_second;
        (c / self.compute).max(m / self.bandwidth) / c.max(m)
    }
}

impl Predictor for Partition {
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        let time = self.whole.stage_time(batch, stage);
        let factor = self.factor(batch);
        let computing = time.total.since(time.communication).0 as f64 + time.rest_ns;
        let exact = time.communication.0 as f64 + computing * factor;
        let total = exact.round();
        let scaled = |part: Nanos, factor: f64| Nanos((part.0 as f64 * factor) as u64);
        let whole = if time.total.0 > 0 { total / time.total.0 as f64 } else { 1.0 };
        StageTime {
            total: Nanos(total as u64),
            rest_ns: exact - total,
            attention_prefill: scaled(time.attention_prefill, factor),
            attention_decode: scaled(time.attention_decode, factor),
            communication: time.communication,
            transferred: scaled(time.transferred, whole),
            extrapolated: scaled(time.extrapolated, whole),
        }
    }

    fn note(&self) -> TimingNote {
        let note = self.whole.note();
        let (compute, bandwidth) = (100.0 * self.compute, 100.0 * self.bandwidth);
        let part =
            format!("on {compute:.0} % of the GPU's compute and {bandwidth:.0} % of its bandwidth");
        TimingNote { rests_on: format!("{}, {part} (by roofline)", note.rests_on), ..note }
    }

    fn warnings(&self) -> Vec<String> {
        self.whole.warnings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::find_device;
    use crate::hardware::model::find;
    use crate::timing::PrefillPart;

    struct Whole;

    impl Predictor for Whole {
        fn stage_time(&self, _: &BatchShape, _: StagePosition) -> StageTime {
            let communication = Nanos(1_000_000);
            StageTime { total: Nanos(11_000_000), communication, ..StageTime::default() }
        }
        fn note(&self) -> TimingNote {
            TimingNote::default()
        }
    }

    fn millis(shares: (f64, f64), batch: &BatchShape) -> f64 {
        let model = find("Llama-2-7B").unwrap();
        let device = find_device("a100").unwrap();
        millis_of(model, device, shares, batch)
    }

    fn millis_of(
        model: &ModelSpec,
        device: &DeviceSpec,
        shares: (f64, f64),
        batch: &BatchShape,
    ) -> f64 {
        let part = Partition::new(Arc::new(Whole), model, device, Parallelism::default(), shares);
        part.stage_time(batch, StagePosition { index: 0, count: 1 }).total.as_millis_f64()
    }

    #[test]
    fn what_is_short_decides() {
        let prefill = BatchShape::of(&[PrefillPart { tokens: 2048, context: 0 }], &[]);
        let decode = BatchShape::of(&[], &[1000; 8]);
        assert_eq!(millis((1.0, 1.0), &prefill), 11.0);
        // A long prompt is bound by compute, a small decode by bandwidth; communication stays.
        assert_eq!(millis((0.5, 0.5), &prefill), 21.0);
        assert_eq!(millis((0.5, 0.5), &decode), 21.0);
        assert_eq!(millis((0.5, 1.0), &prefill), 21.0);
        assert_eq!(millis((0.5, 1.0), &decode), 11.0);
        assert_eq!(millis((1.0, 0.25), &decode), 41.0);
        // 2048 tokens need 13.5 times as long for arithmetic as for weights: a quarter of the
        // bandwidth does not matter.
        assert_eq!(millis((1.0, 0.25), &prefill), 11.0);
    }

    /// An H100 needs as long for the arithmetic of 295 tokens as for reading the weights, in 16
    /// bits and in fp8, which has half the bytes and twice the peak. At the peak of 16 bits it
    /// would be 148 tokens, and 200 bound by arithmetic.
    #[test]
    fn fp8_weights_are_multiplied_at_their_peak() {
        let half = find("Llama-2-7B").unwrap().clone();
        let fp8 = ModelSpec { weights: Weights::Fp8, ..half.clone() };
        let batch = BatchShape::of(&[PrefillPart { tokens: 200, context: 0 }], &[]);
        let less_compute =
            |model, device| millis_of(model, find_device(device).unwrap(), (0.9, 1.0), &batch);
        assert_eq!(less_compute(&half, "H100"), 11.0, "bound by bandwidth");
        assert_eq!(less_compute(&fp8, "H100"), 11.0, "still");
        // The A100 has no fp8 products: half the bytes, but as much arithmetic (ridge at 76).
        assert!(less_compute(&fp8, "A100") > 11.5);
    }
}
