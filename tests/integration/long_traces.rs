//! Traces that are too long to be kept: each run reads them again.

use std::fmt::Write;

use vidur_ecs::registry::Registry;
use vidur_ecs::run;
use vidur_ecs::scenario::Scenario;

use crate::room::{Room, one_model};

/// More requests than a workload keeps in memory.
const LONG: usize = 70_000;

/// A trace of so many requests, of two classes; its last row is `last`.
fn trace(last: &str) -> String {
    let mut text = String::from("arrived_at,num_prefill_tokens,num_decode_tokens,class\n");
    for number in 1..LONG {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{number},10,2,{}", ["a", "b"][number % 2]);
    }
    text + last + "\n"
}

#[test]
fn a_row_that_is_wrong_at_the_end_is_refused_before_anything_runs() {
    let room = Room::with("t.csv", trace("70000,10,none,a"));
    room.write("s.ron", one_model("", "trace: (file: \"t.csv\")", ""));
    for command in ["check s.ron", "s.ron --out results/s"] {
        let ran = room.run(command);
        assert_eq!(ran.code, 2, "{}", ran.err);
        let message = "`none` in column num_decode_tokens at t.csv:70001, expected a whole number";
        assert!(ran.err.contains(message), "{}", ran.err);
    }
    assert_eq!(room.names(), ["s.ron", "t.csv"]);
}

/// Whatever stands between the file and the simulation hands its failure on.
#[test]
fn a_run_whose_trace_has_changed_since_it_was_checked_fails() {
    let room = Room::new();
    let lora = "lora: (adapters: 4, max_loras: 2)";
    let classes = "trace: (file: \"t.csv\"), classes: {\"a\": (priority: 1), \"b\": ()}";
    for (engine, workload) in [
        ("", "trace: (file: \"t.csv\")"),
        (lora, classes),
        ("", "arrivals: Trace(file: \"t.csv\"), lengths: Fixed(prompt: 10, output: 2)"),
        ("", "requests: 9, arrivals: Static, lengths: Trace(file: \"t.csv\")"),
    ] {
        room.write("t.csv", trace("70000,10,2,a"));
        room.write("s.ron", one_model(engine, workload, "seeds: 2"));
        let scenario = Scenario::load(&room.path("s.ron"), &[], &Registry::built_in())
            .unwrap_or_else(|error| panic!("{}", error.render(false)));
        room.write("t.csv", trace("70000,10,2,a\n70001,10,2,b"));
        let Err(error) = run::results(&scenario, &|_| ()) else { panic!("{workload}") };
        let error = error.to_string();
        assert!(error.contains("the requests ended too early"), "{error}");
        assert!(error.contains("t.csv, which has changed since it was checked"), "{error}");
        let Err(error) = run::check_determinism(&scenario) else { panic!("{workload}") };
        assert!(error.to_string().contains("the requests ended too early"), "{error}");
    }
}
