//! What is wrong within a scenario: its syntax, its names, its types and its values.

use crate::refusals::replaced;

/// RON that is none.
#[test]
fn syntax() {
    let rows = [
        (
            "seed: 1,",
            "seed: 1",
            "2 | s.ron:19:5 | a comma or a closing bracket is missing | with commas between them",
        ),
        (
            "seed: 1,",
            "seed 1,",
            "2 | s.ron:18:10 | a colon is missing | expected `:` between name and value",
        ),
        ("seed: 1,", "seed = 1,", "2 | s.ron:18: | a colon is missing | `name: value`"),
        ("seed: 1,", "seed: ,", "2 | s.ron:18:11 | a value is missing"),
        ("\"A test\"", "\"A test", "2 | s.ron:3: | is missing"),
        ("\"A test\"", "'A test'", "2 | s.ron:2:14 | texts need double quotes"),
        ("\"A test\"", "\"A\\u{0}test\\u{7}\"", "2 | s.ron:2:12 | `title` is | control characters"),
        ("seed: 1,", "seed: 1, }", "2 | s.ron:18:14 | a bracket is closed by one of another kind"),
        ("seed: 1,", "/* seed: 1,", "2 | s.ron:18:7 | a comment is not closed | `*/`"),
        ("seed: 1,", "seed: 0x,", "2 | s.ron:18:13 | a number has no digits"),
        (
            "    ],\n)\n",
            "    ],\n",
            "2 | s.ron:27:6 | the text ends too early | a bracket is still open",
        ),
        ("    ],\n)\n", "    ],\n) seed: 3", "2 | s.ron:28:3 | there is more text after the end"),
        ("variants: {", "variants: [", "2 | s.ron:21:16 | expected `,`"),
        ("cluster: (replicas", "cluster: [replicas", "2 | s.ron:5:23 | expected `,`"),
    ];
    replaced(&rows, 14);
}

/// Fields and names that do not exist, on every level, each with a suggestion.
#[test]
fn names() {
    let rows = [
        (
            "seed: 1,",
            "sed: 1,",
            "2 | s.ron:18:5 | unknown field `sed` | did you mean `seed`? | known here: name, title",
        ),
        (
            "replicas: 2",
            "replica: 2",
            "2 | s.ron:5:15 | unknown field `replica` | did you mean `replicas`?",
        ),
        (
            "block_size: 16",
            "blok_size: 16",
            "2 | s.ron:10:9 | unknown field `blok_size` | did you mean `block_size`?",
        ),
        (
            "max_num_seqs: 128",
            "max_num_seq: 128",
            "2 | s.ron:7:24 | unknown field `max_num_seq` | in the settings of `VllmV0` | did you mean `max_num_seqs`?",
        ),
        (
            "requests: 20",
            "request: 20",
            "2 | s.ron:13:9 | unknown field `request` | did you mean `requests`?",
        ),
        ("qps: 2.0", "qp: 2.0", "2 | s.ron:14:27 | unknown field `qp` | did you mean `qps`?"),
        (
            "prompt: 128",
            "promt: 128",
            "2 | s.ron:15:24 | unknown field `promt` | did you mean `prompt`?",
        ),
        (
            "base: 0.005",
            "bas: 0.005",
            "2 | s.ron:17:21 | unknown field `bas` | in the settings of `Formula` | did you mean `base`?",
        ),
        (
            "ttft_ms: 1000",
            "tfft_ms: 1000",
            "2 | s.ron:19:11 | unknown field `tfft_ms` | did you mean `ttft_ms`?",
        ),
        (
            "at_most_ms: 300",
            "at_mst_ms: 300",
            "2 | s.ron:25:31 | unknown field `at_mst_ms` | did you mean `at_most_ms`?",
        ),
        (
            "engine: (policy: Orca",
            "engin: (policy: Orca",
            "2 | s.ron:22:17 | unknown field `engin` | in variant `max` | did you mean `engine`?",
        ),
        (
            "reserve: Max",
            "reserv: Max",
            "2 | s.ron:22:39 | unknown field `reserv` | in the settings of `Orca` | in variant `max` | did you mean `reserve`?",
        ),
        (
            "VllmV0(max",
            "Vllm0(max",
            "2 | s.ron:7:17 | unknown policy `Vllm0` | did you mean `VllmV | Sarathi",
        ),
        (
            "RoundRobin",
            "RundRobin",
            "2 | s.ron:5:78 | unknown router `RundRobin` | did you mean `RoundRobin`?",
        ),
        (
            "Formula(",
            "Formulae(",
            "2 | s.ron:17:13 | unknown timing `Formulae` | did you mean `Formula`?",
        ),
        (
            "Llama-2-7B",
            "Lama-2-7B",
            "2 | s.ron:3:12 | unknown model `Lama-2-7B` | did you mean `Llama-2-7B`?",
        ),
        (
            "A100-SXM-80G",
            "A100-SXN-80G",
            "2 | s.ron:4:13 | unknown device `A100-SXN-80G` | did you mean `A100-SXM-80G`?",
        ),
        (
            "Poisson(",
            "Poison(",
            "2 | s.ron:14:19 | unknown name `Poison` | did you mean `Poisson`?",
        ),
        ("Fixed(", "Fixd(", "2 | s.ron:15:18 | unknown name `Fixd` | did you mean `Fixed`?"),
        (
            "reserve: Max",
            "reserve: Maxx",
            "2 | s.ron:22:48 | unknown name `Maxx` | did you mean `Max`?",
        ),
        (
            "ttft.mean",
            "ttft.men",
            "2 | s.ron:25:18 | `ttft.men` | the name of a metric | did you mean `ttft.mean`?",
        ),
        (
            "[\"max\", \"paged\"]",
            "[\"max\", \"page\"]",
            "2 | s.ron:26:49 | `page` | the name of a variant | `paged`",
        ),
        (
            "at_most_ms: 300",
            "at_most_ms: 300, variant: \"mux\"",
            "2 | s.ron:25: | `mux` | the name of a variant",
        ),
        (
            "Formula(base: 0.005, per_token: 2.5e-5)",
            "Measured(composition: Vidure)",
            "2 | s.ron:17:35 | unknown name `Vidure` | did you mean `Vidur`?",
        ),
    ];
    replaced(&rows, 24);
}

/// Values of the wrong type, fields given twice, fields missing.
#[test]
fn types_and_fields() {
    let rows = [
        (
            "replicas: 2",
            "replicas: \"2\"",
            "2 | s.ron:5:25 | expected a whole number, found the text `\"2\"`",
        ),
        (
            "replicas: 2",
            "replicas: 2.5",
            "2 | s.ron:5:25 | expected a whole number, found the number `2.5`",
        ),
        ("replicas: 2", "replicas: -2", "2 | s.ron:5:25 | at least 0, found the number `-2`"),
        (
            "replicas: 2",
            "replicas: 99999999999999999999999",
            "2 | s.ron:5:25 | expected a smaller whole number",
        ),
        ("prompt: 128", "prompt: 4294967296", "2 | s.ron:15:32 | expected a smaller whole number"),
        (
            "requests: 20",
            "requests: 1e308",
            "2 | s.ron:13:19 | expected a whole number, found the number `1e308`",
        ),
        (
            "seed: 1,",
            "seed: 18446744073709551616,",
            "2 | s.ron:18:11 | expected a smaller whole number",
        ),
        (
            "title: \"A test\"",
            "title: 3",
            "2 | s.ron:2:12 | expected a text in double quotes, found the number `3`",
        ),
        (
            "model: \"Llama-2-7B\"",
            "model: Llama",
            "2 | s.ron:3:12 | expected a text in double quotes, found the name `Llama`",
        ),
        (
            "Poisson(qps: 2.0)",
            "\"Poisson\"",
            "2 | s.ron:14:19 | expected a name, found the text `\"Poisson\"`",
        ),
        (
            "Poisson(qps: 2.0)",
            "Poisson(2.0)",
            "2 | s.ron:14:27 | expected a field `name: value`, found the number `2.0`",
        ),
        (
            "Poisson(qps: 2.0)",
            "Poisson",
            "2 | s.ron:14:19 | expected settings in parentheses, `Poisson( ... )`",
        ),
        ("[\"max\", \"paged\"]", "\"max\"", "2 | s.ron:26: | expected a list"),
        (
            "seed: 1,",
            "seed: 1, seed: 2,",
            "2 | s.ron:18:14 | field `seed` is given twice | keep one",
        ),
        (
            "replicas: 2",
            "replicas: 2, replicas: 3",
            "2 | s.ron:5:28 | field `replicas` is given twice",
        ),
        ("\"paged\": ()", "\"max\": ()", "2 | s.ron:22:9 | two variants are called `max`"),
        ("\"paged\": ()", "\"\": ()", "2 | s.ron:21:9 | a variant without a name"),
        (
            "\"paged\": ()",
            "\"paged\": (seeds: 3)",
            "2 | s.ron:21:19 | a variant cannot change `seeds` | move it out of `variants`",
        ),
        ("    model: \"Llama-2-7B\",\n", "", "2 | s.ron:1:1 | field `model` is missing"),
        ("    device: \"A100-SXM-80G\",\n", "", "2 | s.ron:1:1 | field `device` is missing"),
        (
            "        policy: VllmV0(max_num_seqs: 128, max_num_batched_tokens: 4096),\n",
            "",
            "2 | s.ron:6:13 | field `policy` is missing | known here: VllmV0, VllmV1, SgLang, Sarathi, Orca, FasterTransformer, LightLlm",
        ),
        (", output: 16", "", "2 | s.ron:15:18 | field `output` is missing"),
        (
            "        lengths: Fixed(prompt: 128, output: 16),\n",
            "",
            "2 | s.ron:12:15 | `workload.lengths` is missing | for example `lengths: Fixed(",
        ),
        ("        requests: 20,\n", "", "2 | s.ron:12: | `workload.requests` is missing"),
    ];
    replaced(&rows, 24);
}

/// Values that make no sense, alone or together.
#[test]
fn values() {
    let rows = [
        (
            "block_size: 16",
            "block_size: 16, vidur_lengths: true, enable_prefix_caching: true",
            "2 | s.ron:10:40 | `engine.vidur_lengths` is true | with prefix caching | enable_prefix_caching: false",
        ),
        (
            "tensor_parallel: 1",
            "tensor_parallel: 3",
            "2 | s.ron:5:45 | `cluster.tensor_parallel` is 3 | a divisor of the 32 query heads",
        ),
        (
            "tensor_parallel: 1",
            "tensor_parallel: 0",
            "2 | s.ron:5:45 | `cluster.tensor_parallel` is 0",
        ),
        (
            "pipeline_parallel: 1",
            "pipeline_parallel: 5",
            "2 | s.ron:5:67 | `cluster.pipeline_parallel` is 5 | a divisor of the 32 layers",
        ),
        (
            "pipeline_parallel: 1",
            "pipeline_parallel: 64",
            "2 | s.ron:5:67 | is 64 | a divisor of the 32 layers",
        ),
        (
            "replicas: 2",
            "replicas: 0",
            "2 | s.ron:5:25 | `cluster.replicas` is 0, expected 1 to 65536",
        ),
        (
            "Llama-2-7B",
            "Llama-2-70B",
            "3 | s.ron:3:12 | Llama-2-70B does not fit on A100-SXM-80G | needs 129.35 GiB | has 71.33 GiB available",
        ),
        (
            "utilization: 0.90",
            "utilization: 0.1",
            "3 | s.ron:3:12 | does not fit | needs 12.93 GiB | has 7.93 GiB available",
        ),
        (
            "utilization: 0.90",
            "utilization: 0.0",
            "2 | s.ron:9:33 | is 0, expected above 0 and at most 1",
        ),
        (
            "utilization: 0.90",
            "utilization: 1.5",
            "2 | s.ron:9:33 | is 1.5, expected above 0 and at most 1",
        ),
        (
            "utilization: 0.90",
            "utilization: NaN",
            "2 | s.ron:9:33 | is NaN, expected above 0 and at most 1",
        ),
        (
            "max_num_seqs: 128",
            "max_num_seqs: 0",
            "2 | s.ron:7:38 | `engine.policy.max_num_seqs` is 0, expected at least 1",
        ),
        (
            "max_num_batched_tokens: 4096",
            "max_num_batched_tokens: 0",
            "2 | s.ron:7:67 | is 0, expected at least 1",
        ),
        (
            "max_num_seqs: 128, max",
            "watermark: 1.0, max",
            "2 | s.ron:7:35 | `engine.policy.watermark` is 1, expected at least 0 and below 1",
        ),
        (
            "block_size: 16",
            "block_size: 0",
            "2 | s.ron:10:21 | `engine.block_size` is 0, expected at least 1",
        ),
        (
            "block_size: 16",
            "block_size: 16, num_gpu_blocks: 0",
            "2 | s.ron:10:41 | is 0, expected at least 1",
        ),
        (
            "block_size: 16",
            "block_size: 16, num_gpu_blocks: 100",
            "2 | s.ron:22:34 | reserves max_model_len = 4096 tokens | at least 256 KV blocks, there are 100 | in variant `max` | lower engine.max_model_len",
        ),
        ("max_model_len: 4096", "max_model_len: 0", "2 | s.ron:8:24 | is 0, expected at least 1"),
        (
            "max_model_len: 4096",
            "max_model_len: 5000",
            "2 | s.ron:8:24 | at most 4096, the limit of Llama-2-7B | allow_long_max_model_len",
        ),
        (
            "max_model_len: 4096",
            "max_model_len: 100",
            "2 | s.ron:15:18 | 20 of 20 requests are longer than max_model_len 100 | 144 tokens",
        ),
        (
            "prompt: 128",
            "prompt: 5000",
            "2 | s.ron:15:18 | 20 of 20 requests are longer than max_model_len 4096 | raise engine.max_model_len",
        ),
        (
            "VllmV0(max_num_seqs: 128, max_num_batched_tokens: 4096)",
            "LightLlm()",
            "2 | s.ron:7:17 | LightLlm with block_size 16 | expected engine.block_size 1 | block_size: 1",
        ),
        (
            "pipeline_parallel: 1, router: RoundRobin),\n    engine: (\n        policy: VllmV0(max_num_seqs: 128, max_num_batched_tokens: 4096),\n        max_model_len: 4096,\n        gpu_memory_utilization: 0.90,\n        block_size: 16,",
            "pipeline_parallel: 2),\n    engine: (\n        policy: LightLlm(), block_size: 1,",
            "2 | s.ron:7:17 | LightLlm with 2 pipeline stages | cluster.pipeline_parallel 1",
        ),
        (
            "pipeline_parallel: 1, router: RoundRobin),\n    engine: (\n        policy: VllmV0(max_num_seqs: 128",
            "pipeline_parallel: 8),\n    engine: (\n        policy: VllmV0(max_num_seqs: 7",
            "2 | s.ron:7: | `engine.policy.max_num_seqs` is 7 | at least 8, one for each pipeline stage",
        ),
        (
            "requests: 20",
            "requests: 0",
            "2 | s.ron:13:19 | `workload.requests` is 0, expected at least 1 request",
        ),
        (
            "qps: 2.0",
            "qps: 0",
            "2 | s.ron:14:32 | `workload.arrivals.qps` is 0, expected a finite number above 0",
        ),
        ("qps: 2.0", "qps: -2", "2 | s.ron:14:32 | is -2, expected a finite number above 0"),
        ("qps: 2.0", "qps: NaN", "2 | s.ron:14:32 | is NaN, expected a finite number above 0"),
        ("qps: 2.0", "qps: inf", "2 | s.ron:14:32 | is inf, expected a finite number above 0"),
        (
            "qps: 2.0",
            "qps: 1e308",
            "2 | s.ron:14:32 | is 1e308, expected between 1e-6 and 1e9 requests per second",
        ),
        (
            "prompt: 128",
            "prompt: 0",
            "2 | s.ron:15:32 | `workload.lengths.prompt` is 0, expected at least 1 token",
        ),
        (
            "prompt: 128",
            "prompt: 4294967295",
            "2 | s.ron:15:32 | expected at most 1073741824 tokens",
        ),
        (
            "output: 16",
            "output: 0",
            "2 | s.ron:15:45 | `workload.lengths.output` is 0, expected at least 1 token",
        ),
        (
            "Poisson(qps: 2.0)",
            "Concurrency(0)",
            "2 | s.ron:14:19 | Concurrency(0), expected at least 1 request in flight",
        ),
        (
            "Fixed(prompt: 128, output: 16)",
            "Empirical(name: \"azure-conf-2023\")",
            "2 | s.ron:15:34 | \"azure-conv-2023\" | workload fit",
        ),
        (
            "Fixed(prompt: 128, output: 16)",
            "Uniform(total: (5, 2), prompt_share: 0.5)",
            "2 | s.ron:15:33 | (5, 2), expected (smallest, largest)",
        ),
        (
            "Fixed(prompt: 128, output: 16)",
            "LogNormal(prompt: (median: 10, p90: 5), output: (median: 4, p90: 9))",
            "2 | s.ron:15:54 | is 5, expected above the median of 10",
        ),
        (
            "base: 0.005",
            "base: -1",
            "2 | s.ron:17:27 | `timing.base` is -1, expected seconds, 0 to 1e6",
        ),
        (
            "base: 0.005",
            "base: 1e300",
            "2 | s.ron:17:27 | `timing.base` is 1e300, expected seconds, 0 to 1e6",
        ),
        (
            "base: 0.005, per_token: 2.5e-5",
            "base: 0.0",
            "2 | s.ron:17:13 | all zero | nothing takes time",
        ),
        (
            "Formula(base: 0.005, per_token: 2.5e-5)",
            "Measured(composition: Vidur, profile: \"nowhere.ron\")",
            "2 | s.ron:17: | nowhere.ron",
        ),
        ("seed: 1,", "seed: 1, seeds: 0,", "2 | s.ron:18:21 | `seeds` is 0, expected 1 to 10000"),
        (
            "seed: 1,",
            "seed: 18446744073709551615, seeds: 2,",
            "2 | s.ron:18:11 | expected a smaller number",
        ),
        (
            "seed: 1,",
            "time_limit_s: 0.0,",
            "2 | s.ron:18:19 | `time_limit_s` is 0, expected seconds above 0",
        ),
        (
            "ttft_ms: 1000",
            "ttft_ms: -1",
            "2 | s.ron:19:20 | `slo.ttft_ms` is -1, expected milliseconds above 0",
        ),
        (
            "ttft_ms: 1000",
            "ttft_ms: 1000, attain: 2",
            "2 | s.ron:19:34 | `slo.attain` is 2 | 99 % is 0.99",
        ),
        ("at_most_ms: 300", "at_most_ms: NaN", "2 | s.ron:25:43 | NaN | finite"),
        (
            "at_most_ms: 300",
            "at_most_ms: 300, at_least_ms: 400",
            "2 | s.ron:25:43 | given next to `at_least_ms`, expected one bound",
        ),
        (
            "at_most_ms: 300",
            "between_ms: (5, 3)",
            "2 | s.ron:25:43 | (5, 3), expected (least, most)",
        ),
        (
            "router: RoundRobin",
            "router: RoundRobin, network: \"a100_dxg\"",
            "2 | s.ron:5: | `cluster.network` is `a100_dxg` | did you mean `a100_dgx`? | a100_pairwise_nvlink",
        ),
        (
            "Formula(base: 0.005, per_token: 2.5e-5)",
            "Measured(composition: Vidur, network: \"nvlink7\")",
            "2 | s.ron:17: | `timing.network` is `nvlink7` | shipped networks: a100_pairwise_nvlink",
        ),
        (
            "Formula(base: 0.005, per_token: 2.5e-5)",
            "Measured(composition: Vidur, overhead_ms: 1.0)",
            "2 | s.ron:17:55 | `timing.overhead_ms` is given under composition Vidur | take composition: Full",
        ),
        (
            "Formula(base: 0.005, per_token: 2.5e-5)",
            "Measured(composition: Vidur, decode_skew: 0.06)",
            "2 | s.ron:17:55 | `timing.decode_skew` is given under composition Vidur",
        ),
        (
            "Formula(base: 0.005, per_token: 2.5e-5)",
            "Measured(composition: Full, kv_granularity: 32)",
            "2 | s.ron:17:57 | `timing.kv_granularity` is given under composition Full | it would change nothing",
        ),
        (
            "Formula(base: 0.005, per_token: 2.5e-5)",
            "Measured(composition: Full, attention_prefill_batching_overhead_fraction: 0.0)",
            "2 | s.ron:17: | overhead_fraction` is given under composition Full | composition: Vidur",
        ),
        (
            "Formula(base: 0.005, per_token: 2.5e-5)",
            "Measured(composition: Full, nccl_cpu_skew_overhead_per_device_ms: 0.1)",
            "2 | s.ron:17: | per_device_ms` is given under composition Full | leave it out",
        ),
    ];
    replaced(&rows, 55);
}
