//! Models described by a HuggingFace `config.json`, through the real program.

use crate::room::Room;

/// What Meta publishes for Llama-3.1-8B.
const LLAMA: &str = r#"{"_name_or_path": "meta-llama/Llama-3.1-8B", "model_type": "llama",
    "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "tie_word_embeddings": false}"#;

/// A model that nobody knows.
fn other() -> String {
    LLAMA.replace("meta-llama/Llama-3.1-8B", "mine/half").replace("layers\": 32", "layers\": 16")
}

fn scenario(model: &str, device: &str, timing: &str) -> String {
    format!(
        r#"(
    model: {model},
    device: "{device}",
    engine: (policy: VllmV1(), max_model_len: 8192),
    workload: (
        requests: 40,
        arrivals: Poisson(qps: 4.0),
        lengths: Uniform(prompt: (100, 2000), output: (10, 100)),
    ),
    timing: {timing},
)
"#
    )
}

#[test]
fn a_config_gives_what_the_built_in_model_gives() {
    let room = Room::with("config.json", LLAMA);
    for (device, timing) in [
        ("H100-SXM-80G", "Measured(composition: Full)"),
        ("H100-SXM-80G", "Roofline()"),
        ("RTX-PRO-6000", "Layerwise()"),
        ("H100-SXM-80G", "Formula(base: 0.005)"),
    ] {
        room.write("named.ron", scenario("\"Llama-3.1-8B\"", device, timing));
        room.write("file.ron", scenario("HuggingFace(\"config.json\")", device, timing));
        room.must("named.ron file.ron --quiet --force");
        for file in ["request_metrics.csv", "batch_metrics.csv"] {
            let named = room.read(&format!("results/named/{file}"));
            assert!(named == room.read(&format!("results/file/{file}")), "{timing}: {file}");
        }
    }
}

#[test]
fn vidurs_composition_takes_a_config_too() {
    let room = Room::new();
    let llama_2 = LLAMA
        .replace("meta-llama/Llama-3.1-8B", "")
        .replace("heads\": 8", "heads\": 32")
        .replace("14336", "11008");
    std::fs::create_dir(room.path("llama")).expect("created");
    room.write("llama/config.json", llama_2);
    let text = scenario("HuggingFace(\"llama\")", "A100-SXM-80G", "Measured(composition: Vidur)");
    room.write("s.ron", text);
    let checked = room.must("check s.ron").out;
    assert!(checked.contains("llama: 7.5 B parameters"), "{checked}");
    assert!(checked.contains("(from llama)"), "{checked}");
    // Weights of 8 bits are not what the profile was measured with.
    let config = room.read("llama/config.json");
    let fp8 = ", \"quantization_config\": {\"quant_method\": \"fp8\"}}";
    room.write("llama/config.json", config.replace('}', fp8));
    let refused = room.run("check s.ron");
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("quantised weights"), "{}", refused.err);
}

#[test]
fn variants_and_set_name_configs() {
    let room = Room::with("config.json", LLAMA);
    room.write("other.json", other());
    let text = scenario("\"Llama-2-7B\"", "H100-SXM-80G", "Roofline()").replace("8192", "4096");
    let variants = "variants: {\"a\": (), \"b\": (model: HuggingFace(\"other.json\"))},\n)";
    room.write("s.ron", text.trim_end().trim_end_matches(')').to_owned() + variants);
    room.must("s.ron --quiet");
    let log = room.read("results/s/run.log");
    assert!(log.contains("model         mine/half: 4.5 B parameters, 16 layers"), "{log}");
    assert!(log.contains("from other.json"), "{log}");
    assert!(room.read("results/s/summary.json").contains("\"what\": \"mine/half | 1 x H100"));
    assert!(room.read("results/s/b/request_metrics.csv").contains("mine/half"));

    // What was resolved leads back to the file, and gives the same.
    let resolved = room.read("results/s/scenario.ron");
    assert!(resolved.contains("HuggingFace(\"../../other.json\")"), "{resolved}");
    room.must("results/s/scenario.ron --quiet --out again");
    let rows = |folder: &str| room.read(&format!("{folder}/b/request_metrics.csv"));
    assert!(rows("results/s") == rows("again"));

    let ran = room.run_args(&["check", "s.ron", "--set", "model=HuggingFace(\"config.json\")"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(ran.out.matches("Llama-3.1-8B | 1 x H100-SXM-80G").count(), 2, "{}", ran.out);
    let refused = room.run_args(&["check", "s.ron", "--set", "model=HuggingFace(\"no.json\")"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("--set:1:7"), "{}", refused.err);
}

#[test]
fn a_measured_case_may_bring_its_model() {
    let room = Room::new();
    std::fs::create_dir(room.path("case")).expect("created");
    room.write("case/model.json", other());
    room.write(
        "case/engine.json",
        r#"{"model": {"name": "mine/half", "config": "model.json"}, "max_model_len": 4096,
            "hardware": {"gpu": "NVIDIA H100 80GB HBM3"}}"#,
    );
    room.write(
        "case/workload.csv",
        "request_id,arrived_at,num_prefill_tokens,num_decode_tokens\n0,0.0,100,10\n",
    );
    room.write(
        "case/measured.csv",
        "request_id,ttft_from_arrival_ms,tpot_ms,e2e_from_arrival_ms\n0,10.0,5.0,55.0\n",
    );
    let ran = room.must("validate case");
    assert!(ran.out.contains("E2E"), "{}", ran.out);
    room.write("case/model.json", "{}");
    let refused = room.run("validate case");
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("`hidden_size` is missing"), "{}", refused.err);
}
