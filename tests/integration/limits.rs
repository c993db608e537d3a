//! Whatever the input asks for: bounded memory, one message, nothing that a terminal would obey.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use vidur_ecs::timing::StragglerSetting;

use crate::room::{Ran, Room, finish, one_model};

/// Runs the program in the room with so much address space.
fn run_within(room: &Room, kilobytes: u32, arguments: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -v {kilobytes} && exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_vidur-ecs"))
        .args(arguments)
        .current_dir(room.path(""))
        .stdin(Stdio::null());
    finish(&mut command)
}

fn refused(ran: &Ran, words: &[&str]) {
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("error")).count(), 1, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no `{word}` in {}", ran.err);
    }
    assert!(ran.err.len() < 3000, "{} bytes", ran.err.len());
}

#[test]
fn a_request_that_is_rejected_costs_nothing_by_its_length() {
    let mut trace = "arrived_at,num_prefill_tokens,num_decode_tokens\n0,100,5\n".to_owned();
    for row in 0..15 {
        let _ = writeln!(trace, "{row},1000000000,1000");
    }
    let scenario = one_model("", "trace: (file: \"t.csv\")", "");
    let room = Room::with("s.ron", scenario);
    room.write("t.csv", trace);
    let ran = run_within(&room, 1_000_000, &["s.ron", "--out", "out"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("16 arrived = 1 finished + 15 rejected"), "{}", ran.out);
}

#[test]
fn more_requests_than_there_is_memory_for_end_the_run() {
    let workload = "requests: 1000000000, arrivals: Static, lengths: Fixed(prompt: 100, output: 8)";
    let room = Room::with("s.ron", one_model("", workload, ""));
    refused(&run_within(&room, 700_000, &["s.ron", "--out", "out"]), &["memory", "MiB so far"]);
    assert_eq!(room.names(), ["s.ron"], "nothing is left behind");
}

#[test]
fn endless_files_are_refused() {
    let workload = "trace: (file: \"/dev/zero\")";
    let room = Room::with("s.ron", one_model("", workload, ""));
    refused(&run_within(&room, 1_500_000, &["check", "s.ron"]), &["more than 256 MiB"]);
    refused(&run_within(&room, 700_000, &["check", "/dev/zero"]), &["more than 64 MiB"]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b'1'), 1 << 30), &mut packed).unwrap();
    room.write("bomb.csv.gz", packed.finish().unwrap());
    room.write("b.ron", one_model("", "trace: (file: \"bomb.csv.gz\")", ""));
    refused(&run_within(&room, 700_000, &["check", "b.ron"]), &["a row of more than 8 MiB"]);
}

/// Rows of measurements are kept, so files of them have an end.
#[test]
fn measurements_without_end_are_refused() {
    let room = Room::with("s.ron", "");
    let line = "profile import vidur . --model Llama-2-7B -o p.ron --mlp-file /dev/zero \
                --attention-file /dev/zero";
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let ran = run_within(&room, 2_000_000, &arguments);
    refused(&ran, &["/dev/zero"]);
    assert!(ran.err.contains("more than 512 MiB") || ran.err.contains("memory"), "{}", ran.err);
    assert_eq!(room.names(), ["s.ron"]);
}

/// Blocks that are never used take no memory, however many there are.
#[test]
fn blocks_cost_nothing_until_they_are_used() {
    for caching in [false, true] {
        let engine = format!("num_gpu_blocks: 4000000000, enable_prefix_caching: {caching}");
        let workload = "requests: 20, arrivals: Static, lengths: Fixed(prompt: 100, output: 8)";
        let room = Room::with("s.ron", one_model(&engine, workload, "cluster: (replicas: 3)"));
        let ran = run_within(&room, 400_000, &["s.ron", "--out", "out"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.err.contains("4000000000 KV blocks ("), "{}", ran.err);
    }
}

#[test]
fn a_time_series_over_a_gap_takes_no_memory_and_has_an_end() {
    let trace = "arrived_at,num_prefill_tokens,num_decode_tokens\n0,100,5\n300,100,5\n";
    let output = "output: (time_series_s: 0.001)";
    let room = Room::with("s.ron", one_model("", "trace: (file: \"t.csv\")", output));
    room.write("t.csv", trace);
    let ran = run_within(&room, 400_000, &["s.ron", "--out", "out"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let series = room.read("out/time_series.csv");
    let rows = series.lines().count();
    // Until 300 s and the few steps of the second request.
    assert!((300_020..300_200).contains(&rows), "{rows} rows");
    assert!(series.lines().nth(100_000).unwrap().starts_with("100.0,0,0,"));
    room.write("t.csv", trace.replace("\n300,", "\n20000,"));
    let ran = run_within(&room, 400_000, &["s.ron", "--out", "more"]);
    refused(&ran, &["10000000 rows", "an interval of 2 s"]);
    assert!(!room.names().iter().any(|name| name.contains("more")));
}

#[test]
fn variants_share_the_text_that_they_have_in_common() {
    // With all variants in the document of each, 2,000 take gigabytes and most of a minute.
    let mut variants = String::new();
    for number in 1..=2000 {
        let _ = write!(variants, "\"v{number}\": (workload: (requests: {number})), ");
    }
    let workload = "requests: 1, arrivals: Static, lengths: Fixed(prompt: 100, output: 8)";
    let rest = format!("variants: {{{variants}}}");
    let room = Room::with("s.ron", one_model("", workload, &rest));
    let ran = run_within(&room, 700_000, &["check", "s.ron"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("variant v2000"));
    // A mistake in one is still shown where it stands.
    let bad = rest.replace("requests: 1234)", "requests: x)");
    room.write("s.ron", one_model("", workload, &bad));
    let ran = run_within(&room, 700_000, &["check", "s.ron"]);
    refused(&ran, &["in variant `v1234`", "found the name `x`", "..."]);
}

#[test]
fn nothing_is_printed_that_a_terminal_would_obey() {
    let workload = "requests: 2, arrivals: Static, lengths: Fixed(prompt: 100, output: 8)";
    let variants = "variants: {\"=1+1\": (seed_x: 1)}";
    let raw = |ran: &Ran| {
        [&ran.out, &ran.err].iter().any(|text| text.contains(['\u{1b}', '\u{7}', '\u{202e}']))
    };
    let good = variants.replace("(seed_x: 1)", "(), \"a\u{1b}[31mb\u{202e}\": ()");
    let room = Room::with("s.ron", one_model("", workload, &good));
    let ran = room.run_args(&["s.ron", "--out", "out"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!raw(&ran) && ran.out.contains("a\u{241b}[31mb"), "{}", ran.out);
    let table = room.read("out/variants.csv");
    assert!(table.lines().any(|line| line.starts_with("'=1+1,")), "{table}");
    room.write("t.ron", one_model("", workload, &good.replace("()", "(\u{1b}: 1)")));
    for arguments in [
        &["check", "t.ron"][..],
        &["check", "\u{1b}[2J.ron"],
        &["s.ron", "--set", "\u{1b}[2J=3"],
        &["--\u{1b}[2J"],
        &["compare", "\u{7}a", "\u{7}b"],
    ] {
        let ran = room.run_args(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(!raw(&ran), "{arguments:?}: {:?}", ran.err);
    }
}

#[test]
fn what_is_missing_is_said_and_no_more_is_quoted_than_the_place() {
    let room = Room::with("s.ron", "(model \"m\")");
    refused(&room.run_args(&["check", "s.ron"]), &["a colon is missing", "s.ron:1:8"]);
    let long = one_model(
        "",
        &format!("requests: 2, arrivals: Static, lengths: {}", "x".repeat(42_000)),
        "",
    );
    room.write("s.ron", long);
    refused(&room.run_args(&["check", "s.ron"]), &["characters more"]);
    // As the documents have it.
    let settings = "(straggler: Bound(from_heads: 8, us: 15.0, us_per_token: 0.06))";
    let read = vidur_ecs::base::ron_options()
        .from_str::<vidur_ecs::timing::LayerwiseSettings>(settings)
        .map_err(|error| error.to_string());
    let bound = StragglerSetting::Bound { from_heads: 8, us: 15.0, us_per_token: 0.06 };
    assert_eq!(read.map(|settings| settings.straggler), Ok(bound));
}
