//! Sinks made of sinks.

use crate::records::{BatchRecord, EventRecord, IntervalRecord, RequestRecord, RunSink};

/// Both listen, the first one first.
impl<A: RunSink, B: RunSink> RunSink for (A, B) {
    fn request(&mut self, record: &RequestRecord) {
        self.0.request(record);
        self.1.request(record);
    }

    fn batch(&mut self, record: &BatchRecord) {
        self.0.batch(record);
        self.1.batch(record);
    }

    fn interval(&mut self, record: &IntervalRecord) {
        self.0.interval(record);
        self.1.interval(record);
    }

    fn event(&mut self, record: &EventRecord) {
        self.0.event(record);
        self.1.event(record);
    }
}

/// One listener per pool, each of which is told of the requests of its own.
#[derive(Debug, Default)]
pub struct ByPool<S>(pub Vec<S>);

impl<S: RunSink> RunSink for ByPool<S> {
    fn request(&mut self, record: &RequestRecord) {
        if let Some(sink) = self.0.get_mut(record.pool as usize) {
            sink.request(record);
        }
    }

    fn batch(&mut self, _: &BatchRecord) {}
}

/// Listens if it is there.
impl<S: RunSink> RunSink for Option<S> {
    fn request(&mut self, record: &RequestRecord) {
        if let Some(sink) = self {
            sink.request(record);
        }
    }

    fn batch(&mut self, record: &BatchRecord) {
        if let Some(sink) = self {
            sink.batch(record);
        }
    }

    fn interval(&mut self, record: &IntervalRecord) {
        if let Some(sink) = self {
            sink.interval(record);
        }
    }

    fn event(&mut self, record: &EventRecord) {
        if let Some(sink) = self {
            sink.event(record);
        }
    }
}

impl<S: RunSink + ?Sized> RunSink for &mut S {
    fn request(&mut self, record: &RequestRecord) {
        (**self).request(record);
    }

    fn batch(&mut self, record: &BatchRecord) {
        (**self).batch(record);
    }

    fn interval(&mut self, record: &IntervalRecord) {
        (**self).interval(record);
    }

    fn event(&mut self, record: &EventRecord) {
        (**self).event(record);
    }
}
