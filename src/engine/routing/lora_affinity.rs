//! Sends a request to where its LoRA adapter is, unless the load is too uneven.

use serde::{Deserialize, Serialize};

use super::{Loads, RouteRequest, Router};
use crate::base::{RandomStream, SettingError};

/// The replicas that may have the request's adapter are preferred:
///
/// 1. Of these the one with the fewest outstanding requests, if it has at most `max_imbalance` more
///    than the least loaded replica.
/// 2. Otherwise, and for a request without an adapter, the least loaded; of equally loaded ones
///    that with the fewest adapters, then the lowest number.
///
/// Like a real router it does not look into the replicas: it remembers the last `slots` adapters
/// that it sent to each. Give it as many as `engine.lora.max_loras`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraAffinity {
    /// Adapters that are remembered of each replica.
    pub slots: u32,
    /// Outstanding requests that a replica with the adapter may have more than the least loaded.
    pub max_imbalance: u32,
    /// The adapters of each replica, the last used first.
    #[serde(skip)]
    recent: Vec<Vec<u32>>,
}

impl Default for LoraAffinity {
    fn default() -> LoraAffinity {
        LoraAffinity { slots: 8, max_imbalance: 8, recent: Vec::new() }
    }
}

impl Router for LoraAffinity {
    const NAME: &'static str = "LoraAffinity";
    const ABOUT: &'static str =
        "where the LoRA adapter was used last, unless loads differ too much";
    const NEEDS_ADAPTERS: bool = true;

    fn check(&self) -> Result<(), SettingError> {
        match self.slots {
            0 => Err(SettingError::new("slots", 0, "at least 1 adapter for each replica")),
            _ => Ok(()),
        }
    }

    fn route(&mut self, request: &RouteRequest, loads: &mut Loads, _: &mut RandomStream) -> u32 {
        self.recent.resize(loads.replicas() as usize, Vec::new());
        let recent = &self.recent;
        let load =
            |&replica: &u32| (loads.outstanding(replica), recent[replica as usize].len(), replica);
        let least = (0..loads.replicas()).min_by_key(load).unwrap_or(0);
        let Some(adapter) = request.adapter else { return least };
        let most = loads.outstanding(least).saturating_add(self.max_imbalance);
        let chosen = (0..loads.replicas())
            .filter(|&replica| recent[replica as usize].contains(&adapter))
            .min_by_key(load)
            .filter(|&replica| loads.outstanding(replica) <= most)
            .unwrap_or(least);
        let list = &mut self.recent[chosen as usize];
        list.retain(|&other| other != adapter);
        list.insert(0, adapter);
        list.truncate(self.slots as usize);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;

    #[test]
    fn an_adapter_stays_where_it_is_unless_loads_differ_too_much() {
        let mut router = LoraAffinity { slots: 2, max_imbalance: 2, ..LoraAffinity::default() };
        let mut loads = Loads::new(2);
        let mut random = RandomStream::new(1, "routing");
        let mut route = |loads: &mut Loads, adapter| {
            let request = RouteRequest {
                id: 0,
                now: Nanos::ZERO,
                prompt_tokens: 10,
                prefix: &[],
                block_size: 16,
                adapter,
            };
            let replica = router.route(&request, loads, &mut random);
            loads.add_waiting(replica, 1);
            replica
        };
        assert_eq!(route(&mut loads, Some(7)), 0);
        assert_eq!(route(&mut loads, Some(8)), 1, "the least loaded");
        assert_eq!(route(&mut loads, Some(7)), 0);
        assert_eq!(route(&mut loads, Some(7)), 0, "2 to 1");
        assert_eq!(route(&mut loads, Some(7)), 0, "3 to 1 differ by no more than 2");
        assert_eq!(route(&mut loads, Some(7)), 1, "4 to 1 do");
        assert_eq!(route(&mut loads, None), 1, "2 to 4");
        // Replica 1 remembers 7 and 8; a third adapter displaces 8, the less recent.
        assert_eq!(route(&mut loads, Some(9)), 1);
        assert_eq!(route(&mut loads, Some(8)), 0, "4 to 4, and replica 0 has fewer adapters");
    }
}
