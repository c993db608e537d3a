//! `vidur-ecs import`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use crate::base::shortened_text;
use crate::import::vidur::VidurImport;
use crate::import::{BenchEngine, from_vllm_bench};
use crate::output::{Claim, NewFile, Replace, ResultFolder};
use crate::timing::FormulaSettings;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// From the config.json of a run of Vidur
    Vidur(VidurArgs),
    /// From a result of `vllm bench serve --save-result --save-detailed`, or of SGLang's
    /// bench_serving with --output-details; makes a case for `validate`
    VllmBench(VllmBenchArgs),
}

#[derive(Debug, Args)]
struct VidurArgs {
    /// Vidur's config.json
    config: PathBuf,
    /// The exact requests of that run (id, arrived_at, num_prefill_tokens, num_decode_tokens;
    /// may be gzipped) instead of the config's generators
    #[arg(long, value_name = "REQUESTS.csv")]
    trace: Option<PathBuf>,
    /// A closed form instead of measured times: seconds per iteration, per token and per token of
    /// context
    #[arg(long, value_name = "formula:BASE,PER_TOKEN,PER_CONTEXT", value_parser = formula)]
    timing: Option<FormulaSettings>,
    /// The scenario to write [default: standard output]
    #[arg(short = 'o', long = "out", value_name = "FILE.ron")]
    out: Option<PathBuf>,
    /// Replaces the file if it already exists
    #[arg(long, requires = "out")]
    force: bool,
}

#[derive(Debug, Args)]
struct VllmBenchArgs {
    /// The benchmark's JSON, or SGLang's JSON lines
    result: PathBuf,
    #[command(flatten)]
    engine: BenchEngine,
    /// Folder of the case to write: engine.json, workload.csv and measured.csv
    #[arg(short = 'o', long = "out", value_name = "CASE_DIR")]
    out: PathBuf,
    /// Replaces an existing case, but never files that the program did not write
    #[arg(long)]
    force: bool,
}

impl VllmBenchArgs {
    fn run(&self) -> Result<(), Failure> {
        let name = self.out.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = ResultFolder::claim(Claim {
            target: self.out.clone(),
            replace: Replace::of(self.force, true),
            command: "import vllm-bench",
            scenario: (name, self.result.clone(), String::new()),
            ..Claim::default()
        })?;
        failure::note(folder.notes());
        let imported = from_vllm_bench(&self.result, &self.engine, folder.path())?;
        failure::note(&folder.commit()?.notes);
        if !imported.unknown.is_empty() {
            let keys = shortened_text(&imported.unknown.join(", "), 200);
            failure::complain(&format!("warning: unknown keys are ignored: {keys}"));
        }
        for (count, what) in
            [(imported.failed, "that failed"), (imported.without_ttft, "without a TTFT")]
        {
            if count > 0 {
                let requests = if count == 1 { "request" } else { "requests" };
                failure::complain(&format!("warning: left out {count} {requests} {what}"));
            }
        }
        failure::say(&format!("wrote {}", self.out.display()));
        Ok(())
    }
}

impl ImportArgs {
    pub fn run(self) -> Result<ExitCode, Failure> {
        let args = match self.from {
            From::Vidur(args) => args,
            From::VllmBench(args) => {
                args.run()?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        let file = args.out.as_ref().map(|out| NewFile::claim(out, args.force)).transpose()?;
        let base_dir = match args.out.as_deref().and_then(Path::parent) {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let import =
            VidurImport { config: args.config, trace: args.trace, formula: args.timing, base_dir };
        let imported = import.run()?;
        failure::warn(&imported.warnings);
        match (file, &args.out) {
            (Some(file), Some(out)) => {
                file.commit(&imported.text)?;
                failure::say(&format!("wrote {}", out.display()));
            }
            _ => failure::say(&imported.text),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `formula:BASE,PER_TOKEN,PER_CONTEXT`.
fn formula(text: &str) -> Result<FormulaSettings, String> {
    let wrong = || {
        format!(
            "`{text}` is not a formula:BASE,PER_TOKEN,PER_CONTEXT, such as formula:0.005,2.5e-5,1e-8"
        )
    };
    let numbers = text.strip_prefix("formula:").ok_or_else(wrong)?;
    let numbers: Vec<f64> = numbers
        .split(',')
        .map(|number| number.trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0))
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    match numbers[..] {
        [base, per_token, per_context] => Ok(FormulaSettings { base, per_token, per_context }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_read() {
        let expected = FormulaSettings { base: 0.005, per_token: 2.5e-5, per_context: 1e-8 };
        assert_eq!(formula("formula:0.005,2.5e-5,1e-8"), Ok(expected));
        for wrong in [
            "",
            "formula:",
            "formula:1,2",
            "formula:1,2,3,4",
            "formula:1,x,3",
            "formula:1,-2,3",
            "measured",
        ] {
            assert!(formula(wrong).is_err(), "{wrong}");
        }
    }
}
