//! What a run measures: records in, named scalars out, statistics over seeds, and whether they are
//! as expected.
//!
//! [`StatsSink`] listens to a run and becomes a [`RunSummary`]; runs of one configuration make a
//! [`VariantResult`], variants an [`ExperimentResult`], which the writers in [`crate::output`]
//! read.

mod across;
mod capacity;
mod classes;
mod distribution;
pub mod expect;
mod flops;
#[cfg(test)]
mod golden;
pub mod names;
mod offload;
mod result;
mod sinks;
mod stats;
mod summary;
mod trend;
pub(crate) mod unit;
mod values;

pub use across::Spread;
#[doc(hidden)]
pub use capacity::{Capacity, Load, Verdict};
pub(crate) use capacity::{MeanTokens, Saturated};
pub(crate) use classes::{ByClass, ClassResult};
pub use expect::{Expectation, Outcome};
pub(crate) use flops::FlopsModel;
#[doc(hidden)]
pub use result::Misfit;
pub(crate) use result::ModelResult;
pub use result::{ExperimentResult, VariantResult};
pub(crate) use sinks::ByPool;
#[doc(hidden)]
pub use stats::RunContext;
pub use stats::StatsSink;
pub(crate) use stats::seconds_per;
pub use summary::{Metrics, RunSummary};
