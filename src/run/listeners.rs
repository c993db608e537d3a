//! Who listens to a run, but for its statistics and files.

use crate::records::{BatchRecord, RequestRecord, RunSink};

/// Listens to nothing.
pub(super) struct Deaf;

impl RunSink for Deaf {
    fn request(&mut self, _: &RequestRecord) {}
    fn batch(&mut self, _: &BatchRecord) {}
}

/// Tells the progress bar, now and then.
pub(super) struct Ticks<'a> {
    pub(super) progress: &'a (dyn Fn(u64) + Sync),
    pub(super) count: u64,
}

impl RunSink for Ticks<'_> {
    fn request(&mut self, _: &RequestRecord) {
        self.count += 1;
        if self.count == 64 {
            (self.progress)(self.count);
            self.count = 0;
        }
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

impl Drop for Ticks<'_> {
    fn drop(&mut self) {
        (self.progress)(self.count);
    }
}
