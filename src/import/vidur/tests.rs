use super::*;
use crate::base::Source;
use crate::recorded::shared;
use crate::scenario::document::Document;

fn import(config: &str) -> Result<ImportedScenario, Box<Diagnostic>> {
    let config = Config::parse(Source::new("config.json", config))?;
    let import = VidurImport {
        config: "config.json".into(),
        trace: None,
        formula: None,
        base_dir: ".".into(),
    };
    let mut out = Writer::default();
    import.write(&config, &mut out)?;
    Ok(ImportedScenario { text: out.text, warnings: out.warnings })
}

const CONFIG: &str = r#"{
 "seed": 42, "time_limit": 0,
 "cluster_config": {
  "num_replicas": 4,
  "replica_config": {
   "model_name": "meta-llama/Llama-2-7b-hf", "memory_margin_fraction": 0.1, "num_pipeline_stages": 1,
   "tensor_parallel_size": 1, "device": "a100", "network_device": "a100_pairwise_nvlink",
   "model_config": {"num_layers": 32, "num_q_heads": 32},
   "device_config": {"fp16_tflops": 312, "total_memory_gb": 80}
  },
  "global_scheduler_config": {"name": "lor"},
  "replica_scheduler_config": {
   "batch_size_cap": 128, "block_size": 16, "watermark_blocks_fraction": 0.01, "num_blocks": null,
   "max_tokens_in_batch": 4096, "name": "vllm"
  }
 },
 "request_generator_config": {
  "seed": 7,
  "length_generator_config": {"max_tokens": 4096, "min_tokens": 128, "prefill_to_decode_ratio": 3.0, "name": "uniform"},
  "interval_generator_config": {"qps": 8.0, "name": "poisson"},
  "num_requests": 1000, "duration": null, "max_tokens": 4096, "name": "synthetic"
 },
 "execution_time_predictor_config": {"nccl_cpu_launch_overhead_ms": 0.02, "skip_cpu_overhead_modeling": true, "name": "random_forrest"}
}"#;

#[test]
fn a_config_becomes_a_readable_scenario() {
    let imported = import(CONFIG).unwrap_or_else(|e| panic!("{e}"));
    assert!(imported.warnings.is_empty());
    Document::parse(&Source::new("out.ron", imported.text.clone()))
        .unwrap_or_else(|e| panic!("{e}"));
    insta::assert_snapshot!(imported.text, @r##"
// Imported from Vidur's config.json. The options called vidur_* reproduce what Vidur does
// differently from the engines it models.
(
    title: "Vidur: Llama-2-7B on A100-SXM-80G, VllmV0, uniform lengths, 8 requests/s",
    model: "Llama-2-7B",                // meta-llama/Llama-2-7b-hf
    device: "A100-SXM-80G",             // a100
    cluster: (
        replicas: 4,
        tensor_parallel: 1,
        pipeline_parallel: 1,
        router: VidurLor,
        network: "a100_pairwise_nvlink",
    ),
    engine: (
        policy: VllmV0(max_num_seqs: 128, max_num_batched_tokens: 4096, watermark: 0.01, vidur_spare_block: true, vidur_idle: true),
        max_model_len: 4096,            // Vidur's max_tokens
        vidur_lengths: true,            // lengths are not checked; reservations are whole blocks
        gpu_memory_utilization: 0.9,
        block_size: 16,
        num_gpu_blocks: 7424,           // Vidur's memory planner: 29 requests of 4096 tokens per stage
    ),
    workload: (
        requests: 1000,
        arrivals: Poisson(qps: 8.0, clip: 3.0),  // Vidur cuts gaps at 3 means: the real rate is 5.2 % higher
        lengths: Uniform(total: (128, 4096), prompt_share: 0.75),
    ),
    timing: Measured(
        composition: Vidur,
        nccl_cpu_launch_overhead_ms: 0.02,
    ),
    seed: 7,
)
"##);
}

/// The network line of an imported config.
fn network(from: &str, to: &str, formula: Option<FormulaSettings>) -> Option<String> {
    let text = CONFIG.replacen(from, to, 1);
    let config = Config::parse(Source::new("config.json", text)).unwrap_or_else(|e| panic!("{e}"));
    let import =
        VidurImport { config: "config.json".into(), trace: None, formula, base_dir: ".".into() };
    let mut out = Writer::default();
    import.write(&config, &mut out).unwrap_or_else(|e| panic!("{e}"));
    let line = out.text.lines().find(|line| line.contains("network:"))?;
    Some(line.trim().to_owned())
}

#[test]
fn a_network_is_written_where_something_may_depend_on_it() {
    let known = Some("network: \"a100_pairwise_nvlink\",".to_owned());
    let unknown = Some("network: \"l40s_ring\",".to_owned());
    let formula = FormulaSettings { base: 0.005, per_token: 2.5e-5, per_context: 1e-8 };
    let other =
        "\"tensor_parallel_size\": 2, \"device\": \"a100\", \"network_device\": \"l40s_ring\"";
    let one = "\"tensor_parallel_size\": 1, \"device\": \"a100\", \"network_device\": \"a100_pairwise_nvlink\"";
    assert_eq!(network("", "", None), known);
    assert_eq!(network("", "", Some(formula)), None, "the closed form has no communication");
    assert_eq!(
        network("a100_pairwise_nvlink", "l40s_ring", None),
        None,
        "one GPU, no such profile"
    );
    assert_eq!(
        network(one, other, None),
        unknown,
        "reading the scenario will say that it is missing"
    );
}

#[test]
fn what_does_not_fit_names_the_smallest_degree_that_does() {
    let help = |gb: &str| {
        let config =
            CONFIG.replacen("\"total_memory_gb\": 80", &format!("\"total_memory_gb\": {gb}"), 1);
        import(&config).err().map(|error| error.render(false)).unwrap_or_default()
    };
    assert!(help("10").contains("the smallest tensor_parallel that fits is 2"), "{}", help("10"));
    assert!(help("0.1").contains("no tensor_parallel up to 64"), "{}", help("0.1"));
    assert_eq!(help("80"), "");
}

#[test]
fn what_is_not_supported_is_shown_in_the_config() {
    let mut table = Vec::new();
    for (from, to) in [
        ("\"vllm\"", "\"vllm_v2\""),
        ("\"lor\"", "\"sticky\""),
        ("meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7c-hf"),
        ("\"a100\"", "\"v100\""),
        ("\"batch_size_cap\": 128", "\"batch_size_cap\": 0"),
        ("\"batch_size_cap\": 128", "\"batch_size_cap\": \"many\""),
        ("\"block_size\": 16", "\"block_size\": 1.5"),
        ("\"num_layers\": 32", "\"num_layers\": 31"),
        ("\"tensor_parallel_size\": 1", "\"tensor_parallel_size\": 3"),
        ("\"name\": \"poisson\"", "\"name\": \"trace\""),
        ("\"name\": \"uniform\"", "\"name\": \"normal\""),
        ("\"name\": \"synthetic\"", "\"name\": \"other\""),
        ("\"skip_cpu_overhead_modeling\": true", "\"skip_cpu_overhead_modeling\": false"),
        ("\"max_tokens_in_batch\": 4096, ", ""),
        ("\"total_memory_gb\": 80", "\"total_memory_gb\": 10"),
        ("\"cluster_config\"", "\"cluster\""),
        ("{\n", "["),
    ] {
        let line = match import(&CONFIG.replacen(from, to, 1)) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => {
                let place = error.place.as_ref().map(|p| p.line_column());
                error.render(false);
                format!("{} {place:?} {}", error.exit_code, error.title)
            }
        };
        table.push(format!("{to}: {line}"));
    }
    insta::assert_snapshot!(table.join("\n"), @r##"
"vllm_v2": 2 Some((14, 41)) `cluster_config.replica_scheduler_config.name` is "vllm_v2", expected `vllm`, `sarathi`, `orca`, `faster_transformer` or `lightllm`
"sticky": 2 Some((11, 39)) `cluster_config.global_scheduler_config.name` is "sticky", expected `round_robin`, `random` or `lor`
meta-llama/Llama-2-7c-hf: 2 Some((6, 18)) `cluster_config.replica_config.model_name` is "meta-llama/Llama-2-7c-hf", expected a model that is built in
"v100": 2 Some((7, 41)) `cluster_config.replica_config.device` is "v100", expected a device that is built in
"batch_size_cap": 0: 2 Some((13, 22)) `cluster_config.replica_scheduler_config.batch_size_cap` is 0, expected at least 1
"batch_size_cap": "many": 2 Some((13, 22)) `cluster_config.replica_scheduler_config.batch_size_cap` is "many", expected a whole number of at least 0
"block_size": 1.5: 2 Some((13, 41)) `cluster_config.replica_scheduler_config.block_size` is 1.5, expected a whole number of at least 0
"num_layers": 31: 2 Some((8, 35)) `cluster_config.replica_config.model_config.num_layers` is 31, expected 32, as Llama-2-7B has
"tensor_parallel_size": 3: 2 Some((7, 28)) `cluster_config.replica_config.tensor_parallel_size` is 3, expected a divisor of the 32 query heads
"name": "trace": 2 Some((20, 53)) `request_generator_config.interval_generator_config.name` is "trace", expected `poisson`, `gamma` or `static`
"name": "normal": 2 Some((19, 110)) `request_generator_config.length_generator_config.name` is "normal", expected `fixed`, `uniform`, `zipf` or `trace`
"name": "other": 2 Some((21, 71)) `request_generator_config.name` is "other", expected `synthetic` or `trace_replay`
"skip_cpu_overhead_modeling": false: 2 Some((23, 105)) `execution_time_predictor_config.skip_cpu_overhead_modeling` is false, expected true
: 2 Some((12, 31)) `cluster_config.replica_scheduler_config.max_tokens_in_batch` is missing, expected a whole number
"total_memory_gb": 10: 3 None Llama-2-7B needs 14.06 GiB per GPU for weights, activations and the KV cache of one sequence of max_model_len 4096 tokens at TP 1 x PP 1, but a100 has 9.00 GiB available; lower max_model_len, use more tensor or pipeline parallelism, or a larger device
"cluster": 2 Some((1, 1)) this is not a config.json of Vidur
[: 2 Some((1, 9)) this is not JSON
"##);
}

/// The `workload` of an imported config, on one line, and the number of warnings.
fn workload(from: &str, to: &str) -> String {
    let imported = import(&CONFIG.replacen(from, to, 1)).unwrap_or_else(|e| panic!("{e}"));
    let document =
        Document::parse(&Source::new("out.ron", imported.text)).unwrap_or_else(|e| panic!("{e}"));
    let spec: crate::workload::WorkloadSpec = document
        .read(document.node("workload").expect("is there"))
        .unwrap_or_else(|e| panic!("{e}"));
    let text = crate::base::ron_options().to_string(&spec).expect("is RON");
    format!("{} warnings, {text}", imported.warnings.len())
}

#[test]
fn every_generator_is_read() {
    let lengths = "{\"max_tokens\": 4096, \"min_tokens\": 128, \"prefill_to_decode_ratio\": 3.0, \"name\": \"uniform\"}";
    let intervals = "{\"qps\": 8.0, \"name\": \"poisson\"}";
    let trace = |file: &str| {
        format!(
            "{{\"trace_file\": \"{file}\", \"prefill_scale_factor\": 1, \"decode_scale_factor\": 1, \"max_tokens\": 4096, \"name\": \"trace\"}}"
        )
    };
    let table = [
        workload("\"duration\": null", "\"duration\": 60"),
        workload(intervals, "{\"qps\": 8, \"cv\": 2.5, \"name\": \"gamma\"}"),
        workload(intervals, "{\"name\": \"static\"}"),
        workload(
            lengths,
            "{\"prefill_tokens\": 2048, \"decode_tokens\": 512, \"name\": \"fixed\"}",
        ),
        workload(
            lengths,
            "{\"theta\": 0.6, \"scramble\": true, \"min_tokens\": 1024, \"max_tokens\": 4096, \"prefill_to_decode_ratio\": 20.0, \"name\": \"zipf\"}",
        ),
        workload(lengths, &trace("data/processed_traces/splitwise_conv.csv")),
        workload(lengths, &trace("my.csv")),
        workload(
            "\"name\": \"synthetic\"",
            "\"trace_file\": \"x.csv\", \"time_scale_factor\": 0.5, \"name\": \"trace_replay\"",
        ),
    ];
    insta::assert_snapshot!(table.join("\n"), @r##"
0 warnings, (duration_s:60.0,arrivals:Poisson(qps:8.0,clip:3.0),lengths:Uniform(total:(128,4096),prompt_share:0.75))
0 warnings, (requests:1000,arrivals:Gamma(qps:8.0,cv:2.5),lengths:Uniform(total:(128,4096),prompt_share:0.75))
0 warnings, (requests:1000,arrivals:Static,lengths:Uniform(total:(128,4096),prompt_share:0.75))
0 warnings, (requests:1000,arrivals:Poisson(qps:8.0,clip:3.0),lengths:Fixed(prompt:2048,output:512))
1 warnings, (requests:1000,arrivals:Poisson(qps:8.0,clip:3.0),lengths:Zipf(total:(1024,4096),theta:0.6,prompt_share:0.9523809523809523))
1 warnings, (requests:1000,arrivals:Poisson(qps:8.0,clip:3.0),lengths:Empirical(name:"azure-conv-2023",max_total:4096))
1 warnings, (requests:1000,arrivals:Poisson(qps:8.0,clip:3.0),lengths:Trace(file:"my.csv",format:Auto,shuffle:true,prompt_scale:1.0,output_scale:1.0,max_total:4096,on_end:Error))
1 warnings, (trace:(file:"x.csv",format:Vidur,time_scale:0.5,prompt_scale:1.0,output_scale:1.0,max_total:4096,sort:false))
"##);
}

#[test]
fn golden_configs_give_vidurs_blocks() {
    let Some(golden) = shared("data/golden/vidur") else { return };
    let cases = std::fs::read_dir(&golden).unwrap();
    for case in cases.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        let import = VidurImport {
            config: case.join("config.json"),
            trace: Some(case.join("requests.csv.gz")),
            formula: Some(FormulaSettings { base: 0.005, per_token: 2.5e-5, per_context: 1e-8 }),
            base_dir: golden.clone(),
        };
        let text = import.run().unwrap_or_else(|e| panic!("{e}")).text;
        let document =
            Document::parse(&Source::new("out.ron", text)).unwrap_or_else(|e| panic!("{e}"));
        let derived = std::fs::read_to_string(case.join("derived.json")).expect("is there");
        let derived: serde_json::Value = serde_json::from_str(&derived).expect("is JSON");
        let value = |path: &str| document.locate(path).map(|span| document.slice(&span).to_owned());
        let blocks = derived["num_blocks"].as_f64().expect("is a number").to_string();
        assert_eq!(value("engine.num_gpu_blocks"), Some(blocks), "{}", case.display());
        let file = format!(
            "{:?}",
            format!("{}/requests.csv.gz", case.file_name().unwrap_or_default().to_string_lossy())
        );
        assert_eq!(value("workload.trace.file"), Some(file));
        if value("engine.policy").is_some_and(|policy| policy.starts_with("Orca")) {
            let batch =
                derived["max_batch_size"].as_f64().expect("is a number").min(128.0).to_string();
            assert_eq!(value("engine.policy.max_num_seqs"), Some(batch), "{}", case.display());
        }
    }
}
