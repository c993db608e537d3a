//! Checks result folders from their files alone, or runs random scenarios of all techniques through
//! the program and checks what it writes.
//!
//! ```text
//! cargo run --release --example check_results -- results/i2_1 results/i3_1
//! cargo run --release --example check_results -- --random 1000 target/release/vidur-ecs
//! ```
//!
//! Exits with 1 if anything is wrong.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use vidur_ecs::testing::{check_results, random_scenario_text};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wrong = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--random", count, program] => match count.parse() {
            Ok(count) => random(count, Path::new(program)),
            Err(_) => return usage(),
        },
        [] | ["--random", ..] => return usage(),
        folders => folders.iter().map(|folder| show(folder, &check_results(folder.as_ref()))).sum(),
    };
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("check_results FOLDER..., or check_results --random NUMBER PROGRAM");
    ExitCode::from(2)
}

/// Says what is wrong with a folder. Returns whether anything is, as a number.
fn show(what: &str, wrong: &[String]) -> u64 {
    for one in wrong {
        println!("{what}: {one}");
    }
    u64::from(!wrong.is_empty())
}

/// Runs so many random scenarios. Returns how many of them went wrong.
fn random(count: u64, program: &Path) -> u64 {
    let place: PathBuf = std::env::temp_dir().join(format!("check_results-{}", std::process::id()));
    let (file, out) = (place.join("s.ron"), place.join("out"));
    let (mut wrong, mut refused) = (0, 0);
    for seed in 0..count {
        let written = std::fs::create_dir_all(&place)
            .and_then(|()| std::fs::write(&file, random_scenario_text(seed)));
        let status = written.and_then(|()| {
            Command::new(program).arg(&file).arg("--out").arg(&out).arg("-q").output()
        });
        let what = format!("random scenario {seed}");
        match status {
            Ok(output) if output.status.success() => wrong += show(&what, &check_results(&out)),
            Ok(output) if matches!(output.status.code(), Some(2 | 3)) => refused += 1,
            Ok(output) => {
                wrong += show(&what, &[String::from_utf8_lossy(&output.stderr).into_owned()])
            }
            Err(error) => wrong += show(&what, &[error.to_string()]),
        }
        // What is left of one run is in the way of the next.
        let _ = std::fs::remove_dir_all(&place);
    }
    println!("{count} scenarios: {refused} refused, {wrong} wrong");
    wrong
}
