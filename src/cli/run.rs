//! `vidur-ecs run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::failure::{self, Failure};
use super::run_many::{self, FileDone, FileRuns};
use super::{progress, subcommands};
use crate::base::paths::file_name;
use crate::base::suggest;
use crate::metrics::{ExperimentResult, Verdict};
use crate::output::tables::{RUNS, VARIANTS};
use crate::output::{ResultFolder, write_file};
use crate::registry::Registry;
use crate::report::{ReportInput, report, use_colour};
use crate::run;
use crate::scenario::sweep::Point;
use crate::scenario::{Scenario, sweep};
use crate::timing::SharedTables;
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
    /// Changes a setting in every variant, for example engine.policy.max_num_seqs=64; a list of
    /// values, such as workload.arrivals.qps=[1,2,4], runs each of them
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub settings: Vec<String>,
    /// Runs at most N simulations at once [default: one per processor]; the results do not depend on
    /// it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Makes every iteration a step of its own: slower, and the same results
    #[arg(long)]
    exact_steps: bool,
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
        let planned = self.plan(registry)?;
        let table = self.table(&planned)?;
        let mut all = Vec::new();
        for (file, target, points) in planned {
            all.push(FileRuns { file, points, folder: ResultFolder::create(&target, self.force)? });
        }
        if !self.quiet {
            let mut said = BTreeSet::new();
            let warnings =
                all.iter().flat_map(|one| &one.points).flat_map(|p| &p.scenario.warnings);
            failure::warn(warnings.filter(|warning| said.insert(warning.title.clone())));
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.jobs.map_or(0, usize::from))
            .build()
            .map_err(|error| Failure::unexpected(format!("cannot start threads: {error}")))?;
        if self.check_determinism {
            let scenarios = || all.iter().flat_map(|one| &one.points).map(|point| &point.scenario);
            pool.install(|| scenarios().try_for_each(run::check_determinism))?;
        }
        let finished = {
            let name = match all.as_slice() {
                [one] => one.points.first().map_or("", |point| &point.scenario.name).to_owned(),
                many => format!("{} scenarios", many.len()),
            };
            let expected = all
                .iter()
                .flat_map(|one| &one.points)
                .map(|point| run::expected_requests(&point.scenario))
                .try_fold(0_u64, |sum, requests| Some(sum.saturating_add(requests?)));
            let bar = progress::bar(&name, expected, self.quiet);
            let finished = pool.install(|| run_many::run(all, &|requests| bar.inc(requests)));
            bar.finish_and_clear();
            finished?
        };
        if let Some(path) = &table {
            write_file(path, &run_many::csv(&finished))?;
        }
        if !self.quiet {
            self.show(&finished, table.as_deref());
        }
        let met = finished.iter().flat_map(FileDone::outcomes).all(|outcome| outcome.met);
        Ok(ExitCode::from(u8::from(self.strict && !met)))
    }

    /// Every file's scenarios and where its results will be.
    fn plan(&self, registry: &Registry) -> Result<Vec<(PathBuf, PathBuf, Vec<Point>)>, Failure> {
        let mut planned = Vec::new();
        let mut targets = BTreeSet::new();
        let tables = SharedTables::default();
        for file in &self.files {
            suggest_subcommand(file)?;
            let mut points = sweep::load(file, &self.all_settings(), (registry, &tables))?;
            for point in &mut points {
                point.scenario.exact_steps = self.exact_steps;
            }
            let Some(first) = points.first() else { continue };
            let target = self.target(&first.scenario);
            if !targets.insert(target.clone()) {
                return Err(Failure::bad_argument(format!(
                    "two scenarios would write into {}",
                    target.display()
                )));
            }
            planned.push((file.clone(), target, points));
        }
        Ok(planned)
    }

    /// Where the table of several files goes; that of a single one is in its result folder.
    fn table(
        &self,
        planned: &[(PathBuf, PathBuf, Vec<Point>)],
    ) -> Result<Option<PathBuf>, Failure> {
        if planned.len() < 2 {
            return Ok(None);
        }
        let path = self.out.clone().unwrap_or_else(|| PathBuf::from("results")).join(RUNS);
        if path.exists() && !self.force {
            return Err(Failure::bad_argument(format!(
                "{} exists; choose another folder with --out, or replace it with --force",
                path.display()
            )));
        }
        Ok(Some(path))
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

    /// Shows the report on a single run, or the table of several.
    fn show(&self, finished: &[FileDone], table: Option<&Path>) {
        let text = match finished {
            [FileDone { file, target, points }] if points.len() == 1 => {
                let (point, done) = &points[0];
                report(&ReportInput {
                    result: &done.result,
                    folder: Some(target.display().to_string()),
                    files: done.files.clone(),
                    table: VARIANTS,
                    next: next_step(file, &point.scenario, &done.result),
                    warnings: done.warnings.clone(),
                    colour: use_colour(),
                })
            }
            many => run_many::report(many, table),
        };
        failure::show_report(&text);
        if self.check_determinism {
            failure::say("deterministic: two runs of every seed took the same course");
        }
    }
}

/// A load under which latencies would say something, where this one is too high for that.
fn next_step(file: &Path, scenario: &Scenario, result: &ExperimentResult) -> Option<String> {
    let ([configuration], [variant]) = (&scenario.configurations[..], &result.variants[..]) else {
        return None;
    };
    let too_high = matches!(variant.verdict(), Verdict::NearSaturation | Verdict::Overloaded);
    let has_rate = matches!(
        configuration.cluster.first().workload_spec.arrivals,
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
