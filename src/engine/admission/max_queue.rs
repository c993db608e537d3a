//! Refuses requests while too many wait.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Admission, AdmissionClass, AdmissionRequest, PoolState, known_class};
use crate::base::SettingError;

/// A request is refused if as many requests wait as this allows, over all replicas of its model
/// together. A class may have a limit of its own on the same count: one with a smaller limit is
/// turned away first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaxQueue {
    /// Most requests that wait.
    pub requests: u64,
    /// Requests that may wait, for single classes, by name.
    pub classes: IndexMap<String, u64>,
}

impl Default for MaxQueue {
    fn default() -> MaxQueue {
        MaxQueue { requests: 100, classes: IndexMap::new() }
    }
}

impl Admission for MaxQueue {
    const NAME: &'static str = "MaxQueue";
    const ABOUT: &'static str = "refuses requests while too many wait";

    fn check(&self, classes: &[AdmissionClass]) -> Result<(), SettingError> {
        if self.requests == 0 {
            return Err(SettingError::new("requests", 0, "at least 1: all would be refused"));
        }
        self.classes.keys().try_for_each(|name| known_class("classes", name, classes))
    }

    fn admit(&mut self, request: &AdmissionRequest, pool: &PoolState) -> Result<(), String> {
        let own = self.classes.get(&request.about.name);
        let most = own.copied().unwrap_or(self.requests);
        if pool.waiting < most {
            return Ok(());
        }
        Err(format!("admission: {} requests wait, the limit is {most}", pool.waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;

    #[test]
    fn a_class_with_a_smaller_limit_is_turned_away_first() {
        let classes = ["chat", "batch"].map(|name| AdmissionClass { name: name.into(), slo: None });
        let mut gate = MaxQueue { requests: 10, classes: [("batch".to_owned(), 4)].into() };
        gate.check(&classes).unwrap();
        let mut admits = |class: usize, waiting| {
            let about = &classes[class];
            let request = AdmissionRequest {
                now: Nanos::ZERO,
                class: class as u32,
                about,
                prompt_tokens: 9,
                priority: 0,
            };
            gate.admit(&request, &PoolState { waiting, ..PoolState::default() }).is_ok()
        };
        assert!(admits(0, 9) && !admits(0, 10));
        assert!(admits(1, 3) && !admits(1, 4));
        let stranger = MaxQueue { classes: [("chet".to_owned(), 4)].into(), ..MaxQueue::default() };
        assert_eq!(stranger.check(&classes).unwrap_err().path, "classes.\"chet\"");
        assert_eq!(MaxQueue { requests: 0, ..gate }.check(&classes).unwrap_err().path, "requests");
    }
}
