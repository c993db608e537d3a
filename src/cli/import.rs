//! `vidur-ecs import`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use crate::import::vidur::VidurImport;
use crate::import::{BenchEngine, from_vllm_bench};
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
    /// From the result of `vllm bench serve --save-result --save-detailed`: a case for `validate`
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
}

#[derive(Debug, Args)]
struct VllmBenchArgs {
    /// The benchmark's JSON
    result: PathBuf,
    #[command(flatten)]
    engine: BenchEngine,
    /// The case to write
    #[arg(short = 'o', long = "out", value_name = "CASE_DIR")]
    out: PathBuf,
}

impl ImportArgs {
    pub fn run(self) -> Result<ExitCode, Failure> {
        let args = match self.from {
            From::Vidur(args) => args,
            From::VllmBench(args) => {
                let failed = from_vllm_bench(&args.result, &args.engine, &args.out)?;
                if failed > 0 {
                    failure::complain(&format!("warning: {failed} failed requests are left out"));
                }
                failure::say(&format!("wrote {}", args.out.display()));
                return Ok(ExitCode::SUCCESS);
            }
        };
        let base_dir = match args.out.as_deref().and_then(Path::parent) {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let import =
            VidurImport { config: args.config, trace: args.trace, formula: args.timing, base_dir };
        let imported = import.run()?;
        failure::warn(&imported.warnings);
        match &args.out {
            Some(out) => {
                write(out, &imported.text)?;
                failure::say(&format!("wrote {}", out.display()));
            }
            None => failure::say(&imported.text),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes a whole file, by way of a temporary one beside it: it is there whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::unexpected(format!("cannot write {}: {error}", path.display()))
    };
    let Some(name) = path.file_name() else {
        return Err(Failure::bad_argument(format!("{} is no name of a file", path.display())));
    };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let temporary =
        path.with_file_name(format!(".{}.partial-{}", name.to_string_lossy(), std::process::id()));
    std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path)).map_err(
        |error| {
            // Nothing can be done about a failure here.
            let _ = std::fs::remove_file(&temporary);
            failed(error)
        },
    )
}

/// `formula:BASE,PER_TOKEN,PER_CONTEXT`.
fn formula(text: &str) -> Result<FormulaSettings, String> {
    let wrong = || {
        format!(
            "`{text}` is no formula:BASE,PER_TOKEN,PER_CONTEXT, such as formula:0.005,2.5e-5,1e-8"
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

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/a.ron");
        for text in ["one", "two"] {
            write(&path, text).expect("written");
            assert_eq!(std::fs::read_to_string(&path).expect("is there"), text);
        }
        assert_eq!(std::fs::read_dir(folder.path().join("new")).expect("is there").count(), 1);
    }
}
