//! What a workload refuses, and in which words.

use super::distribution_tests::spec;
use crate::base::SettingError;

fn refused(ron: &str) -> SettingError {
    match spec(ron).check(std::path::Path::new(".")) {
        Ok(_) => panic!("accepted: {ron}"),
        Err(error) => error,
    }
}

const FIXED: &str = "Fixed(prompt: 1, output: 1)";

#[test]
fn arrivals() {
    for (arrivals, path, found) in [
        ("Poisson(qps: 0)", "arrivals.qps", "0"),
        ("Poisson(qps: -1)", "arrivals.qps", "-1"),
        ("Poisson(qps: NaN)", "arrivals.qps", "NaN"),
        ("Poisson(qps: inf)", "arrivals.qps", "inf"),
        ("Poisson(qps: 1e-300)", "arrivals.qps", "1e-300"),
        ("Poisson(qps: 2, clip: 0)", "arrivals.clip", "0"),
        ("Poisson(qps: 2, clip: NaN)", "arrivals.clip", "NaN"),
        ("Gamma(qps: 0, cv: 1)", "arrivals.qps", "0"),
        ("Gamma(qps: 2, cv: 0)", "arrivals.cv", "0"),
        ("Gamma(qps: 2, cv: -0.5)", "arrivals.cv", "-0.5"),
        ("Gamma(qps: 2, cv: 1e9)", "arrivals.cv", "1000000000"),
        ("Uniform(qps: -3)", "arrivals.qps", "-3"),
        ("Concurrency(0)", "arrivals", "Concurrency(0)"),
        ("Trace(file: \"absent.csv\")", "arrivals.file", "./absent.csv: No such file"),
        ("Trace(file: \".\")", "arrivals.file", "./.: a directory"),
    ] {
        let error = refused(&format!("(requests: 9, arrivals: {arrivals}, lengths: {FIXED})"));
        assert_eq!(error.path, path, "{error}");
        assert!(error.found.starts_with(found), "{error}");
    }
}

#[test]
fn lengths() {
    for (lengths, path) in [
        ("Fixed(prompt: 0, output: 1)", "lengths.prompt"),
        ("Fixed(prompt: 1, output: 0)", "lengths.output"),
        ("Fixed(prompt: 4000000000, output: 1)", "lengths.prompt"),
        ("Uniform(total: (9, 4), prompt_share: 0.5)", "lengths.total"),
        ("Uniform(total: (0, 4), prompt_share: 0.5)", "lengths.total"),
        ("Uniform(total: (1, 4), prompt_share: 0.5)", "lengths.total"),
        ("Uniform(total: (5, 90), prompt_share: 0.1)", "lengths.total"),
        ("Uniform(total: (4, 9), prompt_share: 0)", "lengths.prompt_share"),
        ("Uniform(total: (4, 9), prompt_share: 1)", "lengths.prompt_share"),
        ("Uniform(total: (4, 9), prompt_share: NaN)", "lengths.prompt_share"),
        ("Uniform(total: (4, 9))", "lengths"),
        ("Uniform(prompt: (4, 9), prompt_share: 0.5)", "lengths"),
        ("Uniform(total: (4, 9), prompt_share: 0.5, output: (1, 2))", "lengths"),
        ("Uniform(prompt: (9, 4), output: (1, 2))", "lengths.prompt"),
        ("Uniform(prompt: (4, 9), output: (0, 2))", "lengths.output"),
        ("Zipf(total: (9, 4), theta: 1, prompt_share: 0.5)", "lengths.total"),
        ("Zipf(total: (1, 4), theta: 1, prompt_share: 0.5)", "lengths.total"),
        ("Zipf(total: (2, 90000000), theta: 1, prompt_share: 0.5)", "lengths.total"),
        ("Zipf(total: (2, 9), theta: -1, prompt_share: 0.5)", "lengths.theta"),
        ("Zipf(total: (2, 9), theta: NaN, prompt_share: 0.5)", "lengths.theta"),
        ("Zipf(total: (2, 9), theta: 1, prompt_share: 2)", "lengths.prompt_share"),
        (
            "LogNormal(prompt: (median: 0, p90: 9), output: (median: 4, p90: 9))",
            "lengths.prompt.median",
        ),
        (
            "LogNormal(prompt: (median: 9, p90: 9), output: (median: 4, p90: 9))",
            "lengths.prompt.p90",
        ),
        (
            "LogNormal(prompt: (median: 4, p90: 9), output: (median: 4, p90: inf))",
            "lengths.output.p90",
        ),
        (
            "LogNormal(prompt: (median: 4, p90: 9, clip: (9, 4)), output: (median: 4, p90: 9))",
            "lengths.prompt.clip",
        ),
        (
            "LogNormal(prompt: (median: 4, p90: 9, clip: (0, 4)), output: (median: 4, p90: 9))",
            "lengths.prompt.clip",
        ),
        (
            "LogNormal(prompt: (median: 4, p90: 9), output: (median: 4, p90: 9), max_total: 1)",
            "lengths.max_total",
        ),
        ("Empirical()", "lengths"),
        ("Empirical(name: \"azure-conv-2023\", file: \"x.ron\")", "lengths"),
        ("Empirical(name: \"azure\")", "lengths.name"),
        ("Empirical(name: \"azure-conv-2023\", max_total: 0)", "lengths.max_total"),
        ("Empirical(file: \"absent.ron\")", "lengths.file"),
        ("Empirical(file: \"Cargo.toml\")", "lengths.file"),
        ("Trace(file: \"absent.csv\")", "lengths.file"),
        ("Trace(file: \"x.csv\", prompt_scale: -1)", "lengths.prompt_scale"),
        ("Trace(file: \"x.csv\", output_scale: NaN)", "lengths.output_scale"),
        ("Trace(file: \"x.csv\", max_total: 1)", "lengths.max_total"),
    ] {
        let error = refused(&format!("(requests: 9, arrivals: Static, lengths: {lengths})"));
        assert_eq!(error.path, path, "{error}");
    }
}

#[test]
fn a_total_that_hardly_any_pair_meets() {
    let with = |max_total: u32, clip: &str| {
        refused(&format!(
            "(requests: 9, arrivals: Static, lengths: LogNormal(\
             prompt: (median: 1000, p90: 1500, clip: {clip}), output: (median: 400, p90: 800), \
             max_total: {max_total}))"
        ))
    };
    let error = with(500, "(600, 4000)");
    assert_eq!(
        error.to_string(),
        "`lengths.max_total` is 500, expected at least 601, the sum of the smallest lengths"
    );
    let error = with(200, "(1, 4000)");
    assert_eq!(error.path, "lengths.max_total");
    assert!(error.found.starts_with("200, which 0 of 10000 trial pairs meet"), "{error}");
}

#[test]
fn bounds_and_margins() {
    let poisson = "arrivals: Poisson(qps: 1)";
    for (ron, path) in [
        (format!("(requests: 0, {poisson}, lengths: {FIXED})"), "requests"),
        (format!("({poisson}, lengths: {FIXED})"), "requests"),
        (format!("(arrivals: Concurrency(4), lengths: {FIXED})"), "requests"),
        (format!("(duration_s: 5, arrivals: Static, lengths: {FIXED})"), "requests"),
        (
            format!("(requests: 10000000000, arrivals: Poisson(qps: 0.01), lengths: {FIXED})"),
            "requests",
        ),
        (format!("(duration_s: 0, {poisson}, lengths: {FIXED})"), "duration_s"),
        (format!("(duration_s: inf, {poisson}, lengths: {FIXED})"), "duration_s"),
        (format!("(requests: 5, lengths: {FIXED})"), "arrivals"),
        (format!("(requests: 5, {poisson})"), "lengths"),
        ("()".to_owned(), "arrivals"),
        (format!("({poisson}, trace: (file: \"x.csv\"))"), "arrivals"),
        (format!("(lengths: {FIXED}, trace: (file: \"x.csv\"))"), "lengths"),
        ("(requests: 5, trace: (file: \"x.csv\"))".to_owned(), "requests"),
        ("(trace: (file: \"x.csv\", limit: 0))".to_owned(), "trace.limit"),
        (format!("(requests: 5, {poisson}, lengths: {FIXED}, warmup: Requests(5))"), "warmup"),
        (
            format!(
                "(requests: 5, {poisson}, lengths: {FIXED}, warmup: Requests(3), drain: Requests(2))"
            ),
            "warmup",
        ),
        (
            format!(
                "(duration_s: 5, {poisson}, lengths: {FIXED}, warmup: Seconds(3), drain: Seconds(2))"
            ),
            "warmup",
        ),
        (format!("(requests: 5, {poisson}, lengths: {FIXED}, warmup: Seconds(-1))"), "warmup"),
        (format!("(requests: 5, {poisson}, lengths: {FIXED}, drain: Seconds(NaN))"), "drain"),
        (
            format!("(requests: 5, arrivals: Static, lengths: {FIXED}, warmup: Seconds(1))"),
            "warmup",
        ),
        (
            format!("(requests: 5, arrivals: Concurrency(2), lengths: {FIXED}, drain: Seconds(1))"),
            "drain",
        ),
        (
            format!(
                "(duration_s: 5, arrivals: Concurrency(2), lengths: {FIXED}, drain: Requests(1))"
            ),
            "drain",
        ),
    ] {
        let error = refused(&ron);
        assert_eq!(error.path, path, "{error}: {ron}");
    }
}

#[test]
fn misspelt_settings() {
    let options = crate::base::ron_options();
    for ron in [
        "(request: 5)",
        "(arrivals: Poisson(qps: 2, rate: 3))",
        "(arrivals: Poison(qps: 2))",
        "(arrivals: Static(qps: 2))",
        "(lengths: Fixed(prompt: 2))",
        "(lengths: LogNormal(prompt: (median: 2, p99: 3), output: (median: 2, p90: 3)))",
        "(lengths: Fixed(prompt: -1, output: 2))",
        "(trace: (file: \"x\", format: Csv))",
        "(trace: (file: \"x\", format: Columns(time: \"t\")))",
        "(lengths: Trace(file: \"x\", on_end: Wrap))",
        "(warmup: Minutes(3))",
    ] {
        assert!(options.from_str::<super::WorkloadSpec>(ron).is_err(), "{ron}");
    }
}
