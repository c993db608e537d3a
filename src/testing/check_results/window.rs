//! Rates of the steady state, counted again from the rows.

use super::Findings;
use super::files::{Batch, Files, Request, Time};

pub(super) fn check(files: &Files, findings: &mut Findings) {
    let (Some(requests), Some(batches)) = (&files.requests, &files.batches) else { return };
    let (Some(seconds), Some(arrived)) =
        (files.metric("window_duration"), files.metric("window_arrived"))
    else {
        return;
    };
    if files.has_pools() || seconds == 0.0 {
        return;
    }
    // Which requests count is not written, but they arrived one after the other.
    let mut arrivals: Vec<Time> = requests.iter().map(|r| r.arrived).collect();
    arrivals.sort_unstable();
    let spans = arrivals.windows(arrived as usize);
    let fits = |span: &&[Time]| {
        (span[span.len() - 1] - span[0] - (seconds * 1e9).round() as Time).abs() <= 1
    };
    let overhead = files.api_overhead;
    let windows = spans.filter(fits).map(|span| {
        let (from, until) = (span[0] + overhead, span[span.len() - 1] + overhead);
        counted(requests, batches, from, until)
    });
    let count = |name: &str| files.metric(name).unwrap_or(f64::NAN) as u64;
    let written = Counted {
        finished: count("window_finished"),
        prompt: count("window_input_tokens"),
        output: count("window_output_tokens"),
    };
    // How many tokens a batch makes is only known without recomputation and drafts.
    let plain =
        requests.iter().all(|r| r.restarts == 0 && r.drafted.is_none() && r.reloaded.is_none())
            && batches.iter().all(|b| b.count == 1);
    let same = |c: &Counted| {
        (c.finished, c.prompt) == (written.finished, written.prompt)
            && (!plain || c.output == written.output)
    };
    let all: Vec<Counted> = windows.collect();
    if !all.iter().any(same) {
        findings.add(format!("the window has {written:?}, by the rows one of {all:?}"));
    }
}

#[derive(Debug)]
struct Counted {
    finished: u64,
    prompt: u64,
    output: u64,
}

/// What happened after `from` and not after `until`.
fn counted(requests: &[Request], batches: &[Batch], from: Time, until: Time) -> Counted {
    let within = |time: Option<Time>| time.is_some_and(|time| time > from && time <= until);
    let begun = || requests.iter().filter(|r| within(r.first_token));
    let decoded = batches.iter().filter(|b| within(Some(b.completed))).map(|b| b.decode);
    Counted {
        finished: requests.iter().filter(|r| within(r.completed)).count() as u64,
        prompt: begun().map(|r| r.prompt).sum(),
        output: begun().count() as u64 + decoded.sum::<u64>(),
    }
}
