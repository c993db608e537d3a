//! Small random scenarios as a user would write them, of all techniques.

use crate::base::RandomStream;

/// Numbers for settings.
struct Dice(RandomStream);

impl Dice {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.below(high - low + 1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.0.below(n) == 0
    }

    fn pick<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.0.below(values.len() as u64) as usize]
    }
}

/// The text of a scenario drawn from `seed`: a small cluster with one or several techniques and a
/// few dozen requests, which writes every file. Some of the texts are refused, as techniques that
/// do not go together are drawn too.
///
/// ```
/// assert!(vidur_ecs::testing::random_scenario_text(7).contains("workload"));
/// ```
pub fn random_scenario_text(seed: u64) -> String {
    let mut dice = Dice(RandomStream::new(seed, "scenario text"));
    let technique = dice.between(0, 9);
    let mut sections = vec![
        format!("seed: {seed}"),
        r#"model: "Llama-2-7B""#.to_owned(),
        r#"device: "A100-SXM-80G""#.to_owned(),
        timing(&mut dice),
        output(&mut dice),
    ];
    // Those that take blocks as they are needed go with most techniques.
    let (policy, mut engine) = engine(&mut dice, (1..=6).contains(&technique));
    let mut workload = workload(&mut dice);
    let mut cluster = vec![format!("replicas: {}", dice.between(1, 3))];
    let routers = ["RoundRobin", "LeastOutstanding", "Random", "PowerOfTwo", "PrefixAffinity()"];
    cluster.push(format!("router: {}", dice.pick(&routers)));
    match technique {
        0 if policy != "V1" => cluster.push("pipeline_parallel: 2".to_owned()),
        1 => {
            engine.push("enable_prefix_caching: true".to_owned());
            workload.push(format!("prefix: SharedPrefix(tokens: {})", dice.between(16, 120)));
        }
        2 => workload.push(
            "conversations: (turns: Geometric(mean: 3.0), think: Exponential(mean: 0.2), max_total: 700)"
                .to_owned(),
        ),
        3 => {
            let (prefill, decode) = (dice.between(1, 2), dice.between(1, 2));
            cluster.remove(0);
            sections.push(format!(
                "disaggregated: (prefill: (cluster: (replicas: {prefill})), decode: (cluster: (replicas: \
                 {decode})), link: (gb_per_s: {}, latency_us: {}, layer_wise: {}))",
                dice.pick(&["0.5", "25.0", "400.0"]),
                dice.pick(&["0.0", "10.0"]),
                dice.one_in(2)
            ));
        }
        4 => engine.push(format!(
            "speculative: (draft: Model(\"Llama-2-7B\"), k: {}, acceptance: {})",
            dice.between(1, 5),
            dice.pick(&["0.0", "0.7", "1.0"])
        )),
        5 => engine.push("lora: (adapters: 6, max_loras: 2, base_share: 0.2)".to_owned()),
        6 => {
            engine.push("preemption_mode: Swap".to_owned());
            engine.push(format!(
                "kv_offload: (host_gib: {}, pcie_gb_per_s: 25.0)",
                dice.pick(&["0.05", "0.5", "4.0"])
            ));
        }
        7 => {
            workload.push(
                r#"classes: {"chat": (share: 1, slo: (ttft_ms: 300)), "batch": (share: 2, priority: 3)}"#
                    .to_owned(),
            );
            sections.push(format!("admission: MaxQueue(max_waiting: {})", dice.between(1, 12)));
        }
        8 => {
            let gpus = dice.pick(&["Own", "TimeSliced"]);
            engine.push("gpu_memory_utilization: 0.4".to_owned());
            sections.push(format!("models: (first: (), second: ()), gpus: {gpus}"));
        }
        _ => {}
    }
    if dice.one_in(4) {
        sections.push(format!("time_limit_s: {}", dice.pick(&["0.004", "0.31", "1.5", "5.0"])));
    }
    if dice.one_in(3) {
        sections.push("slo: (ttft_ms: 200, e2e_ms: 3000)".to_owned());
    }
    sections.push(format!("cluster: ({})", cluster.join(", ")));
    sections.push(format!("engine: ({})", engine.join(", ")));
    sections.push(format!("workload: ({})", workload.join(", ")));
    format!("({})\n", sections.join(",\n "))
}

fn timing(dice: &mut Dice) -> String {
    let timings = [
        "Formula(base: 0.004, per_token: 2.5e-5, per_context: 1e-7)",
        "Formula(base: 0.01, per_token: 0.0, per_context: 0.0)",
        "Measured(composition: Full)",
        "Measured(composition: Vidur)",
        "Roofline()",
    ];
    format!("timing: {}", dice.pick(&timings))
}

fn output(dice: &mut Dice) -> String {
    let batches = if dice.one_in(4) { "RunLength" } else { "true" };
    let interval = dice.pick(&["0.01", "0.25", "1.0"]);
    format!("output: (batch_metrics: {batches}, time_series_s: {interval})")
}

fn engine(dice: &mut Dice, paged: bool) -> (&'static str, Vec<String>) {
    let seqs = dice.between(1, 16);
    let tokens = dice.between(700, 1500);
    let kind = if paged { [0, 1, 5][dice.between(0, 2) as usize] } else { dice.between(0, 6) };
    let (name, policy) = match kind {
        0 => ("V0", format!("VllmV0(max_num_seqs: {seqs}, max_num_batched_tokens: {tokens})")),
        1 => (
            "Sarathi",
            format!("Sarathi(max_num_seqs: {seqs}, chunk_size: {})", dice.between(8, 300)),
        ),
        2 => ("SgLang", format!("SgLang(max_num_seqs: {seqs})")),
        3 => (
            "Orca",
            format!(
                "Orca(max_num_seqs: {seqs}, reserve: {})",
                dice.pick(&["Max", "Pow2", "Oracle"])
            ),
        ),
        4 => ("Static", format!("FasterTransformer(max_num_seqs: {seqs})")),
        _ => (
            "V1",
            format!(
                "VllmV1(max_num_seqs: {seqs}, max_num_batched_tokens: {}, async_scheduling: {})",
                dice.between(16, 600),
                dice.one_in(2)
            ),
        ),
    };
    let mut engine = vec![format!("policy: {policy}"), "max_model_len: 700".to_owned()];
    engine.push(format!("block_size: {}", dice.pick(&["1", "8", "16"])));
    if dice.one_in(3) {
        engine.push(format!("api_overhead_ms: {}", dice.pick(&["1.8", "12.5"])));
    }
    // From one longest request to many of them.
    engine.push(format!("num_gpu_blocks: {}", dice.between(701, 2500) / dice.between(1, 8)));
    (name, engine)
}

fn workload(dice: &mut Dice) -> Vec<String> {
    let qps = dice.pick(&["3.0", "20.0", "90.0"]);
    let arrivals = match dice.between(0, 5) {
        0 => "Static".to_owned(),
        1 => format!("Concurrency({})", dice.between(1, 9)),
        2 => format!("Gamma(qps: {qps}, cv: 3.0)"),
        3 => format!("Uniform(qps: {qps})"),
        _ => format!("Poisson(qps: {qps})"),
    };
    let lengths = match dice.between(0, 3) {
        0 => format!("Fixed(prompt: {}, output: {})", dice.between(1, 300), dice.between(1, 40)),
        1 => "Uniform(prompt: (1, 300), output: (1, 3))".to_owned(),
        _ => "Uniform(prompt: (1, 400), output: (1, 80))".to_owned(),
    };
    let mut workload = vec![format!("requests: {}", dice.between(1, 70))];
    workload.push(format!("arrivals: {arrivals}"));
    workload.push(format!("lengths: {lengths}"));
    for margin in ["warmup", "drain"] {
        if dice.one_in(4) {
            workload.push(format!("{margin}: {}", dice.pick(&["Requests(5)", "Seconds(0.2)"])));
        }
    }
    workload
}
