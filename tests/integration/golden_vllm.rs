//! Schedules of vLLM's own scheduler, which travel with the repository.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::golden::Table;
use crate::room::{Room, names};

/// Times that differ by more are different.
const TOLERANCE: f64 = 1e-6;

fn unzip(path: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    GzDecoder::new(file).read_to_string(&mut text).expect("readable");
    text
}

/// The KV cache groups of a case as a setting of the engine.
fn groups(case: &Value) -> String {
    let Some(groups) = case["groups"].as_array() else { return String::new() };
    let one = |group: &Value| {
        let size = &group["block_size"];
        match group["type"].as_str() {
            Some("full") => format!("Full(block_size: {size})"),
            Some("sliding_window") => {
                format!("SlidingWindow(block_size: {size}, window: {})", group["window"])
            }
            Some("chunked_local") => {
                format!("ChunkedLocal(block_size: {size}, chunk: {})", group["chunk"])
            }
            Some("mamba") => {
                let mode = if group["mode"] == "align" { "Align" } else { "None" };
                format!("Mamba(block_size: {size}, mode: {mode})")
            }
            other => panic!("group {other:?}"),
        }
    };
    format!("kv_cache_groups: [{}]", groups.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A case as a scenario in a room of its own, run into `out`.
fn simulate(folder: &Path) -> Room {
    let text = std::fs::read_to_string(folder.join("case.json"));
    let case: Value = serde_json::from_str(&text.expect("case.json")).expect("JSON");
    let room = Room::with("requests.csv", unzip(&folder.join("requests.csv.gz")));
    let mut prefixes = String::new();
    if case["enable_prefix_caching"] == true {
        room.write("prefixes.jsonl", unzip(&folder.join("prefixes.jsonl.gz")));
        prefixes =
            format!(", prefixes: \"prefixes.jsonl\", tokens_per_hash: {}", case["tokens_per_hash"]);
    }
    let same_name = |names: &[&str]| -> String {
        names.iter().map(|name| format!("{name}: {}, ", case[name])).collect()
    };
    let policy = same_name(&[
        "max_num_seqs",
        "max_num_batched_tokens",
        "enable_chunked_prefill",
        "long_prefill_token_threshold",
        "scheduler_reserve_full_isl",
        "async_scheduling",
    ]);
    let version = case["version"].as_str().expect("a version");
    let extra = case["extra"].as_object().into_iter().flatten();
    let extra: String = extra.map(|(name, value)| format!("{name}: {value}, ")).collect();
    let interval = match case["prefix_cache_retention_interval"].as_u64() {
        None | Some(0) => String::new(),
        Some(tokens) => format!("prefix_cache_retention_interval: Some({tokens}), "),
    };
    let order = if case["policy"] == "fcfs" { "Fcfs" } else { "Priority" };
    let engine =
        same_name(&["max_model_len", "num_gpu_blocks", "block_size", "enable_prefix_caching"]);
    let groups = groups(&case);
    let timing = same_name(&["base", "per_token", "per_context"]);
    room.write(
        "case.ron",
        format!(
            "(model: \"Llama-2-7B\", device: \"A100\",
              engine: (policy: VllmV1(version: \"{version}\", {policy} {extra} {interval}
                  scheduling_policy: {order}), {engine} {groups}),
              workload: (trace: (file: \"requests.csv\", format: Vidur{prefixes})),
              timing: Formula({timing}), output: (batch_metrics: true))"
        ),
    );
    room.must("case.ron --quiet --out out");
    room
}

/// The rows of two tables by columns, in one order of columns.
fn numbers(table: &Table, id: &str, columns: &[&str]) -> Vec<Vec<f64>> {
    columns.iter().map(|column| table.by_id(id, column)).collect()
}

/// What differs between two lists of columns, each in a few words.
fn differences(what: &str, names: &[&str], theirs: &[Vec<f64>], ours: &[Vec<f64>]) -> Vec<String> {
    let mut found = Vec::new();
    for ((name, theirs), ours) in names.iter().zip(theirs).zip(ours) {
        if theirs.len() != ours.len() {
            found.push(format!("{what}: {} instead of {}", ours.len(), theirs.len()));
            continue;
        }
        let mut pairs = theirs.iter().zip(ours).enumerate();
        let off = pairs.find(|(_, (a, b))| !(0.0..=TOLERANCE).contains(&(**a - **b).abs()));
        found.extend(
            off.map(|(row, (a, b))| format!("{what} {row}, {name}: {b} here, {a} in vLLM")),
        );
    }
    found
}

fn compare(folder: &Path) -> Vec<String> {
    let room = simulate(folder);
    let names = ["first scheduled", "first token", "finished", "preemptions", "cached tokens"];
    let theirs = numbers(
        &Table::read(&folder.join("requests_out.csv.gz")),
        "id",
        &["first_scheduled", "first_token", "finished", "preemptions", "cached"],
    );
    let ours = numbers(
        &Table::read(&room.path("out/request_metrics.csv")),
        "Request Id",
        &["scheduled_at", "first_token_at", "completed_at", "num_preemptions", "num_cached_tokens"],
    );
    let mut found = differences("request", &names, &theirs, &ours);

    let names = ["end", "requests", "tokens"];
    let mut theirs = numbers(&Table::read(&folder.join("steps.csv.gz")), "end", &names);
    // Plans that only preempted are no iterations.
    let ran: Vec<bool> = theirs[1].iter().map(|requests| *requests > 0.0).collect();
    for column in &mut theirs {
        let mut ran = ran.iter();
        column.retain(|_| ran.next() == Some(&true));
    }
    let ours = numbers(
        &Table::read(&room.path("out/batch_metrics.csv")),
        "completed_at",
        &["completed_at", "batch_size", "batch_num_tokens"],
    );
    found.extend(differences("step", &names, &theirs, &ours));
    found
}

/// What differs in the cases of a folder whose names begin with one of `kinds`, and how many there
/// are.
fn compare_all(golden: &Path, kinds: &[&str]) -> (usize, Vec<String>) {
    let cases = names(golden);
    let cases: Vec<&String> = cases
        .iter()
        .filter(|name| kinds.iter().any(|kind| name.starts_with(kind)))
        .filter(|name| golden.join(name).is_dir())
        .collect();
    let wrong = cases.iter().flat_map(|name| {
        let found = compare(&golden.join(name));
        found.into_iter().map(move |what| format!("{name}: {what}"))
    });
    (cases.len(), wrong.collect())
}

/// All options at random, hundreds of requests with usual settings, settings of 0.33, 0.19, and
/// models whose layers are in several KV cache groups.
#[test]
fn every_recorded_schedule_is_reproduced() {
    let Some(golden) = crate::recorded::shared("data/golden/vllm") else { return };
    let (count, wrong) = compare_all(&golden, &[""]);
    assert!(count >= 80, "{count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn vllms_schedules_are_reproduced_to_the_microsecond() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/vllm");
    let (count, wrong) = compare_all(&golden, &[""]);
    assert_eq!(count, 4, "{} is not whole", golden.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
