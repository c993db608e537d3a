//! Conversations of a trace, in closed loop.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Think;
use crate::sim::{Nanos, RandomStream};
use crate::workload::{NewRequest, RequestSource};

/// Which requests of a trace follow others.
#[derive(Clone, Debug)]
pub(in crate::workload) struct Chains {
    /// Time between an answer and the request that follows it.
    think: Think,
    /// Index of the request that each follows.
    after: Arc<[Option<u32>]>,
}

impl Chains {
    /// Chains of the requests whose conversations these are, in the order of the trace.
    pub fn new<'a>(think: Think, conversations: impl Iterator<Item = Option<&'a str>>) -> Chains {
        let mut last: BTreeMap<&str, u32> = BTreeMap::new();
        let after = conversations.zip(0..).map(|(conversation, index)| {
            conversation.and_then(|conversation| last.insert(conversation, index))
        });
        Chains { think, after: after.collect() }
    }

    /// The same with another time of thought.
    pub fn with_think(&self, think: Think) -> Chains {
        Chains { think, after: self.after.clone() }
    }

    /// Whether any request follows another.
    pub fn any(&self) -> bool {
        self.after.iter().any(Option::is_some)
    }

    /// Whether the request at `index` follows none.
    pub fn is_first(&self, index: usize) -> bool {
        self.after[index].is_none()
    }
}

/// The rows of a trace: those that follow none arrive at their time, the others when the one
/// before has been answered.
pub(in crate::workload) struct Chained {
    requests: Arc<[NewRequest]>,
    chains: Chains,
    /// For each request the one that follows it.
    followers: Vec<Option<u32>>,
    thinks: Vec<Nanos>,
    /// Indices of requests under way that another follows, by id.
    under_way: BTreeMap<u64, u32>,
    next: usize,
    end: Nanos,
}

impl Chained {
    pub fn new(
        requests: Arc<[NewRequest]>,
        chains: Chains,
        duration: Option<Nanos>,
        seed: u64,
    ) -> Chained {
        let mut followers = vec![None; requests.len()];
        for (after, index) in chains.after[..requests.len()].iter().zip(0..) {
            if let Some(before) = after {
                followers[*before as usize] = Some(index);
            }
        }
        // All at once, so that they do not depend on how fast anything is answered.
        let mut stream = RandomStream::new(seed, "think time");
        let thinks = requests.iter().map(|_| chains.think.draw(&mut stream)).collect();
        let end = duration.unwrap_or(Nanos::MAX);
        let under_way = BTreeMap::new();
        Chained { requests, chains, followers, thinks, under_way, next: 0, end }
    }

    fn request(&mut self, index: usize) -> NewRequest {
        let request = self.requests[index].clone();
        if let Some(follower) = self.followers[index] {
            self.under_way.insert(request.id, follower);
        }
        request
    }
}

impl RequestSource for Chained {
    fn next_request(&mut self) -> Option<NewRequest> {
        while self.next < self.requests.len() && !self.chains.is_first(self.next) {
            self.next += 1;
        }
        let index = self.next;
        if self.requests.get(index)?.arrived_at >= self.end {
            return None;
        }
        self.next += 1;
        Some(self.request(index))
    }

    fn ended(&mut self, id: u64, finished: bool, now: Nanos) -> Option<NewRequest> {
        let index = self.under_way.remove(&id)? as usize;
        if !finished {
            return None;
        }
        let arrived_at = now + self.thinks[index];
        Some(NewRequest { arrived_at, ..self.request(index) })
    }
}
