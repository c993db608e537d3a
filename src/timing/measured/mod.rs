//! Execution times from measured kernels.

mod attention;
mod axis;
pub(super) mod curve;
#[cfg(test)]
mod golden;
mod grid;
mod predictor;
pub(super) mod settings;
#[cfg(test)]
mod tests;
mod tokens;

pub use settings::{Composition, MeasuredSettings};
