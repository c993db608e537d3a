//! `vidur-ecs validate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::failure::{self, Failure};
use crate::base::Source;
use crate::base::paths::file_name;
use crate::output::{REQUESTS, ResultFolder};
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
    /// Execution times instead of the case's, as a scenario writes them: 'Layerwise()'
    #[arg(long, value_name = "TIMING")]
    timing: Option<String>,
    /// Changes a setting of the scenario, for example engine.num_gpu_blocks=20000
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// Leaves the first requests out of the comparison: an engine's first one is slow
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,
    /// Exits with 1 if a mean of TTFT, TPOT or E2E is further off, or if a measured request does
    /// not finish
    #[arg(long, value_name = "PERCENT")]
    max_error: Option<f64>,
    /// Folder of the result folders
    #[arg(long, value_name = "DIR", default_value = "results/validate")]
    out: PathBuf,
    /// Shows the scenarios and runs nothing
    #[arg(long)]
    show_scenario: bool,
}

impl ValidateArgs {
    pub fn run(&self, registry: &Registry) -> Result<ExitCode, Failure> {
        let mut settings = self.settings.clone();
        settings.extend(self.timing.iter().map(|timing| format!("timing={timing}")));
        let mut good = true;
        for folder in &self.cases {
            let case = Case::read(folder)?;
            if self.show_scenario {
                failure::say(&case.scenario_text());
                continue;
            }
            let table = self.compare(&case, &settings, registry)?;
            failure::say(&format!("{}\n{table}", case.name));
            if let Some(limit) = self.max_error {
                good &= table.missing == 0 && table.largest_mean_error() <= limit / 100.0;
            }
        }
        Ok(ExitCode::from(u8::from(!good)))
    }

    /// Runs a case and compares.
    fn compare(
        &self,
        case: &Case,
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
        // Only folders with earlier results are replaced.
        let folder = ResultFolder::create(&self.out.join(file_name(&case.name)), true)?;
        let finished = run::run(&scenario, &folder, &|_| ())?;
        let target = folder.commit()?;
        for warning in &finished.warnings {
            failure::complain(&format!("warning: {warning}"));
        }
        let simulated = read_simulated(&Path::new(&target).join(REQUESTS))?;
        Ok(ErrorTable::new(&case.measured, &simulated, self.skip))
    }
}

impl From<CaseError> for Failure {
    fn from(error: CaseError) -> Failure {
        match error {
            CaseError::Io { action: "write", .. } => Failure::unexpected(error),
            error => Failure::bad_argument(error),
        }
    }
}
