//! Recorded workloads, which are not part of the project: skipped with a message where absent.

use std::collections::BTreeSet;
use std::path::Path;

use super::distribution_tests::{requests, spec};
use super::*;
use crate::recorded::shared;

#[test]
fn every_recorded_request_list_is_read_as_it_is() {
    let Some(dir) = shared("data/golden/vidur") else { return };
    let mut cases = 0;
    for case in std::fs::read_dir(dir).unwrap() {
        let case = case.unwrap().path();
        let workload =
            spec("(trace: (file: \"requests.csv.gz\", format: Vidur))").check(&case).unwrap();
        let read = requests(&workload, 0);
        let file = std::fs::File::open(case.join("requests.csv.gz")).unwrap();
        let mut csv = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
        let mut rows = 0;
        for (row, request) in csv.deserialize::<(u64, f64, u32, u32)>().zip(&read) {
            let (id, seconds, prompt, output) = row.unwrap();
            let arrived_at = Nanos::from_secs_f64(seconds);
            let expected = NewRequest {
                id,
                arrived_at,
                prompt_tokens: prompt,
                output_tokens: output,
                priority: 0,
                class: 0,
                adapter: None,
                content: None,
            };
            assert_eq!(*request, expected, "{}", case.display());
            rows += 1;
        }
        assert_eq!(rows, read.len());
        cases += 1;
    }
    assert!(cases > 0);
}

/// Vidur drew the lengths of these requests from a trace that it scaled to 4096 tokens.
#[test]
fn trimming_is_vidurs() {
    let (Some(golden), Some(trace)) = (
        shared("data/golden/vidur/closed_vllm_conv_qps8_r1"),
        shared("data/traces/splitwise_conv.csv"),
    ) else {
        return;
    };
    let lengths = |ron: &str, dir: &Path| -> Vec<(u32, u32)> {
        let workload = spec(ron).check(dir).unwrap();
        requests(&workload, 0).iter().map(|r| (r.prompt_tokens, r.output_tokens)).collect()
    };
    let ours: BTreeSet<_> = lengths(
        "(arrivals: Static, lengths: Trace(file: \"splitwise_conv.csv\", max_total: 4096, on_end: Stop))",
        trace.parent().unwrap(),
    )
    .into_iter()
    .collect();
    let theirs = lengths("(trace: (file: \"requests.csv.gz\"))", &golden);
    let trimmed = theirs.iter().filter(|(p, o)| p + o >= 4095).count();
    assert!(trimmed > 10, "{trimmed} were trimmed: too few to tell");
    for pair in theirs {
        assert!(ours.contains(&pair), "{pair:?}");
    }
}

/// The engines of these runs logged how many tokens of each prompt an earlier one had in common.
#[test]
fn recorded_prefixes_are_those_of_the_engines() {
    for (case, cached) in
        [("rtxpro6000-llama-3.1-8b", 19_520), ("rtxpro6000-qwen3-32b-tp2", 20_448)]
    {
        let Some(dir) = shared(&format!("data/truth/{case}")) else { return };
        let read = |trace: &str| {
            let workload = spec(&format!("(trace: ({trace}, tokens_per_hash: 16))")).check(&dir);
            requests(&workload.unwrap(), 0)
        };
        let joined = read("file: \"workload.csv\", prefixes: \"prefix_blocks.jsonl\"");
        let mut seen = BTreeSet::new();
        let mut csv = csv::Reader::from_path(dir.join("workload.csv")).unwrap();
        let mut total = 0;
        for (row, request) in csv.records().zip(&joined) {
            let hashes = request.content.as_ref().unwrap().hashes(
                request.id,
                request.prompt_tokens,
                request.output_tokens,
                16,
            );
            let full = request.prompt_tokens as usize / 16;
            let hits = hashes.0[..full].iter().take_while(|hash| seen.contains(&hash.0)).count();
            assert_eq!(row.unwrap()[4].parse::<usize>().unwrap(), hits * 16, "{}", request.id);
            total += hits * 16;
            seen.extend(hashes.0[..full].iter().map(|hash| hash.0));
        }
        assert_eq!((joined.len(), total), (300, cached));
        // The prefix file is a trace itself.
        let alone = read("file: \"prefix_blocks.jsonl\"");
        assert!(alone.iter().zip(&joined).all(|(a, b)| a.content == b.content && a.id == b.id));
    }
}
