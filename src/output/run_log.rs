//! `run.log`: how a run went. The one file that may differ between equal runs.

use std::fmt::Write as _;
use std::fs;
use std::ops::AddAssign;

use super::error::OutputError;
use super::folder::OpenFolder;
use super::{event_log, text_table};
use crate::base::text::printable;

/// The file's name.
pub const RUN_LOG: &str = "run.log";

/// What the log tells.
#[derive(Clone, Debug, Default)]
pub struct RunLog {
    /// The scenario's name.
    pub scenario: String,
    /// How the program was called ([`command_line`]).
    pub command: String,
    /// Hash of the resolved scenario, as text.
    pub scenario_hash: String,
    /// Models that are no built-in ones, each with the file that describes it.
    pub models: Vec<String>,
    /// Programs and libraries whose versions matter, with these.
    pub versions: Vec<(String, String)>,
    /// Seeds that were run.
    pub seeds: Vec<u64>,
    /// What each of them came to, in every variant.
    pub counts: Vec<SeedCounts>,
    /// What the times rest on, and how much of them; one line per variant.
    pub timing: Vec<String>,
    /// Whether every iteration was a step of its own.
    pub exact_steps: bool,
    /// What the user should know, each once.
    pub warnings: Vec<String>,
    /// Elapsed seconds.
    pub wall_seconds: f64,
    /// Seconds of processor time of the whole process, if known ([`cpu_seconds`]).
    pub cpu_seconds: Option<f64>,
    /// Largest resident memory of the process so far in MiB, if known ([`peak_memory_mib`]).
    pub peak_memory_mib: Option<f64>,
    /// What all runs together did.
    pub work: Work,
    /// The report as the terminal shows it.
    pub report: String,
}

/// What one seed of a variant came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeedCounts {
    /// The variant's name; empty for a scenario without variants.
    pub variant: String,
    /// The seed.
    pub seed: u64,
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that finished.
    pub finished: u64,
    /// Requests that were refused.
    pub rejected: u64,
    /// Requests that were not done at the time limit.
    pub unfinished: u64,
    /// Preemptions.
    pub preemptions: u64,
    /// Batch iterations.
    pub iterations: u64,
}

/// What runs did, to compare with the time they took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Batch iterations.
    pub iterations: u64,
    /// Requests that arrived.
    pub requests: u64,
    /// Steps of the simulation: times at which something happened. With fast-forward a step may
    /// stand for many iterations.
    pub events: u64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.iterations += other.iterations;
        self.requests += other.requests;
        self.events += other.events;
    }
}

impl RunLog {
    /// The log's text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key:<14}{}", printable(value));
        };
        line("scenario", &self.scenario);
        if !self.command.is_empty() {
            line("command", &self.command);
        }
        line("scenario hash", &self.scenario_hash);
        for model in &self.models {
            line("model", model);
        }
        line("vidur-ecs", env!("CARGO_PKG_VERSION"));
        for (name, version) in &self.versions {
            line(name, version);
        }
        match self.seeds.as_slice() {
            [] => {}
            [seed] => line("seed", &seed.to_string()),
            [first, .., last] => line("seeds", &format!("{first} to {last}")),
        }
        line("steps", if self.exact_steps { "exact" } else { "fast-forward" });
        line("wall time", &format!("{:.3} s", self.wall_seconds));
        if let Some(cpu) = self.cpu_seconds {
            line("CPU time", &format!("{cpu:.2} s"));
        }
        if let Some(peak) = self.peak_memory_mib {
            line("peak memory", &format!("{peak:.1} MiB"));
        }
        line("iterations", &self.work.iterations.to_string());
        for (seconds, of) in
            [(Some(self.wall_seconds), "wall time"), (self.cpu_seconds, "CPU time")]
        {
            if let Some(seconds) = seconds.filter(|&seconds| seconds > 0.0) {
                let rate = self.work.iterations as f64 / seconds;
                line("", &format!("{rate:.0} per second of {of}"));
            }
        }
        line("requests", &self.work.requests.to_string());
        line("events", &self.work.events.to_string());
        for timing in &self.timing {
            line("timing", timing);
        }
        line("warnings", &self.warnings.len().to_string());
        for warning in &self.warnings {
            line("", warning);
        }
        if !self.counts.is_empty() {
            let _ = writeln!(text, "\ncounts\n{}", counts(&self.counts));
        }
        if !self.report.is_empty() {
            let _ = write!(text, "\nreport\n{}", self.report);
        }
        text
    }

    /// Writes the log, with the events of these runs behind it ([`super::EventLog`]).
    ///
    /// # Errors
    /// A file could not be read or written.
    pub fn write(&self, folder: &OpenFolder, event_logs: &[String]) -> Result<(), OutputError> {
        folder.write(RUN_LOG, self.render())?;
        event_logs.iter().try_for_each(|run| event_log::append(folder, run))
    }
}

/// A row per variant and seed.
fn counts(all: &[SeedCounts]) -> String {
    let variants = all.iter().any(|one| !one.variant.is_empty());
    let names =
        ["seed", "arrived", "finished", "rejected", "unfinished", "preemptions", "iterations"];
    let row = |variant: &str, cells: [String; 7]| {
        variants.then(|| variant.to_owned()).into_iter().chain(cells).collect::<Vec<String>>()
    };
    let mut table = text_table::new(row("variant", names.map(str::to_owned)));
    for one in all {
        let numbers = [
            one.seed,
            one.arrived,
            one.finished,
            one.rejected,
            one.unfinished,
            one.preemptions,
            one.iterations,
        ];
        table.add_row(row(&one.variant, numbers.map(|number| number.to_string())));
    }
    text_table::right_aligned(&mut table, usize::from(variants));
    text_table::render(&table)
}

/// How this process was called, as one would write it in a shell.
pub fn command_line() -> String {
    let arguments: Vec<String> =
        std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let words = arguments.iter().map(String::as_str);
    // Only a NUL byte cannot be quoted, and no argument holds one.
    shlex::try_join(words).unwrap_or_else(|_| arguments.join(" "))
}

/// Processor time of this process so far (user and system, all threads) in seconds, to 10 ms;
/// `None` where `/proc` does not tell.
pub fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the program's name in parentheses, may hold blanks.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    // USER_HZ, which is 100 on every Linux platform that Rust supports.
    Some((user + system) / 100.0)
}

/// The largest resident memory of this process so far in MiB; `None` where `/proc` does not tell.
pub fn peak_memory_mib() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_matters() {
        let log = RunLog {
            scenario: "i2_1".to_owned(),
            command: "vidur-ecs 'my file.ron'".to_owned(),
            counts: vec![
                SeedCounts { seed: 42, arrived: 1000, finished: 998, ..SeedCounts::default() },
                SeedCounts { seed: 43, arrived: 1000, iterations: 12_520, ..SeedCounts::default() },
            ],
            report: "TTFT ...\n".to_owned(),
            scenario_hash: "00c0ffee".to_owned(),
            models: vec!["Phi-9 from a/config.json".to_owned()],
            versions: vec![("bevy_ecs".to_owned(), "0.20.0".to_owned())],
            seeds: vec![42, 43, 44],
            timing: vec!["an ESTIMATE: a data sheet".to_owned()],
            exact_steps: true,
            warnings: vec!["extrapolated beyond 4096 tokens".to_owned()],
            wall_seconds: 2.0,
            cpu_seconds: Some(1.6),
            peak_memory_mib: Some(17.25),
            work: Work { iterations: 1_000_000, requests: 5_000, events: 20_000 },
        };
        let text = log.render();
        for wanted in [
            "scenario hash 00c0ffee\n",
            "command       vidur-ecs 'my file.ron'\n",
            "\ncounts\n  seed  arrived  finished  rejected  unfinished  preemptions  iterations\n",
            "    43     1000         0         0           0            0       12520\n",
            "\nreport\nTTFT ...\n",
            "model         Phi-9 from a/config.json\n",
            "bevy_ecs      0.20.0\n",
            "seeds         42 to 44\n",
            "steps         exact\n",
            "wall time     2.000 s\n",
            "CPU time      1.60 s\n",
            "peak memory   17.2 MiB\n",
            "timing        an ESTIMATE: a data sheet\n",
            "              500000 per second of wall time\n",
            "              625000 per second of CPU time\n",
            "requests      5000\n",
            "events        20000\n",
            "              extrapolated beyond 4096 tokens\n",
        ] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
    }

    #[test]
    fn processor_time_grows() {
        let Some(before) = cpu_seconds() else { return };
        let mut sum = 0_u64;
        for i in 0..300_000_000_u64 {
            sum = std::hint::black_box(sum ^ i);
        }
        assert!(cpu_seconds().unwrap() > before);
    }
}
