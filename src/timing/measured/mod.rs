//! Execution times from measured kernels.

mod attention;
mod axis;
mod curve;
#[cfg(test)]
mod golden;
mod grid;
mod predictor;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;

pub use settings::{Composition, MeasuredSettings};
