//! What LoRA adapters did.

use crate::base::Nanos;

/// What adapters did in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdapterTotals {
    /// Admissions of requests with an adapter.
    pub admitted: u64,
    /// Admissions whose adapter had a slot at that moment.
    pub hits: u64,
    /// Adapters copied from the host into a slot.
    pub loads: u64,
    /// Adapters read from disk before.
    pub fetches: u64,
    /// Time for which steps waited for adapters.
    pub load_time: Nanos,
    /// Time of the adapters' matrix products.
    pub compute_time: Nanos,
}

impl AdapterTotals {
    /// Adds those of another part of the cluster.
    pub fn add(&mut self, other: &AdapterTotals) {
        self.admitted += other.admitted;
        self.hits += other.hits;
        self.loads += other.loads;
        self.fetches += other.fetches;
        self.load_time += other.load_time;
        self.compute_time += other.compute_time;
    }
}
