//! Serving many LoRA adapters of one model: which requests want which, the memory and the loading
//! of adapters, and what their matrix products cost.
//!
//! The rules are those of vLLM: a GPU has slots for `max_loras` adapters, a batch holds at most as
//! many different ones, and a waiting request whose adapter would be one too many is passed over
//! (`slots.rs`). Adapters are loaded before the step that needs them, which waits for them.

mod cost;
mod deal;
mod settings;
mod size;
mod slots;

pub use cost::AdapterCost;
pub use deal::Popularity;
pub use settings::{Lora, LoraSettings};
pub use size::{Module, adapter_bytes};
pub(crate) use slots::{AdapterTime, Adapters};

/// What adapters did in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdapterTotals {
    /// Admissions of requests with an adapter.
    pub admitted: u64,
    /// Of these, those whose adapter had a slot at that moment.
    pub hits: u64,
    /// Adapters copied from the host into a slot.
    pub loads: u64,
    /// Adapters read from disk before.
    pub fetches: u64,
    /// Time for which steps waited for adapters.
    pub load_time: crate::sim::Nanos,
    /// Time of the adapters' matrix products.
    pub compute_time: crate::sim::Nanos,
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
