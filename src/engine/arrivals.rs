//! The streams of requests that arrive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::base::Nanos;
use crate::engine::Traffic;
use crate::engine::state::request::Request;
use crate::records::RequestStatus;
use crate::workload::{NewRequest, RequestSource};

/// Decides, from a request's place in the order of arrivals and its arrival, whether the
/// statistics count it.
pub type Window = Box<dyn Fn(u64, Nanos) -> bool + Send + Sync>;

/// The streams of arrivals, one per pool, each looked at one request ahead. They are streams of
/// their own and not in the event queue, so that a long workload costs no memory.
pub(crate) struct Arrivals {
    streams: Vec<Stream>,
    count: u64,
}

/// The arrivals at one pool.
struct Stream {
    // Only reached through `&mut`, so the lock is never taken; it makes the stream `Sync`.
    source: Mutex<Box<dyn RequestSource>>,
    next: Option<NewRequest>,
    /// Requests that follow others which have ended, by the time when they are sent and by id:
    /// there are as many at most as conversations under way.
    following: BTreeMap<(Nanos, u64), NewRequest>,
    /// The clients of a closed loop.
    clients: Option<Clients>,
    /// From a request's arrival until the engine has it.
    api_overhead: Nanos,
    /// After which a client whose request was not admitted sends the next one.
    retry_after: Nanos,
    until: Option<Nanos>,
    window: Window,
    last: Option<Nanos>,
    count: u64,
}

/// Clients of a closed loop that have no request under way.
struct Clients {
    /// Clients that never had a request.
    fresh: u32,
    /// When each of the others got its last answer, earliest first.
    free_since: VecDeque<Nanos>,
}

impl Clients {
    /// Since when the first of them has been free.
    fn free_since(&self) -> Option<Nanos> {
        if self.fresh > 0 { Some(Nanos::ZERO) } else { self.free_since.front().copied() }
    }

    /// One more has no request under way from then on.
    fn free_at(&mut self, time: Nanos) {
        let place = self.free_since.partition_point(|&since| since <= time);
        self.free_since.insert(place, time);
    }

    /// The first of them sends a request.
    fn send(&mut self) {
        match self.fresh.checked_sub(1) {
            Some(fresh) => self.fresh = fresh,
            None => _ = self.free_since.pop_front(),
        }
    }
}

/// How a request ended, as far as it matters for those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Finished,
    /// No replica could ever serve it.
    Rejected,
    /// By admission control.
    NotAdmitted,
}

impl Ended {
    pub fn of(status: &RequestStatus) -> Ended {
        match status {
            RequestStatus::Finished => Ended::Finished,
            RequestStatus::Rejected(_) | RequestStatus::Unfinished => Ended::Rejected,
            RequestStatus::NotAdmitted(_) => Ended::NotAdmitted,
        }
    }
}

/// A request that arrives now.
pub(crate) struct Arrival {
    /// Index of the pool at which it arrives.
    pub pool: u32,
    /// Its id in its workload.
    pub source_id: u64,
    /// The request; its id is unique in the run.
    pub request: NewRequest,
    /// Since the arrival before it in the same stream.
    pub inter_arrival: Option<Nanos>,
    /// Whether the statistics count it.
    pub in_window: bool,
    /// From its arrival until the engine has it.
    pub api_overhead: Nanos,
}

impl Arrivals {
    /// The traffic of each pool, by index.
    pub fn new(traffic: impl Iterator<Item = Traffic>) -> Arrivals {
        Arrivals { streams: traffic.map(Stream::new).collect(), count: 0 }
    }

    /// Requests that have arrived so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// When an engine gets the next request, if one will without anything else happening.
    #[inline]
    pub fn next_time(&self, now: Nanos) -> Option<Nanos> {
        if let [only] = self.streams.as_slice() {
            return only.next_time(now);
        }
        self.streams.iter().filter_map(|stream| stream.next_time(now)).min()
    }

    /// A request ended now: another one may start because of it.
    pub fn release(&mut self, request: &Request, how: Ended, now: Nanos) {
        self.streams[request.pool as usize].release(request.source_id, how, now);
    }

    /// Why requests of some stream ended before their time, if they did.
    pub fn failure(&mut self) -> Option<String> {
        self.streams.iter_mut().find_map(|stream| Some(stream.source().failure()?.to_owned()))
    }

    /// The next request that arrives now; of several pools' the first pool's.
    pub fn pop(&mut self, now: Nanos) -> Option<Arrival> {
        let several = self.streams.len() > 1;
        let due = |stream: &Stream| stream.next_time(now).filter(|&time| time <= now);
        let streams = self.streams.iter().zip(0..);
        let (_, pool) = streams.filter_map(|(stream, pool)| Some((due(stream)?, pool))).min()?;
        let mut arrival = self.streams[pool as usize].pop()?;
        arrival.pool = pool;
        if several {
            // Each source counts for itself, but an id is unique in a run.
            arrival.request.id = self.count;
        }
        self.count += 1;
        Some(arrival)
    }
}

impl Stream {
    fn new(traffic: Traffic) -> Stream {
        let mut stream = Stream {
            source: Mutex::new(traffic.source),
            next: None,
            following: BTreeMap::new(),
            clients: traffic
                .concurrency
                .map(|fresh| Clients { fresh, free_since: VecDeque::new() }),
            api_overhead: traffic.api_overhead,
            retry_after: traffic.retry_after,
            until: traffic.until,
            window: traffic.window,
            last: None,
            count: 0,
        };
        stream.look_ahead();
        stream
    }

    fn source(&mut self) -> &mut dyn RequestSource {
        self.source.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    fn look_ahead(&mut self) {
        self.next = self.source().next_request();
    }

    /// When the next request is sent, if one will be without anything else happening.
    fn next_sent(&self) -> Option<Nanos> {
        let new = self.next_new().map(|(at, _)| at);
        let at = match self.following.first_key_value() {
            None => new?,
            Some((&(following, _), _)) => new.map_or(following, |new| new.min(following)),
        };
        self.until.is_none_or(|until| at < until).then_some(at)
    }

    /// When the next request that follows no other is sent, and its id.
    fn next_new(&self) -> Option<(Nanos, u64)> {
        let next = self.next.as_ref()?;
        let at = match &self.clients {
            None => next.arrived_at,
            Some(clients) => next.arrived_at.max(clients.free_since()?),
        };
        Some((at, next.id))
    }

    /// When the engine gets the next request, if it will without anything else happening.
    fn next_time(&self, now: Nanos) -> Option<Nanos> {
        self.next_sent().map(|at| (at + self.api_overhead).max(now))
    }

    /// A request ended now: the one that follows it is sent, or in a closed loop another one may
    /// start.
    fn release(&mut self, id: u64, how: Ended, now: Nanos) {
        if let Some(mut next) = self.source().ended(id, how == Ended::Finished, now) {
            next.arrived_at = next.arrived_at.max(now);
            self.following.insert((next.arrived_at, next.id), next);
        } else if let Some(clients) = &mut self.clients {
            match how {
                // Who is turned away does not try again at once, and again for ever.
                Ended::NotAdmitted => clients.free_at(now + self.retry_after),
                Ended::Finished | Ended::Rejected => clients.free_at(now),
            }
        }
    }

    fn take_next(&mut self) -> Option<NewRequest> {
        let new = self.next_new();
        if let Some(following) = self.following.first_entry()
            && new.is_none_or(|new| *following.key() < new)
        {
            return Some(following.remove());
        }
        let (arrived_at, _) = new?;
        let request = NewRequest { arrived_at, ..self.next.take()? };
        if let Some(clients) = &mut self.clients {
            clients.send();
        }
        self.look_ahead();
        Some(request)
    }

    /// Takes the next request, which the engine gets now.
    fn pop(&mut self) -> Option<Arrival> {
        let request = self.take_next()?;
        let inter_arrival = self.last.map(|last| request.arrived_at.since(last));
        let in_window = (self.window)(self.count, request.arrived_at);
        self.last = Some(request.arrived_at);
        self.count += 1;
        Some(Arrival {
            pool: 0,
            source_id: request.id,
            request,
            inter_arrival,
            in_window,
            api_overhead: self.api_overhead,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::base::Nanos;
    use crate::engine::policy::{VllmV0, VllmV1};
    use crate::engine::{SimSpec, Simulation};
    use crate::records::{BatchRecord, RequestRecord, RunSink};
    use crate::testing::RandomScenario;

    #[derive(Default)]
    struct Records(Vec<RequestRecord>);

    impl RunSink for Records {
        fn request(&mut self, record: &RequestRecord) {
            self.0.push(record.clone());
        }
        fn batch(&mut self, _: &BatchRecord) {}
    }

    fn records(spec: SimSpec, api_overhead: Nanos) -> Vec<RequestRecord> {
        let mut records = Records::default();
        let mut spec = spec;
        spec.pools[0].traffic.api_overhead = api_overhead;
        Simulation::new(spec).unwrap().run(&mut records).unwrap();
        records.0
    }

    /// Everything happens later by the overhead, in the same order; only arrivals are where they
    /// were.
    #[test]
    fn an_open_loop_is_shifted_by_the_api_overhead() {
        let late = Nanos(123_456);
        let mut runs = 0;
        for seed in 0..150 {
            let scenario = RandomScenario::new(seed);
            if scenario.concurrency.is_some() || scenario.follows.iter().any(Option::is_some) {
                continue;
            }
            let spec = || match seed % 2 {
                0 => scenario.spec(Box::new(VllmV0::default())),
                _ => {
                    scenario.spec(Box::new(VllmV1 { async_scheduling: false, ..VllmV1::default() }))
                }
            };
            let (now, then) = (records(spec(), Nanos::ZERO), records(spec(), late));
            assert_eq!(now.len(), then.len());
            for (now, then) in now.iter().zip(&then) {
                let times = |r: &RequestRecord| [r.scheduled_at, r.first_token_at, r.completed_at];
                assert_eq!(now.id, then.id, "seed {seed}");
                assert_eq!(now.arrived_at, then.arrived_at);
                assert_eq!(times(now).map(|t| t.map(|t| t + late)), times(then), "seed {seed}");
            }
            runs += 1;
        }
        assert!(runs > 50, "{runs}");
    }

    /// One client alone: each request takes longer by the overhead, and the next is sent when the
    /// answer is there.
    #[test]
    fn a_closed_loop_waits_for_the_api_too() {
        let late = Nanos(5_000);
        for seed in 0..50 {
            let mut scenario = RandomScenario::new(seed);
            scenario.concurrency = Some(1);
            scenario.prefix_caching = false;
            let spec = || scenario.spec(Box::new(VllmV0::default()));
            let spans = |records: &[RequestRecord]| -> Vec<Nanos> {
                records.iter().map(|r| r.completed_at.unwrap().since(r.arrived_at)).collect()
            };
            let (now, then) = (records(spec(), Nanos::ZERO), records(spec(), late));
            // What the clock keeps below a nanosecond may fall on either side.
            for (now, then) in spans(&now).into_iter().zip(spans(&then)) {
                assert!(then.0.abs_diff(now.0 + late.0) <= 1, "seed {seed}: {now} and {then}");
            }
            for pair in then.windows(2) {
                assert!(pair[1].arrived_at >= pair[0].completed_at.unwrap(), "seed {seed}");
            }
        }
    }
}
