//! Traces that are read again in each run, row by row. [`check`] reads every trace both ways, here
//! and in all other tests.

use std::fmt::Write;

use super::distribution_tests::{requests, spec};
use super::recording::streaming;
use super::trace_tests::{check, write};
use super::*;
use crate::base::RandomStream;

/// A row as it should be replayed: id, milliseconds, prompt, output.
type Wanted = (u64, u64, u32, u32);

/// Random rows in order of time, some of them at the same time, ids in any order.
fn random_rows(seed: u64) -> Vec<Wanted> {
    let mut random = RandomStream::new(seed, "rows of a trace");
    let mut below = |most| random.below(most);
    let mut ids: Vec<u64> = (0..200).map(|n| n * 7 + seed).collect();
    let mut now = 0;
    let rows = (0..200).map(|_| {
        now += [0, 1, 40, 2500][below(4) as usize];
        let id = ids.swap_remove(below(ids.len() as u64) as usize);
        (id, now, 1 + below(3000) as u32, 1 + below(300) as u32)
    });
    rows.collect()
}

/// Rows as lines of a text.
fn lines(rows: &[Wanted], line: impl Fn(&Wanted) -> String) -> String {
    rows.iter().fold(String::new(), |text, row| text + &line(row) + "\n")
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// The requests of a workload beside one file, as [`check`] found them in both ways of reading.
fn replayed(ron: &str, file: &str, text: &str) -> Vec<Wanted> {
    let workload = check(ron, &[(file, text)]).unwrap_or_else(|error| panic!("{error}: {ron}"));
    let row = |r: &NewRequest| (r.id, r.arrived_at.0 / 1_000_000, r.prompt_tokens, r.output_tokens);
    requests(&workload, 0).iter().map(row).collect()
}

#[test]
fn rows_of_every_csv_format_are_replayed_as_they_are() {
    for seed in 0..4 {
        let rows = random_rows(seed);
        let zip = if seed % 2 == 0 { "" } else { ".gz" };
        let replay = |format: &str, head: &str, line: &dyn Fn(&Wanted) -> String| {
            let file = format!("t.csv{zip}");
            let ron = format!("(trace: (file: \"{file}\", format: {format}))");
            replayed(&ron, &file, &format!("{head}\n{}", lines(&rows, line)))
        };
        let vidur = replay(
            "Vidur",
            "num_prefill_tokens,arrived_at,id,num_decode_tokens",
            &|&(id, ms, p, o)| format!("{p},{},{id},{o}", seconds(ms)),
        );
        assert_eq!(vidur, rows);
        let columns = "Columns(arrived_at: \"t\", prompt: \"p\", output: \"o\", time_unit: Micros)";
        let numbered = |first: u64| -> Vec<Wanted> {
            rows.iter().zip(0..).map(|(r, id)| (id, r.1 - first, r.2, r.3)).collect()
        };
        let line = |&(_, ms, p, o): &Wanted| format!("{},{p},{o}", ms * 1000);
        assert_eq!(replay(columns, "t,p,o", &line), numbered(0));
        let line = |&(_, ms, p, o): &Wanted| {
            let (minute, second) = (ms / 60_000, seconds(ms % 60_000));
            format!("2023-11-16 17:{minute}:{second},{p},{o}")
        };
        let head = "TIMESTAMP,ContextTokens,GeneratedTokens";
        assert_eq!(replay("Azure", head, &line), numbered(rows[0].1));
        // Failed requests and those of another model are left out, before the first too.
        let line = |&(_, ms, p, o): &Wanted| {
            let time = seconds(ms);
            format!("{time},a,5,0\n{time},b,1,1\n{time},a,{p},{o}")
        };
        let head = "Timestamp,Model,Request tokens,Response tokens";
        let burst = replay("BurstGpt(model: \"a\")", head, &line);
        assert_eq!(burst, numbered(rows[0].1));
    }
}

#[test]
fn rows_of_every_json_format_are_replayed_as_they_are() {
    for seed in 0..4 {
        let rows = random_rows(seed);
        let replay = |format: &str, line: &dyn Fn(&Wanted) -> String| {
            let ron = format!("(trace: (file: \"t.jsonl\", format: {format}))");
            replayed(&ron, "t.jsonl", &lines(&rows, line))
        };
        let mooncake = replay("Mooncake", &|&(id, ms, prompt, output)| {
            let hashes: Vec<u32> = (0..prompt / 512).map(|n| n + (id % 3) as u32).collect();
            format!(
                "{{\"request_id\": {id}, \"timestamp\": {ms}, \"input_length\": {prompt}, \
                 \"output_length\": {output}, \"hash_ids\": {hashes:?}}}"
            )
        });
        assert_eq!(mooncake, rows);
        // A turn begins with what its conversation was before.
        let mut before = [0; 5];
        let wanted = rows.iter().map(|&(id, ms, added, output)| {
            let history = &mut before[(id % 5) as usize];
            let prompt = *history + added;
            *history = prompt + output;
            (id, ms, prompt, output)
        });
        let wanted: Vec<Wanted> = wanted.collect();
        let share_gpt = replay("ShareGpt", &|&(id, ms, added, output)| {
            format!(
                "{{\"request_id\": {id}, \"timestamp_ms\": {ms}, \"user_len\": {added}, \
                 \"output_len\": {output}, \"conversation_id\": {}}}",
                id % 5
            )
        });
        assert_eq!(share_gpt, wanted);
    }
}

#[test]
fn settings_mean_the_same_to_rows_that_are_read_again() {
    for seed in 0..4 {
        let rows = random_rows(seed);
        let head = "id,arrived_at,num_prefill_tokens,num_decode_tokens,class\n";
        let line = |&(id, ms, p, o): &Wanted| format!("{id},{},{p},{o},{}", seconds(ms), id % 2);
        let text = format!("{head}{}", lines(&rows, line));
        let trace = |more: &str| format!("(trace: (file: \"t.csv\", {more}))");
        let cut = replayed(&trace("limit: 60, time_scale: 3, max_total: 900"), "t.csv", &text);
        let wanted = rows.iter().take(60).map(|&(id, ms, p, o)| (id, 3 * ms, p.min(900 - o), o));
        assert_eq!(cut, wanted.collect::<Vec<_>>());
        let mut mixed = rows.clone();
        mixed.sort_by_key(|row| row.0);
        let sorted =
            replayed(&trace("sort: true"), "t.csv", &format!("{head}{}", lines(&mixed, line)));
        mixed.sort_by_key(|row| row.1);
        assert_eq!(sorted, mixed);
        for more in [
            "duration_s: 60.5, warmup: Seconds(3), drain: Requests(5)",
            "warmup: Requests(10), drain: Seconds(9.5)",
            "classes: {\"0\": (priority: 3), \"1\": ()}",
            "classes: {\"a\": (share: 1), \"b\": (share: 2)}",
            "prefix: SharedPrefix(groups: 3, tokens: 40)",
        ] {
            let ron = format!("(trace: (file: \"t.csv\"), {more})");
            assert!(!replayed(&ron, "t.csv", &text).is_empty());
        }
        let times: Vec<u64> = rows.iter().map(|row| row.1).collect();
        let arrivals = "(arrivals: Trace(file: \"t.csv\"), lengths: Fixed(prompt: 3, output: 4))";
        let got = replayed(arrivals, "t.csv", &text);
        assert_eq!(got.iter().map(|row| row.1).collect::<Vec<_>>(), times);
        let lengths = "(requests: 700, arrivals: Static, \
                       lengths: Trace(file: \"t.csv\", on_end: Repeat))";
        let got: Vec<_> =
            replayed(lengths, "t.csv", &text).iter().map(|row| (row.2, row.3)).collect();
        let wanted: Vec<_> = rows.iter().cycle().take(700).map(|row| (row.2, row.3)).collect();
        assert_eq!(got, wanted);
    }
}

/// The text of a trace that is too long to be kept, all rows alike but for their time and id.
fn long(rows: u64) -> String {
    let mut text = String::from("id,arrived_at,num_prefill_tokens,num_decode_tokens\n");
    for id in 0..rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{id},{id},10,2");
    }
    text
}

const LONG: u64 = 70_000;

#[test]
fn a_row_that_is_wrong_late_in_a_long_file_is_refused_before_anything_runs() {
    let text = long(LONG);
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from));
        let text = text.replacen(from, to, 1);
        check("(trace: (file: \"t.csv\"))", &[("t.csv", &text)]).unwrap_err().found
    };
    let cell = refused("\n69998,69998,10,", "\n69998,69998,0,");
    assert_eq!(cell, "`0` in column num_prefill_tokens at t.csv:70000");
    let time = refused("\n69998,69998,", "\n69998,69996,");
    assert_eq!(time, "a time at t.csv:70000 that is 1 s before the one at t.csv:69999");
    let first = refused("\n69998,", "\n5,");
    assert_eq!(first, "id 5 at t.csv:7 and again at t.csv:70000");
    // Of several the first that comes again, whichever id that is.
    let again = refused("\n100,100,10,2\n101,", "\n99,100,10,2\n2,");
    assert_eq!(again, "id 99 at t.csv:101 and again at t.csv:102");
}

/// How many requests still come when the file is empty after the first: what was read ahead.
#[test]
fn a_long_trace_is_read_while_it_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.csv");
    write(&file, &long(LONG));
    let workload = spec("(trace: (file: \"t.csv\"))").check(folder.path()).unwrap();
    assert_eq!(requests(&workload, 0).len() as u64, LONG);
    let mut source = workload.source(0);
    assert!(source.next_request().is_some());
    std::fs::File::options().write(true).open(&file).unwrap().set_len(0).unwrap();
    let ahead = std::iter::from_fn(|| source.next_request()).count();
    assert!((1000..10_000).contains(&ahead), "{ahead} rows in some 64 KiB");
    let failure = source.failure().expect("rows are missing");
    assert!(failure.contains("changed since it was checked"), "{failure}");
}

#[test]
fn a_source_whose_file_has_gone_or_changed_ends_and_says_so() {
    let trace = "arrivals: Trace(file: \"t.csv\")";
    let lengths = "lengths: Trace(file: \"t.csv\", on_end: Repeat)";
    let fixed = "lengths: Fixed(prompt: 3, output: 4)";
    let classes = "classes: {\"a\": (share: 1), \"b\": (share: 1";
    for ron in [
        "trace: (file: \"t.csv\")".to_owned(),
        "trace: (file: \"t.csv\"), prefix: SharedPrefix(groups: 2, tokens: 4)".to_owned(),
        format!("trace: (file: \"t.csv\"), {classes})}}"),
        "trace: (file: \"t.csv\"), drain: Seconds(0.5)".to_owned(),
        format!("{trace}, {fixed}"),
        format!("requests: 9, arrivals: Concurrency(2), {lengths}"),
        format!("requests: 9, arrivals: Static, {fixed}, {classes}, {lengths})}}"),
        format!(
            "requests: 9, arrivals: Static, {lengths}, \
             conversations: (turns: Fixed(2), think: Fixed(1))"
        ),
    ] {
        for gone in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("t.csv");
            write(&file, &long(9));
            let workload = streaming(|| spec(&format!("({ron})")).check(folder.path())).unwrap();
            assert!(!requests(&workload, 1).is_empty() && workload.check_files().is_ok());
            match gone {
                true => std::fs::remove_file(&file).unwrap(),
                false => write(&file, &long(10)),
            }
            let mut source = workload.source(1);
            assert_eq!((source.next_request(), source.next_request()), (None, None), "{ron}");
            let failure = source.failure().unwrap_or_default();
            let why = if gone { "gone since" } else { "changed since" };
            assert!(failure.contains("t.csv") && failure.contains(why), "{failure}: {ron}");
            assert!(workload.saturated().source(1).next_request().is_none() || ron.contains(fixed));
            assert!(workload.check_files().is_err());
        }
    }
}
