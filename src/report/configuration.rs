//! The report on one configuration.

use super::line::{Line, Tone, packed, wrapped};
use super::shared::{kv_size, requests, slo_limits, timing};
use super::{classes, host, latency, models};
use crate::metrics::unit::{Unit, decimals_for, fixed, number, percent};
use crate::metrics::{Capacity, Load, Spread, VariantResult, Verdict};

/// Everything between the heading and the expectations.
pub fn lines(name: &str, v: &VariantResult) -> Vec<Line> {
    let single = v.mean("arrived") == Some(1.0);
    let mut lines = heading(name, v, single);
    if single {
        lines.extend(one_request(v));
    } else {
        lines.extend(load(v));
        lines.extend(counts(v));
        lines.push(Line::default());
        lines.extend(latency::table(v));
        lines.push(Line::default());
        lines.extend(throughput(v));
    }
    lines.extend(models::lines(v));
    lines.extend(classes::lines(v));
    lines.extend(objectives(v));
    lines.extend(kv(v, single));
    lines.extend(host::lines(v));
    lines.extend(speculation(v));
    lines.extend(time(v));
    lines.extend(timing(&v.timing));
    lines.extend(v.basis().map(|text| wrapped("", &text)));
    lines
}

fn heading(name: &str, v: &VariantResult, single: bool) -> Vec<Line> {
    let mut items: Vec<String> = v.what.split(" | ").map(str::to_owned).collect();
    let tokens = v.mean("prompt_tokens_mean").zip(v.mean("output_tokens_mean"));
    let seeds = if v.runs.len() > 1 { format!("{} seeds x ", v.runs.len()) } else { String::new() };
    items.push(match (single, tokens) {
        (true, Some((prompt, output))) => {
            let (prompt, output) = (fixed(prompt, 0), fixed(output, 0));
            format!("{seeds}1 request: {prompt} prompt + {output} output tokens")
        }
        _ => format!("{seeds}{}", requests(std::slice::from_ref(v))),
    });
    vec![packed(name, &items, " | ")]
}

/// The load against the capacity, with the verdict; nothing for a rate and capacity not known.
fn load(v: &VariantResult) -> Vec<Line> {
    let mut items = match v.load {
        Load::Open { offered } => vec![format!("offered {} req/s", number(offered, 3))],
        Load::AllAtOnce => {
            vec!["all requests at t = 0: TTFT and queue measure the backlog".to_owned()]
        }
        Load::ClosedLoop { concurrency } => {
            vec![format!("closed loop, {} requests in flight", number(concurrency.into(), 3))]
        }
    };
    match &v.capacity {
        Capacity::About(rate) => items.push(format!("capacity about {} req/s", number(*rate, 3))),
        Capacity::Unknown(why) => items.push(format!("capacity not known: {why}")),
        Capacity::NotAsked => {}
    }
    items.extend(v.load_ratio().map(|ratio| format!("{} %", percent(ratio))));
    let line = packed("load", &items, " | ");
    let label = match v.verdict() {
        Verdict::Idle => Some(("IDLE", Tone::Plain)),
        Verdict::Loaded => Some(("LOADED", Tone::Good)),
        Verdict::NearSaturation => Some(("NEAR SATURATION", Tone::Plain)),
        Verdict::Overloaded => Some(("OVERLOADED", Tone::Bad)),
        Verdict::AllAtOnce | Verdict::ClosedLoop | Verdict::Unknown => None,
    };
    let mut lines = vec![match label {
        Some((label, tone)) => line.label(label, tone),
        None => line,
    }];
    if v.verdict() == Verdict::Overloaded {
        if v.load_ratio().is_none_or(|ratio| ratio < 1.0) {
            lines.push(wrapped("", &growth(v)));
        }
        let warning = "more requests arrive than can be served, so queues grow until arrivals stop: TTFT, \
                       E2E and queue time only measure the length of the run. Throughput and TPOT are valid.";
        lines.push(wrapped("", warning));
    }
    lines
}

/// What the queue did where the estimate alone would not say that the load is too high.
fn growth(v: &VariantResult) -> String {
    let (trend, runs) = (v.trend(), v.runs.len().max(1) as f64);
    let mean = |waiting: f64| fixed(waiting / runs, 0);
    let [_, second, _, last] = trend.waiting.map(mean);
    format!(
        "the queue grew while requests arrived: {second} waited in the second quarter, {last} in the last"
    )
}

/// The counts of all seeds together, which must add up.
fn counts(v: &VariantResult) -> Vec<Line> {
    let sum = |metric: &str| v.runs.iter().filter_map(|run| run.get(metric)).sum::<f64>();
    let mut text = format!(
        "{} arrived = {} finished + {} rejected + {} unfinished",
        fixed(sum("arrived"), 0),
        fixed(sum("finished"), 0),
        fixed(sum("rejected"), 0),
        fixed(sum("unfinished"), 0),
    );
    let (counted, finished) = (sum("counted"), sum("finished"));
    if counted < finished {
        let counted = fixed(counted, 0);
        text.push_str(&format!(" | {counted} counted, the others are warm-up or drain"));
    }
    let not_admitted = sum("not_admitted");
    if not_admitted > 0.0 {
        let number = fixed(not_admitted, 0);
        text.push_str(&format!(" | admission control rejected {number}"));
    }
    vec![wrapped("", &text)]
}

/// A single request has no percentiles.
fn one_request(v: &VariantResult) -> Vec<Line> {
    if v.mean("finished") != Some(1.0) {
        return vec![wrapped(
            "",
            "the request did not finish: see `status` in request_metrics.csv",
        )];
    }
    let show = |name: &str, metric: &str| {
        v.mean(metric).map(|seconds| format!("{name} {}", Unit::Seconds.show(seconds)))
    };
    let mut items: Vec<String> = [
        show("TTFT", "ttft.mean"),
        show("TPOT", "tpot.mean"),
        show("longest gap", "itl.max"),
        show("total", "e2e.mean"),
    ]
    .into_iter()
    .flatten()
    .collect();
    items.extend(
        v.mean("output_throughput").map(|rate| format!("{} output tok/s", number(rate, 3))),
    );
    vec![packed("", &items, " | ")]
}

/// `2.01 +- 0.04`, with as many decimals as the mean deserves.
fn with_interval(spread: Spread) -> String {
    let decimals = decimals_for(spread.mean, 3);
    match spread.ci95 {
        Some(ci95) => format!("{} +- {}", fixed(spread.mean, decimals), fixed(ci95, decimals)),
        None => fixed(spread.mean, decimals),
    }
}

fn throughput(v: &VariantResult) -> Vec<Line> {
    let mut items = Vec::new();
    let window = v.mean("window_request_throughput").is_some();
    let prefix = if window { "window_" } else { "" };
    for (metric, unit) in [("request_throughput", "req/s"), ("output_throughput", "output tok/s")] {
        let spread = v.spread(&format!("{prefix}{metric}"));
        items.extend(spread.map(|spread| format!("{} {unit}", with_interval(spread))));
    }
    if window {
        let rate = v.mean("window_arrival_rate").unwrap_or_default();
        let seconds = v.mean("window_duration").unwrap_or_default();
        let of = format!("in {} s in which {} req/s arrived", number(seconds, 3), number(rate, 3));
        items.push(of);
    }
    for name in ["running", "waiting"] {
        let mean = v.mean(&format!("{name}_mean"));
        let peak = v.spread(&format!("{name}_peak")).map(|peak| peak.max);
        items.extend(mean.zip(peak).map(|(mean, peak)| {
            format!("{name} mean {}, peak {}", number(mean, 2), fixed(peak, 0))
        }));
    }
    vec![packed("thru", &items, " | ")]
}

fn objectives(v: &VariantResult) -> Vec<Line> {
    let Some(attained) = v.spread("slo_attainment") else { return Vec::new() };
    let Some(slo) = &v.slo else {
        if v.classes.iter().all(|class| class.slo.is_none()) {
            return Vec::new();
        }
        let mut items = vec![format!("{} % within their class's limits", percent(attained.mean))];
        items.extend(v.spread("goodput").map(|s| format!("goodput {} req/s", with_interval(s))));
        return vec![packed("SLO", &items, " | ")];
    };
    let met = slo.met(attained.mean, v.mean("itl.p99"));
    let (label, tone) = if met { ("MET", Tone::Good) } else { ("NOT MET", Tone::Bad) };
    let interval = match attained.ci95 {
        Some(ci95) => format!(" +- {}", fixed(ci95 * 100.0, 0)),
        None => String::new(),
    };
    let text = format!(
        "{}: {}{interval} % of requests (target {} %)",
        slo_limits(slo),
        percent(attained.mean),
        number(slo.attain * 100.0, 2),
    );
    let mut lines = vec![wrapped("SLO", &text).label(label, tone)];
    let mut items = Vec::new();
    items.extend(v.spread("goodput").map(|s| format!("goodput {} req/s", with_interval(s))));
    let parts: Vec<String> = [("TTFT", "ttft"), ("TPOT", "tpot"), ("E2E", "e2e")]
        .into_iter()
        .filter_map(|(name, key)| {
            let share = v.mean(&format!("slo_attainment_{key}"))?;
            Some(format!("{name} alone {} %", percent(share)))
        })
        .collect();
    // With a single limit its share is that of all.
    if parts.len() > 1 {
        items.extend(parts);
    }
    lines.push(packed("", &items, " | "));
    lines
}

fn kv(v: &VariantResult, single: bool) -> Vec<Line> {
    let mut items = vec![kv_size(v)];
    let peak = v.spread("kv_allocated_peak").map(|peak| peak.max);
    items.extend(
        v.mean("kv_allocated_mean")
            .zip(peak)
            .map(|(mean, peak)| format!("mean {} %, peak {} %", percent(mean), percent(peak))),
    );
    items.extend(
        v.mean("kv_used_over_allocated")
            .map(|share| format!("used/allocated {} %", percent(share))),
    );
    items.extend(
        v.mean("prefix_hit_rate")
            .filter(|share| *share > 0.0)
            .map(|share| format!("prefix hits {} %", percent(share))),
    );
    let mut lines = vec![packed("KV", &items, " | ")];
    if !single {
        lines.push(packed("", &[preemptions(v)], ""));
    }
    lines
}

fn preemptions(v: &VariantResult) -> String {
    let most = v.spread("preemptions_max").map_or(0.0, |most| most.max);
    match v.spread("preemptions_per_1000") {
        Some(rate) if rate.max > 0.0 => {
            let interval = rate.ci95.map(|ci95| format!(" +- {}", number(ci95, 2)));
            let often = match most {
                1.0 => "none more than once".to_owned(),
                most => format!("none more than {} times", fixed(most, 0)),
            };
            format!(
                "preempted {}{} times per 1000 requests, {often}",
                number(rate.mean, 2),
                interval.unwrap_or_default()
            )
        }
        _ => "no preemptions".to_owned(),
    }
}

/// Speculative decoding, where it is on.
fn speculation(v: &VariantResult) -> Vec<Line> {
    let Some(tokens) = v.mean("tokens_per_step") else { return Vec::new() };
    let mut items = vec![format!("{} tokens per step", number(tokens, 3))];
    items.extend(
        v.mean("acceptance_rate").map(|rate| format!("{} % of drafts accepted", percent(rate))),
    );
    items.extend(
        v.mean("speculative_speedup")
            .map(|ratio| format!("{} x as fast as without drafts", number(ratio, 3))),
    );
    vec![packed("drafts", &items, " | ")]
}

/// Where the stages' time went.
fn time(v: &VariantResult) -> Vec<Line> {
    let share = |metric: &str| v.mean(metric).filter(|share| *share > 0.0);
    let item = |name: &str, metric: &str| {
        share(metric).map(|share| format!("{name} {} %", percent(share)))
    };
    let parts = [
        item("decode attention", "busy_attention_decode"),
        item("prefill attention", "busy_attention_prefill"),
        item("communication", "busy_communication"),
    ];
    let mut items = Vec::new();
    items.extend(item("busy", "busy_fraction"));
    // A closed form has no parts; all of it would be "other".
    if parts.iter().any(Option::is_some) {
        items.extend(parts.into_iter().flatten());
        items.extend(item("GEMM and other", "busy_other"));
    }
    items.extend(item("batches with prompts", "busy_with_prefill"));
    items.extend(item("MFU", "mfu"));
    if items.is_empty() { Vec::new() } else { vec![packed("time", &items, " | ")] }
}
