//! The rows of `time_series.csv`: by themselves, and against the other files.

use super::Findings;
use super::files::{Files, Status, Time};

pub(super) fn check(files: &Files, findings: &mut Findings) {
    let Some(series) = &files.series else { return };
    let mut before = 0;
    for row in series {
        let seconds = (row.time - before) as f64 / 1e9;
        findings.near("throughput of an interval", row.throughput * seconds, row.output as f64);
        findings.at_most("KV blocks at a time", row.kv_allocated, 1.0);
        if (row.kv_blocks > 0) != (row.kv_allocated > 0.0) || row.time <= before {
            findings.add(format!("a row of the time series does not fit: {row:?}"));
        }
        before = row.time;
    }
    let sum = |count: fn(&super::files::Interval) -> u64| series.iter().map(count).sum::<u64>();
    findings.equal("finished in intervals", sum(|row| row.finished), files.count("finished"));
    if let Some(batches) = &files.batches {
        let prompts: u64 = batches.iter().map(|b| b.prefill * b.count).sum();
        findings.equal("prompt tokens in intervals", sum(|row| row.prompt), prompts);
    }
    let Some(requests) = &files.requests else { return };
    if files.count("unfinished") == 0 {
        let output = requests.iter().filter(|r| r.status == Status::Finished);
        let output: u64 = output.map(|r| r.output).sum();
        findings.equal("output tokens in intervals", sum(|row| row.output), output);
    }
    if files.count("rejected") > 0 {
        return;
    }
    for row in series {
        let there = |time: Time, r: &super::files::Request| {
            r.arrived + files.api_overhead <= time && r.completed.is_none_or(|end| end > time)
        };
        let there = requests.iter().filter(|r| there(row.time, r)).count() as u64;
        let what = format!("requests there at {} ns", row.time);
        findings.equal(&what, row.running + row.waiting, there);
    }
}
