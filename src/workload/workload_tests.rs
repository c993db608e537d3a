//! Bounds, windows and hints of a checked workload.

use super::distribution_tests::{requests, spec, workload};
use super::survey::Survey;
use super::traces::TraceFormat;
use super::*;

const FIXED: &str = "lengths: Fixed(prompt: 100, output: 10)";

fn counted(workload: &Workload, seed: u64) -> Vec<u64> {
    let window = workload.window(seed);
    let requests = requests(workload, seed);
    let inside =
        requests.iter().enumerate().filter(|(n, r)| window.contains(*n as u64, r.arrived_at));
    inside.map(|(n, _)| n as u64).collect()
}

#[test]
fn whichever_bound_comes_first() {
    // One arrival a second, at 1 s, 2 s, ...; that at 10 s is already outside.
    let at = |bounds: &str| workload(&format!("({bounds}, arrivals: Uniform(qps: 1.0), {FIXED})"));
    let [by_time, by_count] =
        [at("requests: 50, duration_s: 10.0"), at("requests: 5, duration_s: 10.0")];
    assert_eq!(requests(&by_time, 1).len(), 9);
    assert_eq!(requests(&by_count, 1).len(), 5);
    let timed = at("duration_s: 10.0");
    assert_eq!(requests(&timed, 1).len(), 9);
    assert_eq!((timed.request_count(), by_time.request_count()), (None, Some(50)));
    assert_eq!(timed.arrivals_end(), Some(Nanos(10_000_000_000)));
    // A source that is over stays over.
    let mut source = timed.source(1);
    while source.next_request().is_some() {}
    assert_eq!(source.next_request(), None);
}

#[test]
fn windows_by_number() {
    let w = workload(&format!(
        "(requests: 10, arrivals: Poisson(qps: 1.0), {FIXED}, warmup: Requests(2), drain: Requests(3))"
    ));
    assert_eq!(counted(&w, 4), vec![2, 3, 4, 5, 6]);
    // The number that arrive within a duration depends on the seed.
    let w = workload(&format!(
        "(duration_s: 100.0, arrivals: Poisson(qps: 1.0), {FIXED}, drain: Requests(3))"
    ));
    for seed in 0..5 {
        assert_eq!(counted(&w, seed).len(), requests(&w, seed).len() - 3);
    }
}

#[test]
fn windows_by_time() {
    let w = workload(&format!(
        "(requests: 10, arrivals: Uniform(qps: 1.0), {FIXED}, warmup: Seconds(3.0), drain: Seconds(2.0))"
    ));
    // Arrivals at 1 s to 10 s; 3 s to 8 s count.
    assert_eq!(counted(&w, 4), vec![2, 3, 4, 5, 6, 7]);
    assert_eq!(
        w.survey(4, 110),
        Survey {
            requests: 10,
            counted: 6,
            over_limit: 0,
            longest_prompt: 100,
            longest_output: 10,
            longest_total: 110,
            prompt_tokens: 1000,
            output_tokens: 100,
        }
    );
    assert_eq!(w.survey(4, 109).over_limit, 10);
    let w = workload(&format!(
        "(requests: 10, arrivals: Uniform(qps: 1.0), {FIXED}, drain: Seconds(60.0))"
    ));
    assert_eq!(counted(&w, 4), Vec::<u64>::new());
    assert_eq!(
        workload(&format!("(requests: 2, arrivals: Static, {FIXED})")).window(1),
        Window::ALL
    );
}

#[test]
fn closed_loop() {
    let w = workload(&format!(
        "(requests: 40, arrivals: Concurrency(16), {FIXED}, drain: Requests(8))"
    ));
    assert_eq!((w.concurrency(), w.offered_rate(), w.request_count()), (Some(16), None, Some(40)));
    let all = requests(&w, 1);
    assert!(all.len() == 40 && all.iter().all(|r| r.arrived_at == Nanos::ZERO));
    assert_eq!(w.window(1).end_index, 32);
    let timed = workload(&format!("(duration_s: 60.0, arrivals: Concurrency(16), {FIXED})"));
    assert_eq!(timed.arrivals_end(), Some(Nanos(60_000_000_000)));
    assert_eq!(timed.survey(1, 50).requests, 100_000);
    assert_eq!(timed.saturated().request_count(), Some(256));
}

#[test]
fn saturated_keeps_the_lengths() {
    let lengths = "lengths: Uniform(prompt: (1, 900), output: (1, 90))";
    let w = workload(&format!(
        "(requests: 30, arrivals: Poisson(qps: 2.0), {lengths}, warmup: Requests(5))"
    ));
    let saturated = w.saturated();
    assert_eq!((saturated.offered_rate(), saturated.window(1)), (None, Window::ALL));
    let expected: Vec<NewRequest> =
        requests(&w, 8).into_iter().map(|r| NewRequest { arrived_at: Nanos::ZERO, ..r }).collect();
    assert_eq!(requests(&saturated, 8), expected);
    let timed = workload(&format!("(duration_s: 60.0, arrivals: Poisson(qps: 2.0), {lengths})"));
    assert_eq!(timed.saturated().request_count(), Some(120));
}

#[test]
fn hints() {
    let hint = |lengths: &str| {
        let ron = format!("(requests: 1000, arrivals: Static, lengths: {lengths})");
        let workload = workload(&ron);
        let hint = workload.max_total_hint();
        assert!(workload.survey(3, 0).longest_total <= hint.unwrap_or(u32::MAX));
        hint
    };
    assert_eq!(hint("Fixed(prompt: 3, output: 4)"), Some(7));
    assert_eq!(hint("Uniform(total: (10, 90), prompt_share: 0.5)"), Some(90));
    assert_eq!(hint("Uniform(prompt: (1, 9), output: (2, 5))"), Some(14));
    assert_eq!(hint("Zipf(total: (8, 64), theta: 0.6, prompt_share: 0.5)"), Some(64));
    let parts = |more: &str, clip: &str| {
        format!(
            "LogNormal(prompt: (median: 100, p90: 300{clip}), output: (median: 10, p90: 30{clip}){more})"
        )
    };
    assert_eq!(hint(&parts("", "")), None);
    assert_eq!(hint(&parts("", ", clip: (1, 500)")), Some(1000));
    assert_eq!(hint(&parts(", max_total: 700", "")), Some(700));
    assert!(hint("Empirical(name: \"azure-conv-2023\")").is_some_and(|most| most > 10_000));
    assert_eq!(hint("Empirical(name: \"azure-code-2023\", max_total: 4096)"), Some(4096));
}

#[test]
fn writes_what_it_reads_with_defaults_filled_in() {
    let written = |ron: &str| {
        let config = ron::ser::PrettyConfig::default()
            .extensions(ron::extensions::Extensions::IMPLICIT_SOME)
            .compact_structs(true);
        let text = ron::ser::to_string_pretty(&spec(ron), config).unwrap();
        assert_eq!(spec(&text), spec(ron), "{text}");
        text
    };
    let text = written(
        "(requests: 3, arrivals: Poisson(qps: 2, clip: 3), lengths: Trace(file: \"a.csv\"), warmup: Requests(1))",
    );
    for part in [
        "Poisson(qps: 2.0, clip: 3.0)",
        "format: Auto, shuffle: false, prompt_scale: 1.0, output_scale: 1.0, on_end: Error",
        "warmup: Requests(1)",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("None") && !text.contains("drain"), "{text}");
    let text = written(
        "(trace: (file: \"a.csv\", format: Columns(arrived_at: \"t\", prompt: \"p\", output: \"o\", time_unit: Millis), limit: 7))",
    );
    assert!(text.contains("time_unit: Millis, rebase: false"), "{text}");
    assert!(
        text.contains(
            "time_scale: 1.0, prompt_scale: 1.0, output_scale: 1.0, limit: 7, sort: false"
        ),
        "{text}"
    );
    written(
        "(requests: 1, arrivals: Concurrency(4), lengths: Uniform(total: (2, 9), prompt_share: 0.5))",
    );
    written(
        "(requests: 1, arrivals: Static, lengths: Empirical(name: \"azure-conv-2023\", max_total: 4096))",
    );
}

#[test]
fn the_examples_of_the_documentation_are_accepted() {
    let docs = include_str!("../../docs/workloads.md");
    let mut examples = 0;
    for block in docs.split("```ron\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let settings = text.strip_prefix("workload: ").unwrap();
        let spec = spec(settings);
        if !text.contains("file:") {
            spec.check(std::path::Path::new(".")).unwrap_or_else(|error| panic!("{error}: {text}"));
        }
        examples += 1;
    }
    assert!(examples > 20, "{examples}");
    let names = Arrivals::NAMES.iter().chain(&Lengths::NAMES).chain(&TraceFormat::NAMES);
    for name in names.chain(&Prefix::NAMES) {
        assert!(docs.contains(&format!("`{name}")), "{name} is not documented");
    }
}
