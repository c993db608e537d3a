//! Trace files of every format, and everything that can be wrong with them.

use std::io::Write;
use std::path::Path;

use super::distribution_tests::{requests, spec};
use super::recording::streaming;
use super::survey::Survey;
use super::*;
use crate::base::SettingError;

/// Checks a workload beside files of the given names and contents: one that keeps what it reads,
/// and one that reads its files again for each source, which must be the same in every way.
pub(super) fn check(ron: &str, files: &[(&str, &str)]) -> Result<Workload, SettingError> {
    // Two folders, as a trace that is in use is not read again.
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        for (name, text) in files {
            write(&folder.path().join(name), text);
        }
    }
    let kept = spec(ron).check(folders[0].path());
    match (&kept, streaming(|| spec(ron).check(folders[1].path()))) {
        (Ok(kept), Ok(streamed)) => assert_alike(kept, &streamed),
        (kept, streamed) => {
            assert_eq!(kept.as_ref().err(), streamed.as_ref().err(), "{ron}");
        }
    }
    // The files are gone afterwards: a short trace needs them no more.
    kept
}

/// What two workloads tell of themselves, and their requests.
pub(super) fn assert_alike(a: &Workload, b: &Workload) {
    let facts = |w: &Workload| {
        let window = [w.window(0), w.window(7)];
        let hints = (w.request_count(), w.max_total_hint(), w.offered_rate(), w.concurrency());
        (window, hints, w.warnings().to_vec(), w.classes().to_vec(), w.survey(7, 400))
    };
    assert_eq!(facts(a), facts(b));
    assert_eq!(facts(&a.saturated()), facts(&b.saturated()));
    for (a, b) in [(a, b), (&a.saturated(), &b.saturated())] {
        for seed in [0, 7] {
            let (mut a, mut b) = (a.source(seed), b.source(seed));
            for number in 0..100_000 {
                let next = a.next_request();
                assert_eq!(next, b.next_request(), "request {number}");
                let Some(next) = next else { break };
                let mut under_way = Some(next);
                while let Some(NewRequest { id, arrived_at, .. }) = under_way {
                    under_way = a.ended(id, true, arrived_at);
                    assert_eq!(under_way, b.ended(id, true, arrived_at));
                }
            }
            assert_eq!((a.failure(), b.failure()), (None, None));
        }
    }
}

pub(super) fn write(path: &Path, text: &str) {
    let file = std::fs::File::create(path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut zip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        zip.write_all(text.as_bytes()).unwrap();
        zip.finish().unwrap();
    } else {
        let mut file = file;
        file.write_all(text.as_bytes()).unwrap();
    }
}

/// Id, arrival in nanoseconds, prompt and output of every request.
pub(super) fn rows(ron: &str, files: &[(&str, &str)]) -> Vec<(u64, u64, u32, u32)> {
    let workload = check(ron, files).unwrap_or_else(|error| panic!("{error}"));
    let requests = requests(&workload, 1);
    requests.iter().map(|r| (r.id, r.arrived_at.0, r.prompt_tokens, r.output_tokens)).collect()
}

const VIDUR: &str =
    "arrived_at,num_prefill_tokens,num_decode_tokens\n0.5,395.0,112\n0.5,10,3\n2,7,1\n";
const REPLAY: &str = "(trace: (file: \"t.csv\"))";

#[test]
fn vidur_format() {
    let expected =
        vec![(0, 500_000_000, 395, 112), (1, 500_000_000, 10, 3), (2, 2_000_000_000, 7, 1)];
    assert_eq!(rows(REPLAY, &[("t.csv", VIDUR)]), expected);
    let named = "(trace: (file: \"t.csv.gz\", format: Vidur))";
    assert_eq!(rows(named, &[("t.csv.gz", VIDUR)]), expected);
    // A byte order mark, spaces, quotes, Windows line ends and further columns do no harm.
    let text = "\u{feff}id, arrived_at,x,num_prefill_tokens,\"num_decode_tokens\"\r\n\r\n17,0,\"a,b\", 8 ,9\r\n3,1.0,,8,9";
    let expected = vec![(17, 0, 8, 9), (3, 1_000_000_000, 8, 9)];
    assert_eq!(rows(REPLAY, &[("t.csv", text)]), expected);
    assert_eq!(rows(REPLAY, &[("t.csv", &text.replace("id,", "request_id,"))]), expected);
}

#[test]
fn azure_format() {
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n\
                2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n";
    for format in ["Auto", "Azure"] {
        assert_eq!(
            rows(&format!("(trace: (file: \"t.csv\", format: {format}))"), &[("t.csv", text)]),
            vec![(0, 0, 4808, 10), (1, 52_000_000, 3180, 8)]
        );
    }
}

#[test]
fn any_columns() {
    let text = "t,model,in,out,key\n1700000000123,a,5,6,40\n1700000000124,b,7,8,41\n";
    let columns = "arrived_at: \"t\", prompt: \"in\", output: \"out\", time_unit: Millis";
    assert_eq!(
        rows(
            &format!(
                "(trace: (file: \"t.csv\", format: Columns({columns}, id: \"key\", rebase: true)))"
            ),
            &[("t.csv", text)]
        ),
        vec![(40, 0, 5, 6), (41, 1_000_000, 7, 8)]
    );
    let error = check(
        &format!("(trace: (file: \"t.csv\", format: Columns({columns})))"),
        &[("t.csv", text)],
    );
    assert!(error.unwrap_err().help.unwrap().contains("rebase"));
}

#[test]
fn scaling_limit_and_sorting() {
    let text = "arrived_at,num_prefill_tokens,num_decode_tokens\n4,100,50\n1,30,9\n2,40,5\n";
    assert_eq!(
        rows(
            "(trace: (file: \"t.csv\", sort: true, limit: 2, time_scale: 0.5, prompt_scale: 0.25, output_scale: 0.1))",
            &[("t.csv", text)]
        ),
        vec![(0, 500_000_000, 7, 1), (1, 1_000_000_000, 10, 1)]
    );
    // Vidur takes the excess off the prompt.
    let capped = "(trace: (file: \"t.csv\", sort: true, max_total: 42))";
    let lengths: Vec<(u32, u32)> =
        rows(capped, &[("t.csv", text)]).iter().map(|r| (r.2, r.3)).collect();
    assert_eq!(lengths, vec![(30, 9), (37, 5), (1, 41)]);
    let workload =
        check("(duration_s: 3, trace: (file: \"t.csv\", sort: true))", &[("t.csv", text)]);
    let workload = workload.unwrap();
    assert_eq!(requests(&workload, 1).len(), 2);
    assert_eq!(workload.offered_rate(), Some(2.0 / 3.0));
    assert_eq!(workload.max_total_hint(), Some(150));
    let saturated = requests(&workload.saturated(), 1);
    assert_eq!(saturated[1].prompt_tokens, 40);
    assert!(saturated.iter().all(|r| r.arrived_at == Nanos::ZERO));
}

#[test]
fn only_the_times() {
    let ron = |more: &str| {
        format!(
            "({more} arrivals: Trace(file: \"t.csv\", time_scale: 2), lengths: Fixed(prompt: 3, output: 4))"
        )
    };
    // Lengths that are not used may be anything.
    let text = "arrived_at,num_prefill_tokens\n1,0\n2,x\n";
    let expected = vec![(0, 2_000_000_000, 3, 4), (1, 4_000_000_000, 3, 4)];
    assert_eq!(rows(&ron(""), &[("t.csv", text)]), expected);
    assert_eq!(rows(&ron("requests: 1,"), &[("t.csv", text)]), expected[..1]);
    let error = check(&ron("requests: 3,"), &[("t.csv", text)]).unwrap_err();
    assert_eq!(
        (error.path.as_str(), error.found.as_str()),
        ("arrivals.file", "2 rows for 3 requests")
    );
    assert_eq!(check(&ron(""), &[("t.csv", text)]).unwrap().offered_rate(), Some(0.5));
}

fn lengths_of(more: &str, bounds: &str, count: usize) -> Result<Vec<u32>, SettingError> {
    let text =
        "num_prefill_tokens,num_decode_tokens,pd_ratio\n1,100,x\n2,100,x\n3,100,x\n4,100,x\n";
    let ron =
        format!("({bounds} arrivals: Poisson(qps: 1), lengths: Trace(file: \"l.csv\"{more}))");
    let workload = check(&ron, &[("l.csv", text)])?;
    Ok(requests(&workload, 1).iter().map(|r| r.prompt_tokens).take(count).collect())
}

#[test]
fn only_the_lengths() {
    assert_eq!(lengths_of("", "requests: 4,", 9).unwrap(), vec![1, 2, 3, 4]);
    assert_eq!(lengths_of(", format: Lengths", "requests: 2,", 9).unwrap(), vec![1, 2]);
    assert_eq!(lengths_of(", on_end: Stop", "", 9).unwrap(), vec![1, 2, 3, 4]);
    assert_eq!(lengths_of(", on_end: Repeat", "requests: 6,", 9).unwrap(), vec![1, 2, 3, 4, 1, 2]);
    let error = lengths_of("", "requests: 5,", 9).unwrap_err();
    assert_eq!(error.found, "4 rows for 5 requests");
    assert!(error.help.unwrap().contains("on_end: Repeat"));
    let error = lengths_of("", "duration_s: 9,", 9).unwrap_err();
    assert_eq!(error.path, "requests");
    assert_eq!(lengths_of(", on_end: Repeat", "", 9).unwrap_err().path, "requests");
}

#[test]
fn shuffling_keeps_every_row_once() {
    let mut passes = lengths_of(", shuffle: true, on_end: Repeat", "requests: 400,", 400).unwrap();
    let first = passes[..4].to_vec();
    assert!(passes.chunks(4).any(|pass| pass != first));
    for pass in passes.chunks_mut(4) {
        pass.sort_unstable();
        assert_eq!(pass, [1, 2, 3, 4]);
    }
}

#[test]
fn lengths_are_trimmed_in_proportion() {
    let text = "num_prefill_tokens,num_decode_tokens\n4000,1000\n";
    let ron = "(requests: 1, arrivals: Static, lengths: Trace(file: \"l.csv\", max_total: 4096))";
    assert_eq!(rows(ron, &[("l.csv", text)]), vec![(0, 0, 3276, 819)]);
}

#[test]
fn an_own_table() {
    let pairs = (1..100).map(|n| LengthPair { prompt: n, output: 1 }).collect();
    let table = lengths::EmpiricalTable::fit(pairs, Default::default()).to_ron();
    let ron = "(requests: 500, arrivals: Static, lengths: Empirical(file: \"e.ron\"))";
    let rows = rows(ron, &[("e.ron", &table)]);
    assert!(rows.len() == 500 && rows.iter().all(|r| (1..100).contains(&r.2) && r.3 == 1));
}

#[test]
fn a_table_is_fitted_and_named_after_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.csv");
    write(&file, VIDUR);
    let args = FitArgs {
        file,
        out: dir.path().join("o.ron"),
        force: false,
        prompt_column: None,
        output_column: None,
        name: None,
        licence: String::new(),
    };
    let table = args.fit().unwrap();
    assert_eq!(table.source.pairs, 3);
    assert!(table.to_ron().contains("name: \"t.csv\""));
}

#[test]
fn what_is_wrong_and_where() {
    let head = "id,arrived_at,num_prefill_tokens,num_decode_tokens\n";
    for (rows, found, expected) in [
        (
            "\r\n0,0,1,1\r\n\r\n1,0,x,1\r\n",
            "`x` in column num_prefill_tokens at t.csv:5",
            "a whole number of at least 1 token",
        ),
        (
            "0,0,0,1\n",
            "`0` in column num_prefill_tokens at t.csv:2",
            "a whole number of at least 1 token",
        ),
        (
            "0,0,1,1\n1,0,1,-4\n",
            "`-4` in column num_decode_tokens at t.csv:3",
            "a whole number of at least 1 token",
        ),
        (
            "0,0,1.5,1\n",
            "`1.5` in column num_prefill_tokens at t.csv:2",
            "a whole number of at least 1 token",
        ),
        (
            "0,0,abc,1\n",
            "`abc` in column num_prefill_tokens at t.csv:2",
            "a whole number of at least 1 token",
        ),
        (
            "0,0,,1\n",
            "`` in column num_prefill_tokens at t.csv:2",
            "a whole number of at least 1 token",
        ),
        (
            "0,0,9999999999,1\n",
            "`9999999999` in column num_prefill_tokens at t.csv:2",
            "a whole number of at least 1 token",
        ),
        ("0,x,1,1\n", "`x` in column arrived_at at t.csv:2", "a time in seconds"),
        ("0,nan,1,1\n", "`nan` in column arrived_at at t.csv:2", "a time in seconds"),
        ("0,-1,1,1\n", "`-1` in column arrived_at at t.csv:2", "a time of at least 0"),
        ("-2,0,1,1\n", "`-2` in column id at t.csv:2", "a whole number of at least 0"),
        (
            "7,0,1,1\n8,0,1,1\n7,0,1,1\n",
            "id 7 at t.csv:2 and again at t.csv:4",
            "a different id for each request",
        ),
        (
            "0,0,1,1\n1,5,1,1\n\n2,4.5,1,1\n",
            "a time at t.csv:5 that is 0.5 s before the one at t.csv:3",
            "times that never go backwards",
        ),
        (
            "0,2000000000,1,1\n",
            "a time at t.csv:2 more than 1e9 s after the start",
            "times within 1e9 s",
        ),
        ("0,0,1\n", "3 fields at t.csv:2", "4 fields, as in the header"),
        ("", "no rows in t.csv", "at least one row"),
    ] {
        let error = check(REPLAY, &[("t.csv", &format!("{head}{rows}"))]).unwrap_err();
        assert_eq!(
            (error.path.as_str(), error.found.as_str(), error.expected.as_str()),
            ("trace.file", found, expected)
        );
    }
}

#[test]
fn headers_that_do_not_fit() {
    let found = |format: &str, text: &str| {
        let ron = format!("(trace: (file: \"t.csv\", format: {format}))");
        check(&ron, &[("t.csv", text)]).unwrap_err()
    };
    assert_eq!(found("Auto", "").found, "t.csv, which is empty");
    assert_eq!(found("Auto", "a,b\n1,2\n").found, "t.csv with columns a, b");
    let error = found("Azure", VIDUR);
    assert_eq!(error.expected, "a column TIMESTAMP of arrival times");
    let error = found("Auto", "num_prefill_tokens,num_decode_tokens\n1,2\n");
    assert_eq!(error.expected, "a column arrived_at of arrival times");
    assert_eq!(found("Lengths", VIDUR).path, "trace.format");
    assert_eq!(found("Columns(arrived_at: \"arrived_at\")", VIDUR).path, "trace.format");
    let error = found(
        "Columns(arrived_at: \"T\", prompt: \"num_prefill_tokens\", output: \"num_decode_tokens\")",
        VIDUR,
    );
    assert_eq!(error.expected, "a column T of arrival times");
    let text = "TIMESTAMP,ContextTokens,GeneratedTokens\n16.11.2023 18:17,1,2\n";
    assert!(found("Auto", text).expected.starts_with("a date with a time"));
}

#[test]
fn files_that_are_no_text() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        spec(&format!("(trace: (file: \"{name}\"))")).check(dir.path()).unwrap_err().found
    };
    let mut latin = VIDUR.as_bytes().to_vec();
    latin.extend(b"3,\xff,1\n");
    assert_eq!(refused("latin.csv", &latin), "bytes that are no UTF-8 in field 2 at latin.csv:5");
    assert!(refused("plain.csv.gz", VIDUR.as_bytes()).contains("plain.csv.gz: "));
    write(&dir.path().join("whole.csv.gz"), VIDUR);
    let whole = std::fs::read(dir.path().join("whole.csv.gz")).unwrap();
    assert!(refused("cut.csv.gz", &whole[..whole.len() - 6]).contains("cut.csv.gz: "));
}

#[test]
fn limits_and_windows_of_a_replay() {
    let refused = |ron: &str| check(ron, &[("t.csv", VIDUR)]).unwrap_err();
    let error = refused("(trace: (file: \"t.csv\", limit: 4))");
    assert_eq!(error.to_string(), "`trace.limit` is 4, expected at most the 3 rows of t.csv");
    for scale in ["0", "-1", "NaN", "1e7"] {
        let error = refused(&format!("(trace: (file: \"t.csv\", time_scale: {scale}))"));
        assert_eq!(error.path, "trace.time_scale");
    }
    let text = "arrived_at,num_prefill_tokens,num_decode_tokens\n5e8,1,1\n";
    let error = check("(trace: (file: \"t.csv\", time_scale: 3))", &[("t.csv", text)]).unwrap_err();
    assert_eq!(error.found, "3 for a trace of 500000000 s");
    assert_eq!(refused("(trace: (file: \"t.csv\"), warmup: Seconds(2.5))").path, "warmup");
    assert_eq!(refused("(trace: (file: \"t.csv\"), warmup: Requests(3))").path, "warmup");
    assert_eq!(refused("(trace: (file: \"t.csv\"), duration_s: 0.5)").path, "duration_s");
    let workload = check("(trace: (file: \"t.csv\"), drain: Seconds(1.5))", &[("t.csv", VIDUR)]);
    assert_eq!(
        workload.unwrap().survey(0, 400),
        Survey {
            requests: 3,
            counted: 2,
            over_limit: 1,
            longest_prompt: 395,
            longest_output: 112,
            longest_total: 507,
            prompt_tokens: 412,
            output_tokens: 116,
        }
    );
}
