//! Whole simulations without output, each a hot part of its own.
//!
//! ```sh
//! cargo bench --bench simulation
//! ```
//!
//! | benchmark | what takes the time |
//! |---|---|
//! | `poisson/simulation` | steps: arrivals, admissions, completions, runs of iterations between them |
//! | `poisson/plain_structs` | the same schedule without an ECS: the limit |
//! | `exact_steps` | iterations of 64 requests, each a step of its own |
//! | `prefix_cache` | paging: long prompts whose blocks are looked up, shared and evicted |
//! | `measured` | pricing: batches of a profile's kernels |
//!
//! How far the first two are from each other is measured better by `cargo bench --bench limit`.

mod plain_loop;
mod whole;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use whole::{Poisson, configuration, simulate};

fn poisson(c: &mut Criterion) {
    let poisson = Poisson::new(20_000);
    let mut group = c.benchmark_group("poisson");
    group.throughput(Throughput::Elements(poisson.plain().batches)).sample_size(10);
    group.bench_function("plain_structs", |b| b.iter(|| poisson.plain()));
    group.bench_function("simulation", |b| b.iter(|| poisson.simulation()));
    group.finish();
}

fn run(c: &mut Criterion, name: &str, scenario: &str, settings: &[&str], exact_steps: bool) {
    let configuration = configuration(scenario, settings);
    let (totals, _) = simulate(&configuration, exact_steps);
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(totals.batches)).sample_size(10);
    group.bench_function("simulation", |b| b.iter(|| simulate(&configuration, exact_steps)));
    group.finish();
}

fn parts(c: &mut Criterion) {
    let closed = "closed_vllm_conv_qps8_100k";
    run(c, "exact_steps", "exact_steps_64", &["workload.requests=640"], true);
    let cached = [
        "engine.policy=VllmV1(max_num_seqs: 128, max_num_batched_tokens: 8192)",
        "engine.max_model_len=8192",
        "engine.allow_long_max_model_len=true",
        "workload.lengths=Fixed(prompt: 2624, output: 50)",
        "workload.prefix=SharedPrefix(groups: 64, tokens: 4096, zipf: 1.0)",
        "workload.requests=2000",
    ];
    run(c, "prefix_cache", closed, &cached, false);
    run(c, "measured", "measured_vllm_conv_qps4_100k", &["workload.requests=10000"], false);
}

criterion_group!(benches, poisson, parts);
criterion_main!(benches);
