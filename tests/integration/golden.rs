//! Recorded runs of Vidur, through the real `import vidur` and `run`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::recorded::shared;
use crate::room::Room;

/// A CSV file by column.
pub(crate) struct Table(BTreeMap<String, Vec<String>>);

impl Table {
    pub(crate) fn read(path: &Path) -> Table {
        let mut bytes = Vec::new();
        let mut file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        match path.extension().is_some_and(|extension| extension == "gz") {
            true => MultiGzDecoder::new(file).read_to_end(&mut bytes),
            false => file.read_to_end(&mut bytes),
        }
        .expect("readable");
        let mut reader = csv::Reader::from_reader(&bytes[..]);
        let header = reader.headers().expect("a header").clone();
        let mut columns = vec![Vec::new(); header.len()];
        for record in reader.records() {
            for (column, cell) in columns.iter_mut().zip(&record.expect("a row")) {
                column.push(cell.to_owned());
            }
        }
        Table(header.iter().map(str::to_owned).zip(columns).collect())
    }

    /// A column of numbers, `NaN` where there is none, in the order of `id`.
    pub(crate) fn by_id(&self, id: &str, column: &str) -> Vec<f64> {
        let numbers =
            |name: &str| self.0[name].iter().map(|cell| cell.parse::<f64>().unwrap_or(f64::NAN));
        let mut pairs: Vec<(f64, f64)> = numbers(id).zip(numbers(column)).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        pairs.into_iter().map(|(_, value)| value).collect()
    }

    /// Iterations in a file of batches, by row or in run lengths.
    fn batches(&self) -> u64 {
        match self.0.get("count") {
            Some(counts) => counts.iter().map(|count| count.parse::<u64>().expect("number")).sum(),
            None => self.0["Batch Id"].len() as u64,
        }
    }
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0.0), |(s, n), value| (s + value, n + 1.0));
    sum / count
}

/// Imports a case as `s.ron`.
fn import(case: &Path, more: &str) -> Room {
    let room = Room::new();
    let case = case.display();
    room.must(&format!(
        "import vidur {case}/config.json --trace {case}/requests.csv.gz {more} -o s.ron"
    ));
    room
}

/// Imports a case, runs it and returns the room with the results in `out`.
fn reproduce(case: &Path, more: &str) -> Room {
    let room = import(case, more);
    room.must("s.ron --quiet --out out");
    room
}

/// What differs from Vidur's run in the folder `out`, each in a few words.
fn differences(case: &Path, room: &Room, out: &str) -> Vec<String> {
    let gold = Table::read(&case.join("requests_out.csv.gz"));
    let ours = Table::read(&room.path(&format!("{out}/request_metrics.csv")));
    let mut found = Vec::new();
    for (theirs, name, tolerance) in [
        ("id", "Request Id", 0.0),
        ("replica_id", "replica_id", 0.0),
        ("num_restarts", "request_num_restarts", 0.0),
        ("arrived_at", "arrived_at", 1e-6),
        ("scheduled_at", "scheduled_at", 1e-6),
        ("prefill_completed_at", "first_token_at", 1e-6),
        ("completed_at", "completed_at", 1e-6),
        ("execution_time", "request_execution_time", 1e-6),
        ("preempted_time", "request_preemption_time", 1e-6),
    ] {
        let (theirs, ours) = (gold.by_id("id", theirs), ours.by_id("Request Id", name));
        let pairs = theirs.iter().zip(&ours);
        let off = pairs.filter(|(a, b)| !(0.0..=tolerance).contains(&(**a - **b).abs())).count();
        if off > 0 || theirs.len() != ours.len() {
            found.push(format!("{name} of {off} of {} (we have {})", theirs.len(), ours.len()));
        }
    }
    let derived = std::fs::read_to_string(case.join("derived.json")).expect("is there");
    let derived: serde_json::Value = serde_json::from_str(&derived).expect("JSON");
    let batches = Table::read(&room.path(&format!("{out}/batch_metrics.csv"))).batches();
    if derived["num_batches"].as_u64() != Some(batches) {
        found.push(format!("{batches} batches instead of {}", derived["num_batches"]));
    }
    found
}

/// What differs from Vidur's runs in any of the cases of a folder, in single steps and in
/// fast-forward, with the number of cases.
fn closed_form(golden: &Path) -> (usize, Vec<String>) {
    let mut cases = crate::room::names(golden);
    cases.retain(|name| name.starts_with("closed_"));
    let mut wrong = Vec::new();
    for name in &cases {
        let case = golden.join(name);
        let room = import(&case, "--timing formula:0.005,2.5e-5,1e-8");
        // Run lengths, because with several replicas a row for each batch takes single steps.
        room.must("s.ron --quiet --exact-steps --out exact");
        room.must("s.ron --quiet --set output.batch_metrics=RunLength --out fast");
        for mode in ["exact", "fast"] {
            let found = differences(&case, &room, mode);
            wrong.extend(found.into_iter().map(|what| format!("{name}, {mode}: {what}")));
        }
    }
    (cases.len(), wrong)
}

/// These runs travel with the repository.
#[test]
fn vidurs_schedules_are_reproduced_to_the_microsecond() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/vidur");
    let (cases, wrong) = closed_form(&golden);
    assert_eq!(cases, 3, "{} is not whole", golden.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn more_of_vidurs_schedules_are_reproduced_to_the_microsecond() {
    let Some(golden) = shared("data/golden/vidur") else { return };
    let (cases, wrong) = closed_form(&golden);
    assert_eq!(cases, 14);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Mean TTFT, TPOT (Vidur's, over all output tokens) and E2E.
fn means(arrived: &[f64], first: &[f64], done: &[f64], output: &[f64]) -> [f64; 3] {
    let spans = |from: &[f64], to: &[f64]| -> Vec<f64> {
        from.iter().zip(to).map(|(from, to)| to - from).collect()
    };
    let tpot = spans(first, done).into_iter().zip(output).map(|(span, output)| span / output);
    [mean(spans(arrived, first)), mean(tpot), mean(spans(arrived, done))]
}

fn our_means(room: &Room) -> [f64; 3] {
    let ours = Table::read(&room.path("out/request_metrics.csv"));
    let column = |name: &str| ours.by_id("Request Id", name);
    means(
        &column("arrived_at"),
        &column("first_token_at"),
        &column("completed_at"),
        &column("request_num_decode_tokens"),
    )
}

/// Prints how far we are off, in percent, and complains beyond the limits.
fn near(name: &str, ours: [f64; 3], theirs: [f64; 3], limits: [f64; 3], wrong: &mut Vec<String>) {
    let off: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| 100.0 * (a / b - 1.0)).collect();
    let text =
        format!("{name}: TTFT {:+.2} %, TPOT {:+.2} %, E2E {:+.2} %", off[0], off[1], off[2]);
    println!("{text}");
    if off.iter().zip(limits).any(|(off, limit)| !(0.0..=limit).contains(&off.abs())) {
        wrong.push(text);
    }
}

#[test]
fn the_random_forest_is_met_in_the_mean() {
    let Some(golden) = shared("data/golden/vidur") else { return };
    let mut wrong = Vec::new();
    for name in crate::room::names(&golden).iter().filter(|name| name.starts_with("rf_")) {
        let case = golden.join(name);
        let gold = Table::read(&case.join("requests_out.csv.gz"));
        let column = |name: &str| gold.by_id("id", name);
        let theirs = means(
            &column("arrived_at"),
            &column("prefill_completed_at"),
            &column("completed_at"),
            &column("final_num_decode_tokens"),
        );
        let room = reproduce(&case, "");
        near(name, our_means(&room), theirs, [2.0, 1.0, 1.0], &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two published runs. They used another attention profile, so only TPOT and E2E are compared.
/// Their requests are rebuilt from the metrics: the first arrives at 0.
#[test]
fn published_runs_are_met_within_five_percent() {
    let Some(survey) = shared("data/golden/survey") else { return };
    let mut wrong = Vec::new();
    for name in ["sarathi_qps4_n100", "vllm_qps2_n100"] {
        let gold = Table::read(&survey.join(format!("{name}.request_metrics.csv")));
        let column = |name: &str| gold.by_id("Request Id", name);
        let gaps = column("request_inter_arrival_delay");
        let arrivals = gaps.iter().scan(0.0, |now, gap| {
            *now += if gap.is_nan() { 0.0 } else { *gap };
            Some(*now)
        });
        let lengths = column("request_num_prefill_tokens")
            .into_iter()
            .zip(column("request_num_decode_tokens"));
        let mut csv = "id,arrived_at,num_prefill_tokens,num_decode_tokens\n".to_owned();
        for (id, (at, (prompt, output))) in arrivals.zip(lengths).enumerate() {
            csv.push_str(&format!("{id},{at},{prompt},{output}\n"));
        }
        let room = Room::with("requests.csv", csv);
        let config = survey.join(format!("{name}.config.json"));
        room.must(&format!("import vidur {} --trace requests.csv -o s.ron", config.display()));
        room.must("s.ron --quiet --out out");
        let theirs = [
            mean(column("prefill_e2e_time")),
            mean(column("decode_time_execution_plus_preemption_normalized")),
            mean(column("request_e2e_time")),
        ];
        near(name, our_means(&room), theirs, [f64::INFINITY, 5.0, 5.0], &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
