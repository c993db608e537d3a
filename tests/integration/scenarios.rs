//! The scenarios that are shipped: they load, they run, what they resolve to runs the same, and the
//! figures in their expectations are what arithmetic gives.

use std::fs;
use std::path::{Path, PathBuf};

use vidur_ecs::base::paths::file_name;
use vidur_ecs::metrics::{Expectation, ExperimentResult};
use vidur_ecs::output::ResultFolder;
use vidur_ecs::registry::{Plugin, Registry, SimBuilder};
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

#[expect(dead_code, reason = "its `main` is for the example's own binary")]
#[path = "../../examples/custom_policy.rs"]
mod custom_policy;

/// What `examples/custom_policy.rs` adds for the scenario beside it.
struct ExamplePolicy;

impl Plugin for ExamplePolicy {
    fn build(&self, builder: &mut SimBuilder) {
        builder.add_policy::<custom_policy::ShortestPromptFirst>();
    }
}

fn registry() -> Registry {
    Registry::with(&[&ExamplePolicy])
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All scenarios under `scenarios/` and `examples/`.
fn shipped() -> Vec<PathBuf> {
    let mut folders = vec![root().join("scenarios"), root().join("examples")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is in the repository") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "ron") {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(files.len() >= 27, "{files:?}");
    files
}

fn load(path: &Path, settings: &[String]) -> Scenario {
    Scenario::load(path, settings, &registry()).unwrap_or_else(|error| panic!("{error:#?}"))
}

fn named(path: &str, settings: &[&str]) -> Scenario {
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    load(&root().join("scenarios").join(path), &settings)
}

/// Runs into `folder` and returns what came out.
fn run_into(scenario: &Scenario, folder: &Path) -> ExperimentResult {
    let results = ResultFolder::create(folder, false).expect("a new folder");
    let finished = run::run(scenario, &results, &|_| {}).expect("runs");
    results.commit().expect("written");
    finished.result
}

#[test]
fn every_scenario_says_what_it_is_and_what_it_expects() {
    let mut names = Vec::new();
    for path in shipped() {
        let text = fs::read_to_string(&path).expect("readable");
        let scenario = load(&path, &[]);
        let shown = path.display();
        assert!(text.starts_with("//"), "{shown} begins with what it is about");
        assert!(text.contains(scenario.name.as_str()), "{shown} shows how to run it");
        assert!(scenario.title.is_some(), "{shown} has no title");
        assert!(!scenario.expectations.is_empty(), "{shown} expects nothing");
        assert!(!text.contains("../shared"), "{shown} needs files that users do not have");
        assert!(scenario.warnings.is_empty(), "{shown}: {:#?}", scenario.warnings);
        // Results of all go into one folder.
        assert!(!names.contains(&scenario.name), "two scenarios are called {}", scenario.name);
        names.push(scenario.name);
    }
}

/// With few requests, twice: from the file, and from the resolved scenario that the first run left.
#[test]
fn every_scenario_runs_and_its_resolved_form_runs_the_same() {
    for path in shipped() {
        let requests = load(&path, &[]).configurations[0].cluster.first().workload.request_count();
        let few = requests.map_or(30, |count| count.min(30));
        let settings = [format!("workload.requests={few}"), "seeds=1".to_owned()];
        let scenario = load(&path, &settings);
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("first"), folder.path().join("second"));
        let result = run_into(&scenario, &first);
        for variant in &result.variants {
            let metric = |name: &str| variant.mean(name);
            let what = format!("{} {}", scenario.name, variant.name);
            // So many for each model that is served.
            let arrived = metric("arrived").expect("counted");
            assert!(arrived >= few as f64 && arrived % few as f64 == 0.0, "{what}: {arrived}");
            // But for those that admission control refused.
            let admitted = arrived - metric("not_admitted").expect("counted");
            assert_eq!(metric("finished"), Some(admitted), "{what}");
        }
        let again = load(&first.join("scenario.ron"), &[]);
        assert_eq!(again.name, scenario.name);
        assert_eq!(again.hash(), scenario.hash());
        run_into(&again, &second);
        for (configuration, variant) in scenario.configurations.iter().zip(&result.variants) {
            let rows = |folder: &Path| {
                let folder = match configuration.name.as_str() {
                    "" => folder.to_owned(),
                    name => folder.join(file_name(name)),
                };
                fs::read(folder.join("request_metrics.csv")).expect("written")
            };
            assert!(rows(&first) == rows(&second), "{} {}", scenario.name, configuration.name);
            let lines = rows(&first).iter().filter(|&&b| b == b'\n').count();
            assert_eq!(Some((lines - 1) as f64), variant.mean("arrived"));
        }
    }
}

/// What prefill attention adds grows with the square of the prompt, so that TTFT grows by more than
/// the prompt.
#[test]
fn i1_4_shows_quadratic_attention() {
    let folder = tempfile::tempdir().expect("a folder");
    let ttft = |prompt: u32| {
        let scenario = named("i1_4.ron", &[&format!("workload.lengths.prompt={prompt}")]);
        let result = run_into(&scenario, &folder.path().join(prompt.to_string()));
        result.variants[0].mean("ttft.mean").expect("a first token")
    };
    let ratio = ttft(3840) / ttft(1920);
    assert!(ratio > 2.0 && ratio < 2.2, "{ratio}");
}

/// More GPUs share the weights, but not the latency of an all-reduce.
#[test]
fn i1_3_communicates_more_the_more_gpus_there_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let [two, four, eight] = [2, 4, 8].map(|gpus: u32| {
        let scenario = named("i1_3.ron", &[&format!("cluster.tensor_parallel={gpus}")]);
        let result = run_into(&scenario, &folder.path().join(gpus.to_string()));
        let mean = |metric: &str| result.variants[0].mean(metric).expect("a value");
        (mean("busy_communication"), mean("tpot.mean"))
    });
    assert!(two.0 < four.0 && four.0 < eight.0, "{two:?} {four:?} {eight:?}");
    // Twice the GPUs halve the time of the weights, and of nothing else.
    assert!(two.1 > four.1 && four.1 < 2.0 * eight.1, "{two:?} {four:?} {eight:?}");
}

/// What the KV cache holds is arithmetic: twice the context, half the requests.
#[test]
fn i3_3_holds_fewer_requests_the_longer_they_are() {
    let scenario = named("i3_3.ron", &[]);
    let blocks = f64::from(scenario.configurations[0].cluster.first().limits.num_blocks);
    let held = |variant: &str| {
        let about =
            |e: &&Expectation| e.metric == "running_peak" && e.variant.as_deref() == Some(variant);
        scenario.expectations.iter().find(about).and_then(|e| e.between).expect("a range")
    };
    for (variant, prompt) in [("4k", 3584.0), ("16k", 15872.0), ("32k", 32256.0)] {
        let (least, most) = held(variant);
        assert!(least <= blocks / ((prompt + 512.0) / 16.0), "{variant}");
        assert!(most >= (blocks / (prompt / 16.0)).floor(), "{variant}");
    }
}

/// The target of the expectation `within` on that variant.
fn target(scenario: &Scenario, metric: &str, variant: &str) -> f64 {
    let about = |e: &&Expectation| e.metric == metric && e.variant.as_deref() == Some(variant);
    let targets: Vec<f64> =
        scenario.expectations.iter().filter(about).filter_map(|e| Some(e.within?.0)).collect();
    assert_eq!(targets.len(), 1, "{metric} of {variant}");
    targets[0]
}

/// Over the `o` steps of a request with `p` prompt tokens, step `j` holds `p + j` tokens in a
/// constant reservation. Summed over all lengths of the workload, which are equally likely.
#[test]
fn p1_expects_what_arithmetic_gives() {
    let held_over_reserved = |reservation: &dyn Fn(u32, u32) -> u32| {
        let (mut held, mut reserved) = (0_u64, 0_u64);
        for total in 512..=4096_u32 {
            let prompt = total / 2;
            let output = total - prompt;
            let slots = reservation(prompt, output).min(4096).div_ceil(16) * 16;
            held += (1..=output).map(|step| u64::from(prompt + step)).sum::<u64>();
            reserved += u64::from(output) * u64::from(slots);
        }
        held as f64 / reserved as f64
    };
    let p1 = named("claims/p1_memory_waste.ron", &[]);
    for (variant, share) in [
        ("oracle", held_over_reserved(&|prompt, output| prompt + output)),
        ("pow2", held_over_reserved(&|prompt, output| prompt + output.next_power_of_two())),
        ("max", held_over_reserved(&|_, _| 4096)),
    ] {
        let expected = target(&p1, "kv_used_over_allocated", variant);
        assert!((expected - share).abs() < 0.001, "{variant}: {expected}, computed {share}");
    }
}

/// The lengths of P2 have the means that the paper's traffic has.
#[test]
fn p2_has_the_lengths_of_the_paper() {
    let p2 = named("claims/p2_throughput.ron", &["workload.requests=100000"]);
    let mut source = p2.configurations[0].cluster.first().workload.source(42);
    let (mut prompt, mut output, mut count) = (0.0, 0.0, 0.0);
    while let Some(request) = source.next_request() {
        prompt += f64::from(request.prompt_tokens);
        output += f64::from(request.output_tokens);
        count += 1.0;
    }
    assert!((prompt / count - 161.0_f64).abs() < 4.0, "{}", prompt / count);
    assert!((output / count - 338.0_f64).abs() < 8.0, "{}", output / count);
}

/// Expectations can fail: where the claim's cause is taken away, the claim is not met.
#[test]
fn expectations_fail_where_they_should() {
    for (path, settings, metric) in [
        // Longer prompts than the budget for gaps was computed for.
        ("claims/p5_chunk_bound.ron", vec!["timing.base=0.006", "workload.requests=50"], "itl.max"),
        // Blocks so large that paging wastes as much as a reservation.
        (
            "i3_1.ron",
            vec!["engine.block_size=1024", "workload.requests=64"],
            "kv_used_over_allocated",
        ),
        // Requests that do not fill the memory.
        (
            "i3_2.ron",
            vec!["workload.lengths.prompt=100", "workload.requests=64"],
            "kv_allocated_peak",
        ),
        // A rate that the server keeps up with.
        ("i2_2.ron", vec!["workload.arrivals.qps=0.2", "workload.requests=50"], "waiting_peak"),
        // A load at which nobody waits.
        ("i2_1.ron", vec!["workload.arrivals.qps=0.05", "workload.requests=50"], "ttft.mean"),
    ] {
        let mut settings = settings;
        settings.push("seeds=1");
        let folder = tempfile::tempdir().expect("a folder");
        let result = run_into(&named(path, &settings), &folder.path().join("out"));
        let missed = result.outcomes.iter().any(|outcome| outcome.metric == metric && !outcome.met);
        assert!(missed, "{path} {settings:?}: {:#?}", result.outcomes);
    }
}
