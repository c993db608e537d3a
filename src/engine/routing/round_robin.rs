//! Each replica in turn.

use serde::{Deserialize, Serialize};

use super::{Loads, RouteRequest, Router};
use crate::base::RandomStream;

/// Request `n` goes to replica `n mod replicas`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundRobin {
    #[serde(skip)]
    next: u32,
}

impl Router for RoundRobin {
    const NAME: &'static str = "RoundRobin";
    const ABOUT: &'static str = "each replica in turn";

    fn route(&mut self, _: &RouteRequest, loads: &mut Loads, _: &mut RandomStream) -> u32 {
        let replica = self.next;
        self.next = (self.next + 1) % loads.replicas();
        replica
    }
}
