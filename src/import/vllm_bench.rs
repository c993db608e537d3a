//! Cases from the results of vLLM's benchmark.

use std::fmt::Write;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::validate::CaseError;

/// What the benchmark's client does not know of the engine.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct BenchEngine {
    /// GPU, by our name or the driver's
    #[cfg_attr(feature = "cli", arg(long))]
    pub device: String,
    /// Model [default: the benchmark's]
    #[cfg_attr(feature = "cli", arg(long))]
    pub model: Option<String>,
    /// Tensor parallelism
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 1))]
    pub tensor_parallel: u32,
    /// Data parallelism
    #[cfg_attr(feature = "cli", arg(long, default_value_t = 1))]
    pub data_parallel: u32,
    /// The engine's max_num_seqs
    #[cfg_attr(feature = "cli", arg(long))]
    pub max_num_seqs: Option<u32>,
    /// The engine's max_num_batched_tokens
    #[cfg_attr(feature = "cli", arg(long))]
    pub max_num_batched_tokens: Option<u32>,
    /// The engine's max_model_len
    #[cfg_attr(feature = "cli", arg(long))]
    pub max_model_len: Option<u32>,
    /// KV blocks, as the engine logs them at its start ("GPU KV cache size" / block size)
    #[cfg_attr(feature = "cli", arg(long))]
    pub num_gpu_blocks: Option<u32>,
}

/// The part of the JSON of `vllm bench serve --save-result --save-detailed` that is used; times in
/// seconds.
#[derive(Deserialize)]
struct Bench {
    model_id: String,
    /// A number, or `"inf"`.
    #[serde(default)]
    request_rate: Value,
    #[serde(default)]
    max_concurrency: Option<u32>,
    input_lens: Vec<u32>,
    output_lens: Vec<u32>,
    ttfts: Vec<f64>,
    itls: Vec<Vec<f64>>,
    #[serde(default)]
    start_times: Vec<f64>,
    #[serde(default)]
    errors: Vec<String>,
}

/// Makes a case in `folder` of the benchmark result at `path`. Returns how many requests are left
/// out because they failed.
///
/// # Errors
/// A file cannot be read or written; there are no details per request; arrival times are unknown:
/// without `start_times` (older versions of vLLM) only a run that sends everything at once can be
/// used.
pub fn from_vllm_bench(
    path: &Path,
    engine: &BenchEngine,
    folder: &Path,
) -> Result<usize, CaseError> {
    let text = crate::base::input::read_long(path).map_err(|error| CaseError::read(path, error))?;
    let bench: Bench = serde_json::from_str(&text).map_err(|error| {
        CaseError::content(
            path,
            format!("{error}; the benchmark writes every request with --save-detailed"),
        )
    })?;
    let count = bench.input_lens.len();
    let lengths = [bench.output_lens.len(), bench.ttfts.len(), bench.itls.len()];
    if lengths.iter().any(|length| *length != count) {
        let message = format!("{count} input_lens, but {lengths:?} output_lens, ttfts, itls");
        return Err(CaseError::content(path, message));
    }
    let at_once = bench.max_concurrency.is_none()
        && (bench.request_rate.is_null() || bench.request_rate == json!("inf"));
    let starts = match bench.start_times.len() {
        length if length == count => bench.start_times.clone(),
        0 if at_once => vec![0.0; count],
        length => {
            let message = format!(
                "{length} start_times for {count} requests, so that arrivals are unknown; use a \
                 vLLM that writes them, or --request-rate inf without --max-concurrency"
            );
            return Err(CaseError::content(path, message));
        }
    };
    let failed = |index: usize| {
        bench.errors.get(index).is_some_and(|error| !error.is_empty())
            || bench.output_lens[index] == 0
    };
    let mut order: Vec<usize> = (0..count).filter(|index| !failed(*index)).collect();
    order.sort_by(|a, b| starts[*a].total_cmp(&starts[*b]));
    let first = order.first().map_or(0.0, |index| starts[*index]);
    let mut workload = "request_id,arrived_at,num_prefill_tokens,num_decode_tokens\n".to_owned();
    let mut measured = "request_id,ttft_from_arrival_ms,tpot_ms,e2e_from_arrival_ms\n".to_owned();
    for (id, &index) in order.iter().enumerate() {
        let (input, output) = (bench.input_lens[index], bench.output_lens[index]);
        let ttft = bench.ttfts[index] * 1e3;
        let decode = bench.itls[index].iter().sum::<f64>() * 1e3;
        let tpot = if output > 1 { decode / f64::from(output - 1) } else { 0.0 };
        // Writing to a String cannot fail.
        let _ = writeln!(workload, "{id},{:.6},{input},{output}", starts[index] - first);
        let _ = writeln!(measured, "{id},{ttft:.4},{tpot:.4},{:.4}", ttft + decode);
    }
    let settings = json!({
        "engine": "vLLM",
        "model": {"name": engine.model.as_ref().unwrap_or(&bench.model_id)},
        "hardware": {"gpu": engine.device},
        "parallel": {"tp": engine.tensor_parallel, "pp": 1, "dp": engine.data_parallel},
        "scheduler": {
            "max_num_seqs": engine.max_num_seqs,
            "max_num_batched_tokens": engine.max_num_batched_tokens,
        },
        "max_model_len": engine.max_model_len,
        "kv": {"num_gpu_blocks": engine.num_gpu_blocks},
        "client": {"driver": "vllm bench serve over HTTP"},
    });
    let written = |name: &str, text: &str| {
        let file = folder.join(name);
        std::fs::write(&file, text).map_err(|source| CaseError::Io {
            action: "write",
            file: file.display().to_string(),
            source,
        })
    };
    std::fs::create_dir_all(folder).map_err(|source| CaseError::Io {
        action: "write",
        file: folder.display().to_string(),
        source,
    })?;
    written("engine.json", &format!("{settings:#}\n"))?;
    written("workload.csv", &workload)?;
    written("measured.csv", &measured)?;
    Ok(count - order.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::{Case, Measured};

    fn convert(json: &str) -> (Result<usize, CaseError>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        std::fs::write(&path, json).unwrap();
        let engine = BenchEngine {
            device: "H100".to_owned(),
            tensor_parallel: 1,
            data_parallel: 1,
            num_gpu_blocks: Some(7438),
            ..BenchEngine::default()
        };
        (from_vllm_bench(&path, &engine, &folder.path().join("case")), folder)
    }

    #[test]
    fn a_result_becomes_a_case() {
        let (left_out, folder) = convert(
            r#"{"model_id": "meta-llama/Llama-2-7b-hf", "request_rate": 2.0, "completed": 2,
            "input_lens": [100, 50, 7], "output_lens": [3, 1, 0], "ttfts": [0.05, 0.02, 0.0],
            "itls": [[0.01, 0.02], [], []], "start_times": [1000.5, 1000.25, 1001.0],
            "errors": ["", "", "timeout"]}"#,
        );
        assert_eq!(left_out.unwrap(), 1);
        let folder = folder.path().join("case");
        let case = Case::read(&folder).unwrap();
        assert_eq!(case.measured[&0], Measured { ttft: 20.0, tpot: 0.0, e2e: 20.0 });
        assert_eq!(case.measured[&1], Measured { ttft: 50.0, tpot: 15.0, e2e: 80.0 });
        let workload = std::fs::read_to_string(folder.join("workload.csv")).unwrap();
        assert!(workload.ends_with("\n0,0.000000,50,1\n1,0.250000,100,3\n"), "{workload}");
        assert!(case.scenario_text().contains("num_gpu_blocks: 7438,"));
    }

    #[test]
    fn arrivals_must_be_known() {
        let json = |rate: &str| {
            format!(
                r#"{{"model_id": "m", "request_rate": {rate}, "input_lens": [1], "output_lens": [1],
                "ttfts": [0.1], "itls": [[]]}}"#
            )
        };
        assert_eq!(convert(&json("\"inf\"")).0.unwrap(), 0);
        let message = convert(&json("2.0")).0.unwrap_err().to_string();
        assert!(message.contains("0 start_times for 1 requests"), "{message}");
        let message = convert(r#"{"model_id": "m"}"#).0.unwrap_err().to_string();
        assert!(message.contains("--save-detailed"), "{message}");
    }
}
