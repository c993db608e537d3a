//! Products with weights of fewer bits than their activations.
//!
//! Weights are read as they are stored and unpacked to 16 bits on the way to the tensor cores, as
//! Marlin's and Machete's kernels do (W4A16, W8A16, and fp8 on devices without fp8 products). Small
//! batches thus take as long as it takes to read the fewer bytes, large ones as long as a product
//! of 16 bits.

use serde::{Deserialize, Serialize};

use super::basis::{Cost, TimeBasis};
use super::speed::bound;
use crate::base::SettingError;
use crate::hardware::model::Weights;
use crate::profile::operators::Dtype;

/// Which kernel multiplies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Product {
    /// Both factors are of this type.
    Native(Dtype),
    /// Activations are of 16 bits, weights of so many bytes.
    WeightOnly(f64),
}

impl Product {
    /// The kernel for `weights` on a device that multiplies 8-bit floats or does not.
    pub(super) fn of(weights: Weights, fp8: bool) -> Product {
        match weights {
            Weights::Half => Product::Native(Dtype::Bf16),
            // Products of 8-bit integers run at the rate of 8-bit floats.
            Weights::Fp8 | Weights::Mxfp8 | Weights::W8A8 if fp8 => Product::Native(Dtype::Fp8),
            packed => Product::WeightOnly(packed.bytes()),
        }
    }
}

/// What share of the efficiency of a product of 16 bits one with packed weights reaches, per byte
/// and per FLOP.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightOnly {
    /// Share of the bandwidth.
    pub memory: f64,
    /// Share of the compute.
    pub compute: f64,
}

impl WeightOnly {
    /// An assumption, not a measurement of this project. MARLIN (arXiv:2408.11743) reports "close
    /// to maximum (4x)" speed-ups of single products up to 16 to 32 rows, and 2.8x of whole models
    /// in vLLM; unpacking costs the rest.
    pub const ASSUMED: WeightOnly = WeightOnly { memory: 0.9, compute: 0.9 };

    /// Both are shares, above 0.
    pub(super) fn check(&self) -> Result<(), SettingError> {
        for (name, share) in [("memory", self.memory), ("compute", self.compute)] {
            if !(share > 0.0 && share <= 1.0) {
                return Err(SettingError::new(name, share, "above 0 and at most 1"));
            }
        }
        Ok(())
    }

    /// Compute and memory time at these shares.
    pub(super) fn reached(&self, [compute, memory]: [f64; 2]) -> [f64; 2] {
        [compute / self.compute, memory / self.memory]
    }

    /// The time of a product that takes `packed` with packed weights at best and `half` with 16
    /// bits, where the latter was measured as `cost`: in proportion, but for `launch_us` of it.
    pub(super) fn transfer(
        &self,
        cost: Cost,
        half: [f64; 2],
        packed: [f64; 2],
        launch_us: f64,
    ) -> Cost {
        let work = (cost.us - launch_us).max(0.0);
        let ratio = bound(self.reached(packed)) / bound(half);
        cost.with(cost.us.min(launch_us) + work * ratio).at_best(TimeBasis::Transferred)
    }

    /// `90 % of the bandwidth and 90 % of the compute of 16-bit products`.
    pub(super) fn about(&self) -> String {
        format!(
            "{:.0} % of the bandwidth and {:.0} % of the compute of 16-bit products",
            100.0 * self.memory,
            100.0 * self.compute
        )
    }
}

impl Default for WeightOnly {
    fn default() -> WeightOnly {
        WeightOnly::ASSUMED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model::Groups;

    #[test]
    fn fp8_is_multiplied_where_it_can_be_and_integers_never() {
        let int4 = Weights::Int4(Groups { size: Some(128), zero_points: false });
        for (weights, fp8, product) in [
            (Weights::Half, true, Product::Native(Dtype::Bf16)),
            (Weights::Fp8, true, Product::Native(Dtype::Fp8)),
            (Weights::Fp8, false, Product::WeightOnly(1.0)),
            (int4, true, Product::WeightOnly(0.515625)),
            (Weights::Mxfp4, false, Product::WeightOnly(0.53125)),
        ] {
            assert_eq!(Product::of(weights, fp8), product, "{weights:?}");
        }
    }

    /// 100 us of reading 16 bits become 26 of reading 4 and a scale, at 0.9; the launch stays, and
    /// a product bound by compute takes a ninth longer.
    #[test]
    fn work_shrinks_and_launches_do_not() {
        let measured = Cost::measured(103.0);
        let shares = WeightOnly::ASSUMED;
        let small = shares.transfer(measured, [1.0, 80.0], [1.0, 20.8], 3.0);
        assert!((small.us - (3.0 + 26.0 / 0.9)).abs() < 1e-9, "{}", small.us);
        assert_eq!(small.basis, TimeBasis::Transferred);
        let large = shares.transfer(measured, [80.0, 10.0], [80.0, 3.0], 3.0);
        assert!((large.us - (3.0 + 100.0 / 0.9)).abs() < 1e-9, "{}", large.us);
        assert_eq!(shares.transfer(Cost::measured(2.0), [1.0, 1.0], [1.0, 0.3], 3.0).us, 2.0);
    }

    #[test]
    fn shares_are_above_0() {
        for memory in [0.0, -1.0, 1.1, f64::NAN] {
            let error = WeightOnly { memory, compute: 0.9 }.check().unwrap_err();
            assert_eq!(error.path, "memory");
        }
        assert!(WeightOnly::ASSUMED.check().is_ok());
    }
}
