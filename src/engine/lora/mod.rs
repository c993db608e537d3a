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

pub(crate) use cost::{AdapterCost, AdapterKernels};
pub(crate) use deal::Popularity;
pub(crate) use settings::Lora;
pub use settings::LoraSettings;
pub(crate) use size::{Module, adapter_bytes};
pub(crate) use slots::{AdapterTime, Adapters};
