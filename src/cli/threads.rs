//! How many simulations run at once.

use std::thread::available_parallelism;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::failure::Failure;
use crate::base::memory;
use crate::run;
use crate::scenario::Scenario;

/// More threads than processors gain nothing, but a few do no harm either.
const MIN_LIMIT: usize = 8;

/// Threads for these scenarios: `jobs`, or one per processor, but none that would have nothing to
/// do, and no more than a limit of address space allows.
pub(super) fn pool<'a>(
    jobs: Option<u16>,
    scenarios: impl IntoIterator<Item = &'a Scenario>,
) -> Result<ThreadPool, Failure> {
    let simulations = scenarios.into_iter().map(run::simulations).sum();
    let processors = available_parallelism().map_or(1, usize::from);
    let threads = threads(jobs.map(usize::from), simulations, processors);
    let threads = threads.min(memory::most_threads());
    let built = ThreadPoolBuilder::new().num_threads(threads).build();
    built.map_err(|error| Failure::unexpected(format!("cannot start threads: {error}")))
}

fn threads(jobs: Option<usize>, simulations: usize, processors: usize) -> usize {
    let wanted = jobs.unwrap_or(processors);
    wanted.min(simulations).min(processors.max(MIN_LIMIT)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_is_idle() {
        assert_eq!(threads(None, 100, 4), 4);
        assert_eq!(threads(None, 3, 64), 3);
        assert_eq!(threads(Some(1), 100, 4), 1);
        assert_eq!(threads(Some(5000), 2, 4), 2);
        assert_eq!(threads(Some(5000), 10_000, 64), 64);
        assert_eq!(threads(Some(5000), 10_000, 2), MIN_LIMIT);
        assert_eq!(threads(Some(3), 0, 2), 1);
    }
}
