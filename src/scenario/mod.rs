//! Scenario files: from RON text to a validated description of runs.
//!
//! A file becomes a `Document` (text with a source map), into which `--set` arguments and variants
//! are merged as text; the result is read by serde into raw types and then resolved: names looked
//! up, plug-ins read through the registry, files read, everything checked. What is wrong anywhere
//! on this way is a [`crate::base::Diagnostic`] that points at the place in the file or argument.

mod admission;
mod cluster;
#[doc(hidden)]
pub mod combinations;
#[cfg(feature = "cli")]
mod defaults;
mod disaggregated;
pub(crate) mod document;
mod engine;
mod kv_groups;
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
#[doc(hidden)]
pub mod sweep;
mod timing;
mod too_long;
mod without_effect;

pub use cluster::{Cluster, Configuration, Tie};
pub(crate) use document::Document;
pub(crate) use kv_offload::PreemptionMode;
pub use pool::PoolConfig;
#[doc(hidden)]
pub use quantization::Quantization;
pub use raw::OutputSettings;
#[doc(hidden)]
pub use resolve::LoadContext;
pub use scenario::Scenario;
pub(crate) use sharing::GpuSharing;

#[cfg(test)]
mod tests;
