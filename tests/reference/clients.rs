//! When requests are sent.

use std::collections::VecDeque;

use vidur_ecs::sim::Nanos;
use vidur_ecs::workload::NewRequest;

/// The workload and, in a closed loop, its clients.
pub struct Clients {
    requests: VecDeque<NewRequest>,
    /// Since when each client without a request has been free, the longest first.
    free: Option<VecDeque<Nanos>>,
    api_overhead: Nanos,
}

impl Clients {
    pub fn new(requests: &[NewRequest], clients: Option<u32>, api_overhead: Nanos) -> Clients {
        let free = clients.map(|clients| (0..clients).map(|_| Nanos::ZERO).collect());
        Clients { requests: requests.iter().cloned().collect(), free, api_overhead }
    }

    /// When the next request is sent and when the engine gets it.
    pub fn next(&self) -> Option<(Nanos, Nanos)> {
        let earliest = self.requests.front()?.arrived_at;
        let sent = match &self.free {
            None => earliest,
            Some(free) => earliest.max(*free.front()?),
        };
        Some((sent, sent + self.api_overhead))
    }

    pub fn send(&mut self) -> Option<NewRequest> {
        if let Some(free) = &mut self.free {
            free.pop_front();
        }
        self.requests.pop_front()
    }

    /// A client got its answer.
    pub fn answered(&mut self, now: Nanos) {
        if let Some(free) = &mut self.free {
            free.push_back(now);
        }
    }
}
