//! `vidur-ecs run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::failure::{self, Failure};
use super::{progress, subcommands};
use crate::metrics::{ExperimentResult, Verdict};
use crate::output::report::{ReportInput, report, use_colour};
use crate::output::{ResultFolder, file_name};
use crate::registry::Registry;
use crate::run;
use crate::scenario::{Scenario, suggest};
use crate::workload::Arrivals;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Scenario files
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Result folder; with several files, the folder of the result folders [default:
    /// results/<name of the file>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replaces the result folder if it is there already
    #[arg(long)]
    force: bool,
    /// First seed (or only one), instead of the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of seeds, instead of the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seeds: Option<u32>,
    /// Changes a setting in every variant, for example engine.policy.max_num_seqs=64
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub settings: Vec<String>,
    /// Shows nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Exits with 1 if an expectation of the scenario is not met
    #[arg(long)]
    strict: bool,
    /// Runs everything twice first, and names the time where the two part, if they do
    #[arg(long)]
    check_determinism: bool,
}

impl RunArgs {
    pub fn run(&self, registry: &Registry) -> Result<ExitCode, Failure> {
        if self.files.is_empty() {
            return Err(Failure::bad_argument("no scenario file is given"));
        }
        // Everything is checked before anything runs.
        let mut scenarios = Vec::new();
        let mut targets = BTreeSet::new();
        for file in &self.files {
            suggest_subcommand(file)?;
            let scenario = Scenario::load(file, &self.all_settings(), registry)?;
            let target = self.target(&scenario);
            if !targets.insert(target.clone()) {
                return Err(Failure::bad_argument(format!(
                    "two scenarios would write into {}",
                    target.display()
                )));
            }
            scenarios.push((scenario, target));
        }
        let mut prepared = Vec::new();
        for (scenario, target) in scenarios {
            prepared.push((scenario, ResultFolder::create(&target, self.force)?));
        }
        let mut met = true;
        for (file, (scenario, folder)) in self.files.iter().zip(prepared) {
            met &= self.run_one(file, &scenario, folder)?;
        }
        Ok(ExitCode::from(u8::from(self.strict && !met)))
    }

    /// `--set` arguments, those that have an option of their own included.
    fn all_settings(&self) -> Vec<String> {
        let mut settings = self.settings.clone();
        settings.extend(self.seed.map(|seed| format!("seed={seed}")));
        settings.extend(self.seeds.map(|seeds| format!("seeds={seeds}")));
        settings
    }

    fn target(&self, scenario: &Scenario) -> PathBuf {
        let name = file_name(&scenario.name);
        match &self.out {
            Some(out) if self.files.len() == 1 => out.clone(),
            Some(out) => out.join(name),
            None => Path::new("results").join(name),
        }
    }

    /// Runs a scenario and shows the report. Returns whether all expectations are met.
    fn run_one(
        &self,
        file: &Path,
        scenario: &Scenario,
        folder: ResultFolder,
    ) -> Result<bool, Failure> {
        if !self.quiet {
            failure::warn(&scenario.warnings);
        }
        if self.check_determinism {
            run::check_determinism(scenario)?;
        }
        let bar = progress::bar(&scenario.name, run::expected_requests(scenario), self.quiet);
        let finished = run::run(scenario, &folder, &|requests| bar.inc(requests));
        bar.finish_and_clear();
        let finished = finished?;
        let target = folder.commit()?;
        let met = finished.result.outcomes.iter().all(|outcome| outcome.met);
        if !self.quiet {
            failure::say(&report(&ReportInput {
                result: &finished.result,
                folder: Some(target.display().to_string()),
                files: finished.files,
                next: next_step(file, scenario, &finished.result),
                warnings: finished.warnings,
                colour: use_colour(),
            }));
            if self.check_determinism {
                failure::say("deterministic: two runs of every seed took the same course");
            }
        }
        Ok(met)
    }
}

/// A load under which latencies would say something, where this one is too high for that.
fn next_step(file: &Path, scenario: &Scenario, result: &ExperimentResult) -> Option<String> {
    let ([configuration], [variant]) = (&scenario.configurations[..], &result.variants[..]) else {
        return None;
    };
    let too_high = matches!(variant.verdict(), Verdict::NearSaturation | Verdict::Overloaded);
    let has_rate = matches!(
        configuration.workload_spec.arrivals,
        Some(Arrivals::Poisson { .. } | Arrivals::Gamma { .. } | Arrivals::Uniform { .. })
    );
    let capacity = variant.capacity.filter(|_| too_high && has_rate)?;
    // 75 % of the capacity is a load that an operator would plan for; two digits will do.
    let digits = (1.0 - (0.75 * capacity).log10().floor()).max(0.0) as usize;
    let qps = format!("{:.digits$}", 0.75 * capacity);
    Some(format!("vidur-ecs {} --set workload.arrivals.qps={qps} --out DIR", file.display()))
}

/// A first argument that is no file may be a subcommand with a slip in it.
fn suggest_subcommand(file: &Path) -> Result<(), Failure> {
    if file.exists() || file.extension().is_some() {
        return Ok(());
    }
    let names = subcommands();
    let written = file.to_string_lossy();
    match suggest::closest(&written, names.iter().map(String::as_str)) {
        Some(name) => Err(Failure::bad_argument(format!(
            "there is no file {written}; did you mean the subcommand `{name}`?"
        ))),
        None => Ok(()),
    }
}
