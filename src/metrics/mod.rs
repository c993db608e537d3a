//! What a run measures.

mod record;

pub use record::{
    BatchRecord, BusyTime, RequestRecord, RequestStatus, RunSink, RunTotals, TokenGaps,
};
