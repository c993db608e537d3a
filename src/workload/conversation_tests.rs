//! Conversations in closed loop: who follows whom, when, and with which prompt.

use std::path::Path;

use super::distribution_tests::{spec, workload};
use super::trace_tests::check;
use super::*;
use crate::workload::TokenSpan;

const TALKS: &str = "arrivals: Uniform(qps: 1.0), lengths: Fixed(prompt: 100, output: 60)";

fn spans(request: &NewRequest) -> Vec<TokenSpan> {
    request.content.as_ref().map(|content| content.prompt.to_vec()).unwrap_or_default()
}

/// All requests, each answered `seconds` after its arrival.
fn play(workload: &Workload, seed: u64, seconds: u64) -> Vec<NewRequest> {
    let mut source = workload.source(seed);
    let mut all: Vec<NewRequest> = std::iter::from_fn(|| source.next_request()).collect();
    let mut index = 0;
    while index < all.len() {
        let end = all[index].arrived_at + Nanos(seconds * 1_000_000_000);
        all.extend(source.ended(all[index].id, true, end));
        index += 1;
    }
    all.sort_by_key(|request| (request.arrived_at, request.id));
    all
}

#[test]
fn a_turn_follows_the_last_answer_and_repeats_it() {
    let ron = format!(
        "(requests: 6, {TALKS}, prefix: SharedPrefix(tokens: 64),
          conversations: (turns: Fixed(3), think: Fixed(5.0)))"
    );
    let w = workload(&ron);
    let mut source = w.source(1);
    let first = source.next_request().unwrap();
    let other = source.next_request().unwrap();
    assert_eq!(source.next_request(), None, "two conversations of three turns");
    assert_eq!((first.id, other.id), (0, 3));
    assert_eq!((first.prompt_tokens, first.output_tokens), (164, 60));
    let answer = first.content.as_ref().unwrap().answer.unwrap();
    let end = Nanos(7_250_000_000);
    let second = source.ended(0, true, end).unwrap();
    assert_eq!((second.id, second.arrived_at), (1, end + Nanos(5_000_000_000)));
    assert_eq!((second.prompt_tokens, second.output_tokens), (324, 60));
    let text = spans(&first);
    assert_eq!(text[0], TokenSpan { id: 0, tokens: 64 });
    let said = spans(&second);
    assert_eq!(said[..2], text[..]);
    assert_eq!(said[2], TokenSpan { id: answer, tokens: 60 });
    assert_eq!(said[3].tokens, 100);
    assert!(!text.contains(&said[3]) && !spans(&other).contains(&said[3]));
    let third = source.ended(1, true, second.arrived_at).unwrap();
    assert_eq!((third.id, third.prompt_tokens), (2, 484));
    assert_eq!(spans(&third)[..4], said[..]);
    assert_eq!(source.ended(2, true, third.arrived_at), None, "it was the last turn");
    // The same arrival a second time says nothing, and who was refused does not go on.
    assert_eq!(source.ended(0, true, end), None);
    assert_eq!(source.ended(3, false, end), None);
    assert_eq!(source.ended(3, true, end), None);
    assert_eq!(w.survey(1, 500).over_limit, 2, "484 + 60 tokens");
    assert_eq!(w.survey(1, 500).requests, 6);
}

#[test]
fn bounds_end_conversations() {
    let talks = |bounds: &str, conversations: &str| {
        workload(&format!("({bounds}, {TALKS}, conversations: ({conversations}))"))
    };
    // 160, 320, 480 tokens: the third turn is too much.
    let w = talks("requests: 7", "turns: Fixed(9), think: Fixed(1.0), max_total: 479");
    let totals: Vec<u32> =
        play(&w, 1, 0).iter().map(|r| r.prompt_tokens + r.output_tokens).collect();
    assert_eq!(totals, [160, 320, 160, 320, 160, 320, 160]);
    assert_eq!((w.max_total_hint(), w.request_count()), (Some(479), Some(7)));
    // A first turn is shortened.
    let w = talks("requests: 1", "turns: Fixed(9), think: Fixed(1.0), max_total: 100");
    let first = &play(&w, 1, 0)[0];
    assert_eq!((first.prompt_tokens, first.output_tokens), (40, 60));
    // Conversations begin at 1 s to 9 s.
    let w = talks("duration_s: 10.0", "turns: Fixed(2), think: Fixed(1.0)");
    assert_eq!(play(&w, 1, 0).len(), 18);
    assert_eq!(w.arrivals_end(), Some(Nanos(10_000_000_000)));
    assert_eq!(w.offered_rate(), Some(2.0));
}

/// What is said, and how long is thought, does not depend on how fast the answers are.
#[test]
fn the_system_does_not_change_what_is_said() {
    let w = workload(
        "(requests: 300, arrivals: Poisson(qps: 2.0),
          lengths: Uniform(prompt: (1, 99), output: (1, 50)),
          prefix: SharedPrefix(groups: 5, tokens: 32),
          conversations: (turns: Geometric(mean: 4.0), think: Exponential(mean: 3.0)))",
    );
    let by_id = |seconds: u64| {
        let mut all = play(&w, 8, seconds);
        all.sort_by_key(|request| request.id);
        all
    };
    let (fast, slow) = (by_id(0), by_id(20));
    assert_eq!(fast.len(), 300);
    assert!(fast.iter().map(|r| r.id).eq(0..300));
    let mut later = 0;
    for (a, b) in fast.iter().zip(&slow) {
        later += u32::from(a.arrived_at < b.arrived_at);
        assert_eq!(*a, NewRequest { arrived_at: a.arrived_at, ..b.clone() });
    }
    assert!(later > 150, "turns after the first are later: {later}");
    assert_ne!(fast, play(&w, 9, 0));
    // The capacity is that of the same conversations without thinking.
    let restless = play(&w.saturated(), 8, 0);
    assert!(restless.iter().all(|r| r.arrived_at == Nanos::ZERO));
    let offered = w.offered_rate().unwrap();
    assert!((offered - 8.0).abs() < 1.0, "{offered}");
}

#[test]
fn a_trace_in_closed_loop() {
    let lines = r#"{"timestamp": 1, "user_len": 100, "output_len": 60, "conversation_id": "a"}
{"timestamp": 2, "prompt_len": 30, "output_len": 10}
{"timestamp": 3, "user_len": 20, "output_len": 5, "conversation_id": "b"}
{"timestamp": 4, "user_len": 50, "output_len": 40, "conversation_id": "a"}
"#;
    let ron = |more: &str| format!("(trace: (file: \"t.jsonl\", think: Fixed(10.0){more}))");
    let w = check(&ron(""), &[("t.jsonl", lines)]).unwrap();
    let all = play(&w, 1, 2);
    let seconds = |s: u64| Nanos(s * 1_000_000_000);
    let seen: Vec<_> = all.iter().map(|r| (r.id, r.arrived_at, r.prompt_tokens)).collect();
    let turns = [(0, 1, 100), (1, 2, 30), (2, 3, 20), (3, 13, 210)];
    assert_eq!(seen, turns.map(|(id, at, prompt)| (id, seconds(at), prompt)));
    assert!(w.is_closed_loop() && w.request_count() == Some(4));
    // Its first three rows alone, in which nobody follows.
    let error = check(&ron(", limit: 3"), &[("t.jsonl", lines)]).unwrap_err();
    assert_eq!(error.path, "trace.think");
    let saturated = play(&w.saturated(), 1, 0);
    assert!(saturated.iter().all(|r| r.arrived_at == Nanos::ZERO) && saturated.len() == 4);
}

#[test]
fn conversations_that_make_no_sense() {
    const SOME: &str = "turns: Fixed(2), think: Fixed(1)";
    for (ron, path) in [
        (
            format!("{TALKS}, requests: 9, conversations: (turns: Fixed(0), think: Fixed(1))"),
            "conversations.turns",
        ),
        (
            format!(
                "{TALKS}, requests: 9, conversations: (turns: Geometric(mean: 0), think: Fixed(1))"
            ),
            "conversations.turns.mean",
        ),
        (
            format!("{TALKS}, requests: 9, conversations: (turns: Fixed(2), think: Fixed(-1))"),
            "conversations.think",
        ),
        (
            format!("{TALKS}, requests: 9, conversations: ({SOME}, max_total: 1)"),
            "conversations.max_total",
        ),
        (
            format!(
                "{TALKS}, requests: 9, prefix: SharedPrefix(tokens: 64), conversations: ({SOME}, max_total: 65)"
            ),
            "conversations.max_total",
        ),
        (format!("{TALKS}, conversations: ({SOME})"), "requests"),
        (
            format!(
                "duration_s: 9, arrivals: Static, lengths: Fixed(prompt: 9, output: 9), conversations: ({SOME})"
            ),
            "requests",
        ),
        (format!("{TALKS}, requests: 9, drain: Seconds(3), conversations: ({SOME})"), "drain"),
        (format!("trace: (file: \"t.jsonl\"), conversations: ({SOME})"), "conversations"),
    ] {
        let error = spec(&format!("({ron})")).check(Path::new(".")).unwrap_err();
        assert_eq!(error.path, path, "{ron}");
    }
}
