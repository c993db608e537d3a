//! Bad inputs through the real program: each is refused with one message that says where, what was
//! found and what was expected, with exit code 2 (wrong) or 3 (does not fit), and leaves nothing.

use crate::room::{Ran, Room, SCENARIO};

const WORKLOAD: &str = "        requests: 20,
        arrivals: Poisson(qps: 2.0),
        lengths: Fixed(prompt: 128, output: 16),
";

/// `SCENARIO` with one change.
fn changed(from: &str, to: &str) -> String {
    assert!(SCENARIO.contains(from), "`{from}` is not in the scenario");
    SCENARIO.replacen(from, to, 1)
}

/// Collects what is wrong with the answers, so that one run shows all of it.
#[derive(Default)]
struct Table {
    rows: usize,
    wrong: Vec<String>,
}

impl Table {
    /// `expected` is the exit code and what the message must hold, separated by ` | `.
    fn check(&mut self, row: &str, room: &Room, before: &[String], ran: &Ran, expected: &str) {
        self.rows += 1;
        let mut parts = expected.split(" | ");
        let code: i32 = parts.next().and_then(|code| code.parse().ok()).expect("a code");
        let mut complaints = Vec::new();
        if ran.code != code {
            complaints.push(format!("exit code {} instead of {code}", ran.code));
        }
        let missing = parts.filter(|part| !ran.err.contains(part));
        complaints.extend(missing.map(|part| format!("the message lacks `{part}`")));
        if ran.err.contains("panicked") || ran.err.contains("RUST_BACKTRACE") {
            complaints.push("it panicked".to_owned());
        }
        if ran.err.lines().filter(|line| line.starts_with("error")).count() != 1 {
            complaints.push("not exactly one message".to_owned());
        }
        if ran.err.lines().any(|line| line.len() > 400) {
            complaints.push("a very long line".to_owned());
        }
        if room.names() != before {
            complaints.push(format!("it left {:?}", room.names()));
        }
        if !complaints.is_empty() {
            self.wrong.push(format!("{row}: {}\n{}", complaints.join(", "), ran.err));
        }
    }

    /// A scenario file: `run` and `check` must both refuse it.
    fn scenario(&mut self, row: &str, room: &Room, expected: &str) {
        let before = room.names();
        for command in ["run --quiet", "check"] {
            self.check(row, room, &before, &room.run(&format!("{command} s.ron")), expected);
        }
        self.rows -= 1;
    }

    fn done(self, at_least: usize) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n\n"));
        assert!(self.rows >= at_least, "{} rows", self.rows);
    }
}

/// Rows of (what is replaced in `SCENARIO`, by what, what is expected).
fn replaced(rows: &[(&str, &str, &str)], at_least: usize) {
    let mut table = Table::default();
    for (from, to, expected) in rows {
        let room = Room::with("s.ron", changed(from, to));
        table.scenario(&format!("{from} -> {to}"), &room, expected);
    }
    table.done(at_least);
}

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
            "2 | s.ron:6:13 | field `policy` is missing",
        ),
        (
            "    timing: Formula(base: 0.005, per_token: 2.5e-5),\n",
            "",
            "2 | s.ron:1:1 | field `timing` is missing",
        ),
        (", output: 16", "", "2 | s.ron:15:18 | field `output` is missing"),
        (
            "        lengths: Fixed(prompt: 128, output: 16),\n",
            "",
            "2 | s.ron:12:15 | `workload.lengths` is missing | for example `lengths: Fixed(",
        ),
        ("        requests: 20,\n", "", "2 | s.ron:12: | `workload.requests` is missing"),
    ];
    replaced(&rows, 25);
}

/// Values that make no sense, alone or together.
#[test]
fn values() {
    let rows = [
        (
            "block_size: 16",
            "block_size: 16, vidur_lengths: true, enable_prefix_caching: true",
            "2 | s.ron:10:40 | `engine.vidur_lengths` is true | prefixes are cached | enable_prefix_caching: false",
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
    ];
    replaced(&rows, 48);
}

/// Traces: the message names the file and the line.
#[test]
fn traces() {
    let rows = [
        (
            "no rows",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n",
            "",
            "2 | s.ron:13:23 | no rows in t.csv, expected at least one row",
        ),
        (
            "empty",
            "",
            "",
            "2 | s.ron:13:23 | t.csv, which is empty | arrived_at,num_prefill_tokens,num_decode_tokens",
        ),
        (
            "no number",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n1.0,x,5\n",
            "",
            "2 | s.ron:13:23 | `x` in column num_prefill_tokens at t.csv:3, expected a whole number",
        ),
        (
            "too few fields",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n1.0,10\n",
            "",
            "2 | 2 fields at t.csv:3, expected 3 fields, as in the header",
        ),
        (
            "length of 0",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,0,5\n",
            "",
            "2 | `0` in column num_prefill_tokens at t.csv:2, expected a whole number of at least 1 token",
        ),
        (
            "negative length",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,-3\n",
            "",
            "2 | `-3` in column num_decode_tokens at t.csv:2",
        ),
        (
            "part of a token",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,1.5,5\n",
            "",
            "2 | `1.5` in column num_prefill_tokens at t.csv:2",
        ),
        (
            "more than 32 bits",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,5000000000,5\n",
            "",
            "2 | `5000000000` in column num_prefill_tokens at t.csv:2",
        ),
        (
            "times go back",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n1.0,10,5\n0.5,10,5\n",
            "",
            "2 | a time at t.csv:3 that is 0.5 s before the one at t.csv:2 | `sort: true`",
        ),
        (
            "ids twice",
            "id,arrived_at,num_prefill_tokens,num_decode_tokens\n1,0,10,5\n1,1,10,5\n",
            "",
            "2 | id 1 at t.csv:2 and again at t.csv:3",
        ),
        (
            "other columns",
            "a,b,c\n1,2,3\n",
            "",
            "2 | t.csv with columns a, b, c, expected a header of a known format | Columns(...)",
        ),
        (
            "negative time",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n-1.0,10,5\n",
            "",
            "2 | `-1.0` in column arrived_at at t.csv:2, expected a time of at least 0",
        ),
        (
            "time NaN",
            "arrived_at,num_prefill_tokens,num_decode_tokens\nNaN,10,5\n",
            "",
            "2 | `NaN` in column arrived_at at t.csv:2, expected a time in seconds",
        ),
        (
            "time 1e300",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n1e300,10,5\n",
            "",
            "2 | `1e300` in column arrived_at at t.csv:2",
        ),
        (
            "limit",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n",
            ", limit: 7",
            "2 | s.ron:13:39 | is 7, expected at most the 1 rows of t.csv",
        ),
        (
            "time scale",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n",
            ", time_scale: 0.0",
            "2 | s.ron:13:44 | is 0, expected a finite number above 0",
        ),
        (
            "format",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n",
            ", format: Csv",
            "2 | s.ron:13:40 | unknown name `Csv` | Auto, Vidur, Azure, BurstGpt, Mooncake, ShareGpt, Lengths, Columns",
        ),
        (
            "longer than the model",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,5000,5\n",
            "",
            "2 | s.ron:13: | 1 of 1 requests are longer than max_model_len 4096 (the longest has 5005 tokens)",
        ),
    ];
    let mut table = Table::default();
    for (name, csv, more, expected) in rows {
        let trace = format!("        trace: (file: \"t.csv\"{more}),\n");
        let room = Room::with("s.ron", changed(WORKLOAD, &trace));
        room.write("t.csv", csv);
        table.scenario(name, &room, expected);
    }
    let other = [
        (
            "trace: (file: \"absent.csv\"),",
            "2 | s.ron:13:15 | absent.csv: No such file | relative to the scenario",
        ),
        ("trace: (file: \".\"),", "2 | s.ron:13:15 | a directory"),
        (
            "requests: 20, arrivals: Poisson(qps: 2.0), lengths: Trace(file: \"two.csv\", on_end: Error),",
            "2 | s.ron:13:65 | 2 rows for 20 requests | `on_end: Repeat` starts over",
        ),
        (
            "arrivals: Static, trace: (file: \"two.csv\"),",
            "2 | s.ron:13:11 | `workload.arrivals` is given beside `trace`",
        ),
        ("trace: (file: \"latin.csv\"),", "2 | no UTF-8 in field 1 at latin.csv:1"),
    ];
    for (workload, expected) in other {
        let room = Room::with("s.ron", changed(WORKLOAD, &format!("{workload}\n")));
        room.write("two.csv", "num_prefill_tokens,num_decode_tokens\n5,5\n6,6\n");
        room.write("latin.csv", b"\xff\xfe\x00");
        table.scenario(workload, &room, expected);
    }
    table.done(23);
}

/// Arguments.
#[test]
fn settings_on_the_command_line() {
    let rows = [
        ("engine.polcy=3", "2 | --set:1:8 | unknown field `polcy` | did you mean `policy`?"),
        (
            "engine.policy.max_seqs=3",
            "2 | --set:1:15 | unknown field `max_seqs` | in the settings of `VllmV0`",
        ),
        ("seeds=no", "2 | --set:1:7 | expected a whole number, found the name `no`"),
        ("engine.policy", "2 | --set:1:14 | --set needs a path and a value | for example --set"),
        ("=3", "2 | --set:1:1 | expected the path of a setting"),
        ("", "2 | --set needs a path and a value"),
        ("engine..policy=3", "2 | --set:1:7 | a name on both sides of the dot"),
        ("workload.requests=", "2 | --set:1:19 | expected a value"),
        ("seeds=3)", "2 | --set:1:8 | there is more text after the end"),
        ("model=Llama", "2 | --set:1:7 | unknown model `Llama` | known here: Llama-2-7B"),
        ("variants.max.seeds=3", "2 | --set:1: | a variant cannot change `seeds`"),
        ("workload.requests=0", "2 | --set:1:19 | `workload.requests` is 0"),
    ];
    let mut table = Table::default();
    let room = Room::with("s.ron", SCENARIO);
    room.write("t.ron", SCENARIO);
    room.write("file", "");
    std::fs::create_dir(room.path("mine")).expect("created");
    room.write("mine/letter", "dear");
    let before = room.names();
    for (setting, expected) in rows {
        let ran = room.run_args(&["s.ron", "--quiet", "--set", setting]);
        table.check(setting, &room, &before, &ran, expected);
    }
    for (line, expected) in [
        ("s.ron --out mine", "2 | mine exists and is not empty | --force"),
        ("s.ron --out mine --force", "2 | mine exists and does not look like a result folder"),
        ("s.ron --out file", "1 | cannot use file: Not a directory"),
        ("s.ron --seed x", "2 | invalid value 'x' for '--seed"),
        ("s.ron --seeds 0", "2 | invalid value '0' for '--seeds"),
        ("s.ron --seed 18446744073709551615", "2 | expected a smaller number"),
        ("s.ron --sed 3", "2 | unexpected argument '--sed' | '--seed'"),
        ("s.ron s.ron", "2 | two scenarios would write into results/s"),
        ("s.ron absent.ron", "2 | cannot read absent.ron: there is no such file"),
        (". --quiet", "2 | cannot read .: Is a directory"),
        ("chek s.ron", "2 | did you mean the subcommand `check`?"),
        ("run", "2 | no scenario file is given"),
    ] {
        table.check(line, &room, &before, &room.run(line), expected);
    }
    table.done(24);
}

/// Files that are no text, or not this text.
#[test]
fn files() {
    let utf16: Vec<u8> = SCENARIO.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let all: Vec<u8> = (0..=255).collect();
    let rows: [(&str, Vec<u8>, &str); 11] = [
        ("empty", Vec::new(), "2 | s.ron:1:1 | the text is empty | expected `( ... )`"),
        ("blank", b"\n\n  \n".to_vec(), "2 | s.ron:1:1 | the text is empty"),
        ("comment", b"// x\n".to_vec(), "2 | s.ron:1: | the text is empty"),
        ("binary", all, "2 | s.ron:2: | the file is no UTF-8 text"),
        ("UTF-16", [b"\xff\xfe".to_vec(), utf16].concat(), "2 | s.ron:1:1 | no UTF-8 text"),
        ("parentheses", b"(".repeat(20_000), "2 | s.ron:1: | brackets are nested too deeply"),
        ("lists", [b"(a: ".to_vec(), b"[".repeat(9000)].concat(), "2 | nested too deeply"),
        ("JSON", b"{\"model\": 3}".to_vec(), "2 | s.ron:1:1 | found a group in braces"),
        ("number", b"42".to_vec(), "2 | s.ron:1:1 | found the number `42`"),
        ("YAML", b"model: x\n".to_vec(), "2 | s.ron:1:6 | a group of fields in parentheses"),
        (
            "CRLF",
            changed("seed: 1,", "sed: 1,").replace('\n', "\r\n").into_bytes(),
            "2 | s.ron:18:5 | unknown field `sed` | did you mean `seed`?",
        ),
    ];
    let mut table = Table::default();
    for (name, bytes, expected) in rows {
        table.scenario(name, &Room::with("s.ron", bytes), expected);
    }
    table.done(11);
}

/// What looks odd but is fine.
#[test]
fn byte_order_marks_and_line_ends_do_no_harm() {
    for text in [format!("\u{feff}{SCENARIO}"), SCENARIO.replace('\n', "\r\n")] {
        Room::with("s.ron", text).must("check s.ron --quiet");
    }
}
