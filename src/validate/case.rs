//! A measured case, and the scenario that simulates it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::engine::{Engine, EngineParallel};
use crate::base::{Diagnostic, input};

/// Why a case cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file cannot be read or written.
    #[error("cannot {action} {file}: {source}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{file}: {message}")]
    Content {
        /// The file.
        file: String,
        /// What is wrong, with the place where there is one.
        message: String,
    },
    /// What is wrong, with the place.
    #[error("{0}")]
    Placed(#[from] Box<Diagnostic>),
}

impl CaseError {
    pub(crate) fn content(file: &Path, message: impl std::fmt::Display) -> CaseError {
        CaseError::Content { file: file.display().to_string(), message: message.to_string() }
    }

    pub(crate) fn read(file: &Path, source: std::io::Error) -> CaseError {
        CaseError::Io { action: "read", file: file.display().to_string(), source }
    }
}

/// What was measured of a request, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Measured {
    /// First token - arrival.
    #[serde(rename = "ttft_from_arrival_ms")]
    pub ttft: f64,
    /// (Last token - first token) / (output tokens - 1).
    #[serde(rename = "tpot_ms")]
    pub tpot: f64,
    /// Last token - arrival.
    #[serde(rename = "e2e_from_arrival_ms")]
    pub e2e: f64,
}

/// A case folder that has been read.
#[derive(Clone, Debug)]
pub struct Case {
    /// The folder's name.
    pub name: String,
    /// The folder.
    pub folder: PathBuf,
    /// Its `engine.json`.
    pub engine: Engine,
    /// Its `measured.csv`, by request.
    pub measured: BTreeMap<u64, Measured>,
    /// Whether it says, in `prefix_blocks.jsonl`, what its prompts have in common.
    pub prefixes: bool,
}

/// What prompts have in common, by blocks of [`PREFIX_BLOCK`] tokens.
pub(crate) const PREFIXES: &str = "prefix_blocks.jsonl";
/// Tokens that each of its ids stands for.
pub(crate) const PREFIX_BLOCK: u32 = 16;

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// A file that is missing or malformed; no measured request.
    pub fn read(folder: &Path) -> Result<Case, CaseError> {
        let path = folder.join("engine.json");
        let engine = Engine::read(&path)?;
        let path = folder.join("measured.csv");
        let measured = read_measured(&path)?;
        if measured.is_empty() {
            return Err(CaseError::content(&path, "it has no request"));
        }
        let name = folder
            .canonicalize()
            .ok()
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
        let name = name.unwrap_or_else(|| folder.display().to_string());
        let prefixes = folder.join(PREFIXES).exists();
        Ok(Case { name, folder: folder.to_owned(), engine, measured, prefixes })
    }

    /// The case as a scenario, whose paths are relative to the case's folder.
    pub fn scenario_text(&self) -> String {
        let engine = &self.engine;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write_scenario(&mut text, engine);
        text
    }

    fn write_scenario(&self, f: &mut String, engine: &Engine) -> std::fmt::Result {
        let EngineParallel { tp, pp, dp, .. } = engine.parallel;
        let device = engine.device();
        writeln!(f, "(")?;
        writeln!(f, "    name: {:?},", self.name)?;
        writeln!(f, "    title: {:?},", format!("Measured case {}", self.name))?;
        match &engine.model.config {
            Some(config) => writeln!(f, "    model: HuggingFace({config:?}),")?,
            None => writeln!(f, "    model: {:?},", engine.model_name())?,
        }
        if !engine.model.allow_unmodelled.is_empty() {
            writeln!(f, "    allow_unmodelled: {:?},", engine.model.allow_unmodelled)?;
        }
        writeln!(f, "    device: {device:?},")?;
        // What it is was checked when the case was read.
        if let Ok(Some(format)) = engine.kv_cache() {
            writeln!(f, "    quantization: (kv_cache: {format}),")?;
        }
        let router = if dp > 1 { ", router: VllmDataParallel" } else { "" };
        writeln!(
            f,
            "    cluster: (replicas: {dp}, tensor_parallel: {tp}, pipeline_parallel: {pp}{router}),"
        )?;
        writeln!(f, "    engine: (")?;
        writeln!(f, "        policy: VllmV1({}),", engine.policy())?;
        field(f, "max_model_len", engine.max_model_len)?;
        field(f, "gpu_memory_utilization", engine.gpu_memory_utilization)?;
        field(f, "block_size", engine.block_size)?;
        field(f, "enable_prefix_caching", engine.enable_prefix_caching)?;
        let blocks = engine.kv.num_gpu_blocks.or(engine.kv.suggested_num_gpu_blocks);
        field(f, "num_gpu_blocks", blocks)?;
        field(f, "api_overhead_ms", Some(engine.client.api_ms()).filter(|ms| *ms != 0.0))?;
        writeln!(f, "    ),")?;
        let prefixes = match self.prefixes {
            true => format!(", prefixes: {PREFIXES:?}, tokens_per_hash: {PREFIX_BLOCK}"),
            false => String::new(),
        };
        writeln!(f, "    workload: (trace: (file: \"workload.csv\", format: Vidur{prefixes})),")?;
        if let Some(timing) = &engine.timing {
            writeln!(f, "    timing: {timing},")?;
        }
        writeln!(f, "    output: (batch_metrics: false),")?;
        writeln!(f, ")")
    }
}

fn field<T: std::fmt::Display>(f: &mut String, name: &str, value: Option<T>) -> std::fmt::Result {
    match value {
        Some(value) => writeln!(f, "        {name}: {value},"),
        None => Ok(()),
    }
}

/// The rows of a CSV file of measured or simulated requests, which must not be endless.
///
/// # Errors
/// It cannot be opened. A row that cannot be read is an error of its own.
pub(super) fn rows_of<T: DeserializeOwned>(
    path: &Path,
) -> Result<impl Iterator<Item = Result<T, CaseError>>, CaseError> {
    let rows = input::open_rows(path).map_err(|error| CaseError::read(path, error))?;
    Ok(rows_from(path, rows))
}

fn rows_from<T: DeserializeOwned>(
    path: &Path,
    rows: input::Rows<impl Read>,
) -> impl Iterator<Item = Result<T, CaseError>> {
    let failed = move |error: csv::Error| match error.is_io_error() {
        true => CaseError::read(path, error.into()),
        false => CaseError::content(path, error),
    };
    let mut rows = csv::Reader::from_reader(rows);
    // Without headings that can be read, rows would be taken by position, or there would be none.
    let headings = rows.headers().err().map(|error| Err(failed(error)));
    headings.into_iter().chain(rows.into_deserialize().map(move |row| row.map_err(failed)))
}

fn read_measured(path: &Path) -> Result<BTreeMap<u64, Measured>, CaseError> {
    #[derive(Deserialize)]
    struct Row {
        // Written as a float by some tools.
        request_id: f64,
        ttft_from_arrival_ms: f64,
        tpot_ms: Option<f64>,
        e2e_from_arrival_ms: f64,
    }
    let mut measured = BTreeMap::new();
    for row in rows_of::<Row>(path)? {
        let row = row?;
        let times = Measured {
            ttft: row.ttft_from_arrival_ms,
            tpot: row.tpot_ms.unwrap_or(0.0),
            e2e: row.e2e_from_arrival_ms,
        };
        if measured.insert(row.request_id as u64, times).is_some() {
            return Err(CaseError::content(path, format!("request {} twice", row.request_id)));
        }
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = r#"{"engine": "vLLM", "model": {"name": "meta-llama/Llama-3.1-8B"},
        "hardware": {"gpu": "NVIDIA RTX PRO 6000 Blackwell Server Edition"},
        "scheduler": {"policy": "fcfs", "max_num_seqs": 128, "async_scheduling": true},
        "block_size": 16, "kv": {"num_gpu_blocks": null, "suggested_num_gpu_blocks": 36000}}"#;

    fn case(engine: &str, measured: &str) -> Result<Case, CaseError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("engine.json"), engine).unwrap();
        std::fs::write(folder.path().join("measured.csv"), measured).unwrap();
        Case::read(folder.path())
    }

    const MEASURED: &str =
        "request_id,x,ttft_from_arrival_ms,tpot_ms,e2e_from_arrival_ms\n3.0,,12.5,,90\n";

    /// Rows without end, a row without one, and headings that are no text are errors that name the
    /// file.
    #[test]
    fn measurements_that_cannot_be_read_are_refused() {
        for byte in *b"\n1" {
            let rows = input::Rows::at_most(std::io::repeat(byte), 1 << 16);
            let mut rows = rows_from::<(f64,)>(Path::new("measured.csv"), rows);
            let error = rows.next().unwrap().unwrap_err().to_string();
            assert!(error.contains("measured.csv") && error.contains("more than"), "{error}");
        }
        let rows = input::Rows::at_most(&b"ttft\xff\n1.5\n"[..], 1 << 16);
        let mut rows = rows_from::<(f64,)>(Path::new("measured.csv"), rows);
        let error = rows.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("measured.csv") && error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn a_case_becomes_a_scenario() {
        let case = case(ENGINE, MEASURED).unwrap();
        assert_eq!(case.measured[&3], Measured { ttft: 12.5, tpot: 0.0, e2e: 90.0 });
        let text = case.scenario_text();
        for part in [
            "model: \"Llama-3.1-8B\",",
            "device: \"RTX-PRO-6000\",",
            "policy: VllmV1(max_num_seqs: 128, async_scheduling: true),",
            "num_gpu_blocks: 36000,",
            "cluster: (replicas: 1, tensor_parallel: 1, pipeline_parallel: 1),",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("max_model_len"), "what is unknown is left to the defaults");
        assert!(!text.contains("api_overhead_ms"), "nobody spoke of HTTP");
    }

    #[test]
    fn requests_over_http_pay_for_it() {
        let text = |client: &str| {
            let engine = ENGINE.replacen("{", &format!("{{\"client\": {client},"), 1);
            case(&engine, MEASURED).unwrap().scenario_text()
        };
        assert!(text(r#"{"driver": "HTTP completions API"}"#).contains("api_overhead_ms: 1.8,"));
        assert!(!text(r#"{"driver": "AsyncLLM in-process"}"#).contains("api_overhead_ms"));
        let given = text(r#"{"driver": "http", "api_overhead_ms": 3.5}"#);
        assert!(given.contains("api_overhead_ms: 3.5,"), "{given}");
    }

    #[test]
    fn a_quantised_kv_cache_is_simulated() {
        let with = |dtype: &str| {
            let engine = ENGINE.replacen('{', &format!("{{\"kv_cache_dtype\": \"{dtype}\","), 1);
            case(&engine, MEASURED)
        };
        let text = with("fp8_e4m3").unwrap().scenario_text();
        assert!(text.contains("quantization: (kv_cache: Fp8),"), "{text}");
        let text = with("auto (bf16)").unwrap().scenario_text();
        assert!(!text.contains("quantization"), "{text}");
        let message = with("nvfp4").unwrap_err().to_string();
        assert!(
            message.contains("engine.json: `kv_cache_dtype` is `nvfp4`, expected"),
            "{message}"
        );
    }

    #[test]
    fn what_is_wrong_with_a_case_is_said() {
        let message =
            |engine: &str, measured: &str| case(engine, measured).unwrap_err().to_string();
        assert!(message("{}", MEASURED).contains("engine.json: missing field `model`"));
        assert!(message(ENGINE, "request_id\n1\n").contains("missing field"));
        let text = message(ENGINE, MEASURED.split_once('\n').unwrap().0);
        assert!(text.ends_with("measured.csv: it has no request"), "{text}");
        let missing = Case::read(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(missing.contains("cannot read /nonexistent/engine.json"), "{missing}");
    }
}
