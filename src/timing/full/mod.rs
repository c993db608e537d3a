//! Times of a pass composed from operators, for any model.
//!
//! `OperatorSource` says what an operator costs on a device: `MeasuredOperators` from the
//! device's tables, `RooflineOperators` from its data sheet. `Pass` composes them for a model:
//! one pass of the batch through all operators, prompts and decoding requests together, so that
//! weights are read and kernels are launched once.

mod attention;
mod basis;
#[cfg(test)]
mod calibrate;
#[cfg(test)]
mod capacity_tests;
mod collective;
#[cfg(feature = "cli")]
mod coverage;
mod estimate;
mod experts;
mod gemm;
mod layer_pass;
mod measured;
mod pass;
mod predictor;
#[cfg(test)]
mod quantized_tests;
mod reach;
mod roofline;
mod samples;
mod speed;
#[cfg(feature = "cli")]
mod surfaces;
#[cfg(test)]
mod tests;
mod unmeasured;
mod weight_only;

#[cfg(test)]
pub use calibrate::calibrate;
#[cfg(feature = "cli")]
pub use coverage::{coverage, transfer_errors};
pub use measured::FullSettings;
pub use roofline::{Efficiencies, RooflineSettings};

pub(super) use measured::build_full;
#[cfg(feature = "cli")]
pub(crate) use roofline::peak as data_sheet;
#[cfg(feature = "cli")]
pub(crate) use surfaces::attention_surfaces;

use pass::{OperatorSource, Pass};
