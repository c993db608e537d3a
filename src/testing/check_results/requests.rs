//! The rows of `request_metrics.csv`: by themselves, and against the summary.

use super::Findings;
use super::files::{Files, Request, Status, Time};

pub(super) fn check(files: &Files, findings: &mut Findings) {
    let Some(requests) = &files.requests else { return };
    let of = |status| requests.iter().filter(|r| r.status == status).count() as u64;
    findings.equal("rows of requests", requests.len() as u64, files.count("arrived"));
    findings.equal("rows that finished", of(Status::Finished), files.count("finished"));
    findings.equal("rows that were rejected", of(Status::Rejected), files.count("rejected"));
    findings.equal("rows left unfinished", of(Status::Unfinished), files.count("unfinished"));
    let end = (files.end() * 1e9).round() as Time;
    for request in requests {
        one(request, end, findings);
    }
    let restarts: u64 = requests.iter().map(|r| r.restarts).sum();
    let preemptions = files.summary["preemptions"]["total"].as_u64().unwrap_or(u64::MAX);
    findings.equal("preemptions", preemptions, restarts);
    if files.is_whole() {
        means(files, requests, findings);
    }
    little(files, requests, findings);
}

/// A row by itself.
fn one(r: &Request, end: Time, findings: &mut Findings) {
    let id = &r.id;
    let points = [Some(r.arrived), r.scheduled, r.first_token, r.completed, Some(end)];
    let known: Vec<Time> = points.into_iter().flatten().collect();
    if !known.is_sorted() {
        findings.add(format!("request {id} has times {known:?}"));
    }
    if r.status == Status::Finished && points.contains(&None) {
        findings.add(format!("request {id} finished without {points:?}"));
    }
    if r.status != Status::Finished && (r.completed.is_some() || r.e2e.is_some()) {
        findings.add(format!("request {id} did not finish and has an end"));
    }
    if r.status == Status::Rejected && r.scheduled.is_some() {
        findings.add(format!("request {id} was rejected after it was scheduled"));
    }
    let since = |to: Option<Time>, from: Option<Time>| Some(to? - from?);
    let same = [
        ("ttft", r.ttft, since(r.first_token, Some(r.arrived))),
        ("e2e", r.e2e, since(r.completed, Some(r.arrived))),
        ("queue", r.queue, since(r.scheduled, Some(r.arrived))),
    ];
    for (what, written, computed) in same {
        if written != computed {
            findings.add(format!("request {id}: {what} is {written:?}, by its times {computed:?}"));
        }
    }
    let decode = since(r.completed, r.first_token);
    match (r.tpot, decode, r.output) {
        (None, _, 1) | (None, None, _) => {}
        (Some(tpot), Some(decode), 2..) => {
            findings.near(
                &format!("TPOT of {id}"),
                tpot * (r.output - 1) as f64,
                decode as f64 / 1e9,
            );
        }
        other => findings.add(format!("request {id}: TPOT, decode time and tokens {other:?}")),
    }
    let spent =
        [r.execution, r.preemption, r.transfer.flatten()].into_iter().flatten().sum::<Time>();
    if let Some(alive) = since(r.completed, r.scheduled)
        && spent > alive
    {
        findings.add(format!("request {id} was busy for {spent} ns and there for {alive}"));
    }
    if r.cached + r.reloaded.unwrap_or(0) > r.prompt || r.accepted > r.drafted {
        findings
            .add(format!("request {id} found more in the cache, or accepted more, than there is"));
    }
    if let Some(transfer) = r.transfer
        && r.status == Status::Finished
        && transfer.is_some() != (r.output > 1)
    {
        findings.add(format!("request {id} of {} tokens has transfer {transfer:?}", r.output));
    }
}

/// Means and sums over all rows, where the statistics count all.
fn means(files: &Files, requests: &[Request], findings: &mut Findings) {
    let finished: Vec<&Request> =
        requests.iter().filter(|r| r.status == Status::Finished).collect();
    let tokens = |count: fn(&Request) -> u64| finished.iter().map(|r| count(r)).sum::<u64>();
    let summed = |name: &str| files.summary[name].as_u64().unwrap_or(u64::MAX);
    findings.equal("input tokens", summed("total_input_tokens"), tokens(|r| r.prompt));
    findings.equal("output tokens", summed("total_output_tokens"), tokens(|r| r.output));
    let seconds = |time: Option<Time>| time.map(|time| time as f64 / 1e9);
    type Value<'a> = &'a dyn Fn(&Request) -> Option<f64>;
    let families: [(&str, Value<'_>); 6] = [
        ("ttft.mean", &|r| seconds(r.ttft)),
        ("tpot.mean", &|r| r.tpot),
        ("e2e.mean", &|r| seconds(r.e2e)),
        ("queue.mean", &|r| seconds(r.queue)),
        ("execution.mean", &|r| seconds(r.execution)),
        ("kv_transfer.mean", &|r| seconds(r.transfer.flatten())),
    ];
    for (name, value) in families {
        let values: Vec<f64> = finished.iter().filter_map(|r| value(r)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        match files.metric(name) {
            Some(written) => findings.near(name, written, mean),
            None if values.is_empty() => {}
            None => findings.add(format!("{name} has no value, by the rows it is {mean}")),
        }
    }
}

/// Little's law: the requests that are there, integrated over time, are the times that they were
/// there.
fn little(files: &Files, requests: &[Request], findings: &mut Findings) {
    let end = files.end();
    let there = |r: &Request| {
        let from = (r.arrived + files.api_overhead) as f64 / 1e9;
        match (r.status, r.completed) {
            (Status::Finished, Some(completed)) => (completed as f64 / 1e9 - from).max(0.0),
            (Status::Unfinished, _) => (end - from).max(0.0),
            _ => 0.0,
        }
    };
    let times: f64 = requests.iter().map(there).sum();
    let mean = files.metric("running_mean").zip(files.metric("waiting_mean"));
    if let (Some((running, waiting)), 0) = (mean, files.count("rejected")) {
        findings.near("Little's law: requests x time", (running + waiting) * end, times);
    }
}
