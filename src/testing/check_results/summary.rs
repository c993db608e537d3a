//! What `summary.json` says, by itself.

use super::Findings;
use super::files::Files;

pub(super) fn check(files: &Files, findings: &mut Findings) {
    let metric = |name: &str| files.metric(name);
    let ended = files.count("finished") + files.count("rejected") + files.count("unfinished");
    findings.equal("requests that arrived", files.count("arrived"), ended);
    if files.count("counted") > files.count("finished") {
        findings.add("more requests are counted than finished".to_owned());
    }
    for (small, large) in [
        ("kv_allocated_mean", "kv_allocated_peak"),
        ("running_mean", "running_peak"),
        ("waiting_mean", "waiting_peak"),
        ("goodput", "request_throughput"),
        ("ttft.mean", "ttft.max"),
        ("ttft.p50", "ttft.p99"),
        ("e2e.p99", "e2e.max"),
    ] {
        if let (Some(small_value), Some(most)) = (metric(small), metric(large)) {
            findings.at_most(&format!("{small} against {large}"), small_value, most);
        }
    }
    let shares = [
        "kv_allocated_peak",
        "kv_used_over_allocated",
        "prefix_hit_rate",
        "host_hit_rate",
        "slo_attainment",
        "mfu",
        "busy_fraction",
        "busy_with_prefill",
        "busy_other",
        "busy_measured",
        "busy_transferred",
        "busy_extrapolated",
        "acceptance_rate",
        "host_kv_peak",
    ];
    for name in shares {
        if let Some(share) = metric(name) {
            findings.at_most(name, share, 1.0);
            findings.at_most(&format!("-{name}"), -share, 0.0);
        }
    }
    let parts = |names: &[&str]| names.iter().map(|name| metric(name)).sum::<Option<f64>>();
    let named =
        ["busy_attention_prefill", "busy_attention_decode", "busy_communication", "busy_other"];
    for names in [&named[..], &["busy_measured", "busy_transferred", "busy_extrapolated"][..]] {
        if let Some(sum) = parts(names) {
            findings.near(&names.join(" + "), sum, 1.0);
        }
    }
    rates(files, findings);
}

/// Rates are counts over the time that they say.
fn rates(files: &Files, findings: &mut Findings) {
    let metric = |name: &str| files.metric(name);
    let tokens = metric("input_tokens").zip(metric("output_tokens")).map(|(a, b)| a + b);
    for (rate, count, time) in [
        ("request_throughput", metric("counted"), "duration"),
        ("output_throughput", metric("output_tokens"), "duration"),
        ("total_token_throughput", tokens, "duration"),
        ("window_request_throughput", metric("window_finished"), "window_duration"),
        ("window_output_throughput", metric("window_output_tokens"), "window_duration"),
        ("window_arrival_rate", metric("window_arrived").map(|n| n - 1.0), "window_duration"),
    ] {
        if let (Some(rate_value), Some(count), Some(time)) = (metric(rate), count, metric(time)) {
            findings.near(rate, rate_value * time, count);
        }
    }
}
