//! The whole program on one input after the other.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::child::bad_message;
use super::{Input, LIMIT_KB, LIMIT_S};

/// How the program ended.
struct Ended {
    /// `None` if it had to be killed or a signal ended it.
    code: Option<i32>,
    killed: bool,
    messages: String,
    output: String,
}

/// Runs the program on all inputs, `simulate` says whether always as far as a simulation. Returns
/// how many finds there were.
pub fn run_all(
    program: &Path,
    inputs: impl Iterator<Item = Input>,
    simulate: bool,
    finds: &Path,
) -> usize {
    let started = Instant::now();
    let (mut count, mut found, mut long, mut codes) = (0_u64, 0, 0, [0_u64; 4]);
    let Ok(folder) = tempfile::tempdir() else { return 1 };
    let Ok(program) = program.canonicalize() else {
        eprintln!("there is no {}", program.display());
        return 1;
    };
    for (input, number) in inputs.zip(0..) {
        count += 1;
        if let Err(error) = input.kind.fill(folder.path(), input.file, &input.bytes) {
            eprintln!("cannot write {}: {error}", input.name);
            return found + 1;
        }
        let before = names(folder.path());
        let arguments = input.kind.arguments(if simulate { 0 } else { number });
        let ended = match run(&program, &arguments, folder.path()) {
            Ok(ended) => ended,
            Err(error) => {
                eprintln!("cannot run {}: {error}", program.display());
                return found + 1;
            }
        };
        // A mutant may ask for a simulation that takes long: no fault if memory stays bounded.
        if ended.killed && arguments[0] == "run" {
            long += 1;
            continue;
        }
        if let Some(code) = ended.code
            && let Some(slot) = codes.get_mut(code as usize)
        {
            *slot += 1;
        }
        if let Some(why) = wrong(&ended, &arguments, folder.path(), &before) {
            found += 1;
            input.keep(finds, &format!("{}: {why}\n{}", arguments.join(" "), ended.messages));
        }
    }
    println!(
        "ran the program on {count} inputs in {:.1} s: {found} finds; exit codes 0: {}, 1: {}, 2: {}, \
         3: {}; {long} simulations longer than {LIMIT_S} s",
        started.elapsed().as_secs_f64(),
        codes[0],
        codes[1],
        codes[2],
        codes[3]
    );
    found
}

/// What is wrong with how it ended, if anything is.
fn wrong(ended: &Ended, arguments: &[&str], folder: &Path, before: &[String]) -> Option<String> {
    if ended.killed {
        return Some(format!("takes more than {LIMIT_S} s"));
    }
    let Some(code) = ended.code else { return Some("a signal ends it".to_owned()) };
    if !matches!(code, 0 | 2 | 3) {
        return Some(format!("exit code {code}"));
    }
    let errors = ended.messages.lines().filter(|line| line.starts_with("error")).count();
    if code != 0 && errors != 1 {
        return Some(format!("exit code {code} with {errors} messages"));
    }
    if code != 0
        && let Some(why) = bad_message(&ended.messages)
    {
        return Some(why);
    }
    if ended.output.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Some("prints a control character".to_owned());
    }
    // What fits is run and written, whole, even if the code says that it is not all.
    let whole = || folder.join("out/manifest.json").is_file();
    let wanted = arguments[0] == "run" && (code == 0 || code == 3 && whole());
    let left = names(folder);
    let more = left.iter().find(|&name| !(before.contains(name) || wanted && name == "out"));
    match more {
        Some(name) if code != 0 || name.starts_with('.') => Some(format!("leaves {name} behind")),
        _ => None,
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn run(program: &Path, arguments: &[&str], folder: &Path) -> std::io::Result<Ended> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -v {LIMIT_KB} && exec \"$0\" \"$@\""))
        .arg(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let read = |from: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut from) = from {
                let _ = from.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let output = read(child.stdout.take().map(|out| Box::new(out) as _));
    let messages = read(child.stderr.take().map(|out| Box::new(out) as _));
    let started = Instant::now();
    let (status, killed) = loop {
        if let Some(status) = child.try_wait()? {
            break (status, false);
        }
        if started.elapsed() > Duration::from_secs(LIMIT_S) {
            child.kill()?;
            break (child.wait()?, true);
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(Ended { code: status.code(), killed, messages: text(messages), output: text(output) })
}
