//! What a device's tables lack: estimates, labelled as such.

use super::basis::{Cost, TimeBasis};
use super::gemm::Gemm;
use super::pass::{OperatorSource, PerCount};
use super::roofline::{Efficiencies, RooflineOperators};
use super::speed::{Experts, Speed, bound};
use crate::hardware::model::Weights;
use crate::profile::operators::{Dtype, Peak};

/// Experts by the data sheet in `peak`.
pub(super) fn experts(peak: &Peak, weights: Weights, shape: Experts) -> Result<PerCount, String> {
    sheet(peak).experts(weights, shape).map(guessed)
}

/// All-reduce by the data sheet in `peak`.
pub(super) fn all_reduce(peak: &Peak, gpus: u32) -> Result<PerCount, String> {
    sheet(peak).all_reduce(gpus).map(guessed)
}

fn sheet(peak: &Peak) -> RooflineOperators {
    RooflineOperators::of(*peak, Efficiencies::CALIBRATED)
}

/// These times, resting on nothing that was measured.
fn guessed(cost: PerCount) -> PerCount {
    Box::new(move |count| cost(count).at_best(TimeBasis::Extrapolated))
}

/// Products of two fp8 factors from those of 16 bits, in proportion to the least time but for the
/// launch.
pub(super) fn fp8_gemm(half: Gemm, speed: Speed, n: u32, k: u32) -> PerCount {
    let launch = Efficiencies::CALIBRATED.gemm.launch_us;
    let (n, k) = (f64::from(n), f64::from(k));
    Box::new(move |m| {
        let cost: Cost = half.cost(m);
        let least = |dtype| bound(speed.gemm(dtype, m, n, k));
        if m <= 0.0 {
            return cost;
        }
        let work = (cost.us - launch).max(0.0) * least(Dtype::Fp8) / least(Dtype::Bf16);
        cost.with(cost.us.min(launch) + work).at_best(TimeBasis::Transferred)
    })
}
