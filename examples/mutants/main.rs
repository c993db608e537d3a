//! Changes inputs at random and looks at what the program makes of them.
//!
//! ```text
//! mutants read --count 100000 --seed 1 --finds DIR       parses and checks them in one process
//! mutants run PROGRAM --count 2000 --seed 1 --finds DIR  runs the program on each
//! mutants corpus PROGRAM FOLDER                          both on what was found before
//! ```
//!
//! Accepted are exit codes 0, 2 and 3 with one message, within 10 s and 2 GB, and nothing left
//! behind. Everything else is a find: it is written into the folder of finds, and the exit code is
//! 1.

mod child;
mod kinds;
mod mutate;
mod program;
mod seeds;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kinds::Kind;
use mutate::Mutator;

/// Kilobytes of address space: 2 GB.
pub const LIMIT_KB: &str = "2000000";
/// Seconds that one input may take.
pub const LIMIT_S: u64 = 10;

/// An input: its kind, the file that is changed, and its bytes.
pub struct Input {
    pub name: String,
    pub kind: Kind,
    pub file: &'static str,
    pub bytes: Vec<u8>,
}

impl Input {
    /// The mutant of that number.
    pub fn mutant(seed: u64, number: u64) -> Input {
        let mut mutator = Mutator::new(seed, number);
        let kind = Kind::of(number);
        let seeds = kind.seeds();
        let (file, text) = &seeds[mutator.below(seeds.len())];
        let bytes = mutator.mutate(text);
        Input { name: format!("{}-{seed}-{number}", kind.name()), kind, file, bytes }
    }

    /// Keeps it for whoever mends what it shows.
    pub fn keep(&self, finds: &Path, why: &str) {
        let folder = finds.join(self.kind.name()).join(&self.name);
        let kept = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join(self.file), &self.bytes))
            .and_then(|()| std::fs::write(finds.join(format!("{}.txt", self.name)), why));
        if let Err(error) = kept {
            eprintln!("cannot keep {}: {error}", self.name);
        }
        println!("FIND {} ({}): {why}", self.name, self.file);
    }
}

/// All inputs below a folder of past finds: `KIND/NAME/FILE`.
fn corpus(folder: &Path) -> Vec<Input> {
    let mut inputs = Vec::new();
    for kind in Kind::ALL {
        let Ok(names) = std::fs::read_dir(folder.join(kind.name())) else { continue };
        let mut names: Vec<PathBuf> = names.flatten().map(|entry| entry.path()).collect();
        names.sort();
        for name in names {
            for (file, _) in kind.seeds() {
                let Ok(bytes) = std::fs::read(name.join(file)) else { continue };
                let label = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
                inputs.push(Input { name: label, kind, file, bytes });
                break;
            }
        }
    }
    inputs
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)).map_or(default.to_owned(), String::clone)
    };
    let number = |name: &str, default: &str| option(name, default).parse::<u64>().unwrap_or(0);
    let (count, seed) = (number("--count", "1000"), number("--seed", "1"));
    let finds = PathBuf::from(option("--finds", "target/mutants"));
    let found = match arguments.first().map(String::as_str) {
        Some("child") => return child::read_all(seed, number("--from", "0"), count),
        Some("read") => child::watch(seed, count, &finds),
        Some("run") if arguments.len() > 1 => {
            let program = Path::new(&arguments[1]);
            let from = number("--from", "0");
            let mutants = (from..from + count).map(|number| Input::mutant(seed, number));
            program::run_all(program, mutants, false, &finds)
        }
        Some("corpus") if arguments.len() > 2 => {
            let inputs = corpus(Path::new(&arguments[2]));
            if inputs.is_empty() {
                eprintln!("no past finds in {}", arguments[2]);
                return ExitCode::from(2);
            }
            program::run_all(Path::new(&arguments[1]), inputs.into_iter(), true, &finds)
        }
        _ => {
            eprintln!(
                "mutants read|run PROGRAM|corpus PROGRAM FOLDER [--count N] [--seed N] [--finds DIR]"
            );
            return ExitCode::from(2);
        }
    };
    ExitCode::from(u8::from(found > 0))
}
