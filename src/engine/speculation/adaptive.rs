//! How many drafts a request gets: always as many, fewer in large batches, or as many as pay.

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use crate::base::SettingError;

/// How the number of drafts follows the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Adaptive {
    /// Always `k`.
    #[default]
    Off,
    /// By the number of running requests of the replica: `(most requests, drafts)`, rising; beyond
    /// the last there are no drafts. vLLM's `disable_by_batch_size: n` is `[(n - 1, k)]`.
    ByBatchSize(Vec<(u32, u32)>),
    /// The number of drafts, 0 to `k`, with the most tokens per second at the acceptance that the
    /// replica saw of late and the cost of the batch that ended last.
    ByAcceptance {
        /// Over about how many iterations the acceptance is averaged.
        #[serde(default = "default_window")]
        window: u32,
    },
}

fn default_window() -> u32 {
    64
}

impl Adaptive {
    /// Complains about what makes no sense.
    ///
    /// # Errors
    /// Names the value, relative to the setting.
    pub fn check(&self, k: u32) -> Result<(), SettingError> {
        match self {
            Adaptive::Off => Ok(()),
            Adaptive::ByAcceptance { window: 0 } => {
                Err(SettingError::new("window", 0, "at least 1 iteration"))
            }
            Adaptive::ByAcceptance { .. } => Ok(()),
            Adaptive::ByBatchSize(steps) => {
                if steps.is_empty() {
                    return Err(SettingError::new("", "an empty list", "at least one (size, k)"));
                }
                if !steps.is_sorted_by(|a, b| a.0 < b.0) {
                    return Err(SettingError::new("", "not in order", "rising batch sizes"));
                }
                match steps.iter().position(|step| step.1 > k) {
                    Some(i) => Err(SettingError::new(
                        format!("[{i}]"),
                        format!("{} drafts", steps[i].1),
                        format!("at most k = {k}"),
                    )),
                    None => Ok(()),
                }
            }
        }
    }

    /// What is left of an observation after one iteration more.
    fn decay(&self) -> f64 {
        match self {
            Adaptive::ByAcceptance { window } => 1.0 - 1.0 / f64::from(*window),
            _ => 1.0,
        }
    }
}

/// What a replica has seen of late. With one chance `alpha` at every position, drafts accepted over
/// drafts looked at (the accepted ones and the first refused one of each step) is its
/// maximum-likelihood estimate.
#[derive(Component, Clone, Debug, Default)]
pub struct Estimate {
    accepted: f64,
    tested: f64,
    /// Drafts per request from now on; none before there is an estimate.
    pub(super) choice: Option<u32>,
}

impl Estimate {
    /// Takes in an iteration in which `tested` drafts were looked at.
    pub fn observe(&mut self, accepted: u64, tested: u64, adaptive: &Adaptive) {
        if tested == 0 {
            return;
        }
        let decay = adaptive.decay();
        self.accepted = self.accepted * decay + accepted as f64;
        self.tested = self.tested * decay + tested as f64;
    }

    /// Share of the drafts looked at that were accepted; none before the first.
    pub fn acceptance(&self) -> Option<f64> {
        (self.tested > 0.0).then(|| self.accepted / self.tested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused() {
        let by = |steps: &[(u32, u32)]| Adaptive::ByBatchSize(steps.to_vec()).check(5);
        assert!(by(&[(4, 5), (16, 2)]).is_ok());
        assert!(by(&[]).is_err());
        assert!(by(&[(16, 2), (4, 5)]).is_err());
        assert_eq!(by(&[(4, 5), (8, 6)]).unwrap_err().path, "[1]");
        assert_eq!(Adaptive::ByAcceptance { window: 0 }.check(5).unwrap_err().path, "window");
    }

    #[test]
    fn the_estimate_follows_what_happens() {
        let adaptive = Adaptive::ByAcceptance { window: 10 };
        let mut estimate = Estimate::default();
        assert_eq!(estimate.acceptance(), None);
        for _ in 0..100 {
            estimate.observe(4, 5, &adaptive);
        }
        assert!((estimate.acceptance().unwrap() - 0.8).abs() < 1e-9);
        for _ in 0..100 {
            estimate.observe(1, 5, &adaptive);
        }
        assert!((estimate.acceptance().unwrap() - 0.2).abs() < 1e-3);
    }
}
