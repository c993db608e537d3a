//! A closed loop.

use super::{ArrivalProcess, ArrivalTimes};
use crate::base::{Nanos, SettingError};

/// A fixed number of requests in flight: the next arrives when one completes, so the simulation
/// makes the arrival times and those given here are all 0.
#[derive(Clone, Copy, Debug)]
pub struct ClosedLoop {
    users: u32,
}

impl ClosedLoop {
    /// # Errors
    /// `users` is 0.
    pub fn new(users: u32) -> Result<ClosedLoop, SettingError> {
        if users == 0 {
            return Err(SettingError::new("", "Concurrency(0)", "at least 1 request in flight"));
        }
        Ok(ClosedLoop { users })
    }
}

impl ArrivalProcess for ClosedLoop {
    fn times(&self, _seed: u64) -> ArrivalTimes {
        Box::new(std::iter::repeat(Nanos::ZERO))
    }

    fn rate(&self) -> Option<f64> {
        None
    }

    fn concurrency(&self) -> Option<u32> {
        Some(self.users)
    }
}
