//! Conversations of a trace, in closed loop.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Think;
use crate::base::{Nanos, RandomStream};
use crate::workload::replayed::Replayed;
use crate::workload::traces::Link;
use crate::workload::{NewRequest, RequestSource};

/// Which requests of a trace follow others.
#[derive(Clone, Debug)]
pub(in crate::workload) struct Chains {
    /// Time between an answer and the request that follows it.
    think: Think,
    /// Index of the request that each follows.
    after: Arc<[Option<u32>]>,
    /// The time of each that the file says, where that is asked for.
    delays: Arc<[Nanos]>,
}

impl Chains {
    /// The chains with another time of thought.
    pub fn with_think(&self, think: Think) -> Chains {
        Chains { think, ..self.clone() }
    }

    /// Whether any request follows another.
    pub fn any(&self) -> bool {
        self.after.iter().any(Option::is_some)
    }

    /// Whether the request at `index` follows none.
    fn is_first(&self, index: usize) -> bool {
        self.after[index].is_none()
    }
}

/// Finds the chains while a trace is read.
#[derive(Debug, Default)]
pub(in crate::workload) struct Linked {
    last: BTreeMap<Arc<str>, u32>,
    after: Vec<Option<u32>>,
    delays: Vec<Nanos>,
}

impl Linked {
    /// The next request goes on with this conversation. Returns whether it follows another request.
    pub fn add(&mut self, link: Option<&Link>) -> bool {
        let index = self.after.len() as u32;
        let after = link.and_then(|link| self.last.insert(link.conversation.clone(), index));
        self.after.push(after);
        let delay = link.and_then(|link| link.delay).unwrap_or(0);
        self.delays.push(Nanos(u64::try_from(delay).unwrap_or(0)));
        after.is_some()
    }

    /// The chains of all requests, with a time of thought.
    pub fn done(self, think: Think) -> Chains {
        Chains { think, after: self.after.into(), delays: self.delays.into() }
    }
}

/// The rows of a trace: those that follow none arrive at their time, the others when the one
/// before has been answered.
pub(in crate::workload) struct Chained {
    replayed: Arc<Replayed>,
    chains: Chains,
    count: usize,
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
        replayed: Arc<Replayed>,
        chains: Chains,
        duration: Option<Nanos>,
        seed: u64,
    ) -> Chained {
        let count = replayed.count() as usize;
        let mut followers = vec![None; count];
        for (after, index) in chains.after[..count].iter().zip(0..) {
            if let Some(before) = after {
                followers[*before as usize] = Some(index);
            }
        }
        // All at once, so that they do not depend on how fast anything is answered.
        let mut stream = RandomStream::new(seed, "think time");
        let thinks = match chains.think {
            Think::Recorded => chains.delays[..count].to_vec(),
            think => (0..count).map(|_| think.draw(&mut stream)).collect(),
        };
        let end = duration.unwrap_or(Nanos::MAX);
        let under_way = BTreeMap::new();
        Chained { replayed, chains, count, followers, thinks, under_way, next: 0, end }
    }

    fn request(&mut self, index: usize) -> Option<NewRequest> {
        let request = self.replayed.kept(index)?;
        if let Some(follower) = self.followers[index] {
            self.under_way.insert(request.id, follower);
        }
        Some(request)
    }
}

impl RequestSource for Chained {
    fn next_request(&mut self) -> Option<NewRequest> {
        while self.next < self.count && !self.chains.is_first(self.next) {
            self.next += 1;
        }
        let index = self.next;
        if index >= self.count || self.replayed.kept(index)?.arrived_at >= self.end {
            return None;
        }
        self.next += 1;
        self.request(index)
    }

    fn ended(&mut self, id: u64, finished: bool, now: Nanos) -> Option<NewRequest> {
        let index = self.under_way.remove(&id)? as usize;
        if !finished {
            return None;
        }
        let arrived_at = now + self.thinks[index];
        Some(NewRequest { arrived_at, ..self.request(index)? })
    }
}
