//! A sink that keeps what it is told, and a source of no requests.

use vidur_ecs::engine::Traffic;
use vidur_ecs::records::{BatchRecord, RequestRecord, RunSink};
use vidur_ecs::workload::{NewRequest, RequestSource};

/// All records of a run, in the order in which they came.
#[derive(Default)]
pub struct Records {
    pub requests: Vec<RequestRecord>,
    pub batches: Vec<BatchRecord>,
}

impl RunSink for Records {
    fn request(&mut self, record: &RequestRecord) {
        self.requests.push(record.clone());
    }
    fn batch(&mut self, record: &BatchRecord) {
        self.batches.push(*record);
    }
}

struct Nobody;

impl RequestSource for Nobody {
    fn next_request(&mut self) -> Option<NewRequest> {
        None
    }
}

/// The traffic of a pool to which requests come from another alone.
pub fn nobody() -> Traffic {
    Traffic::of(Box::new(Nobody))
}
