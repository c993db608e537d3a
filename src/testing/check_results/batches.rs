//! The rows of `batch_metrics.csv`: by themselves, and against requests and summary.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use super::files::{Batch, Files, Request, Status, Time};

pub(super) fn check(files: &Files, findings: &mut Findings) {
    let Some(batches) = &files.batches else { return };
    let iterations: u64 = batches.iter().map(|batch| batch.count).sum();
    let written = files.summary["batch_iterations"].as_u64().unwrap_or(u64::MAX);
    findings.equal("iterations", written, iterations);
    for (row, b) in batches.iter().enumerate() {
        if b.prefill + b.decode != b.tokens || b.size > b.tokens || b.size == 0 {
            findings.add(format!("batch row {row} does not add up: {b:?}"));
        }
        if b.completed - b.scheduled != b.execution || b.execution <= 0 {
            findings.add(format!("batch row {row} has times that do not fit: {b:?}"));
        }
    }
    if let Some(requests) = &files.requests {
        tokens(batches, requests, findings);
        ends(batches, requests, findings);
    }
    if has_one_batch_at_a_time(files) {
        busy(files, batches, findings);
    }
}

/// A pipeline has several batches under way, and models may take turns.
fn has_one_batch_at_a_time(files: &Files) -> bool {
    files.metric("busy_fraction").is_some() && !files.has_pools() && !files.is_pipeline()
}

/// Every token was fed to the model: each prompt, and each output token but the last.
fn tokens(batches: &[Batch], requests: &[Request], findings: &mut Findings) {
    let sum = |count: fn(&Batch) -> u64| batches.iter().map(|b| count(b) * b.count).sum::<u64>();
    let (prefill, decode) = (sum(|b| b.prefill), sum(|b| b.decode));
    let finished = || requests.iter().filter(|r| r.status == Status::Finished);
    let prompts: u64 = finished().map(|r| r.prompt - r.cached - r.reloaded.unwrap_or(0)).sum();
    let decodes: u64 = finished().map(|r| r.output - 1).sum();
    let restarts: u64 = requests.iter().map(|r| r.restarts).sum();
    let cut_off = requests.iter().any(|r| r.status == Status::Unfinished);
    let drafted = requests.iter().any(|r| r.drafted.is_some());
    let swapped = requests.iter().any(|r| r.reloaded.is_some());
    if prefill < prompts {
        findings.add(format!("{prefill} prompt tokens in batches, {prompts} in requests"));
    }
    if restarts > 0 || cut_off || swapped {
        return;
    }
    findings.equal("prompt tokens in batches", prefill, prompts);
    if !drafted {
        findings.equal("decode tokens in batches", decode, decodes);
    }
}

/// Tokens come when batches end.
fn ends(batches: &[Batch], requests: &[Request], findings: &mut Findings) {
    if batches.iter().any(|b| b.count > 1) {
        return;
    }
    let ends: BTreeSet<Time> = batches.iter().map(|b| b.completed).collect();
    for r in requests {
        for at in [r.first_token, r.completed].into_iter().flatten() {
            if !ends.contains(&at) {
                findings.add(format!("request {} got a token at {at}, when no batch ended", r.id));
            }
        }
    }
}

/// A replica runs one batch after the other, and its busy time is theirs.
fn busy(files: &Files, batches: &[Batch], findings: &mut Findings) {
    let mut by_replica: BTreeMap<u64, Vec<(Time, Time)>> = BTreeMap::new();
    for b in batches {
        by_replica.entry(b.replica).or_default().push((b.scheduled, b.completed));
    }
    for (replica, times) in &mut by_replica {
        times.sort_unstable();
        if let Some(pair) = times.windows(2).find(|pair| pair[1].0 < pair[0].1) {
            findings.add(format!("replica {replica} runs two batches at once: {pair:?}"));
        }
    }
    let cut_off = files.count("unfinished") > 0;
    let spent: Time = batches.iter().map(|b| b.execution).sum();
    let replicas = files.summary["kv"]["blocks_per_replica"].as_f64();
    let replicas = files.metric("kv_blocks").zip(replicas).map(|(all, each)| (all / each).round());
    if let (Some(busy), Some(replicas), false) = (files.metric("busy_fraction"), replicas, cut_off)
    {
        findings.near("busy time", busy * files.end() * replicas, spent as f64 / 1e9);
    }
}
