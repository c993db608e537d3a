//! `summary.json`: a run's (or an experiment's) numbers for programs. Keys keep their order, so
//! equal results give equal bytes.

use serde_json::{Map, Value, json};

use crate::metrics::names::FAMILIES;
use crate::metrics::unit::Unit;
use crate::metrics::{
    ClassResult, ExperimentResult, Load, ModelResult, Outcome, Spread, VariantResult, names,
};
use crate::workload::Slo;

/// The file's name.
pub const SUMMARY: &str = "summary.json";

/// The text of `summary.json`. Over several seeds every number is the mean over seeds, but
/// `batch_iterations`, which is the first seed's, so that it stays the number of rows in its
/// `batch_metrics.csv`; `metrics` has mean, 95 % interval, smallest and largest of every metric, in
/// the units of the registry (seconds, shares). With variants their summaries are under `variants`,
/// and `batch_iterations` is the first variant's.
pub fn render(result: &ExperimentResult) -> String {
    let mut text = serde_json::to_string_pretty(&summary(result)).unwrap_or_default();
    text.push('\n');
    text
}

/// The summary as a value.
pub fn summary(result: &ExperimentResult) -> Value {
    let mut out = Map::new();
    out.insert("scenario".to_owned(), json!(result.name));
    out.insert("title".to_owned(), json!(result.title));
    match result.variants.as_slice() {
        [only] if only.name.is_empty() => out.extend(variant(only)),
        many => {
            let first = many.first().map(|first| first_run(first, "batch_iterations"));
            out.insert("batch_iterations".to_owned(), json!(first));
            let variants: Map<String, Value> =
                many.iter().map(|one| (one.name.clone(), Value::Object(variant(one)))).collect();
            out.insert("variants".to_owned(), Value::Object(variants));
        }
    }
    if !result.misfits.is_empty() {
        let why = result.misfits.iter().map(|misfit| (misfit.name.clone(), json!(misfit.why)));
        out.insert("does_not_fit".to_owned(), Value::Object(why.collect()));
    }
    out.insert("exact_steps".to_owned(), json!(result.exact_steps));
    out.insert("expectations".to_owned(), result.outcomes.iter().map(outcome).collect());
    Value::Object(out)
}

/// One of several models: what it is, its memory, and the means of its metrics.
fn model(v: &VariantResult, one: &ModelResult) -> Value {
    let metrics: Map<String, Value> = names::all()
        .map(|metric| (metric, v.mean_of(&one.name, &metric.name)))
        .filter(|(metric, mean)| !metric.optional || mean.is_some_and(|mean| mean != 0.0))
        .map(|(metric, mean)| (metric.name.clone(), value(&metric.name, mean)))
        .collect();
    json!({
        "what": one.what,
        "kv": { "blocks_per_replica": one.kv_blocks, "block_size": one.block_size },
        "memory_gib_per_gpu": { "weights": one.weight_gib, "kv": one.kv_gib },
        "metrics": metrics,
    })
}

/// A class of requests: its objectives, and the means of the metrics that it has.
fn class(v: &VariantResult, one: &ClassResult) -> Value {
    let mean = |metric: &str| v.mean_of_class(&one.name, metric);
    let metrics: Map<String, Value> = names::all()
        .filter(|metric| names::is_of_classes(&metric.name))
        .map(|metric| (metric.name.clone(), value(&metric.name, mean(&metric.name))))
        .collect();
    json!({
        "slo": one.slo.as_ref().map(|slo| limits(slo, &mean)),
        "metrics": metrics,
    })
}

fn variant(v: &VariantResult) -> Map<String, Value> {
    let mean = |metric: &str| value(metric, v.mean(metric));
    let runs: Vec<_> = v.runs.iter().collect();
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        out.insert(key.to_owned(), value);
    };
    put("what", json!(v.what));
    put("batch_iterations", first_run(v, "batch_iterations"));
    put("seeds", v.runs.iter().map(|run| json!(run.seed)).collect());

    // The keys of vLLM's benchmark.
    put("duration", mean("duration"));
    put("completed", mean("counted"));
    let failed = v.mean("rejected").zip(v.mean("unfinished")).map(|(a, b)| a + b);
    put("failed", value("rejected", failed));
    put("total_input_tokens", mean("input_tokens"));
    put("total_output_tokens", mean("output_tokens"));
    put("request_throughput", mean("request_throughput"));
    put("request_goodput", mean("goodput"));
    put("output_throughput", mean("output_throughput"));
    put("total_token_throughput", mean("total_token_throughput"));
    for (family, key) in
        [("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2el")].into_iter().chain(
            // Not of vLLM, in the same form.
            [
                ("queue", "queue"),
                ("ntpot", "ntpot"),
                ("vidur_tpot", "vidur_tpot"),
                ("kv_transfer", "kv_transfer"),
            ],
        )
    {
        debug_assert!(FAMILIES.iter().any(|known| known.name == family));
        let shown = |mean| names::is_shown(mean, &runs);
        if !names::find(&format!("{family}.mean")).is_some_and(shown) {
            continue;
        }
        for (statistic, prefix) in [
            ("mean", "mean"),
            ("p50", "median"),
            ("std", "std"),
            ("p50", "p50"),
            ("p90", "p90"),
            ("p95", "p95"),
            ("p99", "p99"),
        ] {
            let seconds = v.mean(&format!("{family}.{statistic}"));
            put(&format!("{prefix}_{key}_ms"), json!(seconds.map(|seconds| seconds * 1e3)));
        }
    }

    put(
        "requests",
        json!({
            "arrived": mean("arrived"),
            "finished": mean("finished"),
            "rejected": mean("rejected"),
            "unfinished": mean("unfinished"),
            "counted": mean("counted"),
        }),
    );
    if names::is_shown_by("window_duration", &runs) {
        let rates = ["arrival_rate", "request_throughput", "output_throughput"];
        let names = ["duration", "arrived", "finished", "input_tokens", "output_tokens"];
        let more = ["total_token_throughput", "goodput"];
        let all = names.iter().chain(&rates).chain(&more);
        let value = |key: &&str| ((*key).to_owned(), mean(&format!("window_{key}")));
        put("window", all.map(value).collect());
    }
    put("load", load(v));
    put("slo", v.slo.as_ref().map_or(Value::Null, |slo| objectives(v, slo)));
    put(
        "kv",
        json!({
            "blocks_per_replica": v.kv_blocks,
            "block_size": v.block_size,
            "allocated_mean": mean("kv_allocated_mean"),
            "allocated_peak": mean("kv_allocated_peak"),
            "used_over_allocated": mean("kv_used_over_allocated"),
            "prefix_hit_rate": mean("prefix_hit_rate"),
        }),
    );
    put("running", json!({ "mean": mean("running_mean"), "peak": mean("running_peak") }));
    put("waiting", json!({ "mean": mean("waiting_mean"), "peak": mean("waiting_peak") }));
    put(
        "preemptions",
        json!({
            "total": mean("preemptions"),
            "per_1000_requests": mean("preemptions_per_1000"),
            "max_per_request": mean("preemptions_max"),
        }),
    );
    if v.mean("host_kv_blocks").is_some() {
        let names = [
            "host_kv_blocks",
            "host_kv_peak",
            "host_hit_rate",
            "reloaded_tokens",
            "swap_outs",
            "swap_ins",
            "swap_fallbacks",
            "bytes_to_host",
            "bytes_from_host",
            "host_copy_wait",
        ];
        put("kv_offload", names.iter().map(|&name| (name.to_owned(), mean(name))).collect());
    }
    put("mfu", mean("mfu"));
    put(
        "time",
        json!({
            "busy_fraction": mean("busy_fraction"),
            "of_busy": {
                "attention_prefill": mean("busy_attention_prefill"),
                "attention_decode": mean("busy_attention_decode"),
                "communication": mean("busy_communication"),
                "other": mean("busy_other"),
            },
            "with_prefill": mean("busy_with_prefill"),
            "basis": {
                "measured": mean("busy_measured"),
                "transferred": mean("busy_transferred"),
                "extrapolated": mean("busy_extrapolated"),
            },
        }),
    );
    if !v.models.is_empty() {
        put("models", v.models.iter().map(|one| (one.name.clone(), model(v, one))).collect());
    }
    if !v.classes.is_empty() {
        put("classes", v.classes.iter().map(|one| (one.name.clone(), class(v, one))).collect());
    }
    put(
        "timing",
        json!({
            "rests_on": v.timing.rests_on,
            "not_modelled": v.timing.not_modelled,
            "checked_against": v.timing.checked_against,
            "physical": v.timing.physical,
            "estimate": v.timing.estimate,
        }),
    );
    let spreads = names::shown(&runs)
        .into_iter()
        .map(|metric| (metric.name.clone(), spread(&metric.name, v.spread(&metric.name))));
    let histograms = v.runs.iter().any(|run| run.histograms);
    put("percentiles", json!(if histograms { "histograms, within 0.1 %" } else { "exact" }));
    put("metrics", Value::Object(spreads.collect()));
    out
}

fn load(v: &VariantResult) -> Value {
    let (kind, offered, concurrency) = match v.load {
        Load::Open { offered } => ("open", Some(offered), None),
        Load::AllAtOnce => ("all at once", None, None),
        Load::ClosedLoop { concurrency } => ("closed loop", None, Some(concurrency)),
    };
    let mut load = json!({
        "kind": kind,
        "offered_rate": offered,
        "measured_rate": v.mean("offered_rate"),
        "concurrency": concurrency,
        "capacity": v.capacity.rate(),
        "ratio": v.load_ratio(),
        "verdict": v.verdict().key(),
    });
    if let Some(why) = v.capacity.unknown() {
        load["capacity_not_known"] = json!(why);
    }
    load
}

fn objectives(v: &VariantResult, slo: &Slo) -> Value {
    limits(slo, &|metric| v.mean(metric))
}

fn limits(slo: &Slo, mean: &dyn Fn(&str) -> Option<f64>) -> Value {
    let attained = mean("slo_attainment");
    json!({
        "ttft_ms": slo.ttft_ms,
        "tpot_ms": slo.tpot_ms,
        "e2e_ms": slo.e2e_ms,
        "itl_p99_ms": slo.itl_p99_ms,
        "attain": slo.attain,
        "attainment": attained,
        "met": attained.map(|attained| slo.met(attained, mean("itl.p99"))),
        "goodput": mean("goodput"),
    })
}

fn outcome(outcome: &Outcome) -> Value {
    json!({
        "metric": outcome.metric,
        "expected": outcome.expected,
        "measured": outcome.measured,
        "met": outcome.met,
        "source": outcome.source,
    })
}

fn spread(metric: &str, spread: Option<Spread>) -> Value {
    let Some(spread) = spread else { return Value::Null };
    json!({
        "mean": value(metric, Some(spread.mean)),
        "ci95": spread.ci95,
        "min": value(metric, Some(spread.min)),
        "max": value(metric, Some(spread.max)),
    })
}

fn first_run(v: &VariantResult, metric: &str) -> Value {
    value(metric, v.runs.first().and_then(|run| run.get(metric)))
}

/// A number; whole if it is a count (or the mean of equal ones).
fn value(metric: &str, value: Option<f64>) -> Value {
    let count = names::find(metric).is_some_and(|metric| metric.unit == Unit::Count);
    match value {
        Some(number) if count && number.fract() == 0.0 && (0.0..1e15).contains(&number) => {
            json!(number as u64)
        }
        other => json!(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::examples;

    #[test]
    fn the_keys_of_vllm_and_the_iterations() {
        let result = examples::one_run();
        let text = render(&result);
        assert_eq!(text, render(&result));
        let value: Value = serde_json::from_str(&text).unwrap();
        let first =
            value.as_object().unwrap().iter().find(|(key, _)| key.contains("iterations")).unwrap();
        assert_eq!((first.0.as_str(), first.1.as_u64()), ("batch_iterations", Some(12_520)));
        let before = text.split("iterations").next().unwrap();
        assert!(before.ends_with("\"batch_"), "not the first in the file");
        for key in [
            "completed",
            "failed",
            "total_input_tokens",
            "total_output_tokens",
            "request_throughput",
            "request_goodput",
            "output_throughput",
            "total_token_throughput",
            "mean_ttft_ms",
            "median_tpot_ms",
            "std_itl_ms",
            "p50_e2el_ms",
            "p90_ttft_ms",
            "p95_ttft_ms",
            "p99_e2el_ms",
        ] {
            assert!(value[key].is_number(), "{key}: {}", value[key]);
        }
        let requests = &value["requests"];
        assert_eq!(requests["arrived"], json!(1000));
        assert_eq!(value["load"]["verdict"], json!("near saturation"));
        assert_eq!(value["expectations"][0]["met"], json!(true));
        assert_eq!(value["metrics"]["ttft.mean"]["ci95"], Value::Null);
    }

    #[test]
    fn seeds_are_means_with_intervals() {
        let value = summary(&examples::many_seeds());
        assert_eq!(value["seeds"].as_array().map(Vec::len), Some(10));
        assert!(value["metrics"]["ttft.mean"]["ci95"].as_f64().unwrap() > 0.0);
        assert_eq!(value["batch_iterations"], json!(12_520));
    }

    #[test]
    fn variants_have_their_own() {
        let value = summary(&examples::variants());
        assert_eq!(value["batch_iterations"], json!(12_520));
        let names: Vec<&String> = value["variants"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["paged", "oracle", "pow2", "max"]);
        assert_eq!(value["variants"]["max"]["running"]["peak"], json!(29));
    }
}
