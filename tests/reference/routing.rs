//! Which replica serves a request.

use vidur_ecs::base::{Nanos, RandomStream};

/// Requests that wait on a replica, and that were admitted there.
#[derive(Clone, Copy)]
pub struct Load {
    pub waiting: usize,
    pub running: usize,
}

#[derive(Clone, Debug)]
pub enum Router {
    RoundRobin,
    Random,
    LeastOutstanding,
    PowerOfTwo,
    VidurLor,
    VllmDataParallel { refresh: Nanos },
}

pub struct Routing {
    router: Router,
    random: RandomStream,
    routed: usize,
    /// What vLLM's front end believes, and since when.
    published: Option<(Nanos, Vec<usize>)>,
}

impl Routing {
    pub fn new(router: Router, seed: u64) -> Routing {
        let random = RandomStream::new(seed, "routing");
        Routing { router, random, routed: 0, published: None }
    }

    pub fn choose(&mut self, now: Nanos, loads: &[Load]) -> usize {
        let count = loads.len() as u64;
        self.routed += 1;
        match self.router {
            Router::RoundRobin => (self.routed - 1) % loads.len(),
            Router::Random => self.random.below(count) as usize,
            Router::LeastOutstanding => least(loads.iter().map(|l| l.waiting + l.running)),
            Router::VidurLor => least(loads.iter().map(|l| l.waiting)),
            Router::PowerOfTwo => {
                let first = self.random.below(count);
                if count == 1 {
                    return 0;
                }
                let second = (first + 1 + self.random.below(count - 1)) % count;
                let pair = [first as usize, second as usize];
                pair[least(pair.iter().map(|&i| loads[i].waiting + loads[i].running))]
            }
            Router::VllmDataParallel { refresh } => {
                let scores = match self.published.take() {
                    Some((since, scores)) if now.since(since) < refresh => (since, scores),
                    // The first request after a period finds a new publication.
                    _ => (now, loads.iter().map(|l| 4 * l.waiting + l.running).collect()),
                };
                let (_, scores) = self.published.insert(scores);
                let chosen = least(scores.iter().copied());
                scores[chosen] += 4;
                chosen
            }
        }
    }
}

/// The first of the smallest.
fn least(values: impl Iterator<Item = usize>) -> usize {
    values.enumerate().min_by_key(|&(_, value)| value).map_or(0, |(index, _)| index)
}
