//! From the records of a run to its [`RunSummary`].

use super::distribution::Distribution;
use super::flops::FlopsModel;
use super::names::{FAMILIES, STATISTICS};
use super::summary::{Metrics, RunSummary};
use super::trend::WaitingCells;
use super::values::Values;
use crate::base::Nanos;
use crate::records::{
    BatchRecord, RequestRecord, RequestStatus, RunSink, RunTotals, SteadyWindow, TokenGaps,
};
use crate::workload::Slo;

/// What the statistics need to know about the run besides its records and totals.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunContext {
    /// The run's seed.
    pub seed: u64,
    /// Tokens per KV block.
    pub block_size: u32,
    /// Pipeline stages of all replicas together.
    pub stages: u32,
    /// For MFU; `None` where the timing is not that of a device.
    pub flops: Option<FlopsModel>,
}

/// Collects per-request values; only requests inside the statistics window count. Up to
/// `EXACT_VALUES` requests their values are kept and percentiles are exact; beyond, they come from
/// histograms, within 0.1 %.
#[derive(Debug, Default)]
pub struct StatsSink {
    slo: Option<Slo>,
    /// Objectives of each class, where there are classes; they come before `slo`.
    class_slos: Vec<Slo>,
    ttft: Values,
    tpot: Values,
    e2e: Values,
    queue: Values,
    ntpot: Values,
    vidur_tpot: Values,
    execution: Values,
    kv_transfer: Values,
    prompt_tokens: u64,
    cached_tokens: u64,
    reloaded_tokens: u64,
    output_tokens: u64,
    /// Requests of the window, however they ended, and of them those that keep the limits.
    in_window: u64,
    out_of_window: u64,
    good: u64,
    good_ttft: u64,
    good_tpot: u64,
    good_e2e: u64,
    waiting: WaitingCells,
    first_arrival: Option<Nanos>,
    last_completion: Nanos,
}

impl RunSink for StatsSink {
    fn request(&mut self, record: &RequestRecord) {
        self.waiting.count(record);
        if !record.in_window {
            self.out_of_window += 1;
            return;
        }
        self.in_window += 1;
        let first = self.first_arrival.get_or_insert(record.arrived_at);
        *first = record.arrived_at.min(*first);
        if record.status != RequestStatus::Finished {
            return;
        }
        let (Some(scheduled), Some(first_token), Some(completed)) =
            (record.scheduled_at, record.first_token_at, record.completed_at)
        else {
            return;
        };
        let ttft = first_token.since(record.arrived_at);
        let e2e = completed.since(record.arrived_at);
        let decode = completed.since(first_token);
        let tokens = f64::from(record.output_tokens.max(1));
        let tpot = (record.output_tokens > 1).then(|| seconds_per(decode, tokens - 1.0));
        self.ttft.push(ttft.as_secs_f64());
        if let Some(tpot) = tpot {
            self.tpot.push(tpot);
        }
        self.e2e.push(e2e.as_secs_f64());
        self.queue.push(scheduled.since(record.arrived_at).as_secs_f64());
        self.ntpot.push(seconds_per(e2e, tokens));
        self.vidur_tpot.push(seconds_per(decode, tokens));
        self.execution.push(record.execution_time.as_secs_f64());
        if let Some(transfer) = record.kv_transfer {
            self.kv_transfer.push(transfer.as_secs_f64());
        }
        self.prompt_tokens += u64::from(record.prompt_tokens);
        self.cached_tokens += u64::from(record.cached_tokens);
        self.reloaded_tokens += u64::from(record.reloaded_tokens);
        self.output_tokens += u64::from(record.output_tokens);
        self.last_completion = self.last_completion.max(completed);
        let own = self.class_slos.get(record.class as usize);
        if let Some(slo) = own.or(self.slo.as_ref()) {
            let kept = slo.kept(ttft, tpot, e2e);
            self.good += u64::from(kept.all());
            self.good_ttft += u64::from(kept.ttft);
            self.good_tpot += u64::from(kept.tpot);
            self.good_e2e += u64::from(kept.e2e);
        }
    }

    fn batch(&mut self, _: &BatchRecord) {}
}

impl StatsSink {
    /// A collector that also counts what meets `slo`.
    pub fn new(slo: Option<Slo>) -> StatsSink {
        StatsSink { slo, ..StatsSink::default() }
    }

    /// Statistics with objectives for each class, by index. A class without any has nothing to
    /// attain: what finishes is good.
    pub fn with_classes(self, slos: impl Iterator<Item = Option<Slo>>) -> StatsSink {
        let class_slos: Vec<Slo> = slos.map(Option::unwrap_or_default).collect();
        let any = class_slos.iter().any(|slo| *slo != Slo::default());
        StatsSink { class_slos: if any { class_slos } else { Vec::new() }, ..self }
    }

    /// The metrics of the run that are about requests. Rates divide by `duration` in seconds if it
    /// is given.
    pub(super) fn finish_requests(mut self, totals: &RunTotals, duration: Option<f64>) -> Metrics {
        let mut out = Metrics::default();
        self.families(&totals.inter_token, &mut out);
        self.requests(totals, duration, &mut out);
        self.objectives(&mut out);
        preemptions(totals, &mut out);
        out
    }

    /// The summary of the run that these totals are of.
    pub fn finish(mut self, totals: &RunTotals, context: &RunContext) -> RunSummary {
        let mut out = Metrics::default();
        self.families(&totals.inter_token, &mut out);
        self.requests(totals, None, &mut out);
        self.objectives(&mut out);
        preemptions(totals, &mut out);
        engine(totals, context, &mut out);
        adapters(totals, &mut out);
        if let Some(window) = &totals.window {
            self.window(window, &mut out);
        }
        let ratio = totals.batch_members as f64 / totals.batches as f64;
        put(&mut out, "batch_size_mean", ratio);
        let histograms = self.ttft.is_histogram();
        let trend = self.waiting.trend();
        RunSummary { seed: context.seed, metrics: out, histograms, trend, ..RunSummary::default() }
    }

    fn families(&mut self, gaps: &TokenGaps, out: &mut Metrics) {
        for family in FAMILIES {
            let distribution = match family.name {
                "ttft" => self.ttft.describe(),
                "tpot" => self.tpot.describe(),
                "itl" => describe_gaps(gaps),
                "e2e" => self.e2e.describe(),
                "queue" => self.queue.describe(),
                "ntpot" => self.ntpot.describe(),
                "vidur_tpot" => self.vidur_tpot.describe(),
                "execution" => self.execution.describe(),
                "kv_transfer" => self.kv_transfer.describe(),
                // No metric bears the bare name, so the run ends with it as an unknown one.
                other => {
                    put(out, other, None);
                    None
                }
            };
            let Some(distribution) = distribution else { continue };
            for ((statistic, _), value) in STATISTICS.iter().zip(distribution.statistics()) {
                put(out, &format!("{}.{statistic}", family.name), value);
            }
        }
    }

    /// What rates divide by, in seconds. With a warm-up or drain window: from the first arrival to
    /// the last completion of the requests inside. Without: the whole run from time 0, as in vLLM's
    /// benchmark.
    fn duration(&self, end: Nanos) -> f64 {
        match self.first_arrival {
            Some(first) if self.out_of_window > 0 => {
                self.last_completion.since(first).as_secs_f64()
            }
            _ => end.as_secs_f64(),
        }
    }

    fn requests(&self, totals: &RunTotals, duration: Option<f64>, out: &mut Metrics) {
        let duration = duration.unwrap_or_else(|| self.duration(totals.end));
        let counted = self.ttft.len() as f64;
        let (prompt, output) = (self.prompt_tokens as f64, self.output_tokens as f64);
        let arrivals = totals.last_arrival.since(totals.first_arrival).as_secs_f64();
        put(out, "duration", duration);
        put(out, "arrived", totals.arrived as f64);
        put(out, "finished", totals.finished as f64);
        put(out, "rejected", totals.rejected as f64);
        put(out, "unfinished", totals.unfinished as f64);
        put(out, "not_admitted", totals.not_admitted as f64);
        put(out, "counted", counted);
        put(out, "offered_rate", totals.arrived.saturating_sub(1) as f64 / arrivals);
        put(out, "input_tokens", prompt);
        put(out, "output_tokens", output);
        put(out, "prompt_tokens_mean", prompt / counted);
        put(out, "output_tokens_mean", output / counted);
        put(out, "prefix_hit_rate", self.cached_tokens as f64 / prompt);
        if let Some(offload) = &totals.offload {
            put(out, "host_hit_rate", self.reloaded_tokens as f64 / prompt);
            super::offload::put(offload, out);
        }
        put(out, "request_throughput", counted / duration);
        put(out, "output_throughput", output / duration);
        put(out, "total_token_throughput", (prompt + output) / duration);
        if self.slo.is_some() || !self.class_slos.is_empty() {
            put(out, "goodput", self.good as f64 / duration);
        }
    }

    /// What arrived and was produced per second while the counted requests arrived.
    fn window(&self, window: &SteadyWindow, out: &mut Metrics) {
        let (seconds, within) = (window.seconds(), window.within());
        let (prompt, output) = (within.prompt_tokens as f64, within.output_tokens as f64);
        put(out, "window_duration", seconds);
        put(out, "window_arrived", window.arrivals() as f64);
        put(out, "window_finished", within.completions as f64);
        put(out, "window_input_tokens", prompt);
        put(out, "window_output_tokens", output);
        put(out, "window_arrival_rate", window.arrivals().saturating_sub(1) as f64 / seconds);
        put(out, "window_request_throughput", within.completions as f64 / seconds);
        put(out, "window_output_throughput", output / seconds);
        put(out, "window_total_token_throughput", (prompt + output) / seconds);
        if self.slo.is_some() || !self.class_slos.is_empty() {
            put(out, "window_goodput", self.good as f64 / seconds);
        }
    }

    /// Shares of all requests of the window: one that was refused or did not finish in time keeps
    /// no limit.
    fn objectives(&self, out: &mut Metrics) {
        let slos = || {
            self.class_slos.iter().chain(self.slo.as_ref().filter(|_| self.class_slos.is_empty()))
        };
        if slos().next().is_none() {
            return;
        }
        let any = |limit: fn(&Slo) -> Option<f64>| slos().any(|slo| limit(slo).is_some());
        let all = self.in_window as f64;
        put(out, "slo_attainment", self.good as f64 / all);
        for (name, limit, good) in [
            ("slo_attainment_ttft", any(|slo| slo.ttft_ms), self.good_ttft),
            ("slo_attainment_tpot", any(|slo| slo.tpot_ms), self.good_tpot),
            ("slo_attainment_e2e", any(|slo| slo.e2e_ms), self.good_e2e),
        ] {
            if limit {
                put(out, name, good as f64 / all);
            }
        }
    }
}

/// Seconds per token. Dividing before converting keeps round numbers round.
pub fn seconds_per(time: Nanos, tokens: f64) -> f64 {
    time.0 as f64 / tokens / 1e9
}

fn preemptions(totals: &RunTotals, out: &mut Metrics) {
    let preemptions = totals.preemptions as f64;
    put(out, "preemptions", preemptions);
    put(out, "preemptions_per_1000", preemptions * 1000.0 / totals.arrived as f64);
    put(out, "preemptions_max", f64::from(totals.preemptions_max));
}

/// What the engine did, over the whole run whatever the window.
fn engine(totals: &RunTotals, context: &RunContext, out: &mut Metrics) {
    let time = totals.end.0 as f64;
    let blocks = totals.kv_blocks_total as f64;
    let allocated = totals.kv_allocated_integral as f64;
    put(out, "kv_blocks", blocks);
    put(out, "kv_allocated_mean", allocated / (blocks * time));
    put(out, "kv_allocated_peak", totals.kv_allocated_peak as f64 / blocks);
    let slots = allocated * f64::from(context.block_size);
    put(out, "kv_used_over_allocated", totals.kv_used_integral as f64 / slots);
    let empty = slots - totals.kv_used_integral as f64;
    put(out, "kv_waste_per_request", empty / totals.running_integral as f64);
    put(out, "running_mean", totals.running_integral as f64 / time);
    put(out, "running_peak", totals.running_peak as f64);
    put(out, "waiting_mean", totals.waiting_integral as f64 / time);
    put(out, "waiting_peak", totals.waiting_peak as f64);

    let busy = totals.busy;
    let named = busy.attention_prefill + busy.attention_decode + busy.communication;
    let not_measured = busy.transferred + busy.extrapolated;
    // Every part of a batch's time is a whole number of nanoseconds, and so is the whole, but where
    // they are all of it their sum may be some nanoseconds more.
    let share_of = |part: Nanos, parts: Nanos| part.0 as f64 / busy.total.max(parts).0 as f64;
    let share = |part: Nanos| share_of(part, named);
    put(out, "mfu", context.flops.and_then(|flops| flops.mfu(totals)));
    put(out, "busy_fraction", busy.total.0 as f64 / (time * f64::from(context.stages)));
    put(out, "busy_attention_prefill", share(busy.attention_prefill));
    put(out, "busy_attention_decode", share(busy.attention_decode));
    put(out, "busy_communication", share(busy.communication));
    put(out, "busy_other", share(busy.total.since(named)));
    put(out, "busy_with_prefill", share_of(busy.with_prefill, Nanos::ZERO));
    // A closed form rests on nothing of the kind.
    if context.flops.is_some() {
        let share = |part: Nanos| share_of(part, not_measured);
        put(out, "busy_measured", share(busy.total.since(not_measured)));
        put(out, "busy_transferred", share(busy.transferred));
        put(out, "busy_extrapolated", share(busy.extrapolated));
    }

    put(out, "batch_iterations", totals.batches as f64);
    let tokens = (totals.prefill_tokens + totals.decode_tokens) as f64;
    put(out, "batch_tokens_mean", tokens / totals.batches as f64);

    let drafts = totals.speculation;
    put(out, "acceptance_rate", drafts.accepted as f64 / drafts.drafted as f64);
    put(out, "tokens_per_step", drafts.tokens as f64 / drafts.steps as f64);
    put(out, "speculative_speedup", drafts.plain_time.0 as f64 / drafts.time.0 as f64);
}

/// What LoRA adapters did.
fn adapters(totals: &RunTotals, out: &mut Metrics) {
    let adapters = totals.adapters;
    put(out, "adapter_loads", adapters.loads as f64);
    put(out, "adapter_fetches", adapters.fetches as f64);
    put(out, "adapter_hit_rate", adapters.hits as f64 / adapters.admitted as f64);
    put(out, "adapter_load_time", adapters.load_time.as_secs_f64());
    put(out, "adapter_compute_time", adapters.compute_time.as_secs_f64());
}

fn describe_gaps(gaps: &TokenGaps) -> Option<Distribution> {
    let max = gaps.max().as_secs_f64();
    // A bucket's upper end may lie above the largest value in it.
    let quantile = |q: f64| gaps.quantile_seconds(q).min(max);
    (gaps.count() > 0).then(|| Distribution {
        count: gaps.count() as usize,
        mean: gaps.mean_seconds(),
        std: gaps.std_seconds(),
        p50: quantile(0.5),
        p90: quantile(0.9),
        p95: quantile(0.95),
        p99: quantile(0.99),
        max,
    })
}

fn put(out: &mut Metrics, name: &str, value: impl Into<Option<f64>>) {
    out.set(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::names;
    use crate::records::AdapterTotals;
    use crate::records::OffloadTotals;
    use crate::records::{BusyTime, Produced, SpeculationTotals};

    const MS: u64 = 1_000_000;

    /// Arrives at `at` ms, is scheduled 10 ms later, has its first token 30 ms later and then one
    /// every 20 ms.
    fn request(id: u64, at: u64, output_tokens: u32) -> RequestRecord {
        let first_token = at + 30;
        RequestRecord {
            id,
            pool: 0,
            class: 0,
            adapter: None,
            replica: Some(0),
            arrived_at: Nanos(at * MS),
            inter_arrival: None,
            scheduled_at: Some(Nanos((at + 10) * MS)),
            first_token_at: Some(Nanos(first_token * MS)),
            completed_at: Some(Nanos((first_token + 20 * u64::from(output_tokens - 1)) * MS)),
            prompt_tokens: 100,
            output_tokens,
            cached_tokens: 48,
            execution_time: Nanos(20 * MS * u64::from(output_tokens)),
            preemption_time: Nanos::ZERO,
            reloaded_tokens: 16,
            restarts: 0,
            swaps: 0,
            kv_transfer: None,
            drafted: 0,
            accepted: 0,
            in_window: true,
            status: RequestStatus::Finished,
        }
    }

    fn totals() -> RunTotals {
        let mut inter_token = TokenGaps::default();
        inter_token.record(Nanos(20 * MS), 5);
        RunTotals {
            adapters: AdapterTotals { admitted: 4, hits: 3, ..AdapterTotals::default() },
            arrived: 3,
            finished: 3,
            batches: 4,
            preemptions: 6,
            preemptions_max: 2,
            first_arrival: Nanos::ZERO,
            last_arrival: Nanos(1000 * MS),
            end: Nanos(2000 * MS),
            prefill_tokens: 300,
            decode_tokens: 100,
            kv_blocks_total: 10,
            kv_allocated_integral: 10_000 * u128::from(MS),
            kv_used_integral: 120_000 * u128::from(MS),
            kv_allocated_peak: 8,
            running_integral: 3_000 * u128::from(MS),
            running_peak: 3,
            speculation: SpeculationTotals {
                steps: 10,
                tokens: 25,
                drafted: 40,
                accepted: 15,
                time: Nanos(500 * MS),
                plain_time: Nanos(1000 * MS),
            },
            offload: Some(OffloadTotals { blocks: 10, peak_blocks: 4, ..Default::default() }),
            busy: BusyTime {
                total: Nanos(1000 * MS),
                attention_prefill: Nanos(100 * MS),
                attention_decode: Nanos(500 * MS),
                communication: Nanos::ZERO,
                transferred: Nanos(300 * MS),
                extrapolated: Nanos(50 * MS),
                with_prefill: Nanos(250 * MS),
            },
            inter_token,
            window: Some(window()),
            ..RunTotals::default()
        }
    }

    /// Three arrivals in two seconds, in which one request finished.
    fn window() -> SteadyWindow {
        let mut window = SteadyWindow::default();
        for at in [500, 1_500, 2_500] {
            let what = Produced { completions: 1, prompt_tokens: 100, output_tokens: 8 };
            window
                .produced(Nanos(1_000 * MS), if at == 1_500 { what } else { Produced::default() });
            window.arrived(Nanos(at * MS));
        }
        window
    }

    fn context() -> RunContext {
        RunContext { seed: 42, block_size: 16, stages: 2, flops: None }
    }

    fn check(run: &RunSummary, metric: &str, want: Option<f64>) {
        assert!(names::find(metric).is_some(), "{metric}");
        match (run.get(metric), want) {
            (Some(got), Some(want)) => assert!((got - want).abs() < 1e-9, "{metric}: {got}"),
            (got, want) => assert_eq!(got, want, "{metric}"),
        }
    }

    #[test]
    fn definitions_by_hand() {
        let slo = Slo { ttft_ms: Some(30.0), e2e_ms: Some(60.0), attain: 0.9, ..Slo::default() };
        let mut sink = StatsSink::new(Some(slo));
        for (id, at, tokens) in [(0, 0, 1), (1, 500, 2), (2, 1000, 4)] {
            sink.request(&request(id, at, tokens));
        }
        sink.request(&RequestRecord {
            status: RequestStatus::Rejected("too long".to_owned()),
            ..request(3, 1100, 1)
        });
        let run = sink.finish(&totals(), &context());
        check(&run, "ttft.mean", Some(0.030));
        check(&run, "tpot.mean", Some(0.020));
        check(&run, "vidur_tpot.max", Some(0.015));
        check(&run, "e2e.p50", Some(0.050));
        check(&run, "e2e.max", Some(0.090));
        check(&run, "ntpot.mean", Some((0.030 + 0.025 + 0.0225) / 3.0));
        check(&run, "queue.p99", Some(0.010));
        check(&run, "itl.max", Some(0.020));
        check(&run, "request_throughput", Some(1.5));
        check(&run, "output_throughput", Some(3.5));
        check(&run, "total_token_throughput", Some(307.0 / 2.0));
        check(&run, "offered_rate", Some(2.0));
        check(&run, "slo_attainment", Some(0.5));
        check(&run, "slo_attainment_ttft", Some(0.75));
        check(&run, "slo_attainment_tpot", None);
        check(&run, "goodput", Some(1.0));
        check(&run, "kv_allocated_mean", Some(0.5));
        check(&run, "kv_allocated_peak", Some(0.8));
        check(&run, "kv_used_over_allocated", Some(0.75));
        check(&run, "kv_waste_per_request", Some((160_000.0 - 120_000.0) / 3_000.0));
        check(&run, "prefix_hit_rate", Some(0.48));
        check(&run, "host_kv_peak", Some(0.4));
        check(&run, "host_hit_rate", Some(0.16));
        check(&run, "running_mean", Some(1.5));
        check(&run, "preemptions_per_1000", Some(2000.0));
        check(&run, "busy_fraction", Some(0.25));
        check(&run, "busy_other", Some(0.4));
        check(&run, "busy_measured", None);
        check(&run, "batch_tokens_mean", Some(100.0));
        check(&run, "mfu", None);
        check(&run, "adapter_hit_rate", Some(0.75));
        check(&run, "window_duration", Some(2.0));
        check(&run, "window_arrival_rate", Some(1.0));
        check(&run, "window_request_throughput", Some(0.5));
        check(&run, "window_total_token_throughput", Some(54.0));
        check(&run, "window_goodput", Some(1.0));
    }

    #[test]
    fn parts_that_are_all_of_the_time_are_not_more_than_all() {
        let busy = BusyTime {
            total: Nanos(100),
            attention_prefill: Nanos(51),
            attention_decode: Nanos(51),
            transferred: Nanos(102),
            ..BusyTime::default()
        };
        let flops = FlopsModel {
            flops_per_token: 1.0,
            attention_flops_per_pair: 1.0,
            peak_flops: 1e12,
            gpus: 1,
        };
        let context = RunContext { flops: Some(flops), ..context() };
        let run = StatsSink::new(None).finish(&RunTotals { busy, ..totals() }, &context);
        check(&run, "busy_transferred", Some(1.0));
        check(&run, "busy_measured", Some(0.0));
        check(&run, "busy_attention_decode", Some(0.5));
        check(&run, "busy_other", Some(0.0));
    }

    #[test]
    fn a_window_sets_what_rates_divide_by() {
        let mut sink = StatsSink::new(None);
        sink.request(&RequestRecord { in_window: false, ..request(0, 0, 4) });
        sink.request(&request(1, 500, 2));
        sink.request(&request(2, 950, 2));
        let run = sink.finish(&totals(), &context());
        check(&run, "duration", Some(0.5));
        check(&run, "counted", Some(2.0));
        check(&run, "request_throughput", Some(4.0));
        check(&run, "goodput", None);
    }

    #[test]
    fn every_metric_of_the_registry_is_measured() {
        let slo =
            Slo { ttft_ms: Some(30.0), tpot_ms: Some(60.0), e2e_ms: Some(60.0), ..Slo::default() };
        let mut sink = StatsSink::new(Some(slo));
        sink.request(&RequestRecord { kv_transfer: Some(Nanos(5 * MS)), ..request(0, 0, 3) });
        sink.batch(&BatchRecord {
            count: 1,
            id: 0,
            replica: 0,
            stage: 0,
            scheduled_at: Nanos::ZERO,
            completed_at: Nanos(MS),
            tokens: 100,
            prefill_tokens: 100,
            size: 1,
        });
        let flops = FlopsModel {
            flops_per_token: 1e9,
            attention_flops_per_pair: 1e3,
            peak_flops: 1e12,
            gpus: 1,
        };
        let run = sink.finish(&totals(), &RunContext { flops: Some(flops), ..context() });
        let without: Vec<&str> =
            run.metrics.iter().filter(|m| m.1.is_none()).map(|m| m.0.name.as_str()).collect();
        assert!(without.is_empty(), "{without:?}");
    }

    #[test]
    fn one_token_each_has_no_tpot_and_nothing_has_nothing() {
        let mut sink = StatsSink::new(None);
        sink.request(&request(0, 0, 1));
        check(&sink.finish(&totals(), &context()), "tpot.mean", None);
        let empty = StatsSink::new(None).finish(&RunTotals::default(), &context());
        check(&empty, "ttft.mean", None);
        check(&empty, "request_throughput", None);
        check(&empty, "kv_used_over_allocated", None);
    }
}
