//! Cases from the results of vLLM's benchmark, and of SGLang's.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::base::{Diagnostic, shortened_text, suggest};
use crate::hardware::model::ModelSpec;
use crate::hardware::{device_names, find_device, model};
use crate::validate::CaseError;

mod result;

use result::Bench;

/// What a case calls its model's config.
const CONFIG: &str = "config.json";
/// What lies beside a config and says how weights are quantised.
const SIDECAR: &str = "hf_quant_config.json";

/// What the benchmark's client does not know of the engine.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BenchEngine {
    /// GPU, by our name or the driver's: H100, "NVIDIA L40S"
    #[arg(long, value_name = "GPU")]
    pub device: String,
    /// Model: its name, its HuggingFace id, its config.json or the folder that holds one
    /// [default: what the benchmark calls it]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Keys of the model's config that may be left out although they mean something, separated by
    /// commas
    #[arg(long, value_name = "KEYS", value_delimiter = ',')]
    pub allow_unmodelled: Vec<String>,
    /// Which result of a file with one result per line, counted from 1
    #[arg(long, value_name = "N")]
    pub line: Option<usize>,
    /// Tensor parallelism
    #[arg(long, default_value_t = 1)]
    pub tensor_parallel: u32,
    /// Data parallelism
    #[arg(long, default_value_t = 1)]
    pub data_parallel: u32,
    /// The engine's max_num_seqs
    #[arg(long)]
    pub max_num_seqs: Option<u32>,
    /// The engine's max_num_batched_tokens
    #[arg(long)]
    pub max_num_batched_tokens: Option<u32>,
    /// The engine's max_model_len
    #[arg(long)]
    pub max_model_len: Option<u32>,
    /// KV blocks, as the engine logs them at its start ("GPU KV cache size" / block size)
    #[arg(long)]
    pub num_gpu_blocks: Option<u32>,
}

/// What was made of a benchmark's result, beside the case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedCase {
    /// Requests that are left out because they failed.
    pub failed: usize,
    /// Requests that are left out because no time to their first token was measured.
    pub without_ttft: usize,
    /// Keys of the result that neither client writes by itself, and that are not used.
    pub unknown: Vec<String>,
}

/// Makes a case in `folder` of the benchmark result at `path`: that of vLLM's or of SGLang's
/// client.
///
/// # Errors
/// A file cannot be read or written; the model or the GPU is not known; there are no details per
/// request; arrival times are unknown: without `start_times` (older versions of vLLM, SGLang) only
/// a run that sends everything at once can be used; no request has a time to its first token.
pub fn from_vllm_bench(
    path: &Path,
    engine: &BenchEngine,
    folder: &Path,
) -> Result<ImportedCase, CaseError> {
    let bench = Bench::read(path, engine.line)?;
    let model = Model::find(engine, bench.model_id.as_deref(), path)?;
    if find_device(&engine.device).is_none() {
        let help = suggest::help(&engine.device, device_names());
        let title = format!("unknown device `{}`", engine.device);
        return Err(Box::new(Diagnostic::error(title).helps(help)).into());
    }
    let count = bench.input_lens.len();
    let answered: Vec<usize> = (0..count).filter(|index| !bench.failed(*index)).collect();
    let timed = |index: &usize| bench.ttfts[*index].is_finite() && bench.ttfts[*index] > 0.0;
    let mut order: Vec<usize> = answered.iter().copied().filter(timed).collect();
    if order.is_empty() {
        let why = match answered.is_empty() {
            true => "no request was answered",
            false => {
                "every time to the first token is 0: the client saw no streamed tokens (a server that \
                 does not stream, or one that hides the tokens of its reasoning)"
            }
        };
        return Err(CaseError::content(path, why));
    }
    let imported = ImportedCase {
        failed: count - answered.len(),
        without_ttft: answered.len() - order.len(),
        unknown: bench.unknown.clone(),
    };
    let starts = &bench.start_times;
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
    let client = match bench.backend.as_deref() {
        Some(backend) if backend.starts_with("sglang") => "SGLang's bench_serving over HTTP",
        _ => "vllm bench serve over HTTP",
    };
    let settings = json!({
        "engine": "vLLM",
        "model": model.json(&engine.allow_unmodelled),
        "hardware": {"gpu": engine.device},
        "parallel": {"tp": engine.tensor_parallel, "pp": 1, "dp": engine.data_parallel},
        "scheduler": {
            "max_num_seqs": engine.max_num_seqs,
            "max_num_batched_tokens": engine.max_num_batched_tokens,
        },
        "max_model_len": engine.max_model_len,
        "kv": {"num_gpu_blocks": engine.num_gpu_blocks},
        "client": {"driver": client},
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
    if let Model::Config { files, .. } = &model {
        for (name, text) in files {
            written(name, text)?;
        }
    }
    written("engine.json", &format!("{settings:#}\n"))?;
    written("workload.csv", &workload)?;
    written("measured.csv", &measured)?;
    Ok(imported)
}

/// The model of a benchmark.
enum Model {
    /// One that is built in.
    Named(String),
    /// One that its config describes, which goes with the case.
    Config { name: String, files: Vec<(&'static str, String)> },
}

impl Model {
    /// Finds the model: what `--model` says, or what the benchmark calls it.
    fn find(
        engine: &BenchEngine,
        model_id: Option<&str>,
        path: &Path,
    ) -> Result<Model, Box<Diagnostic>> {
        const HELP: &str = "name a model that is built in (`vidur-ecs list`), or give its config.json or \
                            the folder that holds it: --model models/phi-9/config.json";
        let Some(written) = engine.model.as_deref().or(model_id) else {
            let title = format!("{} does not say which model was served", path.display());
            return Err(Box::new(Diagnostic::error(title).help(HELP)));
        };
        if let Some(spec) = model::find(written) {
            return Ok(Model::Named(spec.name.to_string()));
        }
        // As scenarios write it.
        let file = written.strip_prefix("HuggingFace(\"").and_then(|rest| rest.strip_suffix("\")"));
        let file = Path::new(file.unwrap_or(written));
        let config = if file.is_dir() { file.join(CONFIG) } else { file.to_owned() };
        if config.is_file() {
            let spec = ModelSpec::from_hf_config(&config, &engine.allow_unmodelled)?;
            return Model::copied(&config, &spec);
        }
        // A server's path to its model may end in a name that is known.
        let last = written.trim_end_matches('/').rsplit('/').next().unwrap_or(written);
        match model::find(last).filter(|_| engine.model.is_none()) {
            Some(spec) => Ok(Model::Named(spec.name.to_string())),
            None => {
                let title = format!("unknown model `{}`", shortened_text(written, 80));
                let near = model::closest(last).map(|near| format!("did you mean `{near}`?"));
                Err(Box::new(Diagnostic::error(title).helps(near).help(HELP)))
            }
        }
    }

    /// The config and what lies beside it, as text.
    fn copied(config: &Path, spec: &ModelSpec) -> Result<Model, Box<Diagnostic>> {
        let mut files = Vec::new();
        for (from, to) in [(config.to_owned(), CONFIG), (config.with_file_name(SIDECAR), SIDECAR)] {
            if to == SIDECAR && !from.is_file() {
                continue;
            }
            let text = crate::base::input::read_to_string(&from).map_err(|error| {
                Diagnostic::error(format!("cannot read {}: {error}", from.display()))
            })?;
            files.push((to, text));
        }
        Ok(Model::Config { name: spec.name.to_string(), files })
    }

    fn json(&self, allow_unmodelled: &[String]) -> Value {
        match self {
            Model::Named(name) => json!({"name": name}),
            Model::Config { name, .. } if allow_unmodelled.is_empty() => {
                json!({"name": name, "config": CONFIG})
            }
            Model::Config { name, .. } => {
                json!({"name": name, "config": CONFIG, "allow_unmodelled": allow_unmodelled})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::{Case, Measured};

    fn convert(json: &str) -> (Result<ImportedCase, CaseError>, tempfile::TempDir) {
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
        assert_eq!(left_out.unwrap(), ImportedCase { failed: 1, ..ImportedCase::default() });
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
                r#"{{"model_id": "/models/Qwen3-8B/", "request_rate": {rate}, "input_lens": [1], "output_lens": [1],
                "ttfts": [0.1], "itls": [[]]}}"#
            )
        };
        for rate in ["\"inf\"", "Infinity", "null"] {
            assert_eq!(convert(&json(rate)).0.unwrap(), ImportedCase::default(), "{rate}");
        }
        let message = convert(&json("2.0")).0.unwrap_err().to_string();
        assert!(message.contains("0 start_times for 1 requests"), "{message}");
        let message = convert(r#"{"model_id": "m"}"#).0.unwrap_err().to_string();
        assert!(message.contains("--save-detailed"), "{message}");
    }

    /// A result of one request.
    fn result(model_id: &str, ttft: &str) -> String {
        format!(
            r#"{{{model_id} "request_rate": Infinity, "input_lens": [5], "output_lens": [2],
            "ttfts": [{ttft}], "itls": [[0.01]], "errors": [""]}}"#
        )
        .replace('\n', " ")
    }

    #[test]
    fn models_are_checked_when_they_are_imported() {
        let message = |model: &str| {
            let id = format!("\"model_id\": \"{model}\",");
            convert(&result(&id, "0.1")).0.map_err(|error| error.to_string())
        };
        assert!(message("meta-llama/Llama-3.1-8B-Instruct").is_ok());
        let text = message("zai-org/GLM-5-FP8").unwrap_err();
        assert!(
            text.contains("unknown model `zai-org/GLM-5-FP8`") && text.contains("--model"),
            "{text}"
        );
        let text = convert(&result("", "0.1")).0.unwrap_err().to_string();
        assert!(text.contains("does not say which model was served"), "{text}");
    }

    #[test]
    fn a_config_goes_with_the_case() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("r.json"), result("\"model_id\": \"/data0/mine\",", "0.1")).unwrap();
        std::fs::create_dir(path("mine")).unwrap();
        let config = r#"{"model_type": "llama", "num_hidden_layers": 4, "hidden_size": 512,
            "num_attention_heads": 4, "intermediate_size": 1024, "vocab_size": 1000,
            "max_position_embeddings": 4096}"#;
        std::fs::write(path("mine/config.json"), config).unwrap();
        let engine = BenchEngine {
            device: "NVIDIA L40S".to_owned(),
            model: Some(path("mine").display().to_string()),
            tensor_parallel: 1,
            data_parallel: 1,
            ..BenchEngine::default()
        };
        from_vllm_bench(&path("r.json"), &engine, &path("case")).unwrap();
        let case = Case::read(&path("case")).unwrap();
        assert_eq!(case.engine.model.config.as_deref(), Some("config.json"));
        assert!(case.scenario_text().contains("model: HuggingFace(\"config.json\"),"));
        assert_eq!(std::fs::read_to_string(path("case/config.json")).unwrap(), config);

        let other = BenchEngine { device: "L20".to_owned(), ..engine };
        let error =
            from_vllm_bench(&path("r.json"), &other, &path("again")).unwrap_err().to_string();
        assert!(
            error.contains("unknown device `L20`") && error.contains("known here: A100"),
            "{error}"
        );
        assert!(!path("again").exists());
    }

    #[test]
    fn times_that_are_none_are_said() {
        let id = "\"model_id\": \"Qwen3-8B\",";
        let text = convert(&result(id, "0.0")).0.unwrap_err().to_string();
        assert!(text.contains("every time to the first token is 0"), "{text}");
        let two = result(id, "0.1")
            .replace("[5]", "[5, 6]")
            .replace("[2]", "[2, 2]")
            .replace("[0.1]", "[0.1, 0.0]")
            .replace("[[0.01]]", "[[0.01], []]");
        assert_eq!(
            convert(&two).0.unwrap(),
            ImportedCase { without_ttft: 1, ..ImportedCase::default() }
        );
    }

    #[test]
    fn keys_that_are_not_used_are_named() {
        let id = "\"model_id\": \"Qwen3-8B\", \"start_time\": [1.0], \"p99_ttft_ms\": 1, \"tag\": \"x\",";
        assert_eq!(convert(&result(id, "0.1")).0.unwrap().unknown, ["start_time"]);
    }

    #[test]
    fn one_line_of_several_is_chosen() {
        let line = result("\"model_id\": \"Qwen3-8B\", \"backend\": \"sglang\",", "0.1");
        let (imported, folder) = convert(&format!("{line}\n"));
        assert_eq!(imported.unwrap(), ImportedCase::default());
        let engine = std::fs::read_to_string(folder.path().join("case/engine.json")).unwrap();
        assert!(engine.contains("SGLang's bench_serving over HTTP"), "{engine}");
        let text = convert(&format!("{line}\n{line}\n")).0.unwrap_err().to_string();
        assert!(text.contains("has 2 results") && text.contains("--line 1 to --line 2"), "{text}");
    }
}
