//! Tables of bad inputs: each is refused with one message that says where, what was found and what
//! was expected, with exit code 2 (wrong) or 3 (does not fit), and leaves nothing.

use crate::room::{Ran, Room, SCENARIO};

/// `SCENARIO` with one change.
pub fn changed(from: &str, to: &str) -> String {
    assert!(SCENARIO.contains(from), "`{from}` is not in the scenario");
    SCENARIO.replacen(from, to, 1)
}

/// Collects what is wrong with the answers, so that one run shows all of it.
#[derive(Default)]
pub struct Table {
    rows: usize,
    wrong: Vec<String>,
}

impl Table {
    /// `expected` is the exit code and what the message must hold, separated by ` | `.
    pub fn check(&mut self, row: &str, room: &Room, before: &[String], ran: &Ran, expected: &str) {
        self.rows += 1;
        let mut parts = expected.split(" | ");
        let code: i32 = parts.next().and_then(|code| code.parse().ok()).expect("a code");
        let mut complaints = Vec::new();
        if ran.code != code {
            complaints.push(format!("exit code {} instead of {code}", ran.code));
        }
        let missing = parts.filter(|part| !ran.err.contains(part));
        complaints.extend(missing.map(|part| format!("the message lacks `{part}`")));
        if ran.err.contains("panicked") || ran.err.contains("RUST_BACKTRACE") {
            complaints.push("it panicked".to_owned());
        }
        if ran.err.lines().filter(|line| line.starts_with("error")).count() != 1 {
            complaints.push("not exactly one message".to_owned());
        }
        if ran.err.lines().any(|line| line.len() > 400) {
            complaints.push("a very long line".to_owned());
        }
        if room.names() != before {
            complaints.push(format!("it left {:?}", room.names()));
        }
        if !complaints.is_empty() {
            self.wrong.push(format!("{row}: {}\n{}", complaints.join(", "), ran.err));
        }
    }

    /// A scenario file: `run` and `check` must both refuse it.
    pub fn scenario(&mut self, row: &str, room: &Room, expected: &str) {
        let before = room.names();
        for command in ["run --quiet", "check"] {
            self.check(row, room, &before, &room.run(&format!("{command} s.ron")), expected);
        }
        self.rows -= 1;
    }

    pub fn done(self, at_least: usize) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n\n"));
        assert!(self.rows >= at_least, "{} rows", self.rows);
    }
}

/// Rows of (a whole scenario, what is expected).
pub fn scenarios<T: AsRef<str>>(rows: impl IntoIterator<Item = (T, String)>, at_least: usize) {
    let mut table = Table::default();
    for (text, expected) in rows {
        let text = text.as_ref();
        table.scenario(&format!("{expected} of {text}"), &Room::with("s.ron", text), &expected);
    }
    table.done(at_least);
}

/// Rows of (what is replaced in `SCENARIO`, by what, what is expected).
pub fn replaced(rows: &[(&str, &str, &str)], at_least: usize) {
    let mut table = Table::default();
    for (from, to, expected) in rows {
        let room = Room::with("s.ron", changed(from, to));
        table.scenario(&format!("{from} -> {to}"), &room, expected);
    }
    table.done(at_least);
}
