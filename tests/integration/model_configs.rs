//! Configs of real models: read truly, or refused with the key and its line.

use crate::recorded::shared;
use crate::room::{Ran, Room};
use vidur_ecs::hardware::Parallelism;
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

/// 154 configs of HuggingFace with parameters and KV elements counted by others: parameters within
/// 1 %, active ones within 2 %, KV elements exact, or refused.
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
        let kv = 2 * u64::from(spec.kv_heads) * u64::from(spec.head_dim) * u64::from(spec.layers);
        let off = |ours: u64, key: &str| ours as f64 / number(key) - 1.0;
        let (params, active) =
            (off(spec.params(), "total_params"), off(spec.active_params(), "active_params"));
        if params.abs() <= 0.01
            && active.abs() <= 0.02
            && kv as f64 == number("kv_elements_per_token_full")
        {
            right += 1;
        } else {
            let want = &row["kv_elements_per_token_full"];
            wrong.push(format!("{name}: {params:+.3} {active:+.3}, {kv} KV elements for {want}"));
        }
    }
    println!("{right} right, {refused} refused, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(right >= 50, "only {right} right");
}

/// Parameters of families whose configs leave much to their classes, by the counts of HuggingFace's
/// own implementation.
#[test]
fn parameters_are_exact() {
    let Some(folder) = shared("data/models/configs") else { return };
    for (name, params) in [
        ("openai-community--gpt2", 124_439_808_u64),
        ("bigcode--starcoder", 15_517_456_384),
        ("facebook--opt-66b", 65_713_858_560),
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

/// The configs of reports in which a simulator took a model for another: each right or refused.
#[test]
fn reported_configs_are_right_or_refused() {
    let Some(folder) = shared("data/cases") else { return };
    for (case, key) in [
        ("01-gpt-oss-sliding-window", "layer_types"),
        ("02-qwen3.5-27b-linear-attention", "model_type"),
        ("03-nemotron-3-nano-hybrid-mamba", "hybrid_override_pattern"),
        ("04-nemotron-super-49b-nas", "block_configs"),
        ("05-llama4-maverick-interleave", "interleave_moe_layer_step"),
        ("06-llama4-scout-chunked-attention", "attention_chunk_size"),
        ("07-qwen1.5-moe-shared-expert", "shared_expert_intermediate_size"),
        ("08-glm4.5-air-dense-first-shared-mtp", "first_k_dense_replace"),
        ("09-deepseek-v4-flash-no-kv_lora_rank", "compress_ratios"),
        ("11-nvfp4-sidecar", "hf_quant_config.json.quantization.quant_algo"),
        ("13-infinity-in-config", "hybrid_override_pattern"),
        ("14-gemma2-9b-tied-by-default", "sliding_window"),
        ("15-gemma3-12b-sparse-text_config", "sliding_window"),
        ("42-granite4-h-small-mamba", "layer_types"),
        ("46-mixed-precision-config_groups", "quantization_config.config_groups"),
    ] {
        let config = folder.join(case).join("m");
        let error = ModelSpec::from_hf_config(&config, &[]).expect_err(case).to_string();
        assert!(error.contains(&format!("`{key}`")), "{case}: {error}");
        assert!(error.contains("not modelled") && error.contains("allow_unmodelled: ["), "{error}");
    }
    let read = |case: &str| ModelSpec::from_hf_config(&folder.join(case), &[]).expect(case);
    let kv = |spec: &ModelSpec| spec.kv_bytes_per_token(Parallelism::default());
    let starcoder = read("16-starcoder-multi_query/m");
    assert_eq!((starcoder.kv_heads, kv(&starcoder)), (1, 20_480));
    assert!((starcoder.params() as f64 / 15.5e9 - 1.0).abs() < 0.01, "{}", starcoder.params());
    let minitron = read("17-minitron-relu2-ungated/m").params();
    assert!((minitron as f64 / 8.27e9 - 1.0).abs() < 0.01, "{minitron}");
    assert_eq!(read("18-qwen2.5-yarn-131072/m").max_position, 131_072);
    let nvidia = read("10-nvidia-fp8-sidecar-hf_quant_config/m");
    let gib = nvidia.weight_bytes(Parallelism::default()) as f64 / f64::from(1 << 30);
    assert!((gib - 67.7).abs() < 0.1, "{gib} GiB");
    assert_eq!(kv(&nvidia), 163_840, "fp8");
    let error = check_case(&folder.join("12-modelopt-mixed-precision-error-dump/m"));
    assert!(error.len() < 2500 && error.contains("quantization_config.quant_algo"), "{error}");
}

fn check_case(config: &std::path::Path) -> String {
    ModelSpec::from_hf_config(config, &[]).expect_err("refused").to_string()
}

/// Case 1: what is left out is named wherever the result is read.
#[test]
fn what_is_left_out_is_shown_in_every_output() {
    let config = r#"{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 512,
        "num_attention_heads": 4, "intermediate_size": 1024, "vocab_size": 1000,
        "max_position_embeddings": 4096, "_name_or_path": "mine/small",
        "layer_types": ["full_attention", "full_attention", "sliding_attention", "full_attention"]}"#;
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
    contains(&refused(gemma), &["`sliding_window` is not modelled: layers that see a window"]);
    let out = accepted(gemma, "allow_unmodelled: [\"sliding_window\"]");
    contains(&out, &["9.2 B parameters", "17.2"]);
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
        "quantization_config": {{"quant_method": "fp8", "ignored_layers": [{}]}}}}"#,
        modules.join(", ")
    );
    let text = refused(&config.replace('\n', " "));
    contains(&text, &["`quantization_config.ignored_layers` is not modelled", "2000 values"]);
    assert!(text.len() < 1500, "{} bytes: {text}", text.len());
}
