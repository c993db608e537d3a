//! The adapters on a replica: which of its requests hold which, and which are in memory.

use std::collections::{BTreeMap, BTreeSet};

use bevy_ecs::prelude::*;

use super::Lora;
use crate::base::Nanos;
use crate::engine::state::request::Sequence;
use crate::records::AdapterTotals;

/// What adapters add to the time of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdapterTime {
    /// For which it waits until its adapters are loaded.
    pub load: Nanos,
    /// Their matrix products.
    pub compute: Nanos,
    /// Time of the products if each request fed one token, without its drafts.
    pub plain: Nanos,
}

/// The adapters of a replica. In a [`Sequence`] an adapter is its number plus one, and 0 is none.
#[derive(Component, Debug)]
pub(crate) struct Adapters {
    max_loras: usize,
    /// Admitted requests by adapter.
    running: BTreeMap<u32, u32>,
    slots: Recent,
    host: Recent,
    totals: AdapterTotals,
}

impl Adapters {
    pub fn new(lora: &Lora) -> Adapters {
        Adapters {
            max_loras: lora.max_loras as usize,
            running: BTreeMap::new(),
            slots: Recent::new(lora.max_loras),
            host: Recent::new(lora.max_cpu_loras),
            totals: AdapterTotals::default(),
        }
    }

    /// Whether a request with this adapter may be admitted beside those that are.
    pub fn allows(&self, adapter: u32) -> bool {
        adapter == 0 || self.running.len() < self.max_loras || self.running.contains_key(&adapter)
    }

    /// A request with this adapter is admitted.
    pub fn admit(&mut self, adapter: u32) {
        if adapter != 0 {
            *self.running.entry(adapter).or_default() += 1;
            self.totals.admitted += 1;
            self.totals.hits += u64::from(self.slots.holds(adapter));
        }
    }

    /// A request with this adapter is no longer admitted.
    pub fn leave(&mut self, adapter: u32) {
        if let Some(count) = self.running.get_mut(&adapter) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&adapter);
            }
        }
    }

    /// Loads what the members of a batch need, in the order of the adapters' numbers, and returns
    /// what that and the adapters' products take. The least recently used make room.
    pub fn prepare(&mut self, lora: &Lora, members: &[Sequence]) -> AdapterTime {
        let with = members.iter().filter(|member| member.adapter != 0);
        let tokens = with.clone().map(|member| member.tokens.max(1)).sum();
        let with_adapter = with.clone().count() as u32;
        let needed: BTreeSet<u32> = with.map(|member| member.adapter).collect();
        let mut load = Nanos::ZERO;
        // Those that are there are used first, so that they do not make room for others.
        let (there, missing): (Vec<u32>, Vec<u32>) =
            needed.iter().partition(|&&one| self.slots.holds(one));
        for one in there {
            self.slots.use_now(one);
            self.host.use_now(one);
        }
        for one in missing {
            self.slots.use_now(one);
            if !self.host.use_now(one) {
                self.totals.fetches += 1;
                load += lora.fetch;
            }
            self.totals.loads += 1;
            load += lora.load;
        }
        let different = needed.len() as u32;
        let compute = lora.cost.time(tokens, different);
        let plain = lora.cost.time(with_adapter, different);
        self.totals.load_time += load;
        self.totals.compute_time += compute;
        AdapterTime { load, compute, plain }
    }

    /// What they did since this was asked last.
    pub fn take_totals(&mut self) -> AdapterTotals {
        std::mem::take(&mut self.totals)
    }

    /// Most different adapters of admitted requests.
    pub fn max_loras(&self) -> usize {
        self.max_loras
    }

    /// How many requests hold each adapter, for the audit.
    pub fn running(&self) -> &BTreeMap<u32, u32> {
        &self.running
    }

    /// Whether no more adapters have slots, or places on the host, than there are; those with slots
    /// are on the host too, and those of the members of a batch have slots.
    pub fn audit<'a>(&self, members: impl Iterator<Item = &'a Sequence>) -> Result<(), String> {
        self.slots.audit("slots")?;
        self.host.audit("host")?;
        if let Some(adapter) = self.slots.used.keys().find(|&&one| !self.host.holds(one)) {
            return Err(format!("adapter {adapter} has a slot and is not on the host"));
        }
        let mut adapters = members.map(|member| member.adapter).filter(|&adapter| adapter != 0);
        match adapters.find(|&adapter| !self.slots.holds(adapter)) {
            None => Ok(()),
            Some(adapter) => Err(format!("adapter {adapter} is in a batch without a slot")),
        }
    }
}

/// A store of so many adapters; the least recently used makes room.
#[derive(Debug)]
struct Recent {
    room: usize,
    clock: u64,
    used: BTreeMap<u32, u64>,
    order: BTreeMap<u64, u32>,
}

impl Recent {
    fn new(room: u32) -> Recent {
        Recent { room: room as usize, clock: 0, used: BTreeMap::new(), order: BTreeMap::new() }
    }

    fn holds(&self, adapter: u32) -> bool {
        self.used.contains_key(&adapter)
    }

    fn audit(&self, what: &str) -> Result<(), String> {
        let same = self.order.iter().all(|(time, one)| self.used.get(one) == Some(time));
        match same && self.used.len() == self.order.len() && self.used.len() <= self.room {
            true => Ok(()),
            false => Err(format!("adapters in {what}: {:?} and {:?}", self.used, self.order)),
        }
    }

    /// Uses an adapter, which is stored then; returns whether it was before.
    fn use_now(&mut self, adapter: u32) -> bool {
        let before = self.used.insert(adapter, self.clock);
        if let Some(time) = before {
            self.order.remove(&time);
        }
        self.order.insert(self.clock, adapter);
        self.clock += 1;
        if self.used.len() > self.room
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.used.remove(&oldest);
        }
        before.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_makes_room() {
        let mut store = Recent::new(2);
        assert!(!store.use_now(1) && !store.use_now(2) && store.use_now(1));
        assert!(!store.use_now(3));
        assert!(store.holds(1) && !store.holds(2) && store.holds(3));
    }
}
