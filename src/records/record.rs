//! What the simulation hands to whoever listens: one record a request, one a batch, and the
//! totals of the run. Records hold integer nanoseconds; writers turn them into seconds.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::Nanos;
use crate::records::{AdapterTotals, OffloadTotals, SteadyWindow};

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestStatus {
    /// All its tokens were produced.
    Finished,
    /// It was refused, with the reason: no replica could ever serve it.
    Rejected(String),
    /// Admission control refused it, with the reason.
    NotAdmitted(String),
    /// The time limit ended the run first.
    Unfinished,
}

/// One request's life.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Its id in the workload.
    pub id: u64,
    /// Index of the pool that served it: 0 unless several models or roles share the cluster.
    pub pool: u32,
    /// Number of its class, through all models; 0 in a workload without classes, beyond all classes
    /// for a model without any beside others that have some.
    pub class: u32,
    /// Its LoRA adapter; `None` for the model itself.
    pub adapter: Option<u32>,
    /// The replica it was routed to; `None` if it never was.
    pub replica: Option<u32>,
    /// Arrival.
    pub arrived_at: Nanos,
    /// Arrival minus the previous request's arrival; `None` for the first.
    pub inter_arrival: Option<Nanos>,
    /// First time in a batch.
    pub scheduled_at: Option<Nanos>,
    /// End of the iteration that produced its first output token.
    pub first_token_at: Option<Nanos>,
    /// End of the iteration that produced its last token (or the time of rejection).
    pub completed_at: Option<Nanos>,
    /// Prompt tokens, as in the workload.
    pub prompt_tokens: u32,
    /// Output tokens, as in the workload.
    pub output_tokens: u32,
    /// Prompt tokens served from the prefix cache.
    pub cached_tokens: u32,
    /// Sum of the stage times of its iterations, over all attempts and stages.
    pub execution_time: Nanos,
    /// Sum of the gaps between its stage executions (end of one to start of the next).
    pub preemption_time: Nanos,
    /// From the end of its prefill until its KV content was on a decode replica: waiting for blocks
    /// there, for the link, and the transfer (disaggregation). `None` if it never went there: a
    /// request with one output token ends where its prompt was processed.
    pub kv_transfer: Option<Nanos>,
    /// Prompt tokens copied from host memory, which `cached_tokens` does not count.
    pub reloaded_tokens: u32,
    /// Number of preemptions by recomputation.
    pub restarts: u32,
    /// Number of preemptions by swapping to host memory.
    pub swaps: u32,
    /// Drafts that were verified for it (speculative decoding).
    pub drafted: u32,
    /// Drafts of it that were accepted.
    pub accepted: u32,
    /// Whether the statistics count it (false inside the warm-up and drain windows).
    pub in_window: bool,
    /// How it ended.
    pub status: RequestStatus,
}

/// Which batches a sink is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchRecords {
    /// None.
    #[default]
    Off,
    /// Every iteration, in the order in which they end. With several replicas only single steps
    /// know it.
    Each,
    /// Runs of equal iterations as one record; those of a replica in their order.
    RunLength,
}

impl Serialize for BatchRecords {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            BatchRecords::Off => serializer.serialize_bool(false),
            BatchRecords::Each => serializer.serialize_bool(true),
            BatchRecords::RunLength => {
                serializer.serialize_unit_variant("BatchRecords", 2, "RunLength")
            }
        }
    }
}

impl<'de> Deserialize<'de> for BatchRecords {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BatchRecords, D::Error> {
        // RON hides the names of bare words from readers of any type, so the text is looked at.
        let text = <&ron::value::RawValue>::deserialize(deserializer)?;
        match text.trim().get_ron() {
            "false" => Ok(BatchRecords::Off),
            "true" => Ok(BatchRecords::Each),
            "RunLength" => Ok(BatchRecords::RunLength),
            other => Err(D::Error::custom(format!(
                "`{other}` for batch_metrics, expected true, false or RunLength"
            ))),
        }
    }
}

/// One iteration of a batch through all stages of its replica, or a run of them.
#[derive(Clone, Copy, Debug)]
pub struct BatchRecord {
    /// Numbered from 0 over the whole run, in order of creation; in a run that of the first.
    pub id: u64,
    /// Iterations: one after the other, all of the same decoding requests. 1 unless run lengths
    /// are asked for.
    pub count: u32,
    /// Its replica.
    pub replica: u32,
    /// The last stage it ran on.
    pub stage: u32,
    /// When it (or the first of a run) was planned.
    pub scheduled_at: Nanos,
    /// When its (or the last one's) last stage ended.
    pub completed_at: Nanos,
    /// All tokens of an iteration.
    pub tokens: u32,
    /// Tokens of prompts.
    pub prefill_tokens: u32,
    /// Number of requests.
    pub size: u32,
}

impl BatchRecord {
    /// Takes the next iterations of the replica into this run, if they are like its own: decoding
    /// only, as many requests, without a pause.
    pub fn extend(&mut self, next: &BatchRecord) -> bool {
        let alike = self.replica == next.replica
            && self.completed_at == next.scheduled_at
            && self.size == next.size
            && (self.prefill_tokens, next.prefill_tokens) == (0, 0)
            && self.tokens == next.tokens;
        let count = self.count.checked_add(next.count).filter(|_| alike);
        if let Some(count) = count {
            self.count = count;
            self.completed_at = next.completed_at;
        }
        count.is_some()
    }
}

/// The state at the end of an interval of simulated time, and what happened in it. Over all
/// replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntervalRecord {
    /// The end of the interval. What happens at this very time still belongs to it.
    pub time: Nanos,
    /// Requests that hold KV blocks where they are served; each counts in one place.
    pub running: u64,
    /// Requests in waiting queues.
    pub waiting: u64,
    /// KV blocks held.
    pub kv_allocated: u64,
    /// KV tokens held.
    pub kv_used: u64,
    /// Prompt tokens processed in iterations that ended (recomputation included).
    pub prompt_tokens: u64,
    /// Tokens produced.
    pub output_tokens: u64,
    /// Requests that finished.
    pub finished: u64,
}

/// Listens to a run. Calls come in the order in which things happen; requests that end at the
/// same time come by id.
pub trait RunSink: Send {
    /// A request ended (finished, rejected, or unfinished at the time limit).
    fn request(&mut self, record: &RequestRecord);
    /// A batch ended.
    fn batch(&mut self, record: &BatchRecord);
    /// An interval of the time series is over. They come in their order, but later than what
    /// happened after them.
    fn interval(&mut self, _: &IntervalRecord) {}
    /// Something happened to a request. Told only where a run notes events, in order of time.
    fn event(&mut self, _: &EventRecord) {}
}

/// What happened to a request at a moment, for whoever reads along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRecord {
    /// When.
    pub time: Nanos,
    /// What.
    pub kind: EventKind,
    /// The request's id in the workload.
    pub request: u64,
    /// The replica; `None` for a request that never got to one.
    pub replica: Option<u32>,
}

/// What can happen to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It left the waiting queue and got KV blocks, for the first time or again.
    Admitted,
    /// Its KV blocks were taken away.
    Preempted,
    /// Its last token came.
    Finished,
    /// It was refused.
    Rejected,
}

/// Totals of a run, counted by the simulation itself.
#[derive(Clone, Debug, Default)]
pub struct RunTotals {
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that finished.
    pub finished: u64,
    /// Requests refused with a reason.
    pub rejected: u64,
    /// Rejected requests that admission control refused.
    pub not_admitted: u64,
    /// Requests still waiting or running when the time limit ended the run.
    pub unfinished: u64,
    /// Batches (iterations) that ended.
    pub batches: u64,
    /// Sum over the batches of their number of requests.
    pub batch_members: u64,
    /// Preemptions by recomputation.
    pub preemptions: u64,
    /// Largest number of preemptions of one request.
    pub preemptions_max: u32,
    /// First arrival.
    pub first_arrival: Nanos,
    /// Last arrival.
    pub last_arrival: Nanos,
    /// When the last request arrived or the last iteration ended, whichever came later; the time
    /// limit, if that ended the run.
    pub end: Nanos,
    /// Prompt tokens processed (recomputation included).
    pub prefill_tokens: u64,
    /// Decode tokens processed, drafts included.
    pub decode_tokens: u64,
    /// What speculative decoding did; all zero without it.
    pub speculation: SpeculationTotals,
    /// What LoRA adapters did; all zero without any.
    pub adapters: AdapterTotals,
    /// What went to host memory and back; `None` if the engine does not use it.
    pub offload: Option<OffloadTotals>,
    /// Sum over batches of [`crate::timing::BatchShape::context_products`], for FLOPs.
    pub context_products: u64,
    /// Sum over batches and their prompts of `tokens * (tokens + 1) / 2`: attention within a
    /// chunk, for FLOPs.
    pub prefill_squares: u64,
    /// Stage-seconds spent, and where.
    pub busy: BusyTime,
    /// KV blocks of all replicas together.
    pub kv_blocks_total: u64,
    /// Integral over time of allocated blocks, in block-nanoseconds.
    pub kv_allocated_integral: u128,
    /// Integral over time of KV tokens held, in token-nanoseconds.
    pub kv_used_integral: u128,
    /// Sum over the replicas of the most blocks that each had allocated at once.
    pub kv_allocated_peak: u64,
    /// Integral over time of requests that hold blocks, in request-nanoseconds.
    pub running_integral: u128,
    /// Most requests that held blocks at once, over all replicas.
    pub running_peak: u64,
    /// Integral over time of requests in waiting queues, in request-nanoseconds.
    pub waiting_integral: u128,
    /// Most requests waiting at once, over all replicas.
    pub waiting_peak: u64,
    /// Gaps between a request's successive tokens, pooled, in nanoseconds; only requests inside
    /// the statistics window.
    pub inter_token: TokenGaps,
    /// What happened while the requests arrived that the statistics count; `None` unless it was
    /// asked for.
    pub window: Option<SteadyWindow>,
}

/// What speculative decoding did in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpeculationTotals {
    /// Steps of decoding requests, with drafts or without.
    pub steps: u64,
    /// Tokens that these made.
    pub tokens: u64,
    /// Drafts that were verified.
    pub drafted: u64,
    /// Drafts that were accepted.
    pub accepted: u64,
    /// Time of the iterations that only decoded.
    pub time: Nanos,
    /// What as many tokens would have taken in the same batches without drafts.
    pub plain_time: Nanos,
}

impl SpeculationTotals {
    /// Adds those of another part of the cluster.
    fn add(&mut self, other: &SpeculationTotals) {
        self.steps += other.steps;
        self.tokens += other.tokens;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
        self.time += other.time;
        self.plain_time += other.plain_time;
    }
}

impl RunTotals {
    /// Counts a request that ended.
    pub(crate) fn count_end(&mut self, status: &RequestStatus) {
        match status {
            RequestStatus::Finished => self.finished += 1,
            RequestStatus::Rejected(_) => self.rejected += 1,
            RequestStatus::NotAdmitted(_) => {
                self.rejected += 1;
                self.not_admitted += 1;
            }
            RequestStatus::Unfinished => self.unfinished += 1,
        }
    }

    /// The totals of parts of a cluster, together. Peaks of requests need not have come at the same
    /// time, so their sums are upper bounds; who knows better sets them, and the window.
    pub fn sum(parts: &[RunTotals]) -> RunTotals {
        let mut sum = RunTotals::default();
        for part in parts {
            // A part without arrivals has no first one.
            if part.arrived > 0 && (sum.arrived == 0 || part.first_arrival < sum.first_arrival) {
                sum.first_arrival = part.first_arrival;
            }
            sum.arrived += part.arrived;
            sum.finished += part.finished;
            sum.rejected += part.rejected;
            sum.not_admitted += part.not_admitted;
            sum.unfinished += part.unfinished;
            sum.batches += part.batches;
            sum.batch_members += part.batch_members;
            sum.preemptions += part.preemptions;
            sum.preemptions_max = sum.preemptions_max.max(part.preemptions_max);
            sum.last_arrival = sum.last_arrival.max(part.last_arrival);
            sum.end = sum.end.max(part.end);
            sum.prefill_tokens += part.prefill_tokens;
            sum.decode_tokens += part.decode_tokens;
            sum.speculation.add(&part.speculation);
            sum.adapters.add(&part.adapters);
            if let Some(offload) = &part.offload {
                sum.offload.get_or_insert_default().add(offload);
            }
            sum.context_products += part.context_products;
            sum.prefill_squares += part.prefill_squares;
            sum.busy.add(&part.busy);
            sum.kv_blocks_total += part.kv_blocks_total;
            sum.kv_allocated_integral += part.kv_allocated_integral;
            sum.kv_used_integral += part.kv_used_integral;
            sum.kv_allocated_peak += part.kv_allocated_peak;
            sum.running_integral += part.running_integral;
            sum.running_peak += part.running_peak;
            sum.waiting_integral += part.waiting_integral;
            sum.waiting_peak += part.waiting_peak;
            sum.inter_token.merge(&part.inter_token);
        }
        sum
    }
}

/// Where the stages' time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct BusyTime {
    /// All time in which a stage ran a batch, summed over stages.
    pub total: Nanos,
    /// Busy time of attention over prompts.
    pub attention_prefill: Nanos,
    /// Busy time of attention of decoding requests.
    pub attention_decode: Nanos,
    /// Busy time of communication.
    pub communication: Nanos,
    /// Busy time of what rests on measurements of other shapes or on data sheets
    /// ([`crate::timing::StageTime::transferred`]).
    pub transferred: Nanos,
    /// Busy time of what goes on where measurements ended.
    pub extrapolated: Nanos,
    /// Busy time of all time of batches that held at least one prompt or chunk.
    pub with_prefill: Nanos,
}

impl BusyTime {
    /// Takes out the part of `time` after its first `kept`.
    pub(crate) fn cut(&mut self, time: BusyTime, kept: Nanos) {
        let whole = u128::from(time.total.0.max(1));
        let lost = |part: Nanos| {
            let kept = u128::from(part.0) * u128::from(kept.0) / whole;
            Nanos(part.0 - kept as u64)
        };
        for (sum, part) in [
            (&mut self.total, time.total),
            (&mut self.attention_prefill, time.attention_prefill),
            (&mut self.attention_decode, time.attention_decode),
            (&mut self.communication, time.communication),
            (&mut self.transferred, time.transferred),
            (&mut self.extrapolated, time.extrapolated),
            (&mut self.with_prefill, time.with_prefill),
        ] {
            *sum = sum.since(lost(part));
        }
    }

    pub(crate) fn add(&mut self, other: &BusyTime) {
        self.total += other.total;
        self.attention_prefill += other.attention_prefill;
        self.attention_decode += other.attention_decode;
        self.communication += other.communication;
        self.transferred += other.transferred;
        self.extrapolated += other.extrapolated;
        self.with_prefill += other.with_prefill;
    }
}

/// A weighted histogram of inter-token gaps with its exact count, sum and maximum.
#[derive(Clone, Debug)]
pub struct TokenGaps {
    histogram: hdrhistogram::Histogram<u64>,
    sum: u128,
    /// In square nanoseconds; a whole number, so that the order of recording does not matter.
    sum_of_squares: u128,
    max: Nanos,
}

/// Gaps that the histogram does not tell from each other.
#[derive(Clone, Copy)]
struct SameGaps {
    /// The lengths for which this holds.
    least: u64,
    most: u64,
    /// How many there are.
    number: u64,
    /// The histogram holds nothing so long that this could overflow.
    sum: u128,
    squares: u128,
    longest: u64,
}

impl SameGaps {
    const NONE: SameGaps =
        SameGaps { least: 1, most: 0, number: 0, sum: 0, squares: 0, longest: 0 };
}

impl Default for TokenGaps {
    fn default() -> TokenGaps {
        TokenGaps {
            // Three significant digits from 1 us on, growing as needed; the bounds are constants,
            // so this cannot fail.
            histogram: hdrhistogram::Histogram::new_with_bounds(1_000, 3_600_000_000_000, 3)
                .expect("constant bounds are valid"),
            sum: 0,
            sum_of_squares: 0,
            max: Nanos::ZERO,
        }
    }
}

impl TokenGaps {
    /// Records `count` gaps of the same length.
    pub fn record(&mut self, gap: Nanos, count: u64) {
        self.histogram.saturating_record_n(gap.0, count);
        self.sum += u128::from(gap.0) * u128::from(count);
        let square = u128::from(gap.0) * u128::from(gap.0);
        self.sum_of_squares =
            self.sum_of_squares.saturating_add(square.saturating_mul(u128::from(count)));
        self.max = self.max.max(gap);
    }

    /// Records `count` gaps of each of these lengths: as [`TokenGaps::record`] of one after the
    /// other, but faster where they are near each other, as those of a run are.
    pub fn record_each(&mut self, gaps: impl Iterator<Item = Nanos>, count: u64) {
        let mut same = SameGaps::NONE;
        for gap in gaps {
            if gap.0 < same.least || gap.0 > same.most {
                self.record_same(&same, count);
                if gap.0 > self.histogram.high() {
                    self.record(gap, count);
                    same = SameGaps::NONE;
                    continue;
                }
                same = SameGaps {
                    least: self.histogram.lowest_equivalent(gap.0),
                    most: self.histogram.highest_equivalent(gap.0),
                    ..SameGaps::NONE
                };
            }
            same.number += 1;
            same.sum += u128::from(gap.0);
            same.squares += u128::from(gap.0) * u128::from(gap.0);
            same.longest = same.longest.max(gap.0);
        }
        self.record_same(&same, count);
    }

    fn record_same(&mut self, same: &SameGaps, count: u64) {
        if same.number > 0 && count > 0 {
            self.histogram.saturating_record_n(same.most, same.number * count);
        }
        self.sum += same.sum * u128::from(count);
        self.sum_of_squares =
            self.sum_of_squares.saturating_add(same.squares.saturating_mul(u128::from(count)));
        self.max = self.max.max(Nanos(same.longest));
    }

    /// Number of gaps.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Mean gap in seconds; 0 without gaps.
    pub fn mean_seconds(&self) -> f64 {
        if self.count() == 0 { 0.0 } else { self.sum as f64 / self.count() as f64 / 1e9 }
    }

    /// Standard deviation (population) in seconds.
    pub fn std_seconds(&self) -> f64 {
        if self.count() == 0 {
            return 0.0;
        }
        let mean = self.mean_seconds();
        let mean_of_squares = self.sum_of_squares as f64 / self.count() as f64 / 1e18;
        (mean_of_squares - mean * mean).max(0.0).sqrt()
    }

    /// Quantile in seconds, within 0.1 % of the exact one.
    pub fn quantile_seconds(&self, q: f64) -> f64 {
        self.histogram.value_at_quantile(q) as f64 / 1e9
    }

    /// The longest gap, exact.
    pub fn max(&self) -> Nanos {
        self.max
    }

    /// Adds another run's gaps.
    pub fn merge(&mut self, other: &TokenGaps) {
        // Both have the same constant bounds.
        let _ = self.histogram.add(&other.histogram);
        self.sum += other.sum;
        self.sum_of_squares = self.sum_of_squares.saturating_add(other.sum_of_squares);
        self.max = self.max.max(other.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However near or far the gaps of a run are, from below what the histogram discerns to
        /// beyond what it holds.
        #[test]
        fn gaps_of_a_run_count_as_one_by_one(
            first in prop_oneof![0..5_000_u64, 0..100_000_000_u64, 3_599_999_000_000..3_700_000_000_000_u64],
            steps in prop::collection::vec(prop_oneof![0..3_000_u64, 0..30_000_000_u64], 0..60),
            count in 1..300_u64,
        ) {
            let gaps: Vec<Nanos> = steps.iter().map(|step| Nanos(first + step)).collect();
            let (mut together, mut single) = (TokenGaps::default(), TokenGaps::default());
            together.record_each(gaps.iter().copied(), count);
            gaps.iter().for_each(|&gap| single.record(gap, count));
            prop_assert_eq!(together.histogram, single.histogram);
            prop_assert_eq!(together.sum, single.sum);
            prop_assert_eq!(together.sum_of_squares, single.sum_of_squares);
            prop_assert_eq!(together.max, single.max);
        }
    }
}
