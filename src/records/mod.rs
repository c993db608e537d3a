//! What a run hands to whoever listens: a record a request and a batch, and the totals of the run.

mod adapters;
mod offload;
mod record;
mod window;

pub use adapters::AdapterTotals;
pub use offload::OffloadTotals;
pub use record::{
    BatchRecord, BatchRecords, BusyTime, EventKind, EventRecord, IntervalRecord, RequestRecord,
    RequestStatus, RunSink, RunTotals, SpeculationTotals, TokenGaps,
};
pub use window::{Produced, SteadyWindow};
