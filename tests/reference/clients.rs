//! When requests are sent.

use std::collections::VecDeque;

use vidur_ecs::base::Nanos;
use vidur_ecs::workload::NewRequest;

use super::Setup;

/// The workload and, in a closed loop, its clients.
pub struct Clients<'a> {
    setup: &'a Setup,
    /// Requests that follow no other.
    fresh: VecDeque<NewRequest>,
    /// Requests that follow one that has ended.
    following: Vec<NewRequest>,
    /// Since when each client without a request has been free, the longest first.
    free: Option<VecDeque<Nanos>>,
}

impl Clients<'_> {
    pub fn new(setup: &Setup) -> Clients<'_> {
        let pairs = setup.requests.iter().zip(&setup.follows);
        let fresh = pairs.filter(|(_, follows)| follows.is_none());
        Clients {
            setup,
            fresh: fresh.map(|(request, _)| request.clone()).collect(),
            following: Vec::new(),
            free: setup.concurrency.map(|clients| (0..clients).map(|_| Nanos::ZERO).collect()),
        }
    }

    /// The next fresh request: when it is sent, and its id.
    fn next_fresh(&self) -> Option<(Nanos, u64)> {
        let request = self.fresh.front()?;
        let sent = match &self.free {
            None => request.arrived_at,
            Some(free) => request.arrived_at.max(*free.front()?),
        };
        Some((sent, request.id))
    }

    fn next_following(&self) -> Option<(Nanos, u64)> {
        self.following.iter().map(|request| (request.arrived_at, request.id)).min()
    }

    /// When the next request is sent and when the engine gets it.
    pub fn next(&self) -> Option<(Nanos, Nanos)> {
        let (sent, _) = self.next_fresh().into_iter().chain(self.next_following()).min()?;
        Some((sent, sent + self.setup.api_overhead))
    }

    pub fn send(&mut self) -> Option<NewRequest> {
        let fresh = self.next_fresh();
        if let Some(next) = self.next_following()
            && fresh.is_none_or(|fresh| next < fresh)
        {
            let index = self.following.iter().position(|request| request.id == next.1)?;
            return Some(self.following.remove(index));
        }
        if let Some(free) = &mut self.free {
            free.pop_front();
        }
        self.fresh.pop_front()
    }

    /// The answer to request `id` is there. Its client thinks, or is free.
    pub fn answered(&mut self, id: u64, now: Nanos) {
        let next = id as usize + 1;
        if let Some(&Some(think)) = self.setup.follows.get(next) {
            let arrived_at = now + think;
            self.following.push(NewRequest { arrived_at, ..self.setup.requests[next].clone() });
        } else if let Some(free) = &mut self.free {
            free.push_back(now);
        }
    }
}
