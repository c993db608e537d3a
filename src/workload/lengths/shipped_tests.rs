//! The shipped tables against the traces they come from. Those are not part of the project: where
//! they are absent the comparison is skipped with a message, the published figures are not.

use std::path::PathBuf;

use super::*;
use crate::recorded::shared;
use crate::workload::fit::{FitArgs, lengths_of};
use crate::workload::traces::TraceFormat;

/// Name, file it was fitted from, name and licence of the data.
const SOURCES: [(&str, &str, &str, &str); 3] = [
    (
        "azure-conv-2023",
        "splitwise_conv.csv",
        "Azure Public Dataset, LLM inference trace 2023, conversation",
        "CC-BY",
    ),
    (
        "azure-code-2023",
        "splitwise_code.csv",
        "Azure Public Dataset, LLM inference trace 2023, code",
        "CC-BY",
    ),
    (
        "arxiv-summarization",
        "arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv",
        "arXiv summarisation, Llama-2 tokens, up to 4096 in total, as filtered by Vidur",
        "MIT",
    ),
];

fn trace(file: &str) -> Option<PathBuf> {
    shared(&format!("data/traces/{file}"))
}

/// To renew the tables: `UPDATE_PROFILES=1 cargo test --lib shipped`.
#[test]
fn refitting_gives_the_shipped_bytes() {
    for (name, file, source, licence) in SOURCES {
        let Some(file) = trace(file) else { continue };
        let args = FitArgs {
            file,
            out: PathBuf::new(),
            force: false,
            prompt_column: None,
            output_column: None,
            name: Some(source.to_owned()),
            licence: licence.to_owned(),
        };
        let text = args.fit().unwrap().to_ron();
        let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("profiles/workloads/{name}.ron"));
        if std::env::var_os("UPDATE_PROFILES").is_some() {
            std::fs::write(&shipped, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(shipped).unwrap(), text, "{name}");
    }
}

/// Mean, median and P90.
fn statistics(values: impl Iterator<Item = u32>) -> [f64; 3] {
    let mut values: Vec<u32> = values.collect();
    values.sort_unstable();
    let at = |q: f64| f64::from(values[(q * values.len() as f64) as usize]);
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
    [mean, at(0.5), at(0.9)]
}

/// Spearman's rank correlation; ties share their mean rank.
fn rank_correlation(pairs: &[LengthPair]) -> f64 {
    let ranks = |key: fn(&LengthPair) -> u32| {
        let mut sorted: Vec<u32> = pairs.iter().map(key).collect();
        sorted.sort_unstable();
        pairs
            .iter()
            .map(|pair| {
                let below = sorted.partition_point(|&v| v < key(pair));
                let upto = sorted.partition_point(|&v| v <= key(pair));
                (below + upto) as f64 / 2.0 - pairs.len() as f64 / 2.0
            })
            .collect::<Vec<f64>>()
    };
    let (x, y) = (ranks(|p| p.prompt), ranks(|p| p.output));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt()
}

fn drawn(name: &str) -> Vec<LengthPair> {
    Empirical::new(shipped(name).unwrap(), None).unwrap().pairs(1).take(200_000).collect()
}

fn close(what: &str, value: f64, expected: f64, tolerance: f64) {
    let off = value / expected - 1.0;
    println!("{what}: {value:.2}, expected {expected:.2}, {:+.2} %", off * 100.0);
    assert!(off.abs() <= tolerance, "{what}: {value}, expected {expected}");
}

/// 2 %, or one token where that is more.
fn closeness(expected: f64) -> f64 {
    (1.0 / expected).max(0.02)
}

#[test]
fn draws_have_the_statistics_of_their_traces() {
    for (name, file, ..) in SOURCES {
        let Some(file) = trace(file) else { continue };
        let measured = lengths_of(&file, &TraceFormat::Auto).unwrap();
        let drawn = drawn(name);
        let prompt = |pair: &LengthPair| pair.prompt;
        let output = |pair: &LengthPair| pair.output;
        for (side, key) in [("prompt", prompt as fn(&LengthPair) -> u32), ("output", output)] {
            let expected = statistics(measured.iter().map(key));
            let got = statistics(drawn.iter().map(key));
            for (what, (got, expected)) in
                ["mean", "median", "p90"].iter().zip(got.into_iter().zip(expected))
            {
                let tolerance = if *what == "mean" { 0.02 } else { closeness(expected) };
                close(&format!("{name} {side} {what}"), got, expected, tolerance);
            }
        }
        let (expected, got) = (rank_correlation(&measured), rank_correlation(&drawn));
        println!("{name} rank correlation: {got:.3}, expected {expected:.3}");
        assert!((got - expected).abs() < 0.02, "{name}: {got} against {expected}");
    }
}

#[test]
fn draws_have_the_published_statistics() {
    let median = |values: Vec<u32>| statistics(values.into_iter())[1];
    for (name, prompt, output) in
        [("azure-conv-2023", 1020.0, 129.0), ("azure-code-2023", 1469.0, 13.0)]
    {
        let drawn = drawn(name);
        let got = median(drawn.iter().map(|p| p.prompt).collect());
        close(name, got, prompt, closeness(prompt));
        let got = median(drawn.iter().map(|p| p.output).collect());
        close(name, got, output, closeness(output));
    }
    let drawn = drawn("arxiv-summarization");
    let got = statistics(drawn.iter().map(|p| p.prompt));
    for (got, expected) in got.into_iter().zip([2588.0, 2730.0, 3702.0]) {
        close("arxiv prompt", got, expected, closeness(expected));
    }
    let got = statistics(drawn.iter().map(|p| p.output));
    for (got, expected) in got.into_iter().zip([291.0, 167.0, 372.0]) {
        close("arxiv output", got, expected, closeness(expected));
    }
}

#[test]
fn a_cap_holds() {
    let table = shipped("azure-conv-2023").unwrap();
    assert!(table.max_total() > 4096);
    let capped = Empirical::new(table, Some(4096)).unwrap();
    assert_eq!(capped.max_total(), Some(4096));
    let longest = capped.pairs(3).take(50_000).map(LengthPair::total).max();
    assert!((4090..=4096).contains(&longest.unwrap()));
}
