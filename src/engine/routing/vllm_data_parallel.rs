//! vLLM's load balancing over data-parallel engines.

use serde::{Deserialize, Serialize};

use super::{Loads, RouteRequest, Router};
use crate::base::{Nanos, RandomStream, SettingError};

/// The engine with the least `4 * waiting + running`, by counts that the engines publish every
/// 100 ms; in between the front end adds the requests that it sent itself. The lowest index wins
/// a tie. As in vLLM's V1 data-parallel client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VllmDataParallel {
    /// Milliseconds between two publications of the counts.
    pub refresh_ms: f64,
    #[serde(skip)]
    scores: Vec<u64>,
    #[serde(skip)]
    published: Nanos,
}

impl Default for VllmDataParallel {
    fn default() -> VllmDataParallel {
        VllmDataParallel { refresh_ms: 100.0, scores: Vec::new(), published: Nanos::ZERO }
    }
}

impl Router for VllmDataParallel {
    const NAME: &'static str = "VllmDataParallel";
    const ABOUT: &'static str =
        "vLLM's data parallelism: least 4 x waiting + running, every 100 ms";

    fn check(&self) -> Result<(), SettingError> {
        match self.refresh_ms.is_finite() && self.refresh_ms >= 0.0 {
            true => Ok(()),
            false => {
                Err(SettingError::new("refresh_ms", self.refresh_ms, "0 or more milliseconds"))
            }
        }
    }

    fn route(&mut self, request: &RouteRequest, loads: &mut Loads, _: &mut RandomStream) -> u32 {
        let period = Nanos::from_millis_f64(self.refresh_ms);
        if self.scores.is_empty() || request.now.since(self.published) >= period {
            self.published = request.now;
            self.scores = (0..loads.replicas())
                .map(|r| 4 * u64::from(loads.waiting(r)) + u64::from(loads.running(r)))
                .collect();
        }
        let least = (0..self.scores.len()).min_by_key(|&i| self.scores[i]).unwrap_or(0);
        self.scores[least] += 4;
        least as u32
    }
}
