//! Measured cases: nothing is ignored, and nothing passes that was not compared.

use crate::room::Room;

const ENGINE: &str = r#"{
    "model": {"name": "meta-llama/Llama-3.1-8B-Instruct"},
    "hardware": {"gpu": "NVIDIA H100 80GB HBM3"}
}"#;
const HEAD: &str = "request_id,ttft_from_arrival_ms,tpot_ms,e2e_from_arrival_ms\n";

/// A case of `rows` in the folder `name`.
fn case(room: &Room, name: &str, rows: &[&str]) {
    std::fs::create_dir_all(room.path(name)).expect("created");
    let mut workload = "request_id,arrived_at,num_prefill_tokens,num_decode_tokens\n".to_owned();
    for id in 0..rows.len() {
        workload += &format!("{id},0.{id},100,10\n");
    }
    room.write(&format!("{name}/engine.json"), ENGINE);
    room.write(&format!("{name}/workload.csv"), workload);
    room.write(&format!("{name}/measured.csv"), format!("{HEAD}{}\n", rows.join("\n")));
}

/// Defect 9: a limit is not met by comparing nothing.
#[test]
fn nothing_compared_does_not_pass() {
    let room = Room::new();
    case(&room, "c", &["0,10.0,5.0,55.0", "1,NaN,5.0,55.0", "2,11.0,5.0,56.0"]);
    let ran = room.must("validate c --max-error 1000");
    assert!(ran.out.contains("1 measured TTFT values are not times"), "{}", ran.out);
    assert!(ran.out.contains("requests 1\n"), "{}", ran.out);
    let skipped = room.run("validate c --max-error 1000 --skip 3");
    assert_eq!(skipped.code, 2, "{}", skipped.out);
    assert!(skipped.err.contains("--skip 3 leaves none of the 3 requests"), "{}", skipped.err);
    assert_eq!(room.run("validate c --max-error nan").code, 2);
    assert_eq!(room.run("validate c --max-error 0.0001").code, 1);

    case(&room, "none", &["0,NaN,NaN,NaN", "1,0.0,0.0,0.0"]);
    let ran = room.run("validate none --max-error 1000");
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("a metric cannot be compared"), "{}", ran.err);
    let ran = room.must("validate none");
    assert!(ran.err.contains("nothing was compared"), "{}", ran.err);
}

/// Defect 9: folders of the same name in different places.
#[test]
fn cases_of_one_name_have_results_of_their_own() {
    let room = Room::new();
    for name in ["a/case", "b/case"] {
        case(&room, name, &["0,10.0,5.0,55.0"]);
    }
    room.must("validate a/case b/case a/case --out r");
    for name in ["a-case", "b-case", "a-case-2"] {
        assert!(room.path(&format!("r/{name}/request_metrics.csv")).exists(), "{:?}", room.names());
    }
    room.must("validate a/case --out alone");
    assert!(room.path("alone/case/request_metrics.csv").exists());
}

/// Case 49: a slip and features that are not simulated.
#[test]
fn unknown_keys_of_an_engine_are_refused() {
    let room = Room::new();
    case(&room, "c", &["0,10.0,5.0,55.0"]);
    let with = |more: &str| {
        room.write("c/engine.json", ENGINE.replacen('{', &format!("{{\n    {more},"), 1));
        room.run("validate c")
    };
    let ran = with("\"scheduler\": {\"max_num_seq\": 4}");
    assert_eq!(ran.code, 2, "{}", ran.out);
    for part in ["unknown key `max_num_seq`", "did you mean `max_num_seqs`?", "engine.json:2:"] {
        assert!(ran.err.contains(part), "no {part} in {}", ran.err);
    }
    for more in ["\"speculative_config\": {}", "\"quantization\": \"fp8\"", "\"block-size\": 64"] {
        assert_eq!(with(more).code, 2, "{more}");
    }
    // Scheduling is as it was in that version.
    room.write("c/engine.json", ENGINE.replacen('{', "{\"engine_version\": \"0.11.0 (V1)\",", 1));
    let shown = room.must("validate c --show-scenario").out;
    assert!(shown.contains("VllmV1(version: \"0.11\", async_scheduling: false)"), "{shown}");
    assert!(shown.contains("device: \"H100-SXM-80G\"") && !shown.contains("timing:"), "{shown}");
}

/// Defect 18: a model that is not built in, from a benchmark of SGLang to the comparison.
#[test]
fn a_benchmark_of_any_model_becomes_a_case() {
    let room = Room::new();
    room.write(
        "r.jsonl",
        r#"{"backend": "sglang", "request_rate": Infinity, "max_concurrency": null, "input_lens": [128, 100], "output_lens": [3, 3], "ttfts": [0.05, 0.06], "itls": [[0.01, 0.01], [0.01, 0.01]], "errors": ["", ""]}
"#,
    );
    std::fs::create_dir(room.path("m")).expect("created");
    room.write(
        "m/config.json",
        r#"{"model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 4096,
            "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 12288,
            "vocab_size": 151936, "max_position_embeddings": 40960}"#,
    );
    let nameless = room.run("import vllm-bench r.jsonl --device L40S -o c");
    assert_eq!(nameless.code, 2);
    assert!(nameless.err.contains("does not say which model"), "{}", nameless.err);
    room.run_args(&[
        "import",
        "vllm-bench",
        "r.jsonl",
        "--device",
        "NVIDIA L40S",
        "--model",
        "m",
        "-o",
        "c",
    ]);
    let ran = room.must("validate c");
    assert!(ran.out.contains("TTFT  mean 55.0 ->"), "{}", ran.out);
    let help = room.must("import vllm-bench --help").out;
    for option in ["--device", "--model", "-o, --out", "--line", "--allow-unmodelled"] {
        assert!(help.contains(option), "{help}");
    }
}
