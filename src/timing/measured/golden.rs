//! Times of batches against Vidur's own, batch by batch.
//!
//! Vidur's log has the tokens of each batch but not their contexts. Without preemption these can
//! be rebuilt: requests are admitted in the order of arrival, and every running one is in each
//! batch that decodes at all.
//!
//! What differs is the regression: Vidur's random forest smooths each point with its neighbours
//! (and stays flat beyond the last one), while ours goes through the medians and on beyond them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::hardware::model::find;
use crate::hardware::{Parallelism, find_device};
use crate::recorded::shared;
use crate::timing::{
    BatchShape, MeasuredSettings, Predictor, PrefillPart, SharedTables, StagePosition,
    TimingContext, TimingSettings,
};

fn rows<T: serde::de::DeserializeOwned>(path: PathBuf) -> Vec<T> {
    let file = GzDecoder::new(std::fs::File::open(path).unwrap());
    csv::Reader::from_reader(file).deserialize().collect::<Result<_, _>>().unwrap()
}

#[derive(serde::Deserialize)]
struct Request {
    num_prefill_tokens: u32,
    num_decode_tokens: u32,
}

#[derive(serde::Deserialize)]
struct Batch {
    batch_num_prefill_tokens: u32,
    batch_num_decode_tokens: u32,
    batch_size: u32,
    batch_execution_time: f64,
}

/// A request that has been admitted.
struct Running {
    prompt: u32,
    processed: u32,
    total: u32,
}

/// The shapes of all batches of a run on one replica and stage, with Vidur's times in seconds.
fn rebuild(folder: &Path) -> Vec<(BatchShape, f64)> {
    let mut waiting: VecDeque<Request> = rows(folder.join("requests.csv.gz")).into();
    let mut running: Vec<Running> = Vec::new();
    let mut shapes = Vec::new();
    for batch in rows::<Batch>(folder.join("batch_metrics.csv.gz")) {
        let mut shape = BatchShape {
            tokens: batch.batch_num_prefill_tokens + batch.batch_num_decode_tokens,
            ..BatchShape::default()
        };
        let mut prompts_left = batch.batch_num_prefill_tokens;
        let mut members = batch.batch_size - batch.batch_num_decode_tokens;
        if batch.batch_num_decode_tokens > 0 {
            for request in running.iter_mut().filter(|r| r.processed >= r.prompt) {
                shape.decodes += 1;
                shape.decode_context += u64::from(request.processed);
                request.processed += 1;
            }
            assert_eq!(shape.decodes, batch.batch_num_decode_tokens);
        }
        let mut advance = |request: &mut Running, members: u32| {
            // The last prompt of a batch takes what is left of it, if need be a part of itself.
            let tokens = prompts_left.min(request.prompt - request.processed);
            assert!(tokens > 0 && (members > 1 || tokens == prompts_left));
            prompts_left -= tokens;
            shape.prefills.push(PrefillPart { tokens, context: request.processed });
            request.processed += tokens;
            if request.processed == request.prompt {
                request.processed += 1;
            }
        };
        for request in running.iter_mut().filter(|r| r.processed < r.prompt) {
            if members == 0 {
                break;
            }
            advance(request, members);
            members -= 1;
        }
        while members > 0 {
            let next = waiting.pop_front().unwrap();
            let mut request = Running {
                prompt: next.num_prefill_tokens,
                processed: 0,
                total: next.num_prefill_tokens + next.num_decode_tokens,
            };
            advance(&mut request, members);
            running.push(request);
            members -= 1;
        }
        running.retain(|request| request.processed < request.total);
        shapes.push((shape, batch.batch_execution_time));
    }
    assert!(waiting.is_empty() && running.is_empty());
    shapes
}

/// How our times differ from Vidur's.
struct Difference {
    batches: usize,
    /// Median of the relative errors' sizes, in percent.
    median: f64,
    /// Error of the sum of all times, in percent.
    total: f64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { batches, median, total } = self;
        write!(f, "{batches} batches, median error {median:.3} %, sum {total:+.3} %")
    }
}

fn compare(
    predictor: &dyn Predictor,
    shapes: &[(BatchShape, f64)],
    keep: impl Fn(&BatchShape) -> bool,
) -> Difference {
    let stage = StagePosition { index: 0, count: 1 };
    let (mut errors, mut ours, mut theirs) = (Vec::new(), 0.0, 0.0);
    for (shape, seconds) in shapes.iter().filter(|(shape, _)| keep(shape)) {
        let time = predictor.stage_time(shape, stage).total.as_secs_f64();
        errors.push((time / seconds - 1.0).abs() * 100.0);
        ours += time;
        theirs += seconds;
    }
    errors.sort_by(f64::total_cmp);
    Difference {
        batches: errors.len(),
        median: errors[errors.len() / 2],
        total: (ours / theirs - 1.0) * 100.0,
    }
}

/// Whether a batch is of some kind.
type Keep<'a> = &'a dyn Fn(&BatchShape) -> bool;

/// Compares all batches of a run, apart by kind.
fn check(name: &str, median_limit: f64, total_limit: f64) {
    let Some(folder) = shared(&format!("data/golden/vidur/{name}")) else { return };
    let context = TimingContext {
        model: find("Llama-2-7B").unwrap(),
        device: find_device("a100").unwrap(),
        parallel: Parallelism::default(),
        block_size: 16,
        network: None,
        step_overhead_ms: 0.0,
        base_dir: Path::new("."),
        tables: &SharedTables::default(),
    };
    let predictor = MeasuredSettings::default().build(&context).unwrap();
    let shapes = rebuild(&folder);
    let one_prompt = |s: &BatchShape| s.prefills.len() == 1 && s.decodes == 0;
    let kinds: [(&str, Keep); 6] = [
        ("one prompt", &|s| one_prompt(s) && s.prefills[0].context == 0),
        ("one later chunk", &|s| one_prompt(s) && s.prefills[0].context > 0),
        ("several prompts", &|s| s.prefills.len() > 1 && s.decodes == 0),
        ("one decode", &|s| s.prefills.is_empty() && s.decodes == 1),
        ("several decodes", &|s| s.prefills.is_empty() && s.decodes > 1),
        ("mixed", &|s| !s.prefills.is_empty() && s.decodes > 0),
    ];
    for (kind, keep) in kinds {
        if shapes.iter().any(|(shape, _)| keep(shape)) {
            eprintln!("{name}, {kind}: {}", compare(predictor.as_ref(), &shapes, keep));
        }
    }
    let all = compare(predictor.as_ref(), &shapes, |_| true);
    eprintln!("{name}, all: {all}; {:?}", predictor.warnings());
    assert!(all.median < median_limit && all.total.abs() < total_limit, "{name}: {all}");
}

#[test]
fn vllm_on_conversations() {
    check("rf_vllm_conv_qps2_r1", 0.5, 0.5);
}

#[test]
fn sarathi_on_conversations() {
    check("rf_sarathi_conv_qps4_r1", 0.5, 0.5);
}

#[test]
fn sarathi_on_sharegpt() {
    check("rf_sarathi_sharegpt4_qps2_r1", 0.5, 0.5);
}

#[test]
fn orca_on_conversations() {
    check("rf_orca_conv_qps2_r1_chunk16k", 0.5, 0.5);
}
