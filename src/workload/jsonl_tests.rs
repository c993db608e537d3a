//! Traces of JSON objects, and BurstGPT's CSV.

use super::distribution_tests::requests;
use super::trace_tests::{check, rows};
use super::*;
use crate::base::SettingError;

const REPLAY: &str = "(trace: (file: \"t.jsonl\"))";

fn refused(ron: &str, text: &str) -> SettingError {
    check(ron, &[("t.jsonl", text)]).unwrap_err()
}

/// Id and tokens of the spans of every prompt.
fn spans(ron: &str, text: &str) -> Vec<Vec<(u64, u32)>> {
    let workload = check(ron, &[("t.jsonl", text)]).unwrap_or_else(|error| panic!("{error}"));
    let spans = |r: NewRequest| {
        r.content.map_or(Vec::new(), |c| c.prompt.iter().map(|s| (s.id, s.tokens)).collect())
    };
    requests(&workload, 1).into_iter().map(spans).collect()
}

const MOONCAKE: &str = r#"{"timestamp": 27, "input_length": 1100, "output_length": 500, "hash_ids": [0, 1, 2]}

{"timestamp": 28.0, "input_length": 1024.0, "output_length": 1, "hash_ids": [0, 7], "type": "x"}
{"timestamp": 3000, "input_length": 30, "output_length": 2, "hash_ids": []}
"#;

#[test]
fn mooncake_format() {
    let expected =
        vec![(0, 27_000_000, 1100, 500), (1, 28_000_000, 1024, 1), (2, 3_000_000_000, 30, 2)];
    assert_eq!(rows(REPLAY, &[("t.jsonl", MOONCAKE)]), expected);
    let zipped = "(trace: (file: \"t.jsonl.gz\", format: Mooncake))";
    assert_eq!(rows(zipped, &[("t.jsonl.gz", MOONCAKE)]), expected);
    let shared = vec![vec![(0, 512), (1, 512), (2, 76)], vec![(0, 512), (7, 512)], vec![]];
    assert_eq!(spans(REPLAY, MOONCAKE), shared);
    // Identity stays where lengths are scaled: a prompt is cut at its end.
    let half = "(trace: (file: \"t.jsonl\", prompt_scale: 0.5))";
    assert_eq!(rows(half, &[("t.jsonl", MOONCAKE)])[0], (0, 27_000_000, 550, 500));
    assert_eq!(spans(half, MOONCAKE), shared);
    // Ids of full blocks alone, with ids and priorities of their own.
    let line = r#"{"request_id": 5, "priority": -3, "timestamp_ms": 2.5, "input_length": 39, "output_length": 4, "hash_ids": [8, 9]}"#;
    let ron = "(trace: (file: \"t.jsonl\", tokens_per_hash: 16))";
    assert_eq!(rows(ron, &[("t.jsonl", line)]), [(5, 2_500_000, 39, 4)]);
    assert_eq!(spans(ron, line), [[(8, 16), (9, 16)]]);
    assert_eq!(requests(&check(ron, &[("t.jsonl", line)]).unwrap(), 1)[0].priority, -3);
    // The capacity is that of the same prompts.
    let saturated = check(REPLAY, &[("t.jsonl", MOONCAKE)]).unwrap().saturated();
    assert_eq!(requests(&saturated, 1)[1].content.as_ref().unwrap().prompt[1].id, 7);
}

#[test]
fn bailian_counts_seconds_and_mooncake_whole_milliseconds() {
    let line = |time: &str, more: &str| {
        format!("{{\"timestamp\": {time}, \"input_length\": 30, \"output_length\": 20{more}}}\n")
    };
    // The right values are those of Alibaba's documentation: seconds, 16 tokens a hash id.
    let chat = |id: u32, parent: i32| {
        format!(
            ", \"chat_id\": {id}, \"parent_chat_id\": {parent}, \"turn\": 1, \"hash_ids\": [11, 12]"
        )
    };
    let text = [
        line("61.114", &chat(159, -1)),
        line("75.85", &chat(160, 159)),
        line("91.5", &chat(161, -1)),
    ]
    .concat();
    let expected =
        [(0, 61_114_000_000, 30, 20), (1, 75_850_000_000, 30, 20), (2, 91_500_000_000, 30, 20)];
    for ron in [REPLAY, "(trace: (file: \"t.jsonl\", format: Bailian))"] {
        assert_eq!(rows(ron, &[("t.jsonl", &text)]), expected);
    }
    assert_eq!(spans(REPLAY, &text)[0], [(11, 16), (12, 14)]);
    let workload = check(REPLAY, &[("t.jsonl", &text)]).unwrap();
    let warning = &workload.warnings()[0];
    assert!(
        warning.contains("keys parent_chat_id, turn") && warning.contains("not used"),
        "{warning}"
    );
    // The turns of a conversation wait for the answers before them.
    let closed = "(trace: (file: \"t.jsonl\", think: Fixed(2.0)))";
    let workload = check(closed, &[("t.jsonl", &text)]).unwrap();
    assert!(workload.warnings().is_empty());
    let mut source = workload.source(1);
    let first = source.next_request().unwrap();
    assert_eq!(source.next_request().unwrap().id, 2);
    let second = source.ended(first.id, true, Nanos(70_000_000_000)).unwrap();
    assert_eq!((second.id, second.arrived_at), (1, Nanos(72_000_000_000)));
    // Fractions of milliseconds are seconds that were taken for milliseconds.
    let error = refused("(trace: (file: \"t.jsonl\", format: Mooncake))", &line("61.1145", ""));
    assert_eq!(error.expected, "whole milliseconds");
    assert!(error.help.unwrap().contains("time_unit: Seconds"));
    for (unit, nanos) in [("Seconds", 1_500_000_000), ("Millis", 1_500_000), ("Micros", 1_500)] {
        let ron = format!("(trace: (file: \"t.jsonl\", time_unit: {unit}))");
        assert_eq!(rows(&ron, &[("t.jsonl", &line("1.5", ""))])[0].1, nanos);
        let times = format!(
            "(arrivals: Trace(file: \"t.jsonl\", time_unit: {unit}), lengths: Fixed(prompt: 3, output: 4))"
        );
        assert_eq!(rows(&times, &[("t.jsonl", &line("1.5", ""))])[0].1, nanos);
    }
    let named = line("1", "").replace("timestamp", "timestamp_ms");
    let error = refused("(trace: (file: \"t.jsonl\", time_unit: Seconds))", &named);
    assert!(error.found.contains("timestamp_ms"), "{error}");
}

#[test]
fn turns_by_delay_are_a_closed_loop_or_refused() {
    let text = concat!(
        "{\"session_id\": \"a\", \"timestamp\": 0, \"input_length\": 100, \"output_length\": 10}\n",
        "{\"session_id\": \"a\", \"delay\": 500, \"input_length\": 40, \"output_length\": 10}\n",
        "{\"session_id\": \"b\", \"timestamp\": 100, \"input_length\": 100, \"output_length\": 10}\n",
    );
    let error = refused(REPLAY, text);
    assert_eq!(error.found, "key delay at t.jsonl:2");
    assert!(error.help.unwrap().contains("think: Recorded"));
    let recorded = "(trace: (file: \"t.jsonl\", think: Recorded))";
    let both = text.replace("\"delay\"", "\"timestamp\": 0, \"delay\"");
    for ron in [REPLAY, recorded] {
        assert_eq!(refused(ron, &both).found, "keys timestamp and delay at t.jsonl:2");
    }
    let mut source = check(recorded, &[("t.jsonl", text)]).unwrap().source(1);
    let first = source.next_request().unwrap();
    assert_eq!(source.next_request().map(|r| (r.id, r.arrived_at)), Some((2, Nanos(100_000_000))));
    let second = source.ended(first.id, true, Nanos(2_000_000_000)).unwrap();
    // What a turn adds comes behind the conversation before it.
    assert_eq!((second.id, second.prompt_tokens), (1, 100 + 10 + 40));
    assert_eq!(second.arrived_at, Nanos(2_500_000_000));
    let without = text.replace("\"delay\": 500", "\"timestamp\": 50");
    assert_eq!(refused(recorded, &without).path, "trace.think");
    let generated = "(requests: 3, arrivals: Static, lengths: Fixed(prompt: 3, output: 4), conversations: (turns: Fixed(2), think: Recorded))";
    assert_eq!(check(generated, &[]).unwrap_err().path, "conversations.think");
}

#[test]
fn keys_and_columns_can_be_named() {
    let text = "{\"input_toks\": 100, \"output_toks\": 20, \"arrival_time_ns\": 0, \"input_tok_ids\": [1, 2]}\n\
                {\"input_toks\": 200, \"output_toks\": 30, \"arrival_time_ns\": 1500000000}\n";
    let named = "format: Columns(arrived_at: \"arrival_time_ns\", prompt: \"input_toks\", output: \"output_toks\", time_unit: Nanos)";
    let ron = format!("(trace: (file: \"t.jsonl\", {named}))");
    let expected = [(0, 0, 100, 20), (1, 1_500_000_000, 200, 30)];
    assert_eq!(rows(&ron, &[("t.jsonl", text)]), expected);
    let list = format!("[{}]", text.trim().replace('\n', ","));
    assert_eq!(rows(&ron, &[("t.jsonl", &list)]), expected);
    let error = refused(&ron.replace("input_toks", "in"), text);
    assert_eq!(error.found, "no key in at t.jsonl:1");
    let error = refused(&ron.replace("format", "time_unit: Millis, format"), text);
    assert_eq!(error.path, "trace.time_unit");
}

#[test]
fn sharegpt_as_it_is_published_has_estimated_lengths() {
    let turn = |from: &str, text: &str| format!("{{\"from\": \"{from}\", \"value\": \"{text}\"}}");
    let (ask, answer) = (turn("human", &"x".repeat(40)), turn("gpt", &"y".repeat(81)));
    let more = turn("human", "a } ] \\\" {");
    let text = format!(
        "[{{\"id\": \"a_0\", \"conversations\": [{ask}, {answer}, {more}, {answer}]}},\n {{\"id\": \"b\", \"conversations\": [{answer}, {ask}]}}]"
    );
    let ron = "(arrivals: Static, lengths: Trace(file: \"t.jsonl\", on_end: Stop))";
    let files = [("t.jsonl", text.as_str())];
    assert_eq!(rows(ron, &files), [(0, 0, 10, 21), (1, 0, 10 + 21 + 3, 21)]);
    assert!(check(ron, &files).unwrap().warnings()[0].contains("4 characters a token"));
    let first = ron
        .replace("on_end", "format: ShareGptTexts(chars_per_token: 2, first_turn: true), on_end");
    assert_eq!(rows(&first, &files), [(0, 0, 20, 41)]);
    assert!(refused(REPLAY, &text).expected.contains("arrival times"));
    for (bad, found) in [
        (text.replace("},\n {\"id\"", "}\n {\"id\""), "after element 1"),
        (text[..text.len() - 1].to_owned(), "the end of the list"),
        (text[..text.len() - 9].to_owned(), "the end in the middle of the object"),
        (format!("{text}x"), "`x` at t.jsonl:2, after element 2"),
        ("[1, 2]".to_owned(), "`1` at t.jsonl:1, after element 0"),
        ("[]".to_owned(), "no rows"),
    ] {
        let error = refused(ron, &bad);
        assert!(error.found.contains(found), "{}", error.found);
    }
}

#[test]
fn no_row_is_without_end() {
    let endless = format!("{{\"x\": \"{}", "x".repeat(9 << 20));
    let lengths = "(arrivals: Static, lengths: Trace(file: \"t.jsonl\", on_end: Stop))";
    for text in [
        endless.clone(),
        format!("[{endless}"),
        format!("num_prefill_tokens,num_decode_tokens\n\"{}", "1,\n".repeat(3 << 20)),
    ] {
        let error = refused(lengths, &text);
        assert!(error.found.contains("a row of more than 8 MiB"), "{}", error.found);
        assert!(error.to_string().len() < 1000);
    }
    // Values and keys are quoted in part.
    let long = format!("{{\"output_len\": 3, \"prompt_len\": \"{}\"}}", "z".repeat(50_000));
    assert!(refused(lengths, &long).to_string().len() < 1000);
}

#[test]
fn parts_of_json_traces() {
    let times = "(arrivals: Trace(file: \"t.jsonl\"), lengths: Fixed(prompt: 3, output: 4))";
    let lengths = "(arrivals: Static, lengths: Trace(file: \"t.jsonl\", on_end: Stop))";
    assert_eq!(rows(times, &[("t.jsonl", MOONCAKE)])[1], (1, 28_000_000, 3, 4));
    // Without a replay nobody needs the right `tokens_per_hash`.
    let text = MOONCAKE.replace("[0, 7]", "[0, 7, 8, 9]");
    assert_eq!(rows(lengths, &[("t.jsonl", &text)])[1], (1, 0, 1024, 1));
}

#[test]
fn what_is_wrong_with_mooncake_rows() {
    let line = |rest: &str| format!("{{\"input_length\": 1024, \"output_length\": 3, {rest}}}");
    let (good, tokens) = (line("\"timestamp\": 5"), "a whole number of at least 1 token");
    for (bad, found, expected) in [
        ("x".to_owned(), "t.jsonl:3: expected value", "a JSON object a line"),
        (
            "[1]".to_owned(),
            "t.jsonl:3: invalid type: sequence, expected a map",
            "a JSON object a line",
        ),
        (good.replace('}', ""), "t.jsonl:3: EOF while parsing an object", "a JSON object a line"),
        (good.replace("1024", "0"), "`0` for key input_length at t.jsonl:3", tokens),
        (good.replace("1024", "1.5"), "`1.5` for key input_length at t.jsonl:3", tokens),
        (good.replace("1024", "\"9\""), "`\"9\"` for key input_length at t.jsonl:3", tokens),
        (good.replace("h\": 3", "h\": -3"), "`-3` for key output_length at t.jsonl:3", tokens),
        (
            good.replace("output_length", "output"),
            "no key output_length at t.jsonl:3",
            "a key of output lengths on every line",
        ),
        (
            good.replace("timestamp", "time"),
            "no key timestamp or timestamp_ms at t.jsonl:3",
            "a key of arrival times on every line",
        ),
        (
            line("\"timestamp\": 5, \"timestamp_ms\": 6"),
            "keys timestamp and timestamp_ms at t.jsonl:3",
            "one of them: they mean the same",
        ),
        (
            line("\"timestamp\": \"5\""),
            "`\"5\"` for key timestamp at t.jsonl:3",
            "a time in milliseconds",
        ),
        (line("\"timestamp\": -5"), "`-5` for key timestamp at t.jsonl:3", "a time of at least 0"),
        (
            line("\"timestamp\": 4"),
            "a time at t.jsonl:3 that is 0.001 s before the one at t.jsonl:1",
            "times that never go backwards",
        ),
        (
            line("\"timestamp\": 5, \"hash_ids\": [1, -2]"),
            "`-2` in key hash_ids at t.jsonl:3",
            "whole numbers of at least 0",
        ),
        (
            line("\"timestamp\": 5, \"hash_ids\": [1, 2, 3]"),
            "3 hash ids of 512 tokens for a prompt of 1024 at t.jsonl:3",
            "2 of them",
        ),
        (
            line("\"timestamp\": 5, \"hash_ids\": [1]"),
            "1 hash ids of 512 tokens for a prompt of 1024 at t.jsonl:3",
            "2 of them",
        ),
        (
            line("\"timestamp\": 5, \"priority\": 0.5"),
            "`0.5` for key priority at t.jsonl:3",
            "a whole number, the smaller the more urgent",
        ),
        (
            line("\"timestamp\": 5, \"request_id\": \"a\""),
            "`\"a\"` for key request_id at t.jsonl:3",
            "a whole number of at least 0",
        ),
    ] {
        let error = refused(REPLAY, &format!("{good}\n\n{bad}\n"));
        assert_eq!(error.path, "trace.file");
        assert_eq!((error.found.as_str(), error.expected.as_str()), (found, expected));
    }
    let twice = line("\"timestamp\": 5, \"request_id\": 2");
    let error = refused(REPLAY, &format!("{twice}\n{twice}"));
    assert_eq!(error.found, "id 2 at t.jsonl:1 and again at t.jsonl:2");
    let empty = refused("(trace: (file: \"t.jsonl\", format: Mooncake))", "\n");
    assert_eq!(empty.found, "no rows in t.jsonl");
}

const TALK: &str = r#"{"timestamp": 0.5, "prompt_len": 100, "output_len": 50, "conversation_id": "a", "turn": 1}
{"timestamp": 1, "input_len": 30, "output_tokens": 20, "conversation_id": 4}
{"timestamp": 2, "prompt_tokens": 170, "completion_tokens": 10, "conversation_id": "a", "turn": 2}
{"timestamp": 3, "user_len": 40, "num_decode_tokens": 5, "session_id": "a"}
{"timestamp": 4, "user_len": 60, "output_len": 5}
"#;

#[test]
fn share_gpt_format() {
    let expected = vec![
        (0, 500_000_000, 100, 50),
        (1, 1_000_000_000, 30, 20),
        (2, 2_000_000_000, 170, 10),
        (3, 3_000_000_000, 220, 5),
        (4, 4_000_000_000, 60, 5),
    ];
    assert_eq!(rows(REPLAY, &[("t.jsonl", TALK)]), expected);
    let zipped = "(trace: (file: \"t.jsonl.gz\", format: ShareGpt))";
    assert_eq!(rows(zipped, &[("t.jsonl.gz", TALK)]), expected);
    let lengths = "(arrivals: Static, lengths: Trace(file: \"t.jsonl\", on_end: Stop))";
    assert_eq!(rows(lengths, &[("t.jsonl", TALK)])[3], (3, 0, 220, 5));
}

#[test]
fn a_turn_begins_with_the_turns_before_it() {
    let workload = check(REPLAY, &[("t.jsonl", TALK)]).unwrap();
    let all = requests(&workload, 1);
    let hashes = |index: usize| {
        let r = &all[index];
        r.content.clone().unwrap_or_default().hashes(r.id, r.prompt_tokens, r.output_tokens, 10).0
    };
    let common = |a: usize, b: usize| {
        hashes(a).iter().zip(hashes(b).iter()).take_while(|(a, b)| a == b).count() * 10
    };
    assert_eq!(common(0, 2), 150, "prompt and answer of the first turn");
    assert_eq!(common(2, 3), 180, "and of the second");
    assert_eq!((common(0, 1), common(0, 4), common(3, 4)), (0, 0, 0));
    // Scaled, each turn adds half; the whole is cut at its end.
    let scaled = "(trace: (file: \"t.jsonl\", prompt_scale: 0.5, output_scale: 0.2))";
    let prompts =
        |ron: &str| -> Vec<u32> { rows(ron, &[("t.jsonl", TALK)]).iter().map(|r| r.2).collect() };
    assert_eq!(prompts(scaled), [50, 15, 70, 92, 30]);
    let capped = "(trace: (file: \"t.jsonl\", max_total: 160))";
    assert_eq!(prompts(capped), [100, 30, 150, 155, 60]);
    let total = |spans: &[(u64, u32)]| spans.iter().map(|span| span.1).sum::<u32>();
    let capped = spans(capped, TALK);
    assert_eq!(total(&capped[3]), 155);
    assert_eq!(capped[3][..2], capped[2][..2]);
}

#[test]
fn what_is_wrong_with_share_gpt_rows() {
    let good =
        r#"{"timestamp": 1, "prompt_len": 10, "output_len": 5, "conversation_id": "a", "turn": 1}"#;
    for (from, to, found) in [
        (
            "\"prompt_len\": 10, ",
            "",
            "no key prompt_len or input_len or prompt_tokens or num_prefill_tokens or user_len at t.jsonl:2",
        ),
        (
            "\"output_len\": 5, ",
            "",
            "no key output_len or completion_tokens or output_tokens or num_decode_tokens at t.jsonl:2",
        ),
        (
            "\"output_len\": 5",
            "\"output_len\": 5, \"output_tokens\": 5",
            "keys output_len and output_tokens at t.jsonl:2",
        ),
        (
            "\"output_len\": 5",
            "\"output_len\": 5, \"user_len\": 5",
            "user_len and the whole prompt's length at t.jsonl:2",
        ),
        ("\"timestamp\": 1, ", "", "no key timestamp or arrived_at or timestamp_ms at t.jsonl:2"),
        ("10", "0", "`0` for key prompt_len at t.jsonl:2"),
        ("\"a\"", "[]", "`[]` for key conversation_id at t.jsonl:2"),
        ("\"conversation_id\": \"a\", ", "", "no key conversation_id or session_id at t.jsonl:2"),
        ("\"turn\": 1", "\"turn\": \"x\"", "`\"x\"` for key turn at t.jsonl:2"),
        ("\"turn\": 1", "\"turn\": 3", "turn 3 of conversation a after turn 1 at t.jsonl:2"),
        ("\"turn\": 1", "\"turn\": 2", "a prompt of 10 tokens in conversation a at t.jsonl:2"),
    ] {
        assert!(good.contains(from));
        let error = refused(REPLAY, &format!("{good}\n{}\n", good.replacen(from, to, 1)));
        assert_eq!((error.path.as_str(), error.found.as_str()), ("trace.file", found));
    }
}

const BURST: &str = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
                     5,ChatGPT,472,18,490,Conversation log\n\
                     45,ChatGPT,1087,0,1087,Conversation log\n\
                     118,GPT-4,417,276,693,API log\n\
                     119.5,GPT-4,0,0,0,API log\n\
                     120,ChatGPT,7,3,10,API log\n";

#[test]
fn burst_gpt_format() {
    let expected =
        vec![(0, 0, 472, 18), (1, 113_000_000_000, 417, 276), (2, 115_000_000_000, 7, 3)];
    for format in ["Auto", "BurstGpt()"] {
        let ron = format!("(trace: (file: \"t.csv.gz\", format: {format}))");
        assert_eq!(rows(&ron, &[("t.csv.gz", BURST)]), expected);
        let workload = check(&ron, &[("t.csv.gz", BURST)]).unwrap();
        assert_eq!(workload.warnings(), ["2 of 5 requests in t.csv.gz failed and are left out"]);
    }
    let one =
        |model: &str| format!("(trace: (file: \"t.csv\", format: BurstGpt(model: \"{model}\")))");
    assert_eq!(rows(&one("GPT-4"), &[("t.csv", BURST)]), [(0, 0, 417, 276)]);
    let error = check(&one("GPT-5"), &[("t.csv", BURST)]).unwrap_err();
    assert_eq!(error.path, "trace.format");
    assert_eq!(error.help.as_deref(), Some("other values of Model: ChatGPT, GPT-4"));
    // Times and lengths alone leave the failures out too, and say so.
    for ron in [
        "(arrivals: Trace(file: \"t.csv\"), lengths: Fixed(prompt: 3, output: 4))",
        "(arrivals: Static, lengths: Trace(file: \"t.csv\", on_end: Stop))",
    ] {
        let workload = check(ron, &[("t.csv", BURST)]).unwrap();
        assert_eq!((requests(&workload, 1).len(), workload.warnings().len()), (3, 1));
    }
}

#[test]
fn what_is_wrong_with_burst_gpt_rows() {
    for (from, to, found) in [
        ("472,18", "0,18", "`0` in column Request tokens at t.csv:2"),
        ("472,18", "472,x", "`x` in column Response tokens at t.csv:2"),
        ("472,18", "472,", "`` in column Response tokens at t.csv:2"),
        ("\n5,", "\nfive,", "`five` in column Timestamp at t.csv:2"),
        ("472,18", "472", "5 fields at t.csv:2"),
        ("118,", "4,", "a time at t.csv:4 that is 1 s before the one at t.csv:2"),
    ] {
        assert!(BURST.contains(from));
        let text = BURST.replacen(from, to, 1);
        let error = check("(trace: (file: \"t.csv\"))", &[("t.csv", &text)]).unwrap_err();
        assert_eq!(error.found, found);
    }
    let failed = "Timestamp,Model,Request tokens,Response tokens\n5,ChatGPT,472,0\n";
    let error = check("(trace: (file: \"t.csv\"))", &[("t.csv", failed)]).unwrap_err();
    assert!(error.found.contains("1 failed requests"), "{error}");
    let error = check(
        "(trace: (file: \"t.csv\", format: BurstGpt()))",
        &[("t.csv", "Timestamp,Model,Request tokens\n5,ChatGPT,472\n")],
    );
    assert_eq!(error.unwrap_err().expected, "a column Response tokens of output lengths");
}
