//! The replica with the fewest requests, running and waiting.

use serde::{Deserialize, Serialize};

use super::{Loads, RouteRequest, Router};
use crate::base::RandomStream;

/// The replica with the fewest outstanding requests (running and waiting); the lowest index on a
/// tie. It keeps a tournament of the replicas, so that a change of load costs O(log replicas).
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

/// Replicas by a load: a tournament, in which each inner node holds the lesser of its two children.
/// No branch depends on the loads, which no processor could guess.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadOrder {
    /// The root at 1, the children of `n` at `2 n` and `2 n + 1`, the replicas last: loads with the
    /// replica's index in the lower half.
    nodes: Vec<u64>,
}

impl LoadOrder {
    /// Takes in what changed since the last call.
    pub fn update(&mut self, loads: &mut Loads, load: impl Fn(&Loads, u32) -> u32) {
        if self.nodes.is_empty() {
            let leaves = loads.replicas().next_power_of_two();
            self.nodes = vec![u64::MAX; 2 * leaves as usize];
            for replica in 0..loads.replicas() {
                self.set(replica, load(loads, replica));
            }
        }
        loads.take_changed(|loads, replica| self.set(replica, load(loads, replica)));
    }

    fn set(&mut self, replica: u32, load: u32) {
        let mut node = self.nodes.len() / 2 + replica as usize;
        let mut least = u64::from(load) << 32 | u64::from(replica);
        while node > 1 {
            self.nodes[node] = least;
            least = least.min(self.nodes[node ^ 1]);
            node /= 2;
        }
        self.nodes[1] = least;
    }

    /// The replica with the least load, the lowest index on a tie.
    pub fn least(&self) -> u32 {
        self.nodes.get(1).map_or(0, |&least| least as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever changes, in whatever order, a scan would find the same.
        #[test]
        fn the_tournament_finds_the_first_of_the_least(
            replicas in 1..70_u32,
            changes in prop::collection::vec((any::<u32>(), 0..4_i32), 0..300),
        ) {
            let mut loads = Loads::new(replicas);
            let mut order = LoadOrder::default();
            for (replica, change) in changes {
                let replica = replica % replicas;
                let change = if loads.waiting(replica) == 0 { 1 } else { change - 1 };
                loads.add_waiting(replica, change);
                if change != 2 {
                    order.update(&mut loads, Loads::outstanding);
                    let least = (0..replicas).min_by_key(|&replica| loads.outstanding(replica));
                    prop_assert_eq!(Some(order.least()), least);
                }
            }
        }
    }
}
