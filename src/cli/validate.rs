//! `vidur-ecs validate`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::failure::{self, Failure};
use super::threads;
use crate::base::Source;
use crate::base::paths::file_name;
use crate::output::{Claim, REQUESTS, Replace, ResultFolder};
use crate::registry::Registry;
use crate::run;
use crate::scenario::Scenario;
use crate::validate::{Case, CaseError, ErrorTable, read_simulated};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Measured cases: folders with engine.json, workload.csv and measured.csv (`vidur-ecs import
    /// vllm-bench` makes them)
    #[arg(value_name = "CASE_DIR", required = true)]
    cases: Vec<PathBuf>,
    /// Execution times to use instead of the case's own, written as in a scenario: 'Layerwise()'
    #[arg(long, value_name = "TIMING")]
    timing: Option<String>,
    /// Changes a setting of the scenario, for example engine.num_gpu_blocks=20000
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// Leaves the first requests out of the comparison: an engine's first request is slow
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,
    /// Exits with 1 if a mean of TTFT, TPOT or E2E is further off or cannot be compared, or
    /// if a measured request does not finish
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    max_error: Option<f64>,
    /// Folder for the result folders [default: results/validate]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replaces existing results, but never files that the program did not write.
    /// (Without --out, results of the same case with the same settings are replaced anyway.)
    #[arg(long)]
    force: bool,
    /// Shows the scenarios and runs nothing
    #[arg(long)]
    show_scenario: bool,
}

impl ValidateArgs {
    pub fn run(&self, registry: &Registry) -> Result<ExitCode, Failure> {
        let mut settings = self.settings.clone();
        settings.extend(self.timing.iter().map(|timing| format!("timing={timing}")));
        let mut good = true;
        // Everything is read before anything runs.
        let cases: Vec<Case> =
            self.cases.iter().map(|folder| Case::read(folder)).collect::<Result<_, _>>()?;
        for (case, name) in cases.iter().zip(names(&cases)) {
            if self.show_scenario {
                failure::say(&case.scenario_text());
                continue;
            }
            if self.skip >= case.measured.len() {
                return Err(Failure::bad_argument(format!(
                    "--skip {} leaves none of the {} requests of {}",
                    self.skip,
                    case.measured.len(),
                    case.folder.display()
                )));
            }
            let table = self.compare(case, &name, &settings, registry)?;
            failure::say(&format!("{name}\n{table}"));
            good &= self.is_good(case, &table);
        }
        Ok(ExitCode::from(u8::from(!good)))
    }

    /// Whether a case is within `--max-error`; says why not, where the table does not.
    fn is_good(&self, case: &Case, table: &ErrorTable) -> bool {
        let complain =
            |text: &str| failure::complain(&format!("{}: {text}", case.folder.display()));
        let Some(limit) = self.max_error else {
            if table.is_empty() {
                complain("warning: nothing was compared");
            }
            return true;
        };
        match table.largest_mean_error() {
            None => {
                complain("error: a metric cannot be compared, so --max-error is not met");
                false
            }
            Some(error) => table.missing == 0 && error <= limit / 100.0,
        }
    }

    /// Runs a case and compares.
    fn compare(
        &self,
        case: &Case,
        folder: &str,
        settings: &[String],
        registry: &Registry,
    ) -> Result<ErrorTable, Failure> {
        let name = format!("{} (made of {})", case.name, case.folder.join("engine.json").display());
        let source = Source::new(name, case.scenario_text());
        let mut scenario =
            Scenario::from_source(&source, case.name.clone(), &case.folder, settings, registry)?;
        // They are what is compared, whatever was set.
        scenario.output.request_metrics = true;
        failure::warn(&scenario.warnings);
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from("results/validate"));
        let folder = ResultFolder::claim(Claim {
            target: out.join(file_name(folder)),
            replace: Replace::of(self.force, self.out.is_some()),
            command: "validate",
            settings: settings.to_vec(),
            scenario: (case.name.clone(), case.folder.join("engine.json"), scenario.hash()),
            inputs: scenario.input_files(),
        })?;
        failure::note(folder.notes());
        let pool = threads::pool(None, [&scenario])?;
        let finished = pool.install(|| run::run(&scenario, &folder, &|_| ()))?;
        let done = folder.commit()?;
        failure::note(&done.notes);
        for warning in &finished.warnings {
            failure::complain(&format!("warning: {warning}"));
        }
        let simulated = read_simulated(&done.target.join(REQUESTS))?;
        Ok(ErrorTable::new(&case.measured, &simulated, self.skip))
    }
}

/// The names of the cases' result folders: those of their own folders, with as many of the folders
/// above as it takes to tell them apart; cases that are the same folder are numbered.
fn names(cases: &[Case]) -> Vec<String> {
    let parts: Vec<Vec<String>> = cases
        .iter()
        .map(|case| {
            let path = case.folder.canonicalize().unwrap_or_else(|_| case.folder.clone());
            let names = path.components().filter_map(|part| match part {
                std::path::Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            });
            names.collect()
        })
        .collect();
    let name =
        |parts: &[String], depth: usize| parts[parts.len().saturating_sub(depth)..].join("-");
    let mut taken = std::collections::BTreeSet::new();
    let mut names = Vec::new();
    for own in &parts {
        let clashes = |depth: usize| {
            let same =
                |other: &&Vec<String>| *other != own && name(other, depth) == name(own, depth);
            parts.iter().filter(same).count() > 0
        };
        let depth = (1..=own.len()).find(|depth| !clashes(*depth)).unwrap_or(own.len());
        let base = name(own, depth);
        let numbered = |n: usize| if n == 1 { base.clone() } else { format!("{base}-{n}") };
        let free = (1..).map(numbered).find(|name| taken.insert(name.clone()));
        names.extend(free);
    }
    names
}

/// A share in percent.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("expected a number of percent, 0 or more".to_owned()),
    }
}

impl From<CaseError> for Failure {
    fn from(error: CaseError) -> Failure {
        match error {
            CaseError::Io { action: "write", .. } => Failure::unexpected(error),
            CaseError::Placed(diagnostic) => diagnostic.into(),
            error => Failure::bad_argument(error),
        }
    }
}
