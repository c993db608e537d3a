//! What is wrong around a scenario: the files that it names, arguments, and files that are no
//! scenario.

use crate::refusals::{Table, changed};
use crate::room::{Room, SCENARIO};

const WORKLOAD: &str = "        requests: 20,
        arrivals: Poisson(qps: 2.0),
        lengths: Fixed(prompt: 128, output: 16),
";

/// Traces: the message names the file and the line.
#[test]
fn traces() {
    let rows = [
        (
            "no rows",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n",
            "",
            "2 | s.ron:13:23 | no rows in t.csv, expected at least one row",
        ),
        (
            "empty",
            "",
            "",
            "2 | s.ron:13:23 | t.csv, which is empty | arrived_at,num_prefill_tokens,num_decode_tokens",
        ),
        (
            "no number",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n1.0,x,5\n",
            "",
            "2 | s.ron:13:23 | `x` in column num_prefill_tokens at t.csv:3, expected a whole number",
        ),
        (
            "too few fields",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n1.0,10\n",
            "",
            "2 | 2 fields at t.csv:3, expected 3 fields, as in the header",
        ),
        (
            "length of 0",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,0,5\n",
            "",
            "2 | `0` in column num_prefill_tokens at t.csv:2, expected a whole number of at least 1 token",
        ),
        (
            "negative length",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,-3\n",
            "",
            "2 | `-3` in column num_decode_tokens at t.csv:2",
        ),
        (
            "part of a token",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,1.5,5\n",
            "",
            "2 | `1.5` in column num_prefill_tokens at t.csv:2",
        ),
        (
            "more than 32 bits",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,5000000000,5\n",
            "",
            "2 | `5000000000` in column num_prefill_tokens at t.csv:2",
        ),
        (
            "times go back",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n1.0,10,5\n0.5,10,5\n",
            "",
            "2 | a time at t.csv:3 that is 0.5 s before the one at t.csv:2 | `sort: true`",
        ),
        (
            "ids twice",
            "id,arrived_at,num_prefill_tokens,num_decode_tokens\n1,0,10,5\n1,1,10,5\n",
            "",
            "2 | id 1 at t.csv:2 and again at t.csv:3",
        ),
        (
            "other columns",
            "a,b,c\n1,2,3\n",
            "",
            "2 | t.csv with columns a, b, c, expected a header of a known format | Columns(...)",
        ),
        (
            "negative time",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n-1.0,10,5\n",
            "",
            "2 | `-1.0` in column arrived_at at t.csv:2, expected a time of at least 0",
        ),
        (
            "time NaN",
            "arrived_at,num_prefill_tokens,num_decode_tokens\nNaN,10,5\n",
            "",
            "2 | `NaN` in column arrived_at at t.csv:2, expected a time in seconds",
        ),
        (
            "time 1e300",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n1e300,10,5\n",
            "",
            "2 | `1e300` in column arrived_at at t.csv:2",
        ),
        (
            "limit",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n",
            ", limit: 7",
            "2 | s.ron:13:39 | is 7, expected at most the 1 rows of t.csv",
        ),
        (
            "time scale",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n",
            ", time_scale: 0.0",
            "2 | s.ron:13:44 | is 0, expected a finite number above 0",
        ),
        (
            "format",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,10,5\n",
            ", format: Csv",
            "2 | s.ron:13:40 | unknown name `Csv` | Auto, Vidur, Azure, BurstGpt, Mooncake, Bailian, ShareGpt, ShareGptTexts, Lengths, Columns",
        ),
        (
            "longer than the model",
            "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,5000,5\n",
            "",
            "2 | s.ron:13: | 1 of 1 requests are longer than max_model_len 4096 (the longest has 5005 tokens)",
        ),
    ];
    let mut table = Table::default();
    for (name, csv, more, expected) in rows {
        let trace = format!("        trace: (file: \"t.csv\"{more}),\n");
        let room = Room::with("s.ron", changed(WORKLOAD, &trace));
        room.write("t.csv", csv);
        table.scenario(name, &room, expected);
    }
    let other = [
        (
            "trace: (file: \"absent.csv\"),",
            "2 | s.ron:13:15 | absent.csv: No such file | relative to the scenario",
        ),
        ("trace: (file: \".\"),", "2 | s.ron:13:15 | a directory"),
        (
            "requests: 20, arrivals: Poisson(qps: 2.0), lengths: Trace(file: \"two.csv\", on_end: Error),",
            "2 | s.ron:13:65 | 2 rows for 20 requests | `on_end: Repeat` starts over",
        ),
        (
            "arrivals: Static, trace: (file: \"two.csv\"),",
            "2 | s.ron:13:11 | `workload.arrivals` is given beside `trace`",
        ),
        ("trace: (file: \"latin.csv\"),", "2 | no UTF-8 in field 1 at latin.csv:1"),
    ];
    for (workload, expected) in other {
        let room = Room::with("s.ron", changed(WORKLOAD, &format!("{workload}\n")));
        room.write("two.csv", "num_prefill_tokens,num_decode_tokens\n5,5\n6,6\n");
        room.write("latin.csv", b"\xff\xfe\x00");
        table.scenario(workload, &room, expected);
    }
    table.done(23);
}

/// Models that are described by a file: the message names the file and the key.
#[test]
fn models() {
    let good = r#"{"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
        "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 10,
        "max_position_embeddings": 4096}"#;
    let there = "HuggingFace(\"config.json\")";
    let rows = [
        ("HuggingFace(\"absent.json\")", good, "2 | s.ron:3:12 | cannot read ./absent.json"),
        (
            "HuggingFace(\".\")",
            "{",
            "2 | s.ron:3:12 | config.json is no JSON | config.json:1:1 | EOF",
        ),
        (there, "\u{0}", "2 | s.ron:3:12 | config.json is no JSON | expected value"),
        (there, "[]", "2 | s.ron:3:12 | `hidden_size` is missing, expected a whole number"),
        (
            there,
            &good.replace("64", "\"wide\""),
            "2 | s.ron:3:12 | `hidden_size` is \"wide\", expected a whole number, 1 or more",
        ),
        (
            there,
            &good.replace("\": 2", "\": 999999999"),
            "2 | s.ron:3:12 | `num_hidden_layers` is 999999999, expected at most 1024",
        ),
        (there, &good.replace("64", "66"), "2 | s.ron:3:12 | the heads do not divide the width"),
        ("HuggingFace(config.json)", good, "2 | s.ron:3: | "),
        ("HuggingFace()", good, "2 | s.ron:3:12 | HuggingFace"),
        ("HuggingFace", good, "2 | s.ron:3:12 | found the name `HuggingFace`"),
        ("HugingFace(\"x\")", good, "2 | s.ron:3:12 | `HugingFace` | did you mean `HuggingFace`?"),
        ("HuggingFace(3)", good, "2 | s.ron:3:24 | a text in double quotes, found the number `3`"),
        ("\"config.json\"", good, "2 | s.ron:3:12 | unknown model | HuggingFace(\"FILE\")"),
    ];
    let mut table = Table::default();
    for (model, config, expected) in rows {
        let room = Room::with("s.ron", changed("\"Llama-2-7B\"", model));
        room.write("config.json", config);
        table.scenario(&format!("{model} {config}"), &room, expected);
    }
    table.done(13);
}

/// Arguments.
#[test]
fn settings_on_the_command_line() {
    let rows = [
        ("engine.polcy=3", "2 | --set:1:8 | unknown field `polcy` | did you mean `policy`?"),
        (
            "engine.policy.max_seqs=3",
            "2 | --set:1:15 | unknown field `max_seqs` | in the settings of `VllmV0`",
        ),
        ("seeds=no", "2 | --set:1:7 | expected a whole number, found the name `no`"),
        ("engine.policy", "2 | --set:1:14 | --set needs a path and a value | for example --set"),
        ("=3", "2 | --set:1:1 | expected the path of a setting"),
        ("", "2 | --set needs a path and a value"),
        ("engine..policy=3", "2 | --set:1:7 | a name on both sides of the dot"),
        ("workload.requests=", "2 | --set:1:19 | expected a value"),
        ("seeds=3)", "2 | --set:1:8 | there is more text after the end"),
        (
            "model=Llama",
            "2 | --set:1:7 | unknown model `Llama` | did you mean `Llama-3-8B`? | `vidur-ecs list`",
        ),
        ("variants.max.seeds=3", "2 | --set:1: | a variant cannot change `seeds`"),
        ("workload.requests=0", "2 | --set:1:19 | `workload.requests` is 0"),
    ];
    let mut table = Table::default();
    let room = Room::with("s.ron", SCENARIO);
    room.write("t.ron", SCENARIO);
    room.write("file", "");
    std::fs::create_dir(room.path("mine")).expect("created");
    room.write("mine/letter", "dear");
    let before = room.names();
    for (setting, expected) in rows {
        let ran = room.run_args(&["s.ron", "--quiet", "--set", setting]);
        table.check(setting, &room, &before, &ran, expected);
    }
    for (line, expected) in [
        ("s.ron --out mine", "2 | mine exists and has no manifest.json | --out"),
        ("s.ron --out mine --force", "2 | mine exists and has no manifest.json | --out"),
        ("s.ron --out file", "2 | file cannot be a result folder: it is a file"),
        ("s.ron --seed x", "2 | invalid value 'x' for '--seed"),
        ("s.ron --seeds 0", "2 | invalid value '0' for '--seeds"),
        ("s.ron --seed 18446744073709551615", "2 | expected a smaller number"),
        ("s.ron --sed 3", "2 | unexpected argument '--sed' | '--seed'"),
        ("s.ron s.ron", "2 | two scenarios would write into results/s"),
        ("s.ron absent.ron", "2 | cannot read absent.ron: there is no such file"),
        (". --quiet", "2 | cannot read .: Is a directory"),
        ("chek s.ron", "2 | did you mean the subcommand `check`?"),
        ("run", "2 | no scenario file is given"),
    ] {
        table.check(line, &room, &before, &room.run(line), expected);
    }
    table.done(24);
}

/// Files that are no text, or not this text.
#[test]
fn files() {
    let utf16: Vec<u8> = SCENARIO.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let all: Vec<u8> = (0..=255).collect();
    let rows: [(&str, Vec<u8>, &str); 11] = [
        ("empty", Vec::new(), "2 | s.ron:1:1 | the text is empty | expected `( ... )`"),
        ("blank", b"\n\n  \n".to_vec(), "2 | s.ron:1:1 | the text is empty"),
        ("comment", b"// x\n".to_vec(), "2 | s.ron:1: | the text is empty"),
        ("binary", all, "2 | s.ron:2: | the file is not UTF-8 text"),
        ("UTF-16", [b"\xff\xfe".to_vec(), utf16].concat(), "2 | s.ron:1:1 | not UTF-8 text"),
        ("parentheses", b"(".repeat(20_000), "2 | s.ron:1: | brackets are nested too deeply"),
        ("lists", [b"(a: ".to_vec(), b"[".repeat(9000)].concat(), "2 | nested too deeply"),
        ("JSON", b"{\"model\": 3}".to_vec(), "2 | s.ron:1:1 | found a group in braces"),
        ("number", b"42".to_vec(), "2 | s.ron:1:1 | found the number `42`"),
        ("YAML", b"model: x\n".to_vec(), "2 | s.ron:1:6 | a group of fields in parentheses"),
        (
            "CRLF",
            changed("seed: 1,", "sed: 1,").replace('\n', "\r\n").into_bytes(),
            "2 | s.ron:18:5 | unknown field `sed` | did you mean `seed`?",
        ),
    ];
    let mut table = Table::default();
    for (name, bytes, expected) in rows {
        table.scenario(name, &Room::with("s.ron", bytes), expected);
    }
    table.done(11);
}

/// What looks odd but is fine.
#[test]
fn byte_order_marks_and_line_ends_do_no_harm() {
    for text in [format!("\u{feff}{SCENARIO}"), SCENARIO.replace('\n', "\r\n")] {
        Room::with("s.ron", text).must("check s.ron --quiet");
    }
}
