//! What prompts have in common.

use super::distribution_tests::{requests, spec, workload};
use super::trace_tests::check;
use super::*;
use crate::workload::TokenSpan;

const LENGTHS: &str = "arrivals: Static, lengths: Fixed(prompt: 256, output: 10)";

/// The group of every request.
fn groups(workload: &Workload, seed: u64) -> Vec<u64> {
    let requests = requests(workload, seed);
    requests.iter().map(|r| r.content.as_ref().unwrap().prompt[0].id).collect()
}

#[test]
fn a_shared_prefix_is_added_and_kept_once() {
    let w = workload(&format!("(requests: 9, {LENGTHS}, prefix: SharedPrefix(tokens: 2048))"));
    let all = requests(&w, 1);
    let content = all[0].content.as_ref().unwrap();
    assert_eq!(*content.prompt, [TokenSpan { id: 0, tokens: 2048 }]);
    for request in &all {
        assert_eq!((request.prompt_tokens, request.output_tokens), (2304, 10));
        assert!(Arc::ptr_eq(content, request.content.as_ref().unwrap()), "one for all");
    }
    assert_eq!(w.max_total_hint(), Some(2314));
    assert_eq!(w.survey(1, 2313).over_limit, 9);
    // The capacity is that of the same prompts.
    assert_eq!(requests(&w.saturated(), 1), all);
}

#[test]
fn groups_are_drawn_by_their_weights() {
    let prefix = |more: &str| {
        workload(&format!(
            "(requests: 60000, {LENGTHS}, prefix: SharedPrefix(groups: 3, tokens: 64{more}))"
        ))
    };
    let share = |w: &Workload, group: u64| {
        groups(w, 5).iter().filter(|&&g| g == group).count() as f64 / 60_000.0
    };
    let even = prefix("");
    let skewed = prefix(", zipf: 1.0");
    for group in 0..3 {
        assert!((share(&even, group) - 1.0 / 3.0).abs() < 0.01);
        // 1, 1/2 and 1/3 of 11/6.
        let weight = 6.0 / 11.0 / (group + 1) as f64;
        assert!((share(&skewed, group) - weight).abs() < 0.01, "{group}");
    }
    assert_ne!(groups(&even, 5), groups(&even, 6));
    // Groups take no random numbers from lengths or arrivals.
    let with = |prefix: &str| {
        let lengths = "lengths: Uniform(prompt: (1, 99), output: (1, 9))";
        let w = workload(&format!("(requests: 50, arrivals: Poisson(qps: 2), {lengths}{prefix})"));
        requests(&w, 3).iter().map(|r| (r.arrived_at, r.output_tokens)).collect::<Vec<_>>()
    };
    assert_eq!(with(""), with(", prefix: SharedPrefix(groups: 7, tokens: 5)"));
}

#[test]
fn prefixes_that_make_no_sense() {
    for (prefix, path) in [
        ("tokens: 0", "prefix.tokens"),
        ("tokens: 2000000000", "prefix.tokens"),
        ("tokens: 9, groups: 0", "prefix.groups"),
        ("tokens: 9, groups: 2000000", "prefix.groups"),
        ("tokens: 9, zipf: -1", "prefix.zipf"),
        ("tokens: 9, zipf: NaN", "prefix.zipf"),
    ] {
        let ron = format!("(requests: 9, {LENGTHS}, prefix: SharedPrefix({prefix}))");
        let error = spec(&ron).check(std::path::Path::new(".")).unwrap_err();
        assert_eq!(error.path, path);
    }
    let ron = "(trace: (file: \"t.jsonl\"), prefix: SharedPrefix(tokens: 64))";
    let line = r#"{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}"#;
    let error = check(ron, &[("t.jsonl", line)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`prefix` is given for a trace that has its own, expected one source of prefixes"
    );
    // A trace without prefixes takes them.
    let plain = line.replace(r#", "hash_ids": [1, 2]"#, "");
    let w = check(ron, &[("t.jsonl", &plain)]).unwrap();
    assert_eq!(requests(&w, 1)[0].prompt_tokens, 664);
}

const WORKLOAD: &str = "request_id,arrived_at,num_prefill_tokens,num_decode_tokens,priority\n\
                        7,0,40,5,-2\n9,1,35,5,0\n8,2,16,5,3\n";
const PREFIXES: &str = "{\"request_id\": 9, \"input_length\": 35, \"hash_ids\": [1, 4]}\n\
                        \n{\"request_id\": 7, \"hash_ids\": [1, 2, 3]}\n";

fn joined(prefixes: &str, more: &str) -> Result<Vec<NewRequest>, crate::base::SettingError> {
    let ron =
        format!("(trace: (file: \"w.csv\", prefixes: \"p.jsonl.gz\", tokens_per_hash: 16{more}))");
    let w = check(&ron, &[("w.csv", WORKLOAD), ("p.jsonl.gz", prefixes)])?;
    Ok(requests(&w, 1))
}

#[test]
fn prefixes_of_another_file_are_joined_by_id() {
    let all = joined(PREFIXES, "").unwrap();
    let spans = |index: usize| {
        let content = all[index].content.as_ref()?;
        Some(content.prompt.iter().map(|span| (span.id, span.tokens)).collect::<Vec<_>>())
    };
    assert_eq!(spans(0), Some(vec![(1, 16), (2, 16), (3, 8)]));
    assert_eq!(spans(1), Some(vec![(1, 16), (4, 16)]));
    assert_eq!(spans(2), None);
    assert_eq!(all.iter().map(|r| r.priority).collect::<Vec<_>>(), [-2, 0, 3]);
    // A request that is not taken may be named all the same.
    assert_eq!(joined(PREFIXES, ", limit: 1").unwrap().len(), 1);
}

#[test]
fn prefixes_that_do_not_fit_the_trace() {
    for (line, found) in [
        (r#"{"hash_ids": [1]}"#, "no key request_id at p.jsonl.gz:1"),
        (r#"{"request_id": 6, "hash_ids": [1]}"#, "`6` for key request_id at p.jsonl.gz:1"),
        (r#"{"request_id": 8}"#, "no key hash_ids at p.jsonl.gz:1"),
        (
            r#"{"request_id": 8, "input_length": 17, "hash_ids": [1]}"#,
            "`17` for key input_length at p.jsonl.gz:1",
        ),
        (
            r#"{"request_id": 8, "hash_ids": [1, 2]}"#,
            "2 hash ids of 16 tokens for a prompt of 16 at p.jsonl.gz:1",
        ),
        (r#"{"request_id": 8, "hash_ids": 5}"#, "`5` for key hash_ids at p.jsonl.gz:1"),
        ("", "no lines in p.jsonl.gz"),
    ] {
        let error = joined(line, "").unwrap_err();
        assert_eq!((error.path.as_str(), error.found.as_str()), ("trace.prefixes", found));
    }
    let twice = format!("{PREFIXES}{PREFIXES}");
    assert_eq!(joined(&twice, "").unwrap_err().found, "`9` for key request_id at p.jsonl.gz:4");
    let own = "(trace: (file: \"p.jsonl\", prefixes: \"p.jsonl\"))";
    let line = r#"{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}"#;
    assert_eq!(check(own, &[("p.jsonl", line)]).unwrap_err().path, "trace.prefixes");
}

#[test]
fn priorities() {
    let format = "format: Columns(arrived_at: \"arrived_at\", prompt: \"num_prefill_tokens\", \
                  output: \"num_decode_tokens\", priority: \"urgency\")";
    let ron = format!("(trace: (file: \"w.csv\", {format}))");
    let text = WORKLOAD.replace("priority", "urgency");
    let w = check(&ron, &[("w.csv", &text)]).unwrap();
    assert_eq!(requests(&w, 1).iter().map(|r| r.priority).collect::<Vec<_>>(), [-2, 0, 3]);
    // Another column is none.
    let plain = check("(trace: (file: \"w.csv\"))", &[("w.csv", &text)]).unwrap();
    assert!(requests(&plain, 1).iter().all(|r| r.priority == 0));
    let error = check(&ron, &[("w.csv", &text.replace("-2", "high"))]).unwrap_err();
    assert_eq!(error.found, "`high` in column urgency at w.csv:2");
    let error = check(&ron, &[("w.csv", WORKLOAD)]).unwrap_err();
    assert_eq!(error.expected, "a column urgency of priorities");
}
