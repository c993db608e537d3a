//! The replica with the fewest requests, running and waiting.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Loads, RouteRequest, Router};
use crate::sim::RandomStream;

/// The replica with the fewest outstanding requests (running and waiting); the lowest index on a
/// tie. It keeps the replicas ordered by load, so that a decision costs O(log replicas).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeastOutstanding {
    #[serde(skip)]
    order: LoadOrder,
}

impl Router for LeastOutstanding {
    const NAME: &'static str = "LeastOutstanding";
    const ABOUT: &'static str = "the replica with the fewest running and waiting requests";

    fn route(&mut self, _: &RouteRequest, loads: &mut Loads, _: &mut RandomStream) -> u32 {
        self.order.update(loads, Loads::outstanding);
        self.order.least()
    }
}

/// Replicas ordered by a load.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadOrder {
    by_load: BTreeSet<(u32, u32)>,
    known: Vec<u32>,
}

impl LoadOrder {
    /// Takes in what changed since the last call.
    pub fn update(&mut self, loads: &mut Loads, load: impl Fn(&Loads, u32) -> u32) {
        if self.known.is_empty() {
            self.known = (0..loads.replicas()).map(|replica| load(loads, replica)).collect();
            self.by_load = self.known.iter().copied().zip(0..).collect();
        }
        loads.take_changed(|loads, replica| {
            let known = &mut self.known[replica as usize];
            let current = load(loads, replica);
            if *known != current {
                self.by_load.remove(&(*known, replica));
                self.by_load.insert((current, replica));
                *known = current;
            }
        });
    }

    /// The replica with the least load, the lowest index on a tie.
    pub fn least(&self) -> u32 {
        self.by_load.first().map_or(0, |&(_, replica)| replica)
    }
}
