//! Scenario files: from RON text to a validated description of runs.
//!
//! A file becomes a [`Document`] (text with a source map), into which `--set` arguments and
//! variants are merged as text; the result is read by serde into raw types and then resolved: names
//! looked up, plug-ins read through the registry, files read, everything checked. What is wrong
//! anywhere on this way is a [`crate::base::Diagnostic`] that points at the place in the file or argument.

mod admission;
mod cluster;
pub mod combinations;
mod disaggregated;
pub mod document;
mod engine;
mod kv_offload;
mod lora;
mod model;
mod models;
mod plugins;
mod pool;
mod quantization;
mod raw;
mod resolve;
mod resolved_text;
#[allow(clippy::module_inception)] // the module's one noun
mod scenario;
mod sharing;
mod speculative;
pub mod sweep;
mod timing;
mod too_long;
mod without_effect;

pub use cluster::{Cluster, Configuration, Tie};
pub use disaggregated::Link;
pub use document::Document;
pub use kv_offload::{KvOffload, KvOffloadSettings, PreemptionMode};
pub use pool::PoolConfig;
pub use quantization::{Quantization, WeightFormat};
pub use raw::OutputSettings;
pub use scenario::Scenario;
pub use sharing::{GpuSharing, SpatialShare};
pub use speculative::Speculative;

#[cfg(test)]
mod tests;
