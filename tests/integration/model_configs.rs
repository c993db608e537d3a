//! Configs of real models: read truly, or refused with the key and its line.

use crate::recorded::shared;
use crate::room::{Ran, Room};
use vidur_ecs::hardware::model::ModelSpec;

/// A scenario of the model in `m`.
fn scenario(device: &str, tensor_parallel: u32, rest: &str) -> String {
    format!(
        "(model: HuggingFace(\"m\"), device: \"{device}\", \
         cluster: (tensor_parallel: {tensor_parallel}), engine: (policy: VllmV1()), \
         workload: (requests: 4, arrivals: Static, lengths: Fixed(prompt: 500, output: 20)), {rest})"
    )
}

/// A room with a scenario and its model's config.
fn room(config: &str, scenario: &str) -> Room {
    let room = Room::with("s.ron", scenario);
    std::fs::create_dir(room.path("m")).expect("created");
    room.write("m/config.json", config);
    room
}

fn check(config: &str, scenario: &str) -> Ran {
    room(config, scenario).run("check s.ron")
}

/// What `check` says of a config on an H100 that is accepted.
fn accepted(config: &str, rest: &str) -> String {
    let ran = check(config, &scenario("H100", 1, rest));
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

/// What is said of a config that is refused.
fn refused(config: &str) -> String {
    let ran = check(config, &scenario("H100", 1, ""));
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    ran.err
}

fn contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

/// 154 configs of HuggingFace with figures counted by others: parameters within 1 %, active ones
/// within 2 %, elements of the KV cache and bytes of states exact, bytes of the checkpoint within
/// 2 %; or refused.
#[test]
fn no_config_is_accepted_and_wrong() {
    let Some(folder) = shared("data/models") else { return };
    let mut rows = csv::Reader::from_path(folder.join("models.csv")).expect("a table");
    let (mut right, mut refused, mut wrong) = (0, 0, Vec::new());
    for row in rows.deserialize::<std::collections::HashMap<String, String>>() {
        let row = row.expect("a row");
        let name = &row["folder"];
        let config = folder.join("configs").join(name).join("config.json");
        let spec = match ModelSpec::from_hf_config(&config, &[]) {
            Ok(spec) => spec,
            Err(error) => {
                assert!(error.to_string().len() < 6000, "{name}: {error}");
                assert!(error.place.is_some(), "{name}: {error}");
                refused += 1;
                continue;
            }
        };
        let number = |key: &str| row[key].parse::<f64>().unwrap_or(0.0);
        let off = |ours: u64, key: &str| ours as f64 / number(key) - 1.0;
        let shares = [
            (off(spec.params(), "total_params"), 0.01),
            (off(spec.active_params(), "active_params"), 0.02),
            (off(spec.checkpoint_bytes(), "weight_bytes_checkpoint"), 0.02),
        ];
        let exact = [
            (spec.kv_elements_full(), "kv_elements_per_token_full"),
            (spec.kv_elements_sliding(), "kv_elements_per_token_sliding"),
            (spec.state_bytes_per_sequence(), "linear_state_bytes_per_sequence"),
        ];
        if shares.iter().all(|(share, limit)| share.abs() <= *limit)
            && exact.iter().all(|(ours, key)| *ours as f64 == number(key))
        {
            right += 1;
        } else {
            wrong.push(format!("{name}: {shares:?}, {exact:?}"));
        }
    }
    println!("{right} right, {refused} refused, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right >= 146, "only {right} right");
}

/// Parameters of families whose configs leave much to their classes, by the counts of HuggingFace's
/// own implementation.
#[test]
fn parameters_are_exact() {
    let Some(folder) = shared("data/models/configs") else { return };
    for (name, params) in [
        ("openai-community--gpt2", 124_439_808_u64),
        ("bigcode--starcoder", 15_517_456_384),
        ("facebook--opt-66b", 65_719_701_504),
        ("microsoft--phi-2", 2_779_683_840),
        ("EleutherAI--gpt-j-6b", 6_050_882_784),
        ("bigscience--bloom", 176_247_271_424),
        ("google--gemma-7b", 8_537_680_896),
        ("nvidia--Minitron-8B-Base", 8_271_699_968),
        ("CohereForAI--aya-23-8B", 8_028_033_024),
        ("zai-org--GLM-4-9B-0414", 9_400_094_720),
        ("databricks--dbrx-instruct", 131_596_523_520),
        ("Qwen--Qwen3-30B-A3B", 30_532_122_624),
    ] {
        let config = folder.join(name).join("config.json");
        let spec =
            ModelSpec::from_hf_config(&config, &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
        let off = spec.params() as f64 / params as f64 - 1.0;
        assert!(off.abs() < 2e-4, "{name}: {} for {params}", spec.params());
    }
}

/// GiB in bytes.
const GIB: f64 = (1_u64 << 30) as f64;

/// The cases of reports in which a simulator took a model for another: each at its wanted value.
/// Weights are of the fullest GPU.
#[test]
fn reported_configs_are_read_as_wanted() {
    let Some(folder) = shared("data/cases") else { return };
    /// Billions of parameters, bytes of the KV cache per token over all GPUs, GiB of weights on
    /// each.
    struct Wanted {
        params: f64,
        kv: u64,
        gib: f64,
    }
    for (case, Wanted { params, kv, gib }) in [
        ("01-gpt-oss-sliding-window", Wanted { params: 116.8, kv: 36_864, gib: 34.34 }),
        ("02-qwen3.5-27b-linear-attention", Wanted { params: 26.9, kv: 65_536, gib: 50.1 }),
        ("03-nemotron-3-nano-hybrid-mamba", Wanted { params: 31.58, kv: 6144, gib: 58.8 }),
        ("04-nemotron-super-49b-nas", Wanted { params: 49.87, kv: 200_704, gib: 46.4 }),
        ("05-llama4-maverick-interleave", Wanted { params: 400.7, kv: 49_152, gib: 93.3 }),
        ("06-llama4-scout-chunked-attention", Wanted { params: 107.8, kv: 49_152, gib: 50.2 }),
        ("07-qwen1.5-moe-shared-expert", Wanted { params: 14.32, kv: 196_608, gib: 26.7 }),
        ("08-glm4.5-air-dense-first-shared-mtp", Wanted { params: 106.9, kv: 188_416, gib: 49.8 }),
        ("09-deepseek-v4-flash-no-kv_lora_rank", Wanted { params: 284.3, kv: 6880, gib: 36.87 }),
        ("10-nvidia-fp8-sidecar-hf_quant_config", Wanted { params: 70.55, kv: 163_840, gib: 67.7 }),
        ("14-gemma2-9b-tied-by-default", Wanted { params: 9.24, kv: 172_032, gib: 17.2 }),
        ("15-gemma3-12b-sparse-text_config", Wanted { params: 11.77, kv: 65_536, gib: 21.9 }),
        ("16-starcoder-multi_query", Wanted { params: 15.52, kv: 20_480, gib: 28.9 }),
        ("17-minitron-relu2-ungated", Wanted { params: 8.27, kv: 131_072, gib: 15.4 }),
        ("42-granite4-h-small-mamba", Wanted { params: 32.2, kv: 16_384, gib: 60.0 }),
        ("46-mixed-precision-config_groups", Wanted { params: 32.76, kv: 262_144, gib: 20.61 }),
    ] {
        // Case 10 is about weights: its longest sequence does not fit beside them.
        let shorter = if case.starts_with("10") { " --set engine.max_model_len=8192" } else { "" };
        let scenario = folder.join(case).join("s.ron");
        let ran = Room::new().run(&format!("check {} --json{shorter}", scenario.display()));
        assert_eq!(ran.code, 0, "{case}: {}", ran.err);
        let found: serde_json::Value = serde_json::from_str(&ran.out).expect(case);
        let number = |path: &str| found.pointer(path).and_then(serde_json::Value::as_f64);
        let near = |path: &str, wanted: f64| {
            let found = number(path).unwrap_or_else(|| panic!("{case}: no {path}"));
            assert!((found / wanted - 1.0).abs() < 0.01, "{case}: {path} {found} for {wanted}");
        };
        near("/model/parameters", params * 1e9);
        near("/weights/bytes_per_gpu", gib * GIB);
        assert_eq!(number("/kv/bytes_per_token"), Some(kv as f64), "{case}");
        assert_eq!(number("/schema_version"), Some(1.0));
    }
    let read = |case: &str| ModelSpec::from_hf_config(&folder.join(case), &[]).expect(case);
    assert_eq!(read("18-qwen2.5-yarn-131072/m").max_position, 131_072);
    // Engines pad experts of 4-bit floats; the checkpoint has them as they are.
    let gpt_oss = read("01-gpt-oss-sliding-window/m").checkpoint_bytes() as f64 / GIB;
    assert!((gpt_oss / 60.67 - 1.0).abs() < 0.002, "{gpt_oss} GiB");
    // NVFP4 in a file beside, ModelOpt's mixed precision, Infinity: read.
    let nvfp4 = read("11-nvfp4-sidecar/m");
    assert!((nvfp4.checkpoint_bytes() as f64 / 134.0e9 - 1.0).abs() < 0.02, "{}", nvfp4.label());
    assert!(nvfp4.label().contains("nvfp4 weights"), "{}", nvfp4.label());
    let mixed = read("12-modelopt-mixed-precision-error-dump/m");
    assert!((mixed.params() as f64 / 34.7e9 - 1.0).abs() < 0.02, "{}", mixed.params());
    let super_120b = read("13-infinity-in-config/m");
    assert!((super_120b.params() as f64 / 120.6e9 - 1.0).abs() < 0.02, "{}", super_120b.params());
}

/// Case 1: what is left out is named wherever the result is read.
#[test]
fn what_is_left_out_is_shown_in_every_output() {
    let config = r#"{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 512,
        "num_attention_heads": 4, "intermediate_size": 1024, "vocab_size": 1000,
        "max_position_embeddings": 4096, "_name_or_path": "mine/small",
        "layer_types": ["full_attention", "full_attention", "odd_attention", "full_attention"]}"#;
    let text = refused(config);
    contains(
        &text,
        &[
            "`layer_types` is not modelled",
            "config.json:4:9",
            "the model of s.ron:1:9",
            "[\"layer_types\"]",
        ],
    );
    let allowed = "allow_unmodelled: [\"layer_types\", \"widgets\"]";
    let room = room(config, &scenario("H100", 1, allowed));
    let ran = room.must("run s.ron");
    let label = "mine/small (not modelled: layer_types)";
    contains(&ran.out, &[label]);
    contains(&ran.err, &["`allow_unmodelled` names `widgets`, which mine/small does not need"]);
    contains(&room.read("results/s/summary.json"), &[label]);
    contains(&room.read("results/s/run.log"), &[label]);
    contains(&room.must("check s.ron").out, &[label]);
    // The resolved scenario is the same one.
    let resolved = room.read("results/s/scenario.ron");
    contains(&resolved, &["allow_unmodelled: [\"layer_types\"]"]);
    room.must("results/s/scenario.ron --quiet --out again");
    assert_eq!(room.read("results/s/request_metrics.csv"), room.read("again/request_metrics.csv"));
}

/// Case 13: what Python's json writes. Case 14: an absent key is what the class says.
#[test]
fn class_defaults_and_infinity_are_read() {
    let gemma = r#"{"model_type": "gemma2", "hidden_size": 3584, "num_hidden_layers": 42,
        "num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 14336,
        "vocab_size": 256000, "max_position_embeddings": 8192, "sliding_window": 4096,
        "_time_step_limit": [0.0, Infinity]}"#;
    let ran = check(gemma, &scenario("H100", 1, ""));
    assert_eq!(ran.code, 0, "{}", ran.err);
    contains(&ran.out, &["9.2 B parameters", "42 layers (21 sliding, 21 full)", "17.2"]);
    contains(&ran.err, &["layers that keep windows or states are simulated as if"]);
}

/// Case 16: one KV head for all queries.
#[test]
fn multi_query_attention_is_read() {
    let starcoder = r#"{"model_type": "gpt_bigcode", "n_embd": 6144, "n_head": 48, "n_layer": 40,
        "n_inner": 24576, "n_positions": 8192, "multi_query": true, "vocab_size": 49152}"#;
    contains(
        &accepted(starcoder, ""),
        &["15.5 B parameters", "1 KV heads", "20480 bytes per token"],
    );
    let falcon = r#"{"model_type": "falcon", "hidden_size": 4544, "num_hidden_layers": 32,
        "num_attention_heads": 71, "multi_query": true, "new_decoder_architecture": false,
        "parallel_attn": true, "bias": false, "vocab_size": 65024}"#;
    contains(&accepted(falcon, ""), &["6.9 B parameters", "1 KV heads", "2048 tokens"]);
}

/// Case 17: MLPs of two matrices.
#[test]
fn mlps_without_a_gate_are_read() {
    let minitron = r#"{"model_type": "nemotron", "hidden_size": 4096, "num_hidden_layers": 32,
        "num_attention_heads": 48, "num_key_value_heads": 8, "head_dim": 128,
        "intermediate_size": 16384, "hidden_act": "relu2", "vocab_size": 256000,
        "max_position_embeddings": 4096}"#;
    contains(&accepted(minitron, ""), &["8.3 B parameters"]);
}

/// Case 18: YARN stretches the context that requests may have.
#[test]
fn a_stretched_context_takes_long_prompts() {
    let qwen = r#"{"model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24,
        "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864,
        "vocab_size": 151936, "max_position_embeddings": 32768, "tie_word_embeddings": true,
        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}"#;
    let text = scenario("H100", 1, "").replace("500", "60000");
    let ran = check(qwen, &text);
    assert_eq!(ran.code, 0, "{}", ran.err);
    contains(&ran.out, &["max_model_len: 131072"]);
}

/// Case 20: blocks of 8-bit floats that a GPU would have in part.
#[test]
fn blocks_of_weights_are_not_cut() {
    let config = r#"{"model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048,
        "num_attention_heads": 32, "num_key_value_heads": 4, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "head_dim": 128,
        "vocab_size": 151936, "max_position_embeddings": 40960,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}"#;
    for (tensor_parallel, code) in [(2, 0), (4, 2)] {
        let ran = check(config, &scenario("H100", tensor_parallel, ""));
        assert_eq!(ran.code, code, "{}", ran.err);
        if code == 2 {
            contains(
                &ran.err,
                &["cluster.tensor_parallel", "768 rows into 192", "weight_block_size"],
            );
        }
    }
}

/// Case 10: fp8 weights and cache, of which only the file beside the config tells.
#[test]
fn a_file_beside_the_config_quantises() {
    let config = r#"{"model_type": "llama", "num_hidden_layers": 80, "hidden_size": 8192,
        "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 28672,
        "vocab_size": 128256, "max_position_embeddings": 8192}"#;
    let room =
        room(config, &scenario("H100", 1, "").replace("VllmV1()", "VllmV1(), max_model_len: 2048"));
    assert_eq!(room.run("check s.ron").code, 3, "16 bits do not fit");
    room.write(
        "m/hf_quant_config.json",
        r#"{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8",
            "kv_cache_quant_algo": "FP8", "exclude_modules": ["lm_head"]}}"#,
    );
    contains(&room.must("check s.ron").out, &["fp8 weights, fp8 KV cache", "67.67 GiB per GPU"]);
}

/// Case 12, and defect 21: messages do not quote what they refuse.
#[test]
fn refusals_are_short() {
    let modules: Vec<String> =
        (0..2000).map(|i| format!("\"model.layers.{i}.self_attn\"")).collect();
    let config = format!(
        r#"{{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 512, "num_attention_heads": 4,
        "intermediate_size": 1024, "vocab_size": 1000, "max_position_embeddings": 4096,
        "quantization_config": {{"quant_method": "fp8", "odd_layers": [{}]}}}}"#,
        modules.join(", ")
    );
    let text = refused(&config.replace('\n', " "));
    contains(&text, &["`quantization_config.odd_layers` is not modelled", "2000 values"]);
    assert!(text.len() < 1500, "{} bytes: {text}", text.len());
}
