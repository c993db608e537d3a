//! Whole simulations without output, each a hot part of its own.
//!
//! ```sh
//! cargo bench
//! ```
//!
//! | benchmark | what takes the time |
//! |---|---|
//! | `poisson/simulation` | steps: arrivals, admissions, completions, runs of iterations between them |
//! | `poisson/plain_structs` | the same schedule without an ECS: the limit |
//! | `exact_steps` | iterations of 64 requests, each a step of its own |
//! | `prefix_cache` | paging: long prompts whose blocks are looked up, shared and evicted |
//! | `measured` | pricing: batches of a profile's kernels |

mod plain_loop;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plain_loop::{Formula, Outcome};
use vidur_ecs::metrics::{BatchRecord, RequestRecord, RunSink, RunTotals};
use vidur_ecs::registry::Registry;
use vidur_ecs::scenario::{Configuration, Scenario};
use vidur_ecs::scheduling::VllmV0;
use vidur_ecs::sim::{PoolSpec, SimSpec, Simulation, Traffic};

const FORMULA: Formula = Formula { base: 0.005, per_token: 2.5e-5, per_context: 1e-8 };

/// Adds up when requests are complete.
#[derive(Default)]
struct Completions(u128);

impl RunSink for Completions {
    fn request(&mut self, record: &RequestRecord) {
        self.0 += record.completed_at.map_or(0, |time| u128::from(time.0));
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

/// A scenario of `benchmarks/scenarios`, with other settings.
fn configuration(name: &str, settings: &[&str]) -> Configuration {
    let path = format!("{}/benchmarks/scenarios/{name}.ron", env!("CARGO_MANIFEST_DIR"));
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let scenario = Scenario::load(path.as_ref(), &settings, &Registry::built_in())
        .unwrap_or_else(|error| panic!("{}", error.render(false)));
    scenario.configurations.into_iter().next().expect("a scenario has one")
}

fn simulate(configuration: &Configuration, exact_steps: bool) -> (RunTotals, Completions) {
    let workload = &configuration.workload;
    let traffic = Traffic {
        concurrency: workload.concurrency(),
        until: workload.arrivals_end(),
        ..Traffic::of(workload.source(42))
    };
    let (policy, router) = (configuration.policy.boxed(), configuration.router.boxed());
    let predictor = configuration.predictor.clone();
    let pool = PoolSpec {
        replicas: configuration.replicas,
        prefix_caching: configuration.prefix_caching,
        ..PoolSpec::new(configuration.limits, policy, router, predictor, traffic)
    };
    let spec = SimSpec { exact_steps, ..SimSpec::of_one(pool, 42) };
    let mut sink = Completions::default();
    let totals = Simulation::new(spec).and_then(|mut run| run.run(&mut sink)).expect("it runs");
    (totals, sink)
}

fn poisson(c: &mut Criterion) {
    let configuration = configuration("closed_vllm_conv_qps8_100k", &["workload.requests=20000"]);
    let policy = VllmV0 { max_num_seqs: 128, max_num_batched_tokens: 4096, ..VllmV0::default() };
    let plain = || {
        let mut source = configuration.workload.source(42);
        plain_loop::run(source.as_mut(), &configuration.limits, &policy, &FORMULA)
    };
    // A loop that came to another schedule would be no limit.
    let (totals, completions) = simulate(&configuration, false);
    assert_eq!(plain(), Outcome { batches: totals.batches, completions: completions.0 });
    let mut group = c.benchmark_group("poisson");
    group.throughput(Throughput::Elements(totals.batches)).sample_size(10);
    group.bench_function("plain_structs", |b| b.iter(plain));
    group.bench_function("simulation", |b| b.iter(|| simulate(&configuration, false)));
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
    let at_64 = [
        "workload.arrivals=Concurrency(64)",
        "workload.lengths=Fixed(prompt: 128, output: 2000)",
        "workload.requests=640",
    ];
    run(c, "exact_steps", closed, &at_64, true);
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
