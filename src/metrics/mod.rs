//! What a run measures: records in, named scalars out, statistics over seeds, and whether they are
//! as expected.
//!
//! [`StatsSink`] listens to a run and becomes a [`RunSummary`]; runs of one configuration make a
//! [`VariantResult`], variants an [`ExperimentResult`], which the writers in [`crate::output`] read.

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
pub mod unit;
mod values;

pub use across::Spread;
pub use capacity::{Capacity, Load, MeanTokens, Saturated, Verdict};
pub use classes::{ByClass, ClassResult};
pub use distribution::{Distribution, percentile};
pub use expect::{Expectation, Outcome};
pub use flops::FlopsModel;
pub use result::{ExperimentResult, Misfit, ModelResult, VariantResult};
pub use sinks::ByPool;
pub use stats::{RunContext, StatsSink, seconds_per};
pub use summary::{Metrics, RunSummary};
pub use trend::WaitingTrend;
pub use values::EXACT_VALUES;
