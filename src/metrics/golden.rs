//! Statistics of recorded Vidur runs against the figures stored with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{RunContext, StatsSink};
use crate::base::Nanos;
use crate::recorded::shared;
use crate::records::{RequestRecord, RequestStatus, RunSink, RunTotals, TokenGaps};

/// The cases of the repository, and those beside it.
fn cases() -> Vec<PathBuf> {
    let travels = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/vidur");
    let mut cases: Vec<PathBuf> = [Some(travels), shared("data/golden/vidur")]
        .into_iter()
        .flatten()
        .flat_map(|root| fs::read_dir(root).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    cases.sort();
    cases
}

/// The records of a case, with the number of output tokens that Vidur divided by (after a restart
/// those that were left).
fn records(case: &Path) -> Vec<RequestRecord> {
    let file = File::open(case.join("requests_out.csv.gz")).unwrap();
    let mut reader = csv::Reader::from_reader(flate2::read::GzDecoder::new(file));
    let header = reader.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let columns =
        ["arrived_at", "scheduled_at", "prefill_completed_at", "completed_at"].map(&column);
    let output = column("final_num_decode_tokens");
    let read = |row: csv::StringRecord| {
        let [arrived, scheduled, first_token, completed] =
            columns.map(|column| Nanos::from_secs_f64(row[column].parse().unwrap()));
        RequestRecord {
            id: row[0].parse().unwrap(),
            pool: 0,
            class: 0,
            adapter: None,
            replica: Some(0),
            arrived_at: arrived,
            inter_arrival: None,
            scheduled_at: Some(scheduled),
            first_token_at: Some(first_token),
            completed_at: Some(completed),
            prompt_tokens: 1,
            output_tokens: row[output].parse().unwrap(),
            cached_tokens: 0,
            execution_time: Nanos::ZERO,
            preemption_time: Nanos::ZERO,
            reloaded_tokens: 0,
            restarts: 0,
            swaps: 0,
            kv_transfer: None,
            drafted: 0,
            accepted: 0,
            in_window: true,
            status: RequestStatus::Finished,
        }
    };
    reader.records().map(|row| read(row.unwrap())).collect()
}

#[test]
fn statistics_are_those_stored_with_recorded_runs() {
    let mut compared = 0;
    for case in cases() {
        let text = fs::read_to_string(case.join("derived.json")).unwrap();
        let derived: Value = serde_json::from_str(&text).unwrap();
        let mut sink = StatsSink::new(None);
        records(&case).iter().for_each(|record| sink.request(record));
        let totals = RunTotals { inter_token: TokenGaps::default(), ..RunTotals::default() };
        let run = sink.finish(&totals, &RunContext::default());
        for (key, family) in [
            ("ttft_s", "ttft"),
            ("e2e_s", "e2e"),
            ("sched_delay_s", "queue"),
            ("tpot_s", "vidur_tpot"),
        ] {
            for statistic in ["mean", "p50", "p90", "p99", "max"] {
                let Some(want) = derived[key][statistic].as_f64() else { continue };
                let got = run.get(&format!("{family}.{statistic}")).unwrap();
                let name = case.file_name().unwrap_or_default();
                assert!((got - want).abs() < 2e-9, "{name:?} {family}.{statistic}: {got} {want}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 3 * 20, "only {compared} statistics under the expected names");
}
