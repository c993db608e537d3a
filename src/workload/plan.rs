//! A workload that has been checked.

use std::sync::Arc;

use super::arrivals::{AllAtOnce, ArrivalProcess};
use super::classes::Classes;
use super::conversations::{Chained, ChatLimits, Chats};
use super::lengths::LengthDistribution;
use super::prefix::SharedPrefix;
use super::replayed::Replayed;
use super::source::{Generated, Replay, Watched};
use super::spec::nothing_left;
use super::tagged::Changed;
use super::window::Window;
use super::{Conversations, Margin, RequestSource};
use crate::base::{Nanos, SettingError};

/// Requests that the saturated form of a closed loop without a number of requests has for each
/// of its users.
const SATURATED_PER_USER: u64 = 16;

/// A checked workload: cheap to clone, the same requests for the same seed.
#[derive(Clone, Debug)]
pub struct Workload {
    plan: Arc<Plan>,
}

/// What a workload consists of.
#[derive(Debug)]
pub(super) struct Plan {
    pub requests: Requests,
    pub conversations: Option<Conversations>,
    pub prefix: Option<SharedPrefix>,
    pub classes: Option<Classes>,
    /// Whether the trace names classes, by whose numbers its requests then have theirs.
    pub names_classes: bool,
    /// After which a client whose request was refused by admission control sends the next one.
    pub retry_after: Nanos,
    pub warnings: Vec<String>,
    pub limit: Option<u64>,
    pub duration: Option<Nanos>,
    pub warmup: Option<Margin>,
    pub drain: Option<Margin>,
}

/// Where the requests come from.
#[derive(Debug)]
pub(super) enum Requests {
    Generated {
        arrivals: Arc<dyn ArrivalProcess>,
        lengths: Arc<dyn LengthDistribution>,
    },
    /// A trace, whose conversations are closed loops if it has chains.
    Replay(Arc<Replayed>),
}

impl Requests {
    /// Whether they bring along what their prompts have in common.
    pub fn have_content(&self) -> bool {
        match self {
            Requests::Generated { .. } => false,
            Requests::Replay(replayed) => replayed.has_content,
        }
    }
}

impl Plan {
    /// The largest number of requests there can be, if there is one beside `duration`.
    pub fn request_count(&self) -> Option<u64> {
        match &self.requests {
            Requests::Generated { .. } if self.conversations.is_some() => self.limit,
            Requests::Generated { arrivals, lengths } => {
                [self.limit, arrivals.count(), lengths.count()].into_iter().flatten().min()
            }
            Requests::Replay(replayed) => Some(replayed.count()),
        }
    }

    /// Whether requests follow others that have ended.
    pub fn has_followers(&self) -> bool {
        let chained = matches!(&self.requests, Requests::Replay(r) if r.chains().is_some());
        self.conversations.is_some() || chained
    }

    /// Requests in flight, if it is a closed loop.
    pub fn concurrency(&self) -> Option<u32> {
        match &self.requests {
            Requests::Generated { arrivals, .. } => arrivals.concurrency(),
            Requests::Replay(_) => None,
        }
    }

    /// Whether arrivals depend on when other requests end.
    pub fn is_closed_loop(&self) -> bool {
        self.concurrency().is_some() || self.has_followers()
    }

    /// Whether all requests arrive at the same time, but for those that follow others.
    pub fn is_burst(&self) -> bool {
        match &self.requests {
            Requests::Generated { arrivals, .. } => {
                arrivals.rate().is_none() && arrivals.concurrency().is_none()
            }
            Requests::Replay(replayed) => replayed.first == replayed.last,
        }
    }

    /// What went wrong with a file when it was read again, if anything did.
    pub fn failure(&self) -> Option<&str> {
        let failure = match &self.requests {
            Requests::Generated { arrivals, lengths } => arrivals.failure().or(lengths.failure()),
            Requests::Replay(replayed) => replayed.failure(),
        };
        failure.or_else(|| self.classes.as_ref()?.failure())
    }
}

impl Workload {
    /// # Errors
    /// Warm-up and drain leave nothing of a replayed trace.
    pub(super) fn new(plan: Plan) -> Result<Workload, SettingError> {
        let workload = Workload { plan: Arc::new(plan) };
        if let Requests::Replay(_) = &workload.plan.requests {
            let plan = &workload.plan;
            if plan.duration.is_none() && plan.warmup.is_none() && plan.drain.is_none() {
                return Ok(workload);
            }
            let survey = workload.survey(0, u32::MAX);
            workload.check_files()?;
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
        let (limit, duration) = (self.plan.limit, self.plan.duration);
        let source: Box<dyn RequestSource> = match &self.plan.requests {
            Requests::Generated { arrivals, lengths } => {
                let (times, pairs) = (arrivals.times(seed), lengths.pairs(seed));
                if let Some(conversations) = &self.plan.conversations {
                    let prefix = self.plan.prefix.as_ref();
                    let limits = ChatLimits { requests: limit, duration };
                    let chats = Chats::new(conversations, times, pairs, prefix, limits, seed);
                    return self.watch(self.deal(Box::new(chats), seed));
                }
                Box::new(Generated::new(times, pairs, limit, duration))
            }
            Requests::Replay(replayed) => match replayed.chains() {
                None => Box::new(Replay::new(replayed.requests(), duration)),
                Some(chains) => {
                    Box::new(Chained::new(replayed.clone(), chains.clone(), duration, seed))
                }
            },
        };
        let source = self.deal(source, seed);
        self.watch(match &self.plan.prefix {
            None => source,
            Some(prefix) => prefix.before(source, seed),
        })
    }

    /// The source, which ends when a file of the workload has gone or changed.
    fn watch(&self, source: Box<dyn RequestSource>) -> Box<dyn RequestSource> {
        Box::new(Watched::new(source, self.plan.clone()))
    }

    /// The source, its requests dealt out to the classes if there are any.
    fn deal(&self, source: Box<dyn RequestSource>, seed: u64) -> Box<dyn RequestSource> {
        match &self.plan.classes {
            None if self.plan.names_classes => {
                Box::new(Changed::new(source, |request| request.class = 0))
            }
            None => source,
            Some(classes) => classes.deal(source, seed, self.plan.has_followers()),
        }
    }

    /// Names of the classes; none if there are no classes.
    pub fn classes(&self) -> &[String] {
        self.plan.classes.as_ref().map_or(&[], |classes| classes.names())
    }

    /// Requests that arrive at time 0 and wait for no other; 0 if they arrive over time.
    pub fn count_at_once(&self) -> u64 {
        let all = self.plan.request_count().unwrap_or(0);
        match (self.plan.is_burst(), self.plan.has_followers()) {
            (true, false) => all,
            (false, _) => self.plan.concurrency().map_or(0, u64::from).min(all),
            (true, true) => 0,
        }
    }

    /// Whether a trace is replayed.
    pub fn is_replay(&self) -> bool {
        matches!(self.plan.requests, Requests::Replay(_))
    }

    /// Whether requests follow others that have ended, as the turns of a conversation do.
    pub fn has_followers(&self) -> bool {
        self.plan.has_followers()
    }

    /// Complains if a source of this workload found that a file had gone or changed since it was
    /// checked, whereupon all its sources end.
    ///
    /// # Errors
    /// One did.
    pub fn check_files(&self) -> Result<(), SettingError> {
        match self.plan.failure() {
            None => Ok(()),
            Some(failure) => {
                Err(SettingError::new("", failure, "files that nobody changes meanwhile"))
            }
        }
    }

    /// In a closed loop: after which a client whose request was refused by admission control sends
    /// the next one.
    pub fn retry_after(&self) -> Nanos {
        self.plan.retry_after
    }

    /// What the user should know, such as rows of a file that were left out.
    pub fn warnings(&self) -> &[String] {
        &self.plan.warnings
    }

    /// Requests in flight at any time, if this is a closed loop.
    pub fn concurrency(&self) -> Option<u32> {
        self.plan.concurrency()
    }

    /// Whether arrivals depend on when other requests end, so that the times of a source say
    /// nothing about them.
    pub fn is_closed_loop(&self) -> bool {
        self.plan.is_closed_loop()
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
            Requests::Generated { arrivals, .. } => Some(arrivals.rate()? * self.turns_mean()),
            Requests::Replay(replayed) => rate_of(replayed.count(), replayed.first, replayed.last),
        }
    }

    /// Turns of a conversation, over the first thousand of one seed; 1 without conversations.
    fn turns_mean(&self) -> f64 {
        let Some(conversations) = &self.plan.conversations else { return 1.0 };
        let Requests::Generated { arrivals, lengths } = &self.plan.requests else { return 1.0 };
        let (times, pairs) = (arrivals.times(0), lengths.pairs(0));
        let prefix = self.plan.prefix.as_ref();
        let mut chats = Chats::new(conversations, times, pairs, prefix, ChatLimits::default(), 0);
        let mut turns = 0_u32;
        let mut begun = 0_u32;
        while begun < 1000
            && let Some(first) = chats.next_request()
        {
            begun += 1;
            let mut next = Some(first);
            while let Some(turn) = next {
                turns += 1;
                next = chats.ended(turn.id, true, turn.arrived_at);
            }
        }
        f64::from(turns.max(1)) / f64::from(begun.max(1))
    }

    /// The largest number of requests there can be; `None` if only a duration bounds it.
    pub fn request_count(&self) -> Option<u64> {
        self.plan.request_count()
    }

    /// The largest prompt plus output in tokens that is possible (or, for traces, that occurs);
    /// `None` if there is no limit but that of the numbers themselves.
    pub fn max_total_hint(&self) -> Option<u32> {
        let most = match &self.plan.requests {
            Requests::Generated { lengths, .. } => match &self.plan.conversations {
                Some(conversations) => return conversations.max_total,
                None => match &self.plan.classes {
                    Some(classes) => classes.max_total(lengths.max_total()),
                    None => lengths.max_total(),
                },
            },
            Requests::Replay(replayed) => replayed.longest,
        }?;
        Some(most + self.plan.prefix.as_ref().map_or(0, |prefix| prefix.tokens))
    }

    /// Lengths and prefixes, all arriving at time 0 with ids from 0 and nothing left out of the
    /// statistics: what a system under it serves per second is its capacity. Where only a
    /// duration bounds the workload, as many requests as are expected in it (in a closed loop,
    /// 16 for each request in flight). Conversations begin at once too, and nobody thinks.
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
            Requests::Replay(replayed) => Requests::Replay(Arc::new(replayed.at_once(limit))),
        };
        Workload {
            plan: Arc::new(Plan {
                requests,
                conversations: self.plan.conversations.as_ref().map(Conversations::restless),
                prefix: self.plan.prefix.clone(),
                classes: self.plan.classes.clone(),
                names_classes: self.plan.names_classes,
                retry_after: self.plan.retry_after,
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
pub(super) fn rate_of(count: u64, first: Nanos, last: Nanos) -> Option<f64> {
    let span = last.since(first).as_secs_f64();
    (span > 0.0).then(|| (count - 1) as f64 / span)
}
