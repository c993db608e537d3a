//! A workload that has been checked.

use std::sync::Arc;

use super::arrivals::{AllAtOnce, ArrivalProcess};
use super::lengths::LengthDistribution;
use super::prefix::SharedPrefix;
use super::source::{Generated, Replay};
use super::spec::nothing_left;
use super::window::Window;
use super::{Margin, NewRequest, RequestSource};
use crate::scenario::SettingError;
use crate::sim::Nanos;

/// Requests that the saturated form of a closed loop without a number of requests has for each
/// of its users.
const SATURATED_PER_USER: u64 = 16;

/// A checked workload: cannot fail, cheap to clone, the same requests for the same seed.
#[derive(Clone, Debug)]
pub struct Workload {
    plan: Arc<Plan>,
}

/// What a workload consists of.
#[derive(Debug)]
pub(super) struct Plan {
    pub requests: Requests,
    pub prefix: Option<SharedPrefix>,
    pub warnings: Vec<String>,
    pub limit: Option<u64>,
    pub duration: Option<Nanos>,
    pub warmup: Option<Margin>,
    pub drain: Option<Margin>,
}

/// Where the requests come from.
#[derive(Debug)]
pub(super) enum Requests {
    Generated { arrivals: Arc<dyn ArrivalProcess>, lengths: Arc<dyn LengthDistribution> },
    Replay(Arc<[NewRequest]>),
}

impl Requests {
    /// Whether they bring along what their prompts have in common.
    pub fn have_content(&self) -> bool {
        match self {
            Requests::Generated { .. } => false,
            Requests::Replay(requests) => requests.iter().any(|r| r.content.is_some()),
        }
    }
}

impl Plan {
    /// The largest number of requests there can be, if there is one beside `duration`.
    pub fn request_count(&self) -> Option<u64> {
        match &self.requests {
            Requests::Generated { arrivals, lengths } => {
                [self.limit, arrivals.count(), lengths.count()].into_iter().flatten().min()
            }
            Requests::Replay(requests) => Some(requests.len() as u64),
        }
    }

    /// Requests in flight, if it is a closed loop.
    pub fn concurrency(&self) -> Option<u32> {
        match &self.requests {
            Requests::Generated { arrivals, .. } => arrivals.concurrency(),
            Requests::Replay(_) => None,
        }
    }

    /// Whether all requests arrive at the same time.
    pub fn is_burst(&self) -> bool {
        match &self.requests {
            Requests::Generated { arrivals, .. } => {
                arrivals.rate().is_none() && arrivals.concurrency().is_none()
            }
            Requests::Replay(requests) => {
                requests.first().map(|r| r.arrived_at) == requests.last().map(|r| r.arrived_at)
            }
        }
    }
}

impl Workload {
    /// # Errors
    /// Warm-up and drain leave nothing of a replayed trace.
    pub(super) fn new(plan: Plan) -> Result<Workload, SettingError> {
        let workload = Workload { plan: Arc::new(plan) };
        if let Requests::Replay(_) = workload.plan.requests {
            let survey = workload.survey(0, u32::MAX);
            if survey.counted == 0 {
                let found = match survey.requests {
                    0 => {
                        return Err(SettingError::new(
                            "duration_s",
                            "before the first request of the trace",
                            "at least one request",
                        ));
                    }
                    n => format!("all {n} requests left out"),
                };
                return Err(nothing_left(found));
            }
        }
        Ok(workload)
    }

    /// The requests under `seed`, generated one at a time; the same ones at each call.
    ///
    /// In a closed loop all have `arrived_at` 0: the simulation starts the first
    /// [`Workload::concurrency`] of them and one more at each completion, until the source or
    /// [`Workload::arrivals_end`] ends.
    pub fn source(&self, seed: u64) -> Box<dyn RequestSource> {
        let source: Box<dyn RequestSource> = match &self.plan.requests {
            Requests::Generated { arrivals, lengths } => Box::new(Generated::new(
                arrivals.times(seed),
                lengths.pairs(seed),
                self.plan.limit,
                self.plan.duration,
            )),
            Requests::Replay(requests) => {
                Box::new(Replay::new(requests.clone(), self.plan.duration))
            }
        };
        match &self.plan.prefix {
            None => source,
            Some(prefix) => prefix.before(source, seed),
        }
    }

    /// What the user should know, such as rows of a file that were left out.
    pub fn warnings(&self) -> &[String] {
        &self.plan.warnings
    }

    /// Requests in flight at any time, if this is a closed loop.
    pub fn concurrency(&self) -> Option<u32> {
        self.plan.concurrency()
    }

    /// When arrivals end, if a duration bounds them. A source stops by itself; only in a closed
    /// loop, where arrival times are made by the simulation, must the simulation heed this.
    pub fn arrivals_end(&self) -> Option<Nanos> {
        self.plan.duration
    }

    /// Mean arrival rate in requests per second; of a trace, gaps divided by its span. `None`
    /// where the system sets the pace (a closed loop) or all arrive at once.
    pub fn offered_rate(&self) -> Option<f64> {
        match &self.plan.requests {
            Requests::Generated { arrivals, .. } => arrivals.rate(),
            Requests::Replay(requests) => {
                rate_of(requests.len(), requests.first()?.arrived_at, requests.last()?.arrived_at)
            }
        }
    }

    /// The largest number of requests there can be; `None` if only a duration bounds it.
    pub fn request_count(&self) -> Option<u64> {
        self.plan.request_count()
    }

    /// The largest prompt plus output in tokens that is possible (or, for traces, that occurs);
    /// `None` if there is no limit but that of the numbers themselves.
    pub fn max_total_hint(&self) -> Option<u32> {
        let most = match &self.plan.requests {
            Requests::Generated { lengths, .. } => lengths.max_total(),
            Requests::Replay(requests) => {
                requests.iter().map(|r| r.prompt_tokens + r.output_tokens).max()
            }
        }?;
        Some(most + self.plan.prefix.as_ref().map_or(0, |prefix| prefix.tokens))
    }

    /// The same lengths and prefixes, all arriving at time 0 with ids from 0 and nothing left out of the
    /// statistics: what a system under it serves per second is its capacity. Where only a
    /// duration bounds the workload, as many requests as are expected in it (in a closed loop,
    /// 16 for each request in flight).
    pub fn saturated(&self) -> Workload {
        let expected = self
            .offered_rate()
            .zip(self.plan.duration)
            .map(|(rate, duration)| ((rate * duration.as_secs_f64()).ceil() as u64).max(1));
        let users = self.concurrency().map(|n| u64::from(n) * SATURATED_PER_USER);
        let limit =
            [self.request_count(), expected].into_iter().flatten().min().or(users).or(Some(1));
        let requests = match &self.plan.requests {
            Requests::Generated { lengths, .. } => {
                Requests::Generated { arrivals: Arc::new(AllAtOnce), lengths: lengths.clone() }
            }
            Requests::Replay(requests) => {
                let requests = requests.iter().zip(0..limit.unwrap_or(u64::MAX));
                let at_once = requests.map(|(request, id)| NewRequest {
                    id,
                    arrived_at: Nanos::ZERO,
                    ..request.clone()
                });
                Requests::Replay(at_once.collect())
            }
        };
        Workload {
            plan: Arc::new(Plan {
                requests,
                prefix: self.plan.prefix.clone(),
                warnings: Vec::new(),
                limit,
                duration: None,
                warmup: None,
                drain: None,
            }),
        }
    }

    /// Which requests the statistics count under `seed`. Runs through the source once where the
    /// end of the arrivals has to be known.
    pub fn window(&self, seed: u64) -> Window {
        let plan = &self.plan;
        // Without a duration every request up to the bound does arrive.
        let count = plan.request_count().filter(|_| plan.duration.is_none());
        Window::resolve(plan.warmup, plan.drain, count, || self.source(seed))
    }
}

/// Gaps per second between `first` and `last`; `None` without a span.
pub(super) fn rate_of(count: usize, first: Nanos, last: Nanos) -> Option<f64> {
    let span = last.since(first).as_secs_f64();
    (span > 0.0).then(|| (count - 1) as f64 / span)
}
