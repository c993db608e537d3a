//! How much load a configuration can take, and what a given load is to it.

use super::trend::WaitingTrend;
use crate::base::Nanos;
use crate::records::{BatchRecord, RequestRecord, RequestStatus, RunSink};

/// Mean tokens of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanTokens {
    /// Tokens of its prompt.
    pub prompt: f64,
    /// Tokens of its output.
    pub output: f64,
}

/// An output token weighs as much as so many prompt tokens when work is compared: it takes part in
/// an iteration of its own. What it is hardly matters where requests are about as long as their
/// mean.
const OUTPUT_WEIGHT: f64 = 4.0;

impl MeanTokens {
    fn work(self) -> f64 {
        self.prompt + OUTPUT_WEIGHT * self.output
    }
}

/// Listens to an engine that always has requests waiting (all are there at time 0), to find the
/// rate at which it serves them.
#[derive(Debug, Default)]
pub struct Saturated {
    served: Vec<Served>,
    refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Served {
    scheduled_at: Nanos,
    first_token_at: Nanos,
    completed_at: Nanos,
    prompt: u32,
    output: u32,
}

impl RunSink for Saturated {
    fn request(&mut self, record: &RequestRecord) {
        let times = (record.scheduled_at, record.first_token_at, record.completed_at);
        match times {
            (Some(scheduled_at), Some(first_token_at), Some(completed_at))
                if record.status == RequestStatus::Finished =>
            {
                let (prompt, output) = (record.prompt_tokens, record.output_tokens);
                let served = Served { scheduled_at, first_token_at, completed_at, prompt, output };
                self.served.push(served);
            }
            _ => self.refused += 1,
        }
    }

    fn batch(&mut self, _: &BatchRecord) {}
}

/// Fewer completions than this tell no rate.
const LEAST_COMPLETIONS: usize = 20;
/// The rate is measured over so many times what the longest requests take from their first batch to
/// their end, the time in which the engine fills with them included: of those that are in it at a
/// time, long ones are a larger share than of those that arrive.
const LONGEST: f64 = 5.0;
/// Requests that are served for each unit of the squared coefficient of variation of that time:
/// which ones are in the engine by chance then moves the rate by about two in a hundred.
const BY_VARIATION: f64 = 2_500.0;

impl Saturated {
    /// How many requests should be served for a rate to be known, as far as these tell.
    pub fn wanted(&self) -> u64 {
        let (Some(longest), Some(until)) = (self.longest(), self.last_scheduled()) else {
            return 0;
        };
        let count = self.served.len() as f64;
        let stays = self.served.iter().map(|served| served.stay().as_secs_f64());
        let (sum, squares) = stays.fold((0.0, 0.0), |(a, b), stay| (a + stay, b + stay * stay));
        let variation = if sum > 0.0 { count * squares / (sum * sum) - 1.0 } else { 0.0 };
        let until = until.as_secs_f64();
        let by_time = if until > 0.0 { LONGEST * longest.as_secs_f64() / until } else { 0.0 };
        // A little more than that, so that the next try is the last one.
        (1.1 * count * by_time).max(BY_VARIATION * variation).ceil() as u64
    }

    /// What all but one in a hundred requests take at most from their first batch to their end.
    fn longest(&self) -> Option<Nanos> {
        let mut stays: Vec<Nanos> = self.served.iter().map(Served::stay).collect();
        let last = stays.len().checked_sub(1)?;
        Some(*stays.select_nth_unstable(last * 99 / 100).1)
    }

    fn last_scheduled(&self) -> Option<Nanos> {
        self.served.iter().map(|served| served.scheduled_at).max()
    }

    /// The capacity in requests per second, of which each has `mean` tokens; of those that were
    /// served if it is not known.
    ///
    /// It is the flow of tokens from the time when the engine is full, of the mix of requests that
    /// is in it in the long run (a tenth of them has completed, and the longest could have), until
    /// the last one is admitted, so that it never lacks any; divided by the tokens of a request.
    /// Counting tokens rather than completions leaves out what chance made of the lengths, and does
    /// not depend on when the requests that run together end. `None` if there is no such time:
    /// hardly any request waited, or the longest take longer than all this.
    pub fn capacity(mut self, mean: Option<MeanTokens>) -> Option<f64> {
        let count = self.served.len();
        if count < LEAST_COMPLETIONS {
            return None;
        }
        let (longest, until) = (self.longest()?, self.last_scheduled()?);
        self.served.sort_unstable_by_key(|served| served.completed_at);
        let from = self.served[count / 10].completed_at.max(longest);
        let completions =
            self.served.iter().filter(|s| s.completed_at > from && s.completed_at <= until);
        if completions.count() < LEAST_COMPLETIONS {
            return None;
        }
        let all = self.served.len() as f64;
        // Refused requests arrive too, but take nothing.
        let arrive = (all + self.refused as f64) / all;
        let sum = |tokens: fn(&Served) -> u32| {
            self.served.iter().map(|served| f64::from(tokens(served))).sum::<f64>() / all
        };
        let served = MeanTokens { prompt: sum(|s| s.prompt), output: sum(|s| s.output) };
        let each = mean.filter(|_| self.refused == 0).unwrap_or(served);
        let flow: f64 = self.served.iter().map(|served| served.work(from, until)).sum();
        Some(flow / each.work() / until.since(from).as_secs_f64() * arrive)
    }
}

impl Served {
    /// From its first batch to its end.
    fn stay(&self) -> Nanos {
        self.completed_at.since(self.scheduled_at)
    }

    /// Its work between two points in time: the prompt when its first token comes, the other tokens
    /// evenly between that and the last.
    fn work(&self, from: Nanos, until: Nanos) -> f64 {
        let (first, last) = (self.first_token_at, self.completed_at);
        let within = |time: Nanos| time > from && time <= until;
        let mut work = 0.0;
        if within(first) {
            work += f64::from(self.prompt) + OUTPUT_WEIGHT;
        }
        let span = last.since(first).0;
        let rest = f64::from(self.output - 1);
        let share = match span {
            0 => f64::from(u8::from(within(last))),
            _ => last.min(until).since(first.max(from)).0 as f64 / span as f64,
        };
        work + OUTPUT_WEIGHT * rest * share
    }
}

/// How requests come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Load {
    /// At this rate in requests per second, whatever the engine does.
    Open {
        /// Requests per second.
        offered: f64,
    },
    /// All at time 0: nothing is offered over time.
    AllAtOnce,
    /// A fixed number in flight, a new one for each that ends.
    ClosedLoop {
        /// Requests in flight.
        concurrency: u32,
    },
}

/// What is known of the capacity of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub enum Capacity {
    /// Requests per second.
    About(f64),
    /// It is not known, with the reason.
    Unknown(&'static str),
    /// Nobody asked: nothing is offered over time, or no verdict is shown.
    NotAsked,
}

impl Capacity {
    /// Requests per second, if they are known.
    pub fn rate(&self) -> Option<f64> {
        match self {
            Capacity::About(rate) => Some(*rate),
            Capacity::Unknown(_) | Capacity::NotAsked => None,
        }
    }

    /// Why it is not known, if it was asked.
    pub fn unknown(&self) -> Option<&'static str> {
        match self {
            Capacity::Unknown(why) => Some(why),
            Capacity::About(_) | Capacity::NotAsked => None,
        }
    }
}

/// What the load is to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Below 30 % of capacity.
    Idle,
    /// Below 85 %.
    Loaded,
    /// Below 100 %: bursts decide the tail, seeds differ.
    NearSaturation,
    /// At or above capacity, or the queue grew as long as requests arrived: means only measure the
    /// length of the run.
    Overloaded,
    /// No offered rate: all requests came at once.
    AllAtOnce,
    /// No offered rate: the load follows the engine.
    ClosedLoop,
    /// The capacity is not known, and the queue did not grow.
    Unknown,
}

/// From this share of the estimated capacity on a queue that grew is taken to say that it is too
/// low.
const DOUBTFUL: f64 = 0.7;

impl Verdict {
    /// The verdict on `load` for an engine of this capacity in requests per second, of which the
    /// queue went like this. What happened outweighs the estimate.
    pub fn of(load: Load, capacity: Option<f64>, trend: &WaitingTrend) -> Verdict {
        let offered = match load {
            Load::AllAtOnce => return Verdict::AllAtOnce,
            Load::ClosedLoop { .. } => return Verdict::ClosedLoop,
            Load::Open { offered } => offered,
        };
        let ratio = capacity.filter(|capacity| *capacity > 0.0).map(|capacity| offered / capacity);
        let likely = ratio.is_none_or(|ratio| ratio >= DOUBTFUL);
        if likely && trend.grew() || trend.grew_beyond_doubt() {
            return Verdict::Overloaded;
        }
        match ratio {
            None => Verdict::Unknown,
            Some(ratio) if ratio < 0.3 => Verdict::Idle,
            Some(ratio) if ratio < 0.85 => Verdict::Loaded,
            Some(ratio) if ratio < 1.0 => Verdict::NearSaturation,
            Some(_) => Verdict::Overloaded,
        }
    }

    /// As `summary.json` has it.
    pub fn key(self) -> &'static str {
        match self {
            Verdict::Idle => "idle",
            Verdict::Loaded => "loaded",
            Verdict::NearSaturation => "near saturation",
            Verdict::Overloaded => "overloaded",
            Verdict::AllAtOnce => "all at once",
            Verdict::ClosedLoop => "closed loop",
            Verdict::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// Slots for ten requests, each of which takes ten seconds for a prompt at once and then a
    /// token a second.
    fn in_waves(requests: u64, output: u32) -> Saturated {
        let served = (0..requests).map(|i| {
            let start = Nanos(i / 10 * 10 * S);
            let completed_at = Nanos(start.0 + 10 * S);
            Served { scheduled_at: start, first_token_at: start, completed_at, prompt: 5, output }
        });
        Saturated { served: served.collect(), refused: 0 }
    }

    #[test]
    fn waves_of_requests_flow_at_their_mean_rate() {
        let rate = in_waves(500, 11).capacity(None).unwrap();
        assert!((rate - 1.0).abs() < 0.02, "{rate}");
        // Requests of half the length would come twice as often.
        let half = MeanTokens { prompt: 2.5, output: 5.5 };
        let twice = in_waves(500, 11).capacity(Some(half)).unwrap();
        assert!((twice / rate - 2.0).abs() < 1e-9, "{twice}");
        // One in five is refused.
        let refusing = Saturated { refused: 125, ..in_waves(500, 11) };
        assert!((refusing.capacity(Some(half)).unwrap() / rate - 1.25).abs() < 1e-9);
    }

    /// A slot for each of ten requests; every 25th stays a hundred times as long as the others.
    fn with_a_long_tail(requests: u64) -> Saturated {
        let mut free = [0; 10];
        let served = (0..requests).map(|i| {
            let slot = free.iter_mut().min().unwrap();
            let start = Nanos(*slot);
            *slot += if i % 25 == 0 { 100 * S } else { S };
            let output = if i % 25 == 0 { 101 } else { 2 };
            let completed_at = Nanos(*slot);
            Served { scheduled_at: start, first_token_at: start, completed_at, prompt: 1, output }
        });
        Saturated { served: served.collect(), refused: 0 }
    }

    #[test]
    fn the_longest_requests_decide_how_many_are_served() {
        let few = in_waves(500, 11).wanted();
        assert!((50..70).contains(&few), "five times ten seconds: {few}");
        // 4.96 s of a slot each: two requests per second.
        let tail = with_a_long_tail(200);
        let wanted = tail.wanted();
        assert!(wanted > 30_000, "{wanted}");
        assert_eq!(
            tail.capacity(None),
            None,
            "long ones have not yet left when the last one comes"
        );
        let real = 10.0 / 4.96;
        let rate = with_a_long_tail(20_000).capacity(None).unwrap();
        assert!((rate / real - 1.0).abs() < 0.02, "{rate}, not {real}");
        assert_eq!(Saturated::default().wanted(), 0);
    }

    #[test]
    fn where_hardly_any_request_waits_there_is_no_rate() {
        assert_eq!(in_waves(19, 11).capacity(None), None);
        // Ten run and ten wait: nothing is left when the first have completed.
        assert_eq!(in_waves(20, 11).capacity(None), None);
    }

    #[test]
    fn verdicts_change_where_documented() {
        let calm = WaitingTrend::default();
        let verdict = |offered| Verdict::of(Load::Open { offered }, Some(2.0), &calm);
        assert_eq!(verdict(0.59), Verdict::Idle);
        assert_eq!(verdict(0.6), Verdict::Loaded);
        assert_eq!(verdict(1.7), Verdict::NearSaturation);
        assert_eq!(verdict(1.99), Verdict::NearSaturation);
        assert_eq!(verdict(2.0), Verdict::Overloaded);
        assert_eq!(Verdict::of(Load::AllAtOnce, Some(2.0), &calm), Verdict::AllAtOnce);
        assert_eq!(Verdict::of(Load::Open { offered: 1.0 }, None, &calm), Verdict::Unknown);
    }

    #[test]
    fn a_queue_that_grows_outweighs_the_estimate() {
        let of = |waiting, offered, capacity| {
            let trend = WaitingTrend { waiting, arrivals: 400 };
            Verdict::of(Load::Open { offered }, capacity, &trend)
        };
        let slowly = [0.0, 10.0, 60.0, 130.0];
        assert_eq!(of(slowly, 1.5, Some(2.0)), Verdict::Overloaded);
        assert_eq!(of(slowly, 1.0, None), Verdict::Overloaded);
        assert_eq!(of(slowly, 1.0, Some(2.0)), Verdict::Loaded, "a burst may do that");
        assert_eq!(of([0.0, 200.0, 400.0, 600.0], 1.0, Some(2.0)), Verdict::Overloaded);
        assert_eq!(of([0.0, 300.0, 400.0, 200.0], 1.5, Some(2.0)), Verdict::Loaded);
    }
}
