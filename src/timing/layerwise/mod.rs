//! Execution times from a model's own layers, measured kernel by kernel in vLLM.

mod attention;
mod grid;
mod operators;
mod predictor;
mod settings;
mod source;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod tests;

pub use settings::{LayerwiseSettings, StragglerSetting};
