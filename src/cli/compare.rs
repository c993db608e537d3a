//! `vidur-ecs compare`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use rayon::prelude::*;

use super::failure::{self, Failure};
use super::{progress, threads};
use crate::base::Diagnostic;
use crate::base::diagnostic::DOES_NOT_FIT;
use crate::compare::{Comparison, Side, SideError, csv, json, text};
use crate::metrics::names;
use crate::output::NewFile;
use crate::registry::Registry;
use crate::report::width;
use crate::run;
use crate::run::RunError;
use crate::scenario::{LoadContext, sweep};
use crate::timing::SharedTables;

/// What the table shows unless metrics are named.
const METRICS: [&str; 16] = [
    "ttft.mean",
    "ttft.p99",
    "tpot.mean",
    "tpot.p99",
    "itl.p99",
    "e2e.mean",
    "e2e.p99",
    "queue.mean",
    "request_throughput",
    "output_throughput",
    "goodput",
    "slo_attainment",
    "running_mean",
    "kv_allocated_mean",
    "prefix_hit_rate",
    "preemptions",
];

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// Result folders, and scenario files to run first; all are compared with the first one, or
    /// with its first variant
    #[arg(value_name = "FOLDER|FILE", required = true)]
    sides: Vec<PathBuf>,
    /// Shows this metric instead of the usual ones; can be given several times
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// Changes a setting of the scenario files; a list of values compares all of them
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// First seed of the scenario files
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of seeds of the scenario files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seeds: Option<u32>,
    /// Runs at most N simulations in parallel [default: one per processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Writes every metric as CSV
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Writes every metric as JSON; without FILE, as the last option, prints it
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Replaces these files if they already exist
    #[arg(long)]
    force: bool,
}

impl CompareArgs {
    pub fn run(&self, registry: &Registry) -> Result<ExitCode, Failure> {
        self.check()?;
        let claim = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| NewFile::claim(path, self.force)).transpose()
        };
        let print = self.json.as_deref() == Some(Path::new("-"));
        let json_file = self.json.clone().filter(|_| !print);
        let files = (claim(&self.csv)?, claim(&json_file)?);
        let mut settings = self.settings.clone();
        settings.extend(self.seed.map(|seed| format!("seed={seed}")));
        settings.extend(self.seeds.map(|seeds| format!("seeds={seeds}")));
        // What is wrong with any of them shows before anything runs.
        let tables = SharedTables::default();
        let mut inputs = Vec::new();
        let mut fits = true;
        for path in &self.sides {
            inputs.push(match path.is_dir() {
                true => {
                    let doubts = Side::doubts(path)?.map(Diagnostic::warning);
                    failure::warn(&doubts);
                    Input::Read(Side::read(path)?)
                }
                false => {
                    let sweep =
                        sweep::load(path, &settings, LoadContext { registry, tables: &tables })?;
                    let points = sweep.points.iter().map(|point| &point.scenario);
                    failure::misfits(sweep.misfits.iter().map(|misfit| &misfit.error), points);
                    fits &= sweep.misfits.is_empty()
                        && sweep.points.iter().all(|point| point.scenario.misfits.is_empty());
                    Input::Run(path, sweep.points)
                }
            });
        }
        let count = inputs.iter().map(Input::len).sum::<usize>();
        if count < 2 {
            return Err(Failure::bad_argument(
                "there is nothing to compare with; give another folder or file, or a scenario with variants",
            ));
        }
        let sides = self.sides_of(inputs)?;
        let Some((baseline, others)) = sides.split_first() else {
            return Err(Failure::unexpected("no results"));
        };
        let comparisons: Vec<Comparison> =
            others.iter().map(|other| Comparison::new(baseline, other)).collect();
        let metrics: Vec<&str> = match self.metrics.as_slice() {
            [] => METRICS.to_vec(),
            chosen => chosen.iter().map(String::as_str).collect(),
        };
        if let Some(file) = files.0 {
            file.commit(csv(&baseline.label, &comparisons))?;
        }
        if let Some(file) = files.1 {
            file.commit(json(&baseline.label, &comparisons))?;
        }
        match print {
            true => failure::say(&json(&baseline.label, &comparisons)),
            false => failure::say(&text(&baseline.label, &comparisons, &metrics, width())),
        }
        Ok(ExitCode::from(if fits { 0 } else { DOES_NOT_FIT }))
    }

    /// Checks what needs no file to be read.
    fn check(&self) -> Result<(), Failure> {
        if let Some(path) = self.json.as_ref().filter(|path| *path != Path::new("-"))
            && path.extension().is_none_or(|extension| extension != "json")
        {
            return Err(Failure::bad_argument(format!(
                "--json takes a file that ends in .json, or nothing as the last option; found {}",
                path.display()
            )));
        }
        for name in &self.metrics {
            if names::find(name).is_none() {
                let hint = names::closest(name)
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(Failure::bad_argument(format!(
                    "there is no metric `{name}`{hint} (`vidur-ecs list metrics` shows all)"
                )));
            }
        }
        let options = !self.settings.is_empty()
            || self.seed.is_some()
            || self.seeds.is_some()
            || self.jobs.is_some();
        if options && self.sides.iter().all(|path| path.is_dir()) {
            return Err(Failure::bad_argument(
                "--set, --seed, --seeds and --jobs only apply to scenario files, but all sides are result folders",
            ));
        }
        Ok(())
    }

    /// Runs the scenarios and gathers all sides in their order.
    fn sides_of(&self, inputs: Vec<Input<'_>>) -> Result<Vec<Side>, Failure> {
        let expected = inputs.iter().flat_map(Input::points).try_fold(0_u64, |sum, point| {
            Some(sum.saturating_add(run::expected_requests(&point.scenario)?))
        });
        for point in inputs.iter().flat_map(Input::points) {
            failure::warn(&point.scenario.warnings);
        }
        let scenarios = inputs.iter().flat_map(Input::points).map(|point| &point.scenario);
        let pool = threads::pool(self.jobs, scenarios)?;
        let bar = progress::bar("compare", expected, expected == Some(0));
        let done: Vec<Result<Vec<Side>, RunError>> = pool.install(|| {
            let progress = |requests| bar.inc(requests);
            inputs.into_par_iter().map(|input| input.sides(&progress)).collect()
        });
        bar.finish_and_clear();
        // In the order of the arguments, so that the same error is reported whatever the threads
        // did.
        let sides: Vec<Vec<Side>> = done.into_iter().collect::<Result<_, _>>()?;
        Ok(sides.into_iter().flatten().collect())
    }
}

/// What a side comes from.
enum Input<'a> {
    Read(Vec<Side>),
    Run(&'a Path, Vec<sweep::Point>),
}

impl Input<'_> {
    fn points(&self) -> &[sweep::Point] {
        match self {
            Input::Read(_) => &[],
            Input::Run(_, points) => points,
        }
    }

    /// The sides, for which scenarios are run side by side.
    fn sides(self, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Side>, RunError> {
        let (path, points) = match self {
            Input::Read(sides) => return Ok(sides),
            Input::Run(path, points) => (path.display().to_string(), points),
        };
        let of_point = |point: &sweep::Point| {
            let label = match point.label().as_str() {
                "" => path.clone(),
                label => format!("{path}, {label}"),
            };
            let result = run::results(&point.scenario, progress)?;
            Ok(Side::of_results(&label, &result))
        };
        let done: Vec<Result<_, RunError>> = points.par_iter().map(of_point).collect();
        let sides: Vec<Vec<Side>> = done.into_iter().collect::<Result<_, _>>()?;
        Ok(sides.into_iter().flatten().collect())
    }

    /// Number of sides.
    fn len(&self) -> usize {
        match self {
            Input::Read(sides) => sides.len(),
            Input::Run(_, points) => {
                points.iter().map(|point| point.scenario.configurations.len()).sum()
            }
        }
    }
}

impl From<SideError> for Failure {
    fn from(error: SideError) -> Failure {
        Failure::bad_argument(error)
    }
}
