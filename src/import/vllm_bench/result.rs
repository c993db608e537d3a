//! The result of a benchmark client: one JSON, or one of the lines that SGLang's client appends.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::base::{Diagnostic, JsonDocument, Source};

/// The part of the JSON of `vllm bench serve --save-result --save-detailed`, or of SGLang's
/// `bench_serving --output-details`, that is used; times in seconds.
#[derive(Debug, Deserialize)]
pub(super) struct Bench {
    pub model_id: Option<String>,
    /// A number, or `"inf"`.
    #[serde(default)]
    request_rate: Value,
    #[serde(default)]
    max_concurrency: Option<u32>,
    pub input_lens: Vec<u32>,
    pub output_lens: Vec<u32>,
    pub ttfts: Vec<f64>,
    pub itls: Vec<Vec<f64>>,
    #[serde(default)]
    pub start_times: Vec<f64>,
    #[serde(default)]
    errors: Vec<Value>,
    /// SGLang names itself here; vLLM the kind of its client.
    pub backend: Option<String>,
    /// Keys that neither client writes by itself.
    #[serde(skip)]
    pub unknown: Vec<String>,
}

/// What the clients write beside what is used; statistics are known by their beginnings.
const NOT_USED: [&str; 38] = [
    "accept_length",
    "burstiness",
    "completed",
    "concurrency",
    "dataset_name",
    "date",
    "duration",
    "endpoint_type",
    "failed",
    "generated_texts",
    "good_completed",
    "label",
    "mean",
    "num_prompts",
    "output_throughput",
    "input_throughput",
    "random_input_len",
    "random_output_len",
    "random_range_ratio",
    "request_goodput",
    "request_throughput",
    "rtfx",
    "server_info",
    "sharegpt_output_len",
    "tag",
    "tokenizer_id",
    "total_input",
    "total_input_text_tokens",
    "total_input_tokens",
    "total_input_vision_tokens",
    "total_output_tokens",
    "total_output_tokens_retokenized",
    "total_throughput",
    "total_token_throughput",
    "request_rates",
    "warmup_requests",
    "backend",
    "model_id",
];
const STATISTICS: [&str; 8] =
    ["mean_", "median_", "std_", "max_", "min_", "p", "spec_decode_", "ramp_up_"];
const USED: [&str; 8] = [
    "request_rate",
    "max_concurrency",
    "input_lens",
    "output_lens",
    "ttfts",
    "itls",
    "start_times",
    "errors",
];

/// Keys that neither client writes by itself: of a later version, misspelt, or a user's own.
fn unknown(value: &Value) -> Vec<String> {
    let keys = value.as_object().into_iter().flatten().map(|(key, _)| key);
    let strange = keys.filter(|key| {
        let statistic = STATISTICS.iter().any(|start| match *start {
            // p99_ttft_ms
            "p" => key
                .strip_prefix('p')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())),
            start => key.starts_with(start),
        });
        !statistic && !NOT_USED.contains(&key.as_str()) && !USED.contains(&key.as_str())
    });
    strange.cloned().collect()
}

/// What has to be there for each request.
const DETAILS: [&str; 4] = ["input_lens", "output_lens", "ttfts", "itls"];

impl Bench {
    /// Reads a result; of several lines that numbered `line` from 1, or the only one.
    ///
    /// # Errors
    /// No JSON, several lines and none chosen, no details per request, lists of unequal length,
    /// unknown arrival times.
    pub fn read(path: &Path, line: Option<usize>) -> Result<Bench, Box<Diagnostic>> {
        let file = path.display().to_string();
        let text = crate::base::input::read_long(path)
            .map_err(|error| Diagnostic::error(format!("cannot read {file}: {error}")))?;
        let document = document(&file, text, line)?;
        for key in DETAILS {
            if document.value().get(key).is_none_or(Value::is_null) {
                let title =
                    format!("{file} has no `{key}`, so it says nothing about single requests");
                return Err(Box::new(Diagnostic::error(title).help(
                    "run `vllm bench serve` with --save-result --save-detailed, or SGLang's \
                     bench_serving with --output-details",
                )));
            }
        }
        let bench = Bench { unknown: unknown(document.value()), ..document.to()? };
        let wrong =
            |message: String| Err(Box::new(Diagnostic::error(format!("{file}: {message}"))));
        let count = bench.input_lens.len();
        let lengths = [bench.output_lens.len(), bench.ttfts.len(), bench.itls.len()];
        if lengths.iter().any(|length| *length != count) {
            return wrong(format!("{count} input_lens, but {lengths:?} output_lens, ttfts, itls"));
        }
        match bench.start_times.len() {
            length if length == count => Ok(bench),
            0 if bench.at_once() => Ok(Bench { start_times: vec![0.0; count], ..bench }),
            length => wrong(format!(
                "{length} start_times for {count} requests, so that arrivals are unknown; use a \
                 vLLM that writes them, or --request-rate inf without --max-concurrency"
            )),
        }
    }

    /// Whether all requests were sent at once.
    fn at_once(&self) -> bool {
        let infinite = match &self.request_rate {
            Value::Null => true,
            Value::String(rate) => {
                ["inf", "infinity"].contains(&rate.to_ascii_lowercase().as_str())
            }
            _ => false,
        };
        infinite && self.max_concurrency.is_none()
    }

    /// Whether request `index` failed.
    pub fn failed(&self, index: usize) -> bool {
        let error = match self.errors.get(index) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(error)) => !error.is_empty(),
            Some(_) => true,
        };
        error || self.output_lens[index] == 0
    }
}

/// The JSON of a file, or of one of its lines.
fn document(
    file: &str,
    text: String,
    line: Option<usize>,
) -> Result<JsonDocument, Box<Diagnostic>> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let complete = |line: &&str| line.starts_with('{') && line.trim_end().ends_with('}');
    // A JSON over several lines begins with a bracket alone.
    let results = if lines.iter().all(complete) { lines.len() } else { 1 };
    let chosen = match line {
        None if results <= 1 => text,
        Some(line) if (1..=results).contains(&line) => match results {
            1 => text,
            _ => lines[line - 1].to_owned(),
        },
        _ => {
            let title = format!("{file} has {results} results, one a line");
            return Err(Box::new(
                Diagnostic::error(title).help(format!("choose one: --line 1 to --line {results}")),
            ));
        }
    };
    JsonDocument::parse(Source::new(file, chosen))
}
