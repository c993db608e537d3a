//! Everything that reads others' files into ours: configurations of Vidur, measured kernel times,
//! results of vLLM's benchmark.

#[cfg(feature = "aisimulate")]
pub mod aisimulate;
mod layerwise;
pub mod vidur;
pub mod vidur_profile;
mod vllm_bench;

#[cfg(feature = "aisimulate")]
pub use aisimulate::{ImportAisimulateOptions, import_aisimulate};
pub use layerwise::{ImportLayerwiseOptions, import_layerwise};
pub use vidur_profile::{ImportVidurOptions, import_vidur};
pub use vllm_bench::{BenchEngine, from_vllm_bench};
