//! LoRA adapters from the scenario to the metrics.

use vidur_ecs::engine::Simulation;
use vidur_ecs::engine::lora::LoraSettings;
use vidur_ecs::engine::policy::{AnyPolicy, Queueing, VllmV1};
use vidur_ecs::hardware::model;
use vidur_ecs::metrics::VariantResult;
use vidur_ecs::records::{BatchRecord, RequestRecord, RequestStatus, RunSink};
use vidur_ecs::registry::Registry;
use vidur_ecs::scenario::Scenario;
use vidur_ecs::testing::{RandomScenario, audit};
use vidur_ecs::{hardware, run};

use crate::refusals::scenarios;
use crate::room::one_model as text;

fn read(text: &str) -> Result<Scenario, String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("s.ron");
    std::fs::write(&file, text).expect("a file in a temporary folder");
    Scenario::load(&file, &[], &Registry::built_in()).map_err(|error| error.render(false))
}

fn simulate(engine: &str, workload: &str, rest: &str) -> VariantResult {
    let scenario = read(&text(engine, workload, rest)).unwrap_or_else(|error| panic!("{error}"));
    let mut result = run::results(&scenario, &|_| ()).expect("a run");
    result.variants.swap_remove(0)
}

fn mean(result: &VariantResult, metric: &str) -> f64 {
    result.mean(metric).unwrap_or_else(|| panic!("no {metric}"))
}

#[derive(Default)]
struct Records(Vec<RequestRecord>);

impl RunSink for Records {
    fn request(&mut self, record: &RequestRecord) {
        self.0.push(record.clone());
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

/// The audit after each step counts the adapters of every batch and of all that run.
#[test]
fn no_batch_has_more_adapters_than_slots() {
    let (mut runs, mut loads) = (0, 0);
    for seed in 0..120 {
        let scenario = RandomScenario::new(seed);
        let scheduling_policy = if seed % 2 == 0 { Queueing::Fcfs } else { Queueing::Priority };
        let policy = VllmV1 {
            max_num_seqs: 8,
            max_num_batched_tokens: 24,
            async_scheduling: seed % 3 == 0,
            scheduling_policy,
            ..VllmV1::default()
        };
        if scenario.limits.stages > 1 || AnyPolicy::check(&policy, &scenario.limits).is_err() {
            continue;
        }
        let settings = LoraSettings {
            max_loras: 1 + (seed % 3) as u32,
            max_cpu_loras: Some(4),
            ..ron::from_str("(adapters: 6)").unwrap()
        };
        let llama = model::find("Llama-2-7B").unwrap();
        let device = hardware::find_device("A100-SXM-80G").unwrap();
        let alone = hardware::Parallelism { tensor: 1, pipeline: 1 };
        let mut spec = scenario.spec(Box::new(policy));
        let pool = &mut spec.pools[0];
        pool.lora = Some(settings.run(llama, alone, device));
        let nobody: Box<dyn vidur_ecs::workload::RequestSource> = Box::new(Nobody);
        let source = std::mem::replace(&mut pool.traffic.source, nobody);
        pool.traffic.source = settings.deal(source, seed, true);
        let mut simulation = Simulation::new(spec).unwrap();
        let mut records = Records::default();
        while let Some(step) = simulation.step(&mut records).unwrap() {
            audit(&mut simulation).unwrap_or_else(|e| panic!("seed {seed}, {} s: {e}", step.time));
        }
        let totals = simulation.run(&mut records).unwrap();
        assert_eq!(totals.arrived, totals.finished + totals.rejected, "seed {seed}");
        let finished = records.0.iter().filter(|r| r.status == RequestStatus::Finished);
        assert_eq!(finished.clone().count() as u64, totals.finished);
        assert!(finished.clone().all(|r| r.adapter.is_some_and(|adapter| adapter < 6)));
        loads += totals.adapters.loads;
        runs += 1;
    }
    assert!(runs > 30 && loads > 200, "{runs} {loads}");
}

struct Nobody;

impl vidur_ecs::workload::RequestSource for Nobody {
    fn next_request(&mut self) -> Option<vidur_ecs::workload::NewRequest> {
        None
    }
}

/// One request: its first step waits for the adapter, and each step takes longer by the products.
#[test]
fn a_load_takes_its_bytes_over_the_rate() {
    let workload = "requests: 1, arrivals: Static, lengths: Fixed(prompt: 100, output: 1)";
    let plain = simulate("", workload, "");
    // 16 MiB from disk and over PCIe; without kernels of its own.
    let lora = "lora: (adapters: 1, rank: 16, target_modules: [Q, V], load_gb_per_s: 1.6777216,
                disk_gb_per_s: 0.16777216, kernel_us: 0, max_loras: 1)";
    let with = simulate(lora, workload, "");
    let loading = 0.01 + 0.1;
    assert_eq!(mean(&with, "adapter_load_time"), loading);
    let more = mean(&with, "ttft.mean") - mean(&plain, "ttft.mean");
    let products = mean(&with, "adapter_compute_time");
    assert!((more - loading - products).abs() < 2e-9, "{more} {products}");
    // 16 MiB and 100 x 32 x (2 x 8192 + 2 x 32) x 2 bytes at half of the bandwidth.
    let bytes = 16_777_216.0 + 100.0 * 32.0 * (16_384.0 + 64.0) * 2.0;
    let device = hardware::find_device("A100-SXM-80G").unwrap();
    assert!((products - bytes / (0.5 * device.hbm_gbps * 1e9)).abs() < 1e-9, "{products}");
}

/// The slots take memory that blocks would have.
#[test]
fn slots_cost_kv_blocks() {
    let workload = "requests: 1, arrivals: Static, lengths: Fixed(prompt: 100, output: 1)";
    let blocks = |engine: &str| {
        let scenario = read(&text(engine, workload, "")).unwrap();
        let one = scenario.configurations[0].cluster.first();
        let memory = one.memory.as_ref().unwrap();
        (f64::from(one.limits.num_blocks), memory.kv_bytes_per_block as f64)
    };
    let (plain, block_bytes) = blocks("");
    let (with, _) = blocks("lora: (adapters: 100, rank: 64, max_loras: 20)");
    // 20 adapters of 32 x 64 x (4 x 8192 + 3 x 15104) x 2 bytes.
    let slots = 20.0 * 32.0 * 64.0 * (4.0 * 8192.0 + 3.0 * 15_104.0) * 2.0;
    assert!((plain - with - slots / block_bytes).abs() <= 1.0, "{plain} {with}");
}

#[test]
fn affinity_loads_less_than_round_robin() {
    let workload = "requests: 600, arrivals: Poisson(qps: 20.0), \
                    lengths: Fixed(prompt: 200, output: 40)";
    let lora = "lora: (adapters: 32, max_loras: 8, popularity: Zipf(0.8))";
    let run = |router: &str| {
        simulate(lora, workload, &format!("cluster: (replicas: 4, router: {router})"))
    };
    let (round, affine) = (run("RoundRobin"), run("LoraAffinity()"));
    let loads = |result| mean(result, "adapter_loads");
    assert!(loads(&affine) < 0.5 * loads(&round), "{} {}", loads(&affine), loads(&round));
    assert!(mean(&affine, "adapter_hit_rate") > mean(&round, "adapter_hit_rate"));
    assert!(mean(&affine, "ttft.mean") < mean(&round, "ttft.mean"));
}

/// Prompts in common are only found again under the same adapter.
#[test]
fn caches_tell_adapters_apart() {
    let workload = "requests: 200, arrivals: Concurrency(1), \
                    lengths: Fixed(prompt: 100, output: 2), prefix: SharedPrefix(tokens: 1600)";
    let hits = |engine: &str| mean(&simulate(engine, workload, ""), "prefix_hit_rate");
    let (none, one, many) = (hits(""), hits("lora: (adapters: 1)"), hits("lora: (adapters: 50)"));
    assert_eq!(none, one);
    // About 49 of 50 adapters are seen among 200 requests, each for the first time once.
    assert!(many < 0.85 * one && many > 0.6 * one, "{one} {many}");
}

/// What a request is passed over for, it gets in the end: with one slot and two adapters.
#[test]
fn requests_of_other_adapters_wait_and_are_served() {
    let workload = "requests: 40, arrivals: Static, lengths: Fixed(prompt: 50, output: 20)";
    let one = simulate("lora: (adapters: 2, max_loras: 1)", workload, "");
    let two = simulate("lora: (adapters: 2, max_loras: 2)", workload, "");
    assert_eq!(mean(&one, "finished"), 40.0);
    // One adapter after the other, rather than both at once.
    assert!(mean(&one, "batch_iterations") >= 2.0 * 20.0);
    assert!(mean(&two, "batch_iterations") < 30.0, "{}", mean(&two, "batch_iterations"));
    assert_eq!(mean(&one, "adapter_loads"), 2.0);
}

#[test]
fn what_does_not_go_with_adapters_is_refused_in_its_place() {
    let workload = "requests: 9, arrivals: Static, lengths: Fixed(prompt: 9, output: 9)";
    let row = |(engine, rest, wants): (String, &str, &str)| {
        let whole = text(&engine, workload, &format!("\n{rest}"));
        let whole = match engine.contains("policy:") {
            true => whole.replace("policy: VllmV1(), ", ""),
            false => whole,
        };
        (whole, format!("2 | {wants}"))
    };
    let lora = "lora: (adapters: 4)";
    let (stages, router) =
        ("cluster: (pipeline_parallel: 2)", "cluster: (router: LoraAffinity(slots: 0))");
    let rows = [
        ("lora: (adapters: 0)".to_owned(), "", "engine.lora.adapters | s.ron:2:"),
        ("lora: (adapters: 4, max_cpu_loras: 2)".to_owned(), "", "at least max_loras, 8"),
        ("lora: (adapters: 4, target_modules: [X])".to_owned(), "", "s.ron:2: | X"),
        (format!("policy: SgLang(), {lora}"), "", "engine.policy | SgLang with LoRA"),
        (format!("{lora}, policy: VllmV1(async_scheduling: false)"), stages, "s.ron:4:"),
        (lora.to_owned(), router, "s.ron:4: | slots"),
        (String::new(), "cluster: (router: LoraAffinity())", "s.ron:4: | the engine has no `lora`"),
    ];
    scenarios(rows.map(row), 7);
}
