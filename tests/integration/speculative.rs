//! Speculative decoding from the scenario to the metrics: claims S1 and S3, settings, and the
//! books.

use std::path::Path;

use vidur_ecs::engine::policy::{
    FasterTransformer, LightLlm, Orca, Queueing, Reserve, Sarathi, VllmV0, VllmV1,
};
use vidur_ecs::engine::speculation::{Acceptance, Adaptive, best_k, speed_up, tokens_per_step};
use vidur_ecs::metrics::VariantResult;
use vidur_ecs::output::ResultFolder;
use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;
use vidur_ecs::testing::PolicyCheck;

/// One stream of requests after the other: batch 1.
const ALONE: &str =
    "requests: 30, arrivals: Concurrency(1), lengths: Fixed(prompt: 16, output: 2000)";
/// A pass costs 10 ms whatever is in it.
const CONSTANT: &str = "Formula(base: 0.01)";

fn text(engine: &str, workload: &str, timing: &str) -> String {
    format!(
        "(model: \"Llama-2-70B\", device: \"H100-SXM-80G\", cluster: (tensor_parallel: 4),
          engine: (policy: VllmV1(), {engine}), workload: ({workload}), timing: {timing}, seed: 42)"
    )
}

/// What a scenario's text is read as, or the message about it.
fn read(text: &str) -> Result<Scenario, String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("s.ron");
    std::fs::write(&file, text).expect("a file in a temporary folder");
    Scenario::load(&file, &[], &Registry::built_in()).map_err(|error| error.render(false))
}

fn simulate(engine: &str, workload: &str, timing: &str) -> VariantResult {
    let scenario = read(&text(engine, workload, timing)).unwrap_or_else(|error| panic!("{error}"));
    let mut result = run::results(&scenario, &|_| ()).expect("a run");
    result.variants.swap_remove(0)
}

fn mean(result: &VariantResult, metric: &str) -> f64 {
    result.mean(metric).unwrap_or_else(|| panic!("no {metric}"))
}

/// A draft model whose pass costs a share `cost` of the constant 10 ms.
fn drafts(k: u32, alpha: f64, cost: f64, rest: &str) -> String {
    format!(
        "speculative: (draft: Model(\"Llama-2-7B\"), draft_timing: Formula(base: {}), k: {k},
           acceptance: {alpha:?}, {rest})",
        0.01 * cost
    )
}

/// Standard deviation of the tokens of a step: `a^j (1 - a)` is the chance of `j` accepted drafts,
/// `a^k` that of all.
fn step_deviation(alpha: f64, k: u32) -> f64 {
    let chance = |j: u32| alpha.powi(j as i32) * if j < k { 1.0 - alpha } else { 1.0 };
    let mean = tokens_per_step(alpha, k);
    (0..=k).map(|j| chance(j) * (f64::from(j + 1) - mean).powi(2)).sum::<f64>().sqrt()
}

/// Claim S1: tokens per step and speed-up at batch 1 are those of Leviathan et al., ICML 2023.
#[test]
fn s1_tokens_per_step_and_speed_up_are_the_papers() {
    let plain = mean(&simulate("", ALONE, CONSTANT), "tpot.mean");
    assert!((plain - 0.01).abs() < 1e-9, "{plain}");
    for (alpha, cost) in [(0.3, 0.05), (0.6, 0.1), (0.8, 0.1), (0.9, 0.02)] {
        for k in [1, 3, 5, 8] {
            let run = simulate(&drafts(k, alpha, cost, ""), ALONE, CONSTANT);
            let tokens = mean(&run, "tokens_per_step");
            let steps = 30.0 * 1999.0 / tokens;
            let half = 2.576 * step_deviation(alpha, k) / f64::sqrt(steps);
            let formula = tokens_per_step(alpha, k);
            let faster = plain / mean(&run, "tpot.mean");
            let expected = speed_up(alpha, k, cost);
            println!(
                "a {alpha} k {k} c {cost}: {tokens:.4} tokens per step, formula {formula:.4} +- {half:.4}; \
                 speed-up {faster:.4}, formula {expected:.4}"
            );
            assert!((tokens - formula).abs() < half, "a {alpha} k {k}: {tokens}, not {formula}");
            assert!((faster / expected - 1.0).abs() < 0.02, "a {alpha} k {k}: {faster}");
            let reported = mean(&run, "speculative_speedup");
            assert!((reported / faster - 1.0).abs() < 0.005, "{reported} reported, {faster} seen");
        }
    }
}

/// Claim S1: the best number of drafts moves with the acceptance and the cost of a draft.
#[test]
fn s1_the_best_k_moves_with_acceptance_and_cost() {
    let short = "requests: 12, arrivals: Concurrency(1), lengths: Fixed(prompt: 16, output: 2000)";
    let best = |alpha: f64, cost: f64| {
        let speed = |k: u32| {
            let run = simulate(&drafts(k, alpha, cost, ""), short, CONSTANT);
            (k, mean(&run, "speculative_speedup"))
        };
        let speeds: Vec<(u32, f64)> = [1, 2, 3, 4, 6, 8, 10].map(speed).to_vec();
        speeds.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("seven").0
    };
    let (low, middle, high) = (best(0.5, 0.1), best(0.7, 0.1), best(0.9, 0.1));
    assert!(low < middle && middle < high, "{low} {middle} {high}");
    let (cheap, dear) = (best(0.8, 0.02), best(0.8, 0.3));
    assert!(dear < cheap, "{dear} {cheap}");
    for (alpha, cost, found) in [(0.5, 0.1, low), (0.9, 0.1, high), (0.8, 0.3, dear)] {
        // Near the best the speed-up is flat: the k that was found is as good by the formula.
        let by_formula = best_k(alpha, cost, 10);
        let loss = speed_up(alpha, found, cost) / speed_up(alpha, by_formula, cost);
        assert!(loss > 0.98, "a {alpha} c {cost}: {found}, by the formula {by_formula}");
    }
}

/// Claim S3: large batches leave no idle compute for drafts to use.
#[test]
fn s3_the_gain_fades_with_the_batch() {
    let [one, many] = [1, 64].map(|batch| {
        let workload = format!(
            "requests: {}, arrivals: Concurrency({batch}), lengths: Fixed(prompt: 128, output: 128)",
            2 * batch
        );
        let on = "speculative: (draft: Model(\"Llama-2-7B\"), k: 5, acceptance: 0.8)";
        let runs = [on, ""].map(|engine| simulate(engine, &workload, "Measured(composition: Full)"));
        let [on, off] = runs.each_ref().map(|run| mean(run, "tpot.mean"));
        println!("batch {batch}: {:.3}, reported {:.3}", off / on, mean(&runs[0], "speculative_speedup"));
        off / on
    });
    assert!(one > 1.5 && many < one, "{one} at batch 1, {many} at batch 64");
}

/// A column of the request metrics, by request.
fn column(rows: &str, name: &str) -> Vec<u64> {
    let mut reader = csv::Reader::from_reader(rows.as_bytes());
    let index = reader.headers().expect("a header").iter().position(|column| column == name);
    let index = index.unwrap_or_else(|| panic!("no column {name}"));
    let mut values: Vec<(u64, u64)> = reader
        .records()
        .map(|row| row.expect("a row"))
        .map(|row| (row[0].parse().expect("an id"), row[index].parse().expect("a number")))
        .collect();
    values.sort_unstable();
    values.into_iter().map(|(_, value)| value).collect()
}

fn request_rows(engine: &str, workload: &str) -> String {
    let scenario =
        read(&text(engine, workload, CONSTANT)).unwrap_or_else(|error| panic!("{error}"));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = ResultFolder::create(&dir.path().join("out"), true).expect("a new folder");
    run::run(&scenario, &folder, &|_| ()).expect("a run");
    std::fs::read_to_string(folder.path().join("request_metrics.csv")).expect("rows")
}

#[test]
fn a_requests_drafts_do_not_depend_on_the_batch() {
    let workload = |clients: u32| {
        format!(
            "requests: 40, arrivals: Concurrency({clients}), lengths: Uniform(total: (100, 400), prompt_share: 0.3)"
        )
    };
    let on = drafts(4, 0.7, 0.1, "");
    let [alone, together] = [1, 16].map(|clients| request_rows(&on, &workload(clients)));
    for name in ["num_draft_tokens", "num_accepted_tokens"] {
        let (alone, together) = (column(&alone, name), column(&together, name));
        assert!(alone.iter().all(|&count| count > 0), "{name}");
        assert_eq!(alone, together, "{name}");
    }
    // Without drafts there is no column of them; drafts that cost nothing and are never accepted
    // change nothing else.
    let off = request_rows("", &workload(16));
    assert!(!off.contains("draft"), "no column without drafts");
    let free = "speculative: (draft: NGram(), k: 4, acceptance: 0.0)";
    let refused = request_rows(free, &workload(16));
    assert_eq!(off.lines().count(), refused.lines().count());
    for (off, refused) in off.lines().zip(refused.lines()) {
        assert!(refused.starts_with(off), "{off}\n{refused}");
    }
}

#[test]
fn adaptive_drafts_follow_the_load() {
    let crowd = "requests: 64, arrivals: Concurrency(32), lengths: Fixed(prompt: 16, output: 200)";
    // Beyond the last batch size nobody drafts.
    let by_size = |steps: &str| drafts(4, 0.8, 0.2, &format!("adaptive: ByBatchSize({steps})"));
    let none = simulate(&by_size("[(1, 4)]"), crowd, CONSTANT);
    assert!(mean(&none, "tokens_per_step") < 1.1, "{}", mean(&none, "tokens_per_step"));
    let some = simulate(&by_size("[(1, 4), (64, 2)]"), crowd, CONSTANT);
    let formula = tokens_per_step(0.8, 2);
    assert!((mean(&some, "tokens_per_step") / formula - 1.0).abs() < 0.02);
    // Drafts that cost more than they bring are dropped, others are kept.
    let by_acceptance = |alpha: f64, cost: f64| {
        let on = drafts(8, alpha, cost, "adaptive: ByAcceptance()");
        mean(&simulate(&on, ALONE, CONSTANT), "speculative_speedup")
    };
    let dear = by_acceptance(0.2, 0.4);
    assert!(dear > 0.99, "{dear}: no drafts would be 1");
    let (found, best) = (by_acceptance(0.8, 0.1), speed_up(0.8, best_k(0.8, 0.1, 8), 0.1));
    assert!(found > 0.97 * best, "{found}, with the best k {best}");
}

#[test]
fn every_proposer_runs_and_says_what_it_costs() {
    let workload = "requests: 20, arrivals: Concurrency(4), lengths: Fixed(prompt: 64, output: 64)";
    let timing = "Roofline()";
    let plain = simulate("", workload, timing);
    let blocks = |run: &VariantResult| run.kv_blocks;
    let model =
        "speculative: (draft: Model(\"Llama-2-7B\"), k: 4, acceptance: [0.9, 0.8, 0.7, 0.6])";
    let model = simulate(model, workload, timing);
    let heads = simulate("speculative: (draft: Heads(), k: 4, acceptance: 0.8)", workload, timing);
    let look_up = "speculative: (draft: NGram(look_up_ms: 0.05), k: 4, acceptance: 0.4)";
    let look_up = simulate(look_up, workload, timing);
    // The draft model takes 2.6 times the KV cache, a head an 80th more, a look-up none.
    assert!(blocks(&model) < blocks(&heads) / 2 && blocks(&heads) < blocks(&plain));
    assert_eq!(blocks(&look_up), blocks(&plain));
    for run in [&model, &heads, &look_up] {
        assert!(mean(run, "speculative_speedup") > 1.1, "{}", run.timing.rests_on);
        assert!(run.timing.rests_on.contains("drafts of"), "{}", run.timing.rests_on);
        assert_eq!(mean(run, "finished"), 20.0);
    }
    assert!(plain.mean("tokens_per_step").is_none());
}

#[test]
fn what_makes_no_sense_is_refused_in_its_place() {
    let refused = |engine: &str| {
        let text = text(engine, ALONE, CONSTANT);
        read(&text).err().unwrap_or_else(|| panic!("accepted: {engine}"))
    };
    let cases = [
        ("speculative: (draft: Heads(), k: 0, acceptance: 0.8)", "engine.speculative.k"),
        ("speculative: (draft: Heads(), k: 4, acceptance: 1.8)", "a probability, 0 to 1"),
        ("speculative: (draft: Heads(), k: 4, acceptance: [0.9])", "at least k = 4"),
        ("speculative: (draft: Heads(), k: 4, acceptance: high)", "expected a probability"),
        ("speculative: (draft: Model(\"Llama-3-8B\"), k: 4, acceptance: 0.8)", "same tokenizer"),
        ("speculative: (draft: Model(\"Llama-2-7\"), k: 4, acceptance: 0.8)", "did you mean"),
        ("speculative: (draft: Heads(layer: 1), k: 4, acceptance: 0.8)", "layer"),
        (
            "speculative: (draft: Heads(), k: 4, acceptance: 0.8, draft_timing: Roofline())",
            "cost_ratio",
        ),
        (
            "speculative: (draft: Heads(), k: 2, acceptance: 0.8, adaptive: ByBatchSize([(4, 3)]))",
            "at most k = 2",
        ),
        (
            "vidur_lengths: true, enable_prefix_caching: false, speculative: (draft: NGram(), k: 2, acceptance: 0.5)",
            "vidur_lengths",
        ),
    ];
    for (engine, part) in cases {
        let message = refused(engine);
        assert!(message.contains(part), "{engine}\n{message}");
        assert!(message.contains("s.ron:"), "a place: {message}");
    }
    let pipeline = text("speculative: (draft: Heads(), k: 4, acceptance: 0.8)", ALONE, CONSTANT)
        .replace("tensor_parallel: 4", "pipeline_parallel: 2, tensor_parallel: 2")
        .replace("VllmV1()", "VllmV0()");
    let message = read(&pipeline).err().expect("refused");
    assert!(message.contains("cluster.pipeline_parallel"), "{message}");
}

/// Over random scenarios with tight memory: blocks, tokens and requests add up after every step,
/// runs repeat, nobody is left behind.
#[test]
fn the_books_are_kept_under_every_policy() {
    let same = |alpha| Acceptance::Same(alpha);
    let tight = VllmV0 { max_num_seqs: 6, max_num_batched_tokens: 200, ..VllmV0::default() };
    let check = PolicyCheck::new(tight).speculating(3, same(0.6), Adaptive::Off);
    assert!(check.first_come_first_served().run().1 > 0, "no preemption: not tight enough");
    for (k, scheduling_policy) in
        [(1, Queueing::Fcfs), (5, Queueing::Priority), (9, Queueing::Fcfs)]
    {
        let policy = VllmV1 {
            max_num_batched_tokens: 24,
            max_num_seqs: 7,
            async_scheduling: false,
            scheduling_policy,
            ..VllmV1::default()
        };
        let adaptive = Adaptive::ByAcceptance { window: 8 };
        let check = PolicyCheck::new(policy).speculating(k, same(0.7), adaptive);
        assert!(check.seeds(0..150).run().1 > 0, "no preemption: not tight enough");
    }
    let asynchronous = VllmV1 { max_num_batched_tokens: 40, max_num_seqs: 8, ..VllmV1::default() };
    let by_position = Acceptance::ByPosition(vec![0.9, 0.5, 0.1, 1.0]);
    PolicyCheck::new(asynchronous).speculating(4, by_position, Adaptive::Off).run();
    let sarathi = Sarathi { chunk_size: 16, max_num_seqs: 9, ..Sarathi::default() };
    let by_size = Adaptive::ByBatchSize(vec![(2, 4), (5, 2)]);
    PolicyCheck::new(sarathi).speculating(4, same(0.8), by_size).run();
    for reserve in [Reserve::Max, Reserve::Pow2, Reserve::Oracle] {
        let orca = PolicyCheck::new(Orca { max_num_seqs: 5, reserve });
        let (_, preemptions) = orca.speculating(4, same(0.8), Adaptive::Off).seeds(0..100).run();
        assert_eq!(preemptions, 0, "reserved memory is never taken back");
    }
    let mut groups = FasterTransformer::default();
    groups.max_num_seqs = 4;
    PolicyCheck::new(groups).speculating(3, same(0.8), Adaptive::Off).seeds(0..100).run();
    PolicyCheck::new(LightLlm::default()).speculating(3, same(0.8), Adaptive::Off).run();
}

/// The scenarios of the claims say the figures of the formulas.
#[test]
fn the_claims_expect_what_the_formulas_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/claims");
    let file = folder.join("s1_speculative_decoding.ron");
    let scenario = Scenario::load(&file, &[], &Registry::built_in())
        .unwrap_or_else(|error| panic!("{}", error.render(false)));
    let mut checked = 0;
    for configuration in &scenario.configurations {
        let Some(speculative) = &configuration.cluster.first().speculative else { continue };
        let Acceptance::Same(alpha) = speculative.settings.acceptance else { panic!("one alpha") };
        let k = speculative.settings.k;
        let target = |metric: &str| {
            let about = scenario
                .expectations
                .iter()
                .find(|e| e.metric == metric && e.variant.as_deref() == Some(&configuration.name));
            about.and_then(|e| e.within).unwrap_or_else(|| panic!("{metric} of {alpha} {k}")).0
        };
        assert!((target("tokens_per_step") / tokens_per_step(alpha, k) - 1.0).abs() < 1e-3);
        assert!((target("speculative_speedup") / speed_up(alpha, k, 0.1) - 1.0).abs() < 2e-3);
        checked += 1;
    }
    assert!(checked >= 4, "{checked}");
}
