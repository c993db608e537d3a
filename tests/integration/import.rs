//! `import vidur` and `profile import vidur`: what they take, what they refuse, and that the
//! scenarios do what Vidur does where it differs from the engines.

use serde_json::{Value, json};

use crate::room::{Room, SCENARIO};

/// A `config.json` as Vidur writes it, without what nobody reads.
fn config() -> Value {
    json!({
        "time_limit": 0,
        "cluster_config": {
            "num_replicas": 1,
            "replica_config": {
                "model_name": "meta-llama/Llama-2-7b-hf",
                "memory_margin_fraction": 0.1,
                "num_pipeline_stages": 1,
                "tensor_parallel_size": 1,
                "device": "a100",
                "network_device": "a100_pairwise_nvlink",
                "model_config": {"num_layers": 32, "num_q_heads": 32},
                "device_config": {"total_memory_gb": 80},
            },
            "global_scheduler_config": {"name": "round_robin"},
            "replica_scheduler_config": {
                "batch_size_cap": 128,
                "block_size": 16,
                "watermark_blocks_fraction": 0.01,
                "num_blocks": null,
                "max_tokens_in_batch": 4096,
                "chunk_size": 512,
                "name": "vllm",
            },
        },
        "request_generator_config": {
            "seed": 42,
            "length_generator_config": {
                "name": "fixed", "prefill_tokens": 100, "decode_tokens": 20, "max_tokens": 4096,
                "min_tokens": 64, "prefill_to_decode_ratio": 4.0, "theta": 0.6,
            },
            "interval_generator_config": {"qps": 8.0, "cv": 2.0, "name": "poisson"},
            "num_requests": 20,
            "duration": null,
            "max_tokens": 4096,
            "name": "synthetic",
        },
        "execution_time_predictor_config": {
            "name": "random_forrest",
            "skip_cpu_overhead_modeling": true,
            "kv_cache_prediction_granularity": 64,
        },
    })
}

/// The config with values at dotted paths; `null` takes one out.
fn with(changes: &[(&str, Value)]) -> String {
    let mut config = config();
    for (path, value) in changes {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        let parent = parent.split('.').filter(|step| !step.is_empty());
        let parent = parent.fold(&mut config, |value, step| &mut value[step]);
        parent[name] = value.clone();
    }
    serde_json::to_string_pretty(&config).expect("is JSON")
}

const REPLICA: &str = "cluster_config.replica_config";
const SCHEDULER: &str = "cluster_config.replica_scheduler_config";
const GENERATOR: &str = "request_generator_config";

#[test]
fn what_a_config_says_wrong_is_shown_in_it() {
    let rows = [
        (
            REPLICA,
            "model_name",
            json!("meta-llama/Lama-2-7b-hf"),
            "2 | a model that is built in | Llama-2-7B",
        ),
        (
            REPLICA,
            "model_name",
            Value::Null,
            "2 | `cluster_config.replica_config.model_name` is missing",
        ),
        (
            REPLICA,
            "device",
            json!("z100"),
            "2 | \"z100\", expected a device that is built in | A100-SXM-80G",
        ),
        (
            REPLICA,
            "tensor_parallel_size",
            json!(3),
            "2 | is 3, expected a divisor of the 32 query heads",
        ),
        (REPLICA, "tensor_parallel_size", json!("two"), "2 | is \"two\", expected a whole number"),
        (REPLICA, "num_pipeline_stages", json!(7), "2 | is 7, expected a divisor of the 32 layers"),
        (REPLICA, "memory_margin_fraction", json!(2), "2 | is 2, expected at least 0 and below 1"),
        (
            REPLICA,
            "model_config.num_layers",
            json!(99),
            "2 | is 99, expected 32, as Llama-2-7B has",
        ),
        (
            SCHEDULER,
            "name",
            json!("vlm"),
            "2 | `vllm`, `sarathi`, `orca`, `faster_transformer` or `lightllm`",
        ),
        (SCHEDULER, "batch_size_cap", json!(0), "2 | is 0, expected at least 1"),
        (SCHEDULER, "block_size", json!(0), "2 | is 0, expected at least 1"),
        (SCHEDULER, "num_blocks", json!(1.5), "2 | is 1.5, expected a whole number"),
        (SCHEDULER, "watermark_blocks_fraction", json!("x"), "2 | is \"x\", expected a number"),
        (
            "cluster_config",
            "global_scheduler_config.name",
            json!("rr"),
            "2 | `round_robin`, `random` or `lor`",
        ),
        ("cluster_config", "num_replicas", json!(0), "2 | is 0, expected at least 1"),
        ("cluster_config", "num_replicas", json!(-1), "2 | is -1, expected a whole number"),
        (GENERATOR, "num_requests", json!(0), "2 | is 0, expected at least 1"),
        (GENERATOR, "name", json!("other"), "2 | `synthetic` or `trace_replay`"),
        (
            GENERATOR,
            "interval_generator_config.name",
            json!("weibull"),
            "2 | `poisson`, `gamma`, `static` or `trace`",
        ),
        (GENERATOR, "interval_generator_config.qps", json!("a"), "2 | is \"a\", expected a number"),
        (
            GENERATOR,
            "interval_generator_config.qps",
            json!(-1),
            "2 | is -1, expected a number above 0",
        ),
        (
            GENERATOR,
            "length_generator_config.name",
            json!("pareto"),
            "2 | `fixed`, `uniform`, `zipf` or `trace`",
        ),
        (
            "execution_time_predictor_config",
            "name",
            json!("gp"),
            "2 | `random_forrest` or `linear_regression`",
        ),
        (
            "execution_time_predictor_config",
            "skip_cpu_overhead_modeling",
            json!(false),
            "2 | never published",
        ),
    ];
    for (section, name, value, expected) in rows {
        let path = format!("{section}.{name}");
        let room = Room::with("config.json", with(&[(&path, value)]));
        refused(&room, "import vidur config.json -o o.ron", &format!("{expected} | config.json:"));
    }
    let tight = with(&[("cluster_config.replica_config.memory_margin_fraction", json!(0.99))]);
    let room = Room::with("config.json", tight);
    refused(
        &room,
        "import vidur config.json -o o.ron",
        "3 | needs 14.06 GiB | has 0.80 GiB available",
    );
}

/// Exit code and parts of the message; nothing new is in the room.
fn refused(room: &Room, line: &str, expected: &str) {
    let before = room.names();
    let ran = room.run(line);
    let mut parts = expected.split(" | ");
    let code = parts.next().and_then(|code| code.parse::<i32>().ok());
    assert_eq!(Some(ran.code), code, "{line}: {expected}\n{}", ran.err);
    for part in parts {
        assert!(ran.err.contains(part), "`{part}` is not in\n{}", ran.err);
    }
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("error")).count(), 1, "{}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    assert_eq!(room.names(), before, "{line}");
}

#[test]
fn files_that_are_no_config_are_refused() {
    for (text, expected) in [
        ("", "2 | config.json:1:1 | this is not JSON"),
        ("{ \"a\": }", "2 | config.json:1:8 | this is not JSON"),
        ("[]", "2 | not a config.json of Vidur | has no `cluster_config`"),
        ("{\"cluster_config\": 3}", "2 | config.json:1:20 | model_name` is missing"),
    ] {
        let room = Room::with("config.json", text);
        refused(&room, "import vidur config.json -o o.ron", expected);
    }
    let room = Room::with("config.json", with(&[]));
    for (line, expected) in [
        ("import vidur absent.json", "2 | cannot read absent.json"),
        (
            "import vidur config.json --trace no.csv -o o.ron",
            "2 | --trace: there is no file no.csv",
        ),
        (
            "import vidur config.json --timing formula:1,2 -o o.ron",
            "2 | formula:BASE,PER_TOKEN,PER_CONTEXT",
        ),
        ("import vidur config.json -o /", "2 | / is a folder; name a file"),
        ("profile import vidur nowhere --model Llama-2-7B -o y.ron", "2 | cannot read nowhere"),
        ("workload fit config.json -o y.ron", "2 | config.json"),
    ] {
        refused(&room, line, expected);
    }
}

#[test]
fn every_kind_of_scheduler_and_workload_runs() {
    let lengths = |name: &str| (format!("{GENERATOR}.length_generator_config.name"), json!(name));
    let arrivals =
        |name: &str| (format!("{GENERATOR}.interval_generator_config.name"), json!(name));
    for policy in ["vllm", "sarathi", "orca", "faster_transformer"] {
        for (length, arrival, stages) in
            [("fixed", "poisson", 1), ("uniform", "gamma", 2), ("zipf", "static", 4)]
        {
            let changes = [
                lengths(length),
                arrivals(arrival),
                (format!("{SCHEDULER}.name"), json!(policy)),
                (format!("{REPLICA}.num_pipeline_stages"), json!(stages)),
            ];
            let changes: Vec<_> = changes.iter().map(|(p, v)| (p.as_str(), v.clone())).collect();
            let room = Room::with("config.json", with(&changes));
            room.must("import vidur config.json -o s.ron --timing formula:0.005,2.5e-5,1e-8");
            room.must("check s.ron --quiet");
            room.must("s.ron --quiet --out out");
            let rows = room.read("out/request_metrics.csv");
            assert_eq!(rows.lines().count(), 21, "{policy} {length} {arrival}");
            assert!(!rows.contains("rejected") && !rows.contains("unfinished"), "{rows}");
        }
    }
}

/// One column of `request_metrics.csv`, by request id, under a policy and for a list of requests.
fn column(changes: &[(&str, Value)], requests: &str, column: &str) -> Vec<String> {
    let room = Room::with("config.json", with(changes));
    room.write("r.csv", format!("id,arrived_at,num_prefill_tokens,num_decode_tokens\n{requests}"));
    room.must("import vidur config.json --trace r.csv --timing formula:0.005,2.5e-5,1e-8 -o s.ron");
    room.must("s.ron --quiet --out out");
    let text = room.read("out/request_metrics.csv");
    let mut rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = rows.next().expect("a header");
    let index = |name: &str| header.iter().position(|h| *h == name).expect(name);
    let (id, wanted) = (index("Request Id"), index(column));
    let mut found: Vec<(u64, String)> =
        rows.map(|row| (row[id].parse().expect("an id"), row[wanted].to_owned())).collect();
    found.sort();
    found.into_iter().map(|(_, value)| value).collect()
}

/// Vidur reserves `max_tokens // block_size` blocks: 100 tokens are 6 blocks of 16, not 7.
#[test]
fn reservations_are_rounded_down_as_vidur_does() {
    for policy in ["orca", "faster_transformer"] {
        let changes = [
            ("cluster_config.replica_scheduler_config.name", json!(policy)),
            ("cluster_config.replica_scheduler_config.num_blocks", json!(12)),
            ("request_generator_config.max_tokens", json!(100)),
        ];
        let scheduled = column(&changes, "0,0,10,5\n1,0,10,5\n2,0,10,5\n", "scheduled_at");
        let zero = |text: &String| text.parse::<f64>() == Ok(0.0);
        assert_eq!(scheduled.iter().filter(|time| zero(time)).count(), 2, "{policy} {scheduled:?}");
    }
}

/// Vidur does not check lengths against `max_tokens`: a longer request runs on.
#[test]
fn requests_beyond_max_tokens_run_on_as_in_vidur() {
    for policy in ["vllm", "sarathi", "orca", "faster_transformer"] {
        let changes = [
            ("cluster_config.replica_scheduler_config.name", json!(policy)),
            ("request_generator_config.max_tokens", json!(100)),
        ];
        let status = column(&changes, "0,0,90,50\n1,0.001,150,3\n2,0.2,10,5\n", "status");
        assert_eq!(status, ["finished"; 3], "{policy}");
    }
    // Not even then does a reservation grow, though all the memory there is has been reserved.
    for policy in ["orca", "faster_transformer"] {
        let changes = [
            ("cluster_config.replica_scheduler_config.name", json!(policy)),
            ("cluster_config.replica_scheduler_config.num_blocks", json!(12)),
            ("request_generator_config.max_tokens", json!(100)),
        ];
        let status = column(&changes, "0,0,90,500\n1,0,90,300\n2,0,10,5\n", "status");
        assert_eq!(status, ["finished"; 3], "{policy}");
    }
    // Only an import asks for that.
    let text = SCENARIO.replace("max_model_len: 4096", "max_model_len: 100");
    assert_eq!(Room::with("s.ron", text).run("s.ron --quiet").code, 2);
}

/// Requests that arrive together are scheduled together; one that comes a tenth of a nanosecond
/// later is not. Gamma arrivals with a large variation have such gaps.
#[test]
fn arrivals_closer_than_a_nanosecond_stay_apart() {
    let requests = "0,1.0,100,2\n1,1.0,100,2\n2,2.0,100,2\n3,2.0000000001,100,2\n";
    let scheduled = column(&[], requests, "scheduled_at");
    let scheduled: Vec<f64> = scheduled.iter().map(|t| t.parse().expect("a number")).collect();
    assert_eq!(scheduled[..3], [1.0, 1.0, 2.0]);
    assert!(scheduled[3] > 2.005, "{scheduled:?}");
}

/// pandas writes whole numbers as `395.0` when a column has a gap; trace replay does too.
#[test]
fn token_counts_may_be_written_as_floats() {
    let status = column(&[], "0,0.0,395.0,112.0\n1,0.5,10.0,1.0\n", "status");
    assert_eq!(status, ["finished"; 2]);
    let room = Room::with("config.json", with(&[]));
    room.write("bad.csv", "a,b\n1,2\n");
    room.must("import vidur config.json --trace bad.csv -o s.ron");
    refused(&room, "s.ron --quiet", "2 | s.ron: | bad.csv with columns a, b");
}
