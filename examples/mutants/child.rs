//! Many mutants in one process that another one limits and watches.

use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use vidur_ecs::registry::Registry;

use super::{Input, LIMIT_KB, LIMIT_S};

/// Longest message that is no quotation of a whole input, in bytes.
const LONGEST: usize = 8_000;

/// Reads the mutants from a number on. Says which it begins, and what was wrong with one.
pub fn read_all(seed: u64, from: u64, count: u64) -> ExitCode {
    let Ok(folder) = tempfile::tempdir() else { return ExitCode::FAILURE };
    let registry = Registry::with(&[]);
    let mut out = std::io::stdout().lock();
    let (mut refused, mut accepted) = (0, 0);
    for number in from..from + count {
        let input = Input::mutant(seed, number);
        let _ = writeln!(out, "begin {number}").and_then(|()| out.flush());
        if let Err(error) = input.kind.fill(folder.path(), input.file, &input.bytes) {
            let _ = writeln!(out, "find {number} cannot be written: {error}");
            continue;
        }
        let read = || input.kind.read(folder.path(), input.file, &registry);
        match catch_unwind(AssertUnwindSafe(read)) {
            Err(_) => _ = writeln!(out, "find {number} panics"),
            Ok(Ok(())) => accepted += 1,
            Ok(Err(message)) => {
                refused += 1;
                if let Some(why) = bad_message(&message) {
                    let _ = writeln!(out, "find {number} {why}");
                }
            }
        }
    }
    let _ = writeln!(out, "done {accepted} {refused}");
    ExitCode::SUCCESS
}

/// What is wrong with a message, if anything is.
pub fn bad_message(message: &str) -> Option<String> {
    if message.trim().is_empty() {
        return Some("is refused without a word".to_owned());
    }
    if message.len() > LONGEST {
        return Some(format!("is answered with {} bytes", message.len()));
    }
    let raw = message.chars().find(|&c| c.is_control() && !matches!(c, '\n' | '\t'));
    raw.map(|c| format!("is answered with a raw {c:?}"))
}

/// Has mutants read by limited processes, one after the other. Returns how many finds there were.
pub fn watch(seed: u64, count: u64, finds: &Path) -> usize {
    let started = Instant::now();
    let (mut next, mut found, mut slowest) = (0, 0, (Duration::ZERO, 0));
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    while next < count {
        let Ok(program) = std::env::current_exe() else { return 1 };
        let child = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit -v {LIMIT_KB} && exec \"$0\" \"$@\""))
            .arg(program)
            .args(["child", "--seed", &seed.to_string(), "--from", &next.to_string()])
            .args(["--count", &(count - next).to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return 1 };
        let Some(out) = child.stdout.take() else { return 1 };
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let (mut current, mut begun) = (next, Instant::now());
        let failed = loop {
            match lines.recv_timeout(Duration::from_secs(LIMIT_S)) {
                Ok(line) => {
                    let mut words = line.splitn(3, ' ');
                    let word = words.next().unwrap_or_default();
                    let number = words.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
                    let rest = words.next().unwrap_or_default();
                    if begun.elapsed() > slowest.0 && word != "done" {
                        slowest = (begun.elapsed(), current);
                    }
                    match word {
                        "begin" => (current, begun) = (number, Instant::now()),
                        "find" => {
                            found += 1;
                            Input::mutant(seed, number).keep(finds, rest);
                        }
                        _ => {
                            (accepted, refused) = (number, rest.parse().unwrap_or(0));
                            break None;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    break Some(format!("takes more than {LIMIT_S} s"));
                }
                Err(RecvTimeoutError::Disconnected) => break Some("ends the process".to_owned()),
            }
        };
        // It is gone already, unless it takes too long.
        let _ = child.kill();
        let status = child.wait();
        match failed {
            None => break,
            Some(why) => {
                found += 1;
                let status = status.map_or_else(|error| error.to_string(), |s| s.to_string());
                Input::mutant(seed, current).keep(finds, &format!("{why} ({status})"));
                next = current + 1;
            }
        }
    }
    println!(
        "read {count} mutants of seed {seed} in {:.1} s: {found} finds; the last process accepted \
         {accepted} and refused {refused}; slowest {:.2} s (mutant {})",
        started.elapsed().as_secs_f64(),
        slowest.0.as_secs_f64(),
        slowest.1
    );
    found
}
