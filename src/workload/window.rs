//! Which requests the statistics count.

use super::{Margin, RequestSource};
use crate::base::Nanos;

/// The requests between warm-up and drain, by order and by time of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Index (in order of arrival, from 0) of the first request that counts.
    pub first_index: u64,
    /// Index after the last one that counts.
    pub end_index: u64,
    /// Earliest arrival that counts.
    pub first_arrival: Nanos,
    /// Latest arrival that counts.
    pub last_arrival: Nanos,
}

impl Window {
    /// Everything counts.
    pub const ALL: Window = Window {
        first_index: 0,
        end_index: u64::MAX,
        first_arrival: Nanos::ZERO,
        last_arrival: Nanos::MAX,
    };

    /// Whether the statistics count the request that arrived `index`-th (from 0), at
    /// `arrived_at`.
    pub fn contains(&self, index: u64, arrived_at: Nanos) -> bool {
        (self.first_index..self.end_index).contains(&index)
            && (self.first_arrival..=self.last_arrival).contains(&arrived_at)
    }

    /// The window of a workload of `count` requests, if their number is certain; otherwise
    /// `source` is run through to find the end, if the end matters.
    pub(super) fn resolve(
        warmup: Option<Margin>,
        drain: Option<Margin>,
        count: Option<u64>,
        source: impl FnOnce() -> Box<dyn RequestSource>,
    ) -> Window {
        let mut window = Window::ALL;
        match warmup {
            Some(Margin::Requests(n)) => window.first_index = n,
            Some(Margin::Seconds(s)) => window.first_arrival = Nanos::from_secs_f64(s),
            None => {}
        }
        match drain {
            Some(Margin::Requests(n)) => {
                let count = count.unwrap_or_else(|| end_of(source()).0);
                window.end_index = count.saturating_sub(n);
            }
            Some(Margin::Seconds(s)) => {
                let last = end_of(source()).1;
                match last.0.checked_sub(Nanos::from_secs_f64(s).0) {
                    Some(time) => window.last_arrival = Nanos(time),
                    // The drain is longer than all arrivals: nothing counts.
                    None => window.end_index = 0,
                }
            }
            None => {}
        }
        window
    }
}

/// Number of requests and time of the last arrival.
fn end_of(mut source: Box<dyn RequestSource>) -> (u64, Nanos) {
    let mut end = (0, Nanos::ZERO);
    while let Some(request) = source.next_request() {
        end = (end.0 + 1, request.arrived_at);
    }
    end
}
