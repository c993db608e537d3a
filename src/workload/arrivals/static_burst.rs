//! A burst at time 0.

use super::{ArrivalProcess, ArrivalTimes};
use crate::base::Nanos;

/// All requests arrive at time 0.
#[derive(Clone, Copy, Debug)]
pub struct AllAtOnce;

impl ArrivalProcess for AllAtOnce {
    fn times(&self, _seed: u64) -> ArrivalTimes {
        Box::new(std::iter::repeat(Nanos::ZERO))
    }

    fn rate(&self) -> Option<f64> {
        None
    }
}
