//! Classes of requests, priorities and admission control, from the scenario to the metrics.

use vidur_ecs::metrics::VariantResult;
use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

use crate::refusals::scenarios;

/// What a scenario's text is read as, or the message about it.
fn read(text: &str) -> Result<Scenario, String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("s.ron");
    std::fs::write(&file, text).expect("a file in a temporary folder");
    Scenario::load(&file, &[], &Registry::built_in()).map_err(|error| error.render(false))
}

/// An iteration takes 5 ms and 0.1 ms for each token: of requests with 450 tokens hardly 22 a
/// second can be served.
fn text(policy: &str, workload: &str, rest: &str) -> String {
    format!(
        "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\",
          engine: (policy: VllmV1({policy}), max_model_len: 4096),
          workload: ({workload}), timing: Formula(base: 0.005, per_token: 1e-4), {rest})"
    )
}

fn simulate(policy: &str, workload: &str, rest: &str) -> VariantResult {
    let text = text(policy, workload, rest);
    let scenario = read(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut result = run::results(&scenario, &|_| ()).expect("a run");
    result.variants.swap_remove(0)
}

fn of(result: &VariantResult, class: &str, metric: &str) -> f64 {
    let value =
        if class.is_empty() { result.mean(metric) } else { result.mean_of_class(class, metric) };
    value.unwrap_or_else(|| panic!("no {metric} of {class}"))
}

const CLASSES: &str = r#"classes: {
    "chat": (share: 1, priority: -1, slo: (ttft_ms: 1000, tpot_ms: 400)),
    "batch": (share: 2, priority: 5, slo: (ttft_ms: 8000)),
}"#;

/// Twice as much as can be served.
fn overload() -> String {
    format!(
        "requests: 1200, arrivals: Poisson(qps: 40.0),
         lengths: Uniform(prompt: (100, 700), output: (20, 80)), {CLASSES}"
    )
}

#[test]
fn the_books_of_the_classes_add_up() {
    for rest in
        ["", "time_limit_s: 15", "admission: MaxQueue(requests: 10)", "admission: PredictedTtft()"]
    {
        let result = simulate("", &overload(), rest);
        for metric in [
            "arrived",
            "finished",
            "rejected",
            "not_admitted",
            "unfinished",
            "counted",
            "input_tokens",
            "output_tokens",
            "goodput",
            "request_throughput",
            "output_throughput",
            "preemptions",
        ] {
            let sum = of(&result, "chat", metric) + of(&result, "batch", metric);
            let all = of(&result, "", metric);
            assert!((sum - all).abs() < 1e-9 * (1.0 + all), "{metric} {rest}: {sum} and {all}");
        }
        let count = |class, metric| of(&result, class, metric);
        for class in ["", "chat", "batch"] {
            let ends = ["finished", "rejected", "unfinished"].map(|end| count(class, end));
            assert_eq!(count(class, "arrived"), ends.iter().sum::<f64>(), "{class} {rest}");
        }
        let good: f64 = ["chat", "batch"]
            .map(|class| count(class, "slo_attainment") * count(class, "arrived"))
            .iter()
            .sum();
        let all = count("", "slo_attainment") * count("", "arrived");
        assert!((good - all).abs() < 1e-6, "{good} {all}");
        assert_eq!(rest.contains("admission"), count("", "not_admitted") > 0.0, "{rest}");
    }
}

/// A single class changes nothing but the columns and metrics about it.
#[test]
fn a_class_of_all_requests_has_the_metrics_of_all() {
    let workload = "requests: 200, arrivals: Poisson(qps: 12.0), \
                    lengths: Uniform(prompt: (100, 700), output: (20, 80))";
    let slo = "slo: (ttft_ms: 1000)";
    let plain = simulate("", workload, slo);
    let class = r#"classes: {"all": (share: 0.3)}"#;
    let one = simulate("", &format!("{workload}, {class}"), slo);
    for (metric, value) in plain.runs[0].metrics.iter() {
        assert_eq!(one.runs[0].get(&metric.name), value, "{}", metric.name);
        if vidur_ecs::metrics::names::is_of_classes(&metric.name) {
            assert_eq!(one.mean_of_class("all", &metric.name), value, "{}", metric.name);
        }
    }
}

#[test]
fn the_urgent_class_waits_less_than_first_come_first_served() {
    let fcfs = simulate("", &overload(), "");
    let urgent = simulate("scheduling_policy: Priority", &overload(), "");
    let ttft = |result| of(result, "chat", "ttft.mean");
    assert!(ttft(&urgent) < 0.2 * ttft(&fcfs), "{} {}", ttft(&urgent), ttft(&fcfs));
    assert!(of(&urgent, "batch", "ttft.mean") > of(&fcfs, "batch", "ttft.mean"));
    assert!(of(&urgent, "chat", "goodput") > of(&fcfs, "chat", "goodput"));
}

/// Twice as much comes as can be served: what is let in keeps its limit, which without admission
/// control most would miss; and no less is served in time.
#[test]
fn predicted_ttft_keeps_the_promise_under_overload() {
    let workload = "requests: 1500, arrivals: Poisson(qps: 24.0), \
                    lengths: Uniform(prompt: (100, 1500), output: (20, 80)), warmup: Requests(50)";
    let slo = "slo: (ttft_ms: 3000)";
    let without = simulate("", workload, slo);
    assert!(of(&without, "", "slo_attainment") < 0.3);
    let offered = 24.0 / of(&without, "", "request_throughput");
    assert!(offered > 1.9, "{offered} times what is served");
    let with = simulate("", workload, &format!("{slo}, admission: PredictedTtft()"));
    let goodput = of(&with, "", "goodput") / of(&with, "", "request_throughput");
    assert!(goodput > 0.95, "{goodput} of what was let in");
    assert!(of(&with, "", "goodput") > 0.9 * of(&without, "", "request_throughput"));
    // Under priorities too, each class its own limit.
    let with = simulate("scheduling_policy: Priority", &overload(), "admission: PredictedTtft()");
    for class in ["chat", "batch"] {
        let share = of(&with, class, "goodput") / of(&with, class, "request_throughput");
        assert!(share > 0.9, "{class} {share}");
    }
}

/// Clients that are turned away come again a while later; nobody hangs, and time goes on.
#[test]
fn a_closed_loop_goes_on_after_a_refusal() {
    let workload = "duration_s: 20, arrivals: Concurrency(40), retry_after_s: 0.5, \
                    lengths: Fixed(prompt: 300, output: 40)";
    let run = simulate("max_num_seqs: 4", workload, "admission: MaxQueue(requests: 8)");
    let rejected = of(&run, "", "not_admitted");
    // 12 are let in, and each of the other 28 tries twice a second.
    assert!((28.0 * 20.0..29.0 * 41.0).contains(&rejected), "{rejected}");
    assert!(of(&run, "", "finished") > 100.0);
    let chats = "requests: 400, arrivals: Concurrency(40), retry_after_s: 0.5, \
                 lengths: Fixed(prompt: 30, output: 40), \
                 conversations: (turns: Fixed(3), think: Fixed(0.2))";
    let run = simulate("max_num_seqs: 4", chats, "admission: MaxQueue(requests: 8)");
    let ends = of(&run, "", "finished") + of(&run, "", "rejected");
    assert_eq!(of(&run, "", "arrived"), ends);
    assert!(of(&run, "", "finished") > 50.0);
}

/// What admission control sees is the same whether a launch covers one iteration or many.
#[test]
fn admission_does_not_depend_on_fast_forward() {
    for admission in [
        "MaxQueue(requests: 6)",
        "PredictedTtft()",
        "TokenBudget(classes: {\"batch\": (tokens_per_s: 1500, burst_tokens: 4000)})",
    ] {
        for replicas in [1, 2] {
            let rest = format!(
                "admission: {admission}, cluster: (replicas: {replicas}), output: (batch_metrics: false)"
            );
            let text = text(
                "scheduling_policy: Priority",
                &overload().replace("40.0", &format!("{}.0", 40 * replicas)),
                &rest,
            );
            let mut scenario = read(&text).unwrap();
            let fast = run::results(&scenario, &|_| ()).unwrap();
            scenario.exact_steps = true;
            let exact = run::results(&scenario, &|_| ()).unwrap();
            assert_eq!(fast.variants[0].runs, exact.variants[0].runs, "{admission}");
            assert!(of(&fast.variants[0], "", "not_admitted") > 0.0, "{admission} {replicas}");
        }
    }
}

#[test]
fn a_budget_is_kept_by_each_class() {
    let budget = "admission: TokenBudget(each: (tokens_per_s: 1000, burst_tokens: 2000))";
    let run = simulate("", &overload(), budget);
    for class in ["chat", "batch"] {
        let seconds = of(&run, "", "arrived") / 40.0;
        let most = 2000.0 + 1000.0 * 1.3 * seconds;
        assert!(of(&run, class, "input_tokens") <= most, "{class}");
        assert!(of(&run, class, "not_admitted") > 0.0, "{class}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_its_place() {
    let plain = "requests: 9, arrivals: Poisson(qps: 2.0), lengths: Fixed(prompt: 9, output: 9)";
    let closed = "requests: 9, arrivals: Concurrency(2), lengths: Fixed(prompt: 9, output: 9)";
    let with = |more: &str| format!("{plain}, {more}");
    let class = r#"classes: {"a": (share: 1)}"#;
    let expect = |text: &str| format!("expect: [({text}, at_least: 0)]");
    let of_a = expect(r#"metric: "goodput", class: "a""#);
    let of_b = expect(r#"metric: "goodput", class: "b""#);
    let itl = expect(r#"metric: "itl.p99", class: "a""#);
    let models = format!("models: (x: (), y: ()), {of_a}");
    let unknown = r#"admission: MaxQueue(classes: {"a": 3})"#;
    let lengths = r#"classes: {"a": (share: 1, lengths: Fixed(prompt: 9, output: 9))}"#;
    let plain = plain.to_owned();
    let rows = [
        (with(r#"classes: {"a": (share: -1)}"#), "", "share | s.ron:4: | a share above 0"),
        (with(r#"classes: {"a": ()}"#), "", "s.ron:4: | without shares | names the class"),
        (plain.clone(), "admission: MaxQueu(requests: 3)", "s.ron:5: | did you mean `MaxQueue`?"),
        (plain.clone(), "admission: MaxQueue(requests: 0)", "s.ron:5: | at least 1"),
        (plain.clone(), unknown, "s.ron:5: | the workload has no `classes`"),
        (plain.clone(), "admission: PredictedTtft()", "s.ron:5: | without a TTFT limit"),
        (plain.clone(), "admission: TokenBudget()", "s.ron:5: | without a budget"),
        (with("retry_after_s: 2"), "", "s.ron:4: | closed loop"),
        (format!("{closed}, retry_after_s: 2"), "", "s.ron:4: | `admission`"),
        (with(class), &of_b, "s.ron:5: | one of a"),
        (with(class), &itl, "s.ron:5: | metric of requests"),
        (plain.clone(), &of_a, "no `classes`"),
        (with(class), &models, "s.ron:5: | one of x/a, y/a"),
        (with(lengths), "", "s.ron:4: | beside lengths of every class"),
    ];
    let row = |(workload, rest, wants): (String, &str, &str)| {
        (text("", &format!("\n{workload}"), &format!("\n{rest}")), format!("2 | {wants}"))
    };
    scenarios(rows.map(row), 14);
}
