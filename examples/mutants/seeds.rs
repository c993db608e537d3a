//! The inputs that mutants are made of. All are written for this.

/// A scenario with most of what a scenario can have.
const BROAD: &str = r#"(
    title: "two policies",
    model: "Llama-3.1-8B",
    device: "H100-SXM-80G",
    cluster: (replicas: 2, tensor_parallel: 1, pipeline_parallel: 1, router: LeastOutstanding),
    engine: (
        policy: VllmV1(max_num_seqs: 64, max_num_batched_tokens: 2048),
        max_model_len: 8192, block_size: 16, num_gpu_blocks: 4000, gpu_memory_utilization: 0.9,
        enable_prefix_caching: true, api_overhead_ms: 1.5,
    ),
    workload: (
        requests: 40,
        arrivals: Poisson(qps: 20.0),
        lengths: LogNormal(prompt: (median: 200, p90: 900, clip: (4, 4000)), output: (median: 20, p90: 60), max_total: 4096),
        prefix: SharedPrefix(groups: 4, tokens: 64, zipf: 1.0),
        warmup: Requests(2), drain: Requests(2),
    ),
    timing: Formula(base: 0.005, per_token: 2.5e-5, per_context: 1e-8),
    seed: 7, seeds: 2, time_limit_s: 100.0,
    slo: (ttft_ms: 500, tpot_ms: 50),
    variants: {"a": (engine: (policy: (max_num_seqs: 8))), "b": (cluster: (replicas: 1))},
    expect: [(metric: "ttft.p50", variant: "a", below: 10.0)],
    output: (request_metrics: true, batch_metrics: RunLength, time_series_s: 0.5),
)
"#;

const CLOSED: &str = r#"(
    model: "Llama-2-7B", device: "A100-SXM-80G",
    engine: (policy: VllmV0(watermark: 0.01), kv_offload: (host_gib: 4.0), preemption_mode: Swap),
    workload: (
        requests: 30, arrivals: Concurrency(4), retry_after_s: 0.5,
        lengths: Uniform(total: (16, 600), prompt_share: 0.6),
        conversations: (turns: Geometric(mean: 3.0), think: Exponential(mean: 0.5), max_total: 2048),
    ),
    admission: MaxQueue(requests: 8),
    timing: Formula(base: 0.01),
)
"#;

const SPECULATIVE: &str = r#"(
    model: "Llama-2-70B", device: "H100",
    cluster: (replicas: 1, tensor_parallel: 4),
    engine: (
        policy: Sarathi(chunk_size: 512),
        speculative: (draft: Model("Llama-2-7B"), k: 4, acceptance: [0.9, 0.8, 0.7, 0.6]),
    ),
    workload: (duration_s: 4.0, arrivals: Gamma(qps: 3.0, cv: 2.0), lengths: Fixed(prompt: 128, output: 32)),
    timing: Formula(base: 0.01, per_token: 1e-5),
)
"#;

const OF_TRACE: &str = r#"(
    model: "Llama-3.1-8B", device: "H100", engine: (policy: SgLang()),
    workload: (trace: (file: "t.csv", format: Columns(arrived_at: "at", prompt: "in", output: "out", time_unit: Millis), time_scale: 0.5, max_total: 4096, limit: 3, sort: true)),
    timing: Formula(base: 0.005),
)
"#;

/// A trace with columns of its own names.
pub const TRACE_CSV: &str = "at,in,out,class\n0,100,10,a\n5.5,200,20,b\n9,300,30,a\n";

const VIDUR: &str = "arrived_at,num_prefill_tokens,num_decode_tokens,request_id,priority,class\n0.5,100,10,7,1,a\n1.25,200,20,3,-2,b\n1.25,300.0,30,9,0,a\n";
const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.979,374,44\n2023-11-16 18:17:04.031,396,109\n";
const BURST: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,1087,0,1087,API log\n118,GPT-4,417,276,693,API log\n";
const MOONCAKE: &str = "{\"timestamp\": 0, \"input_length\": 1100, \"output_length\": 50, \"hash_ids\": [0, 1, 2]}\n{\"timestamp\": 30, \"input_length\": 1024, \"output_length\": 5, \"hash_ids\": [0, 7], \"priority\": 2}\n";
const BAILIAN: &str = "{\"chat_id\": 159, \"parent_chat_id\": -1, \"timestamp\": 61.114, \"input_length\": 30, \"output_length\": 20, \"turn\": 1, \"hash_ids\": [11, 12]}\n{\"chat_id\": 160, \"parent_chat_id\": 159, \"timestamp\": 75.85, \"input_length\": 40, \"output_length\": 3, \"turn\": 2, \"hash_ids\": [11, 12, 13]}\n";
const SESSIONS: &str = "{\"session_id\": \"a\", \"timestamp\": 0, \"input_length\": 100, \"output_length\": 10}\n{\"session_id\": \"a\", \"delay\": 500, \"input_length\": 40, \"output_length\": 10}\n";
const SHARE_GPT: &str = "{\"timestamp\": 0.5, \"prompt_len\": 100, \"output_len\": 50, \"conversation_id\": \"a\", \"turn\": 1}\n{\"timestamp\": 9.0, \"user_len\": 20, \"output_len\": 80, \"conversation_id\": \"a\", \"turn\": 2}\n";
const TEXTS: &str = "[{\"id\": \"a_0\", \"conversations\": [{\"from\": \"human\", \"value\": \"How many tokens is this?\"}, {\"from\": \"gpt\", \"value\": \"About six.\"}]},\n {\"id\": \"b\", \"conversations\": []}]\n";

/// A HuggingFace configuration of a small model with experts.
pub const CONFIG: &str = r#"{
  "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_size": 1024,
  "intermediate_size": 2816, "num_hidden_layers": 8, "num_attention_heads": 16,
  "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 32000, "max_position_embeddings": 8192,
  "num_local_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": false,
  "rope_scaling": {"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 4096},
  "torch_dtype": "bfloat16",
  "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}
}
"#;

/// A scenario with the model of a configuration beside it.
pub const OF_CONFIG: &str = r#"(
    model: HuggingFace("config.json"), device: "H100", engine: (policy: VllmV1()),
    workload: (requests: 5, arrivals: Poisson(qps: 5.0), lengths: Fixed(prompt: 100, output: 8)),
    timing: Roofline(),
)
"#;

/// How a measured server was set up.
pub const ENGINE: &str = r#"{
  "engine": "vllm", "engine_version": "0.11.0",
  "model": {"name": "Llama-3.1-8B"},
  "hardware": {"gpu": "H100-SXM-80G"},
  "parallel": {"tp": 1, "pp": 1, "dp": 1},
  "max_num_seqs": 128, "max_num_batched_tokens": 2048, "max_model_len": 8192,
  "gpu_memory_utilization": 0.9, "block_size": 16, "enable_prefix_caching": true
}
"#;

/// What was measured of it.
pub const MEASURED: &str = "request_id,arrived_at,num_prefill_tokens,num_decode_tokens,ttft_s,tpot_s,e2e_s\n0,0.0,100,10,0.05,0.01,0.15\n1,0.5,200,20,0.06,0.01,0.26\n";

/// The scenario that replays a trace.
pub fn replay(file: &str) -> String {
    let (lengths, think) = (file == "texts.json", file == "sessions.jsonl");
    let named = match file {
        "t.csv" => {
            ", format: Columns(arrived_at: \"at\", prompt: \"in\", output: \"out\", class: \"class\", time_unit: Millis)"
        }
        _ => "",
    };
    let think = if think { ", think: Recorded" } else { "" };
    let workload = match lengths {
        true => format!(
            "arrivals: Poisson(qps: 9.0), requests: 3, lengths: Trace(file: {file:?}, on_end: Repeat)"
        ),
        false => format!("trace: (file: {file:?}{named}{think}, sort: {})", file == "vidur.csv"),
    };
    format!(
        "(model: \"Llama-3.1-8B\", device: \"H100\", engine: (policy: VllmV1(), max_model_len: 16384), workload: ({workload}), timing: Formula(base: 0.005))\n"
    )
}

pub fn traces() -> Vec<(&'static str, Vec<u8>)> {
    [
        ("t.csv", TRACE_CSV),
        ("vidur.csv", VIDUR),
        ("azure.csv", AZURE),
        ("burst.csv", BURST),
        ("mooncake.jsonl", MOONCAKE),
        ("bailian.jsonl", BAILIAN),
        ("sessions.jsonl", SESSIONS),
        ("sharegpt.jsonl", SHARE_GPT),
        ("texts.json", TEXTS),
    ]
    .map(|(name, text)| (name, text.into()))
    .to_vec()
}

/// All are called `s.ron`.
pub fn scenarios() -> Vec<(&'static str, Vec<u8>)> {
    let shipped =
        [include_str!("../../examples/quickstart.ron"), include_str!("../../scenarios/i5_1.ron")];
    let all = [BROAD, CLOSED, SPECULATIVE, OF_TRACE].into_iter().chain(shipped);
    all.map(|text| ("s.ron", text.into())).collect()
}

/// The files of a result folder that are read again.
pub fn results() -> Vec<(&'static str, Vec<u8>)> {
    let summary = r#"{"name": "s", "variants": [{"name": "a", "seeds": [7], "metrics": {"ttft": {"mean": 0.05}}}], "seeds": [7], "metrics": {"ttft": {"mean": 0.05, "p50": 0.04}, "finished": 40}}"#;
    let seeds = "variant,seed,finished,ttft.mean,tpot.p99\na,7,40,0.05,0.01\na,8,40,0.06,\nb,7,39,0.07,0.02\n";
    let runs =
        "scenario,variant,seeds,capacity,load_ratio,verdict,finished\ns,a,2,11.5,0.7,loaded,40\n";
    [("summary.json", summary), ("seeds.csv", seeds), ("runs.csv", runs)]
        .map(|(name, text)| (name, text.into()))
        .to_vec()
}
