//! A folder of its own in which a test runs the real program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A scenario of one model under `VllmV1`: iterations take 5 ms and 10 us per token.
pub fn one_model(engine: &str, workload: &str, rest: &str) -> String {
    format!(
        "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\",
          engine: (policy: VllmV1(), max_model_len: 4096, {engine}),
          workload: ({workload}), timing: Formula(base: 0.005, per_token: 1e-5), {rest})"
    )
}

/// What a run of the program left.
pub struct Ran {
    /// Exit code; -1 if a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub struct Room(TempDir);

impl Room {
    pub fn new() -> Room {
        Room(tempfile::tempdir().expect("a folder"))
    }

    /// A room with one file.
    pub fn with(name: &str, text: impl AsRef<[u8]>) -> Room {
        let room = Room::new();
        room.write(name, text);
        room
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), text).expect("written");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Every file and folder, sorted, those that begin with a dot included.
    pub fn names(&self) -> Vec<String> {
        names(self.0.path())
    }

    /// Every file and folder in a folder of the room, sorted.
    pub fn names_in(&self, folder: &str) -> Vec<String> {
        names(&self.path(folder))
    }

    /// The program, to be run in the room.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vidur-ecs"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        // Texts are as wide as where there is no terminal, whoever runs the tests.
        command.env_remove("COLUMNS");
        command
    }

    pub fn run_args<S: AsRef<std::ffi::OsStr>>(&self, arguments: &[S]) -> Ran {
        finish(&mut self.command(arguments))
    }

    /// Runs the program with these words as arguments.
    pub fn run(&self, line: &str) -> Ran {
        self.run_args(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// The same for a run that must succeed.
    pub fn must(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "vidur-ecs {line}: {}", ran.err);
        ran
    }
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Ran {
    let output = command.output().expect("the program starts");
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The names in a folder, sorted; none if it is not there.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A small scenario with two variants and expectations, as a file of its own would have it.
pub const SCENARIO: &str = r#"(
    title: "A test",
    model: "Llama-2-7B",
    device: "A100-SXM-80G",
    cluster: (replicas: 2, tensor_parallel: 1, pipeline_parallel: 1, router: RoundRobin),
    engine: (
        policy: VllmV0(max_num_seqs: 128, max_num_batched_tokens: 4096),
        max_model_len: 4096,
        gpu_memory_utilization: 0.90,
        block_size: 16,
    ),
    workload: (
        requests: 20,
        arrivals: Poisson(qps: 2.0),
        lengths: Fixed(prompt: 128, output: 16),
    ),
    timing: Formula(base: 0.005, per_token: 2.5e-5),
    seed: 1,
    slo: (ttft_ms: 1000),
    variants: {
        "paged": (),
        "max": (engine: (policy: Orca(reserve: Max))),
    },
    expect: [
        (metric: "ttft.mean", at_most_ms: 300),
        (metric: "running_peak", order: ["max", "paged"]),
    ],
)
"#;
