//! Sends a request to where its prefix is cached, unless the load is too uneven: SGLang's
//! cache-aware router.

use std::collections::BTreeSet;

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::prefix_index::PrefixIndex;
use super::{Loads, RouteRequest, Router};
use crate::base::{RandomStream, SettingError};

/// The rule of SGLang's router (`cache_aware` of sglang-router 0.3.2, whose defaults these are):
///
/// 1. If the replicas' outstanding requests differ by more than `balance_abs_threshold`, and the
///    most is more than `balance_rel_threshold` times the least, the replica with the least.
/// 2. Otherwise, if a replica saw more than `cache_threshold` of the prompt, one of those that saw
///    the most of it: the least loaded.
/// 3. Otherwise the least loaded.
///
/// Ties in load go to the replica of which the index knows the fewest blocks, then to the lowest
/// number. Like a real router it does not ask the replicas what they have cached: it remembers
/// what it sent where (`PrefixIndex`), in whole KV blocks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PrefixAffinity {
    /// Share of the prompt's tokens that a replica must have seen to be preferred.
    pub cache_threshold: f64,
    /// Difference in outstanding requests up to which affinity decides.
    pub balance_abs_threshold: u32,
    /// Ratio of outstanding requests up to which affinity decides.
    pub balance_rel_threshold: f64,
    /// Blocks that are remembered of each replica; the least recently used are forgotten. The
    /// default is SGLang's tree of 2^26 characters, at 4 characters a token and 16 tokens a block.
    pub max_blocks: u32,
    #[serde(skip)]
    state: Option<State>,
}

impl Default for PrefixAffinity {
    fn default() -> PrefixAffinity {
        PrefixAffinity {
            cache_threshold: 0.3,
            balance_abs_threshold: 64,
            balance_rel_threshold: 1.5,
            max_blocks: 1 << 20,
            state: None,
        }
    }
}

/// What the router knows.
#[derive(Clone, Debug)]
struct State {
    index: PrefixIndex,
    /// Outstanding requests and blocks in the index of each replica, and the same in order.
    known: Vec<(u32, u32)>,
    order: BTreeSet<(u32, u32, u32)>,
}

impl State {
    fn new(loads: &Loads, max_blocks: u32) -> State {
        let known: Vec<_> = (0..loads.replicas()).map(|r| (loads.outstanding(r), 0)).collect();
        State {
            index: PrefixIndex::new(loads.replicas(), max_blocks),
            order: known.iter().zip(0..).map(|(&(load, blocks), r)| (load, blocks, r)).collect(),
            known,
        }
    }

    /// Takes in what changed at `replica`.
    fn update(&mut self, loads: &Loads, replica: u32) {
        let current = (loads.outstanding(replica), self.index.blocks(replica));
        let known = std::mem::replace(&mut self.known[replica as usize], current);
        if known != current {
            self.order.remove(&(known.0, known.1, replica));
            self.order.insert((current.0, current.1, replica));
        }
    }

    /// The least loaded of the replicas that saw the most of the prompt, if that is more than this
    /// share.
    fn holder(&self, request: &RouteRequest, threshold: f64) -> Option<u32> {
        let (found, holders) = self.index.longest(request.prefix);
        let tokens = f64::from(found) * f64::from(request.block_size);
        if tokens <= threshold * f64::from(request.prompt_tokens) {
            return None;
        }
        holders.min_by_key(|&replica| (self.known[replica as usize], replica))
    }

    /// The least loaded replica with its load, and the largest load.
    fn extremes(&self) -> (u32, u32, u32) {
        let (least, _, replica) = self.order.first().copied().unwrap_or_default();
        let (most, ..) = self.order.last().copied().unwrap_or_default();
        (replica, least, most)
    }
}

impl Router for PrefixAffinity {
    const NAME: &'static str = "PrefixAffinity";
    const ABOUT: &'static str = "where the prefix was sent before, unless loads differ too much";

    fn check(&self) -> Result<(), SettingError> {
        if !(0.0..=1.0).contains(&self.cache_threshold) {
            let expected = "a share from 0 to 1";
            return Err(SettingError::new("cache_threshold", self.cache_threshold, expected));
        }
        if !(self.balance_rel_threshold.is_finite() && self.balance_rel_threshold >= 1.0) {
            let found = self.balance_rel_threshold;
            return Err(SettingError::new("balance_rel_threshold", found, "at least 1"));
        }
        match self.max_blocks {
            0 => Err(SettingError::new("max_blocks", 0, "at least 1 block for each replica")),
            _ => Ok(()),
        }
    }

    fn route(&mut self, request: &RouteRequest, loads: &mut Loads, _: &mut RandomStream) -> u32 {
        let state = self.state.get_or_insert_with(|| State::new(loads, self.max_blocks));
        loads.take_changed(|loads, replica| state.update(loads, replica));
        let (least_loaded, least, most) = state.extremes();
        let uneven = most - least > self.balance_abs_threshold
            && f64::from(most) > self.balance_rel_threshold * f64::from(least);
        let preferred = if uneven { None } else { state.holder(request, self.cache_threshold) };
        let chosen = preferred.unwrap_or(least_loaded);
        state.index.insert(request.prefix, chosen);
        state.update(loads, chosen);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;
    use crate::engine::state::kv::PrefixHash;

    /// A router over replicas, whose requests stay until they are taken off.
    struct Cluster {
        router: PrefixAffinity,
        loads: Loads,
        random: RandomStream,
    }

    impl Cluster {
        fn new(replicas: u32, router: PrefixAffinity) -> Cluster {
            Router::check(&router).unwrap();
            let (loads, random) = (Loads::new(replicas), RandomStream::new(1, "routing"));
            Cluster { router, loads, random }
        }

        /// Routes a prompt of 100 tokens, of which these blocks of 16 are known.
        fn route(&mut self, hashes: &[u64]) -> u32 {
            let prefix: Vec<_> =
                hashes.iter().map(|&hash| PrefixHash(hash.try_into().unwrap())).collect();
            let request = RouteRequest {
                id: 0,
                now: Nanos::ZERO,
                prompt_tokens: 100,
                prefix: &prefix,
                block_size: 16,
                adapter: None,
            };
            let replica = self.router.route(&request, &mut self.loads, &mut self.random);
            self.loads.add_waiting(replica, 1);
            replica
        }
    }

    #[test]
    fn what_is_known_goes_where_it_was() {
        let mut cluster = Cluster::new(3, PrefixAffinity::default());
        assert_eq!(cluster.route(&[1, 2, 3]), 0);
        assert_eq!(cluster.route(&[11, 12, 13]), 1, "the least loaded");
        assert_eq!(cluster.route(&[21, 22, 23]), 2);
        // 32 of 100 tokens are more than 30 %, 16 are not.
        assert_eq!(cluster.route(&[11, 12, 99]), 1);
        assert_eq!(cluster.route(&[11, 98, 97]), 0, "3 known blocks, as replica 2, but the lower");
        // Replica 1 and now replica 0 saw the beginning; only replica 1 saw more.
        assert_eq!(cluster.route(&[11, 12, 13]), 1);
        assert_eq!(cluster.route(&[]), 2, "of an unknown prompt only the load counts");
    }

    #[test]
    fn equal_loads_are_dealt_out_by_what_is_known() {
        let mut cluster = Cluster::new(2, PrefixAffinity::default());
        assert_eq!(cluster.route(&[1, 2, 3]), 0);
        cluster.loads.add_waiting(0, -1);
        assert_eq!(cluster.route(&[5]), 1, "replica 0 is idle too, but holds more");
    }

    #[test]
    fn uneven_loads_outweigh_affinity() {
        let router = PrefixAffinity {
            balance_abs_threshold: 4,
            balance_rel_threshold: 2.0,
            ..PrefixAffinity::default()
        };
        let mut cluster = Cluster::new(2, router);
        let prompt = [1, 2, 3];
        // 0 to 4 on replica 0 differ by no more than 4 from none; 5 do.
        let replicas: Vec<u32> = (0..6).map(|_| cluster.route(&prompt)).collect();
        assert_eq!(replicas, [0, 0, 0, 0, 0, 1]);
        // Now both saw it, and the less loaded of them is preferred.
        assert_eq!(cluster.route(&prompt), 1);
        // 9 to 4 differ by more than 4 and by more than twice; 9 to 5 by less than twice.
        cluster.loads.add_waiting(0, 4);
        assert_eq!(cluster.route(&[61, 62, 63]), 1);
        assert_eq!(cluster.route(&[61, 62, 63]), 1);
    }

    #[test]
    fn ratio_and_difference_must_both_be_exceeded() {
        let router = PrefixAffinity { balance_abs_threshold: 2, ..PrefixAffinity::default() };
        let mut cluster = Cluster::new(2, router);
        cluster.loads.add_waiting(0, 10);
        cluster.loads.add_waiting(1, 10);
        assert_eq!(cluster.route(&[1, 2, 3]), 0);
        cluster.loads.add_waiting(0, 3);
        // 14 to 10: the difference is above 2, the ratio of 1.4 is not above 1.5.
        assert_eq!(cluster.route(&[1, 2, 3]), 0);
        cluster.loads.add_waiting(0, 1);
        // 16 to 10.
        assert_eq!(cluster.route(&[1, 2, 3]), 1);
    }

    #[test]
    fn settings_that_make_no_sense() {
        let default = PrefixAffinity::default;
        for (router, path) in [
            (PrefixAffinity { cache_threshold: 1.5, ..default() }, "cache_threshold"),
            (PrefixAffinity { cache_threshold: f64::NAN, ..default() }, "cache_threshold"),
            (PrefixAffinity { balance_rel_threshold: 0.5, ..default() }, "balance_rel_threshold"),
            (PrefixAffinity { max_blocks: 0, ..default() }, "max_blocks"),
        ] {
            assert_eq!(Router::check(&router).unwrap_err().path, path);
        }
    }
}
