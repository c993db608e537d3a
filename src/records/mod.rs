//! What a run hands to whoever listens: a record a request and a batch, and the totals of the run.

mod adapters;
mod offload;
mod record;
mod window;

#[doc(hidden)]
pub use adapters::AdapterTotals;
#[doc(hidden)]
pub use offload::OffloadTotals;
pub use record::{
    BatchRecord, BatchRecords, BusyTime, IntervalRecord, RequestRecord, RequestStatus, RunSink,
    RunTotals,
};
#[doc(hidden)]
pub use record::{EventKind, EventRecord, SpeculationTotals, TokenGaps};
#[doc(hidden)]
pub use window::{Produced, SteadyWindow};
