//! Model FLOPs utilisation.

use crate::records::RunTotals;

/// What a run's FLOPs and its hardware's peak are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlopsModel {
    /// FLOPs of the GEMMs per token: 2 x parameters that a token meets.
    pub flops_per_token: f64,
    /// FLOPs of attention per pair of a query and a key: 4 x hidden size x layers (a product and a
    /// sum for the scores, the same for the values).
    pub attention_flops_per_pair: f64,
    /// Dense peak of one GPU in FLOP/s, 10^12 per TFLOP/s.
    pub peak_flops: f64,
    /// GPUs of all replicas together.
    pub gpus: u32,
}

impl FlopsModel {
    /// The model on these GPUs and those of `other` together.
    pub fn with(self, other: &FlopsModel) -> FlopsModel {
        let (own, more) = (f64::from(self.gpus), f64::from(other.gpus));
        let peak = (self.peak_flops * own + other.peak_flops * more) / (own + more);
        FlopsModel { peak_flops: peak, gpus: self.gpus.saturating_add(other.gpus), ..self }
    }

    /// FLOPs of the model in a run, recomputation after preemptions included.
    pub fn flops(&self, totals: &RunTotals) -> f64 {
        let tokens = (totals.prefill_tokens + totals.decode_tokens) as f64;
        let pairs = totals.context_products as f64 + totals.prefill_squares as f64;
        self.flops_per_token * tokens + self.attention_flops_per_pair * pairs
    }

    /// The share of the peak that a run used between time 0 and its end; `None` for a run without
    /// length.
    pub fn mfu(&self, totals: &RunTotals) -> Option<f64> {
        let possible = self.peak_flops * f64::from(self.gpus) * totals.end.as_secs_f64();
        (possible > 0.0).then(|| self.flops(totals) / possible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;

    #[test]
    fn by_hand() {
        let model = FlopsModel {
            flops_per_token: 10.0,
            attention_flops_per_pair: 2.0,
            peak_flops: 1000.0,
            gpus: 2,
        };
        let totals = RunTotals {
            prefill_tokens: 4,
            decode_tokens: 2,
            context_products: 5 + 6,
            prefill_squares: 10,
            end: Nanos(500_000_000),
            ..RunTotals::default()
        };
        assert_eq!(model.flops(&totals), 60.0 + 42.0);
        assert_eq!(model.mfu(&totals), Some(0.102));
        assert_eq!(model.mfu(&RunTotals::default()), None);
    }
}
