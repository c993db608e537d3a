//! `vidur-ecs run`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use serde_json::Value;

use super::failure::{self, Failure};
use super::json;
use super::run_many::{self, FileDone, FileRuns};
use super::{progress, subcommands, threads};
use crate::base::Diagnostic;
use crate::base::diagnostic::DOES_NOT_FIT;
use crate::base::paths::file_name;
use crate::base::suggest;
use crate::metrics::{ExperimentResult, Verdict};
use crate::output::summary_json::summary;
use crate::output::{Claim, Collection, Replace, ResultFolder};
use crate::registry::Registry;
use crate::report::{ReportInput, report, use_colour, width};
use crate::run;
use crate::scenario::sweep::Sweep;
use crate::scenario::{LoadContext, Scenario, sweep};
use crate::timing::SharedTables;
use crate::workload::Arrivals;

/// What is to be done.
#[derive(Default)]
struct Planned {
    /// Files, where their results will be, and their scenarios.
    runs: Vec<(PathBuf, Claim, Sweep)>,
    /// Files of which nothing fits in memory.
    misfits: Vec<(PathBuf, Box<Diagnostic>)>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Scenario files
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Result folder; with several files, the folder for their result folders [default:
    /// results/<name of the file>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replaces existing results, but never files that the program did not write.
    /// (Without --out, results of the same file with the same settings are replaced anyway.)
    #[arg(long)]
    force: bool,
    /// First seed; overrides the scenario's
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of seeds; overrides the scenario's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seeds: Option<u32>,
    /// Changes a setting in every variant, for example engine.policy.max_num_seqs=64. A list of
    /// values runs each of them: 'workload.arrivals.qps=[1,2,4]'
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub settings: Vec<String>,
    /// Runs at most N simulations in parallel; the results do not depend on it [default: one per
    /// processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Simulates every iteration as a separate step: slower, with the same results
    #[arg(long)]
    exact_steps: bool,
    /// Lists admissions, preemptions and completions of every seed in run.log
    #[arg(long)]
    log_events: bool,
    /// Prints nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Prints sizes, memory and the numbers of summary.json as JSON instead of the report: an
    /// object, or a list with several runs
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
    /// Exits with code 1 if an expectation of the scenario is not met
    #[arg(long)]
    strict: bool,
    /// First runs everything twice, and reports when the two runs diverge
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
        let table = self.table(&planned.runs)?;
        let mut all = Vec::new();
        for (file, claim, sweep) in planned.runs {
            let Sweep { name, points, misfits } = sweep;
            let folder = ResultFolder::claim(claim)?;
            all.push(FileRuns { file, name, points, misfits, folder });
        }
        for one in &all {
            one.create_folders()?;
        }
        let points = all.iter().flat_map(|one| &one.misfits).map(|misfit| &misfit.error);
        let files = planned.misfits.iter().map(|(_, error)| error);
        let run = all.iter().flat_map(|one| &one.points).map(|point| &point.scenario);
        failure::misfits(points.chain(files), run);
        if !self.quiet {
            let mut said = BTreeSet::new();
            let warnings =
                all.iter().flat_map(|one| &one.points).flat_map(|p| &p.scenario.warnings);
            failure::warn(warnings.filter(|warning| said.insert(warning.title.clone())));
        }
        for one in all.iter().filter(|_| !self.quiet) {
            failure::note(one.folder.notes());
        }
        let scenarios = all.iter().flat_map(|one| &one.points).map(|point| &point.scenario);
        let pool = threads::pool(self.jobs, scenarios)?;
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
        let folder = table.is_some().then(|| self.folder());
        if let Some(table) = table {
            let text = run_many::csv(&finished, &planned.misfits);
            table.commit(&text, run_many::folders(&finished))?;
        }
        if self.json {
            let all = finished.iter().flat_map(|one| &one.points);
            let mut all: Vec<Value> = all
                .map(|(point, done)| {
                    let mut one = json::scenario(&point.scenario);
                    one.insert("results".to_owned(), summary(&done.result));
                    Value::Object(one)
                })
                .chain(planned.misfits.iter().map(|(_, error)| json::misfit(error)))
                .collect();
            let value = if all.len() == 1 { all.swap_remove(0) } else { Value::Array(all) };
            failure::say(&serde_json::to_string_pretty(&value).unwrap_or_default());
        } else if !self.quiet {
            self.show(&finished, &planned.misfits, folder.as_deref());
        }
        // What fits has run, and its results are there; the code says that it is not all.
        if !planned.misfits.is_empty() || finished.iter().any(FileDone::has_misfits) {
            return Ok(ExitCode::from(DOES_NOT_FIT));
        }
        let met = finished.iter().flat_map(FileDone::outcomes).all(|outcome| outcome.met);
        Ok(ExitCode::from(u8::from(self.strict && !met)))
    }

    /// Every file's scenarios and where its results will be.
    fn plan(&self, registry: &Registry) -> Result<Planned, Failure> {
        let mut planned = Planned::default();
        let mut targets = BTreeSet::new();
        let tables = SharedTables::default();
        for file in &self.files {
            suggest_subcommand(file)?;
            let mut sweep = match sweep::load(
                file,
                &self.all_settings(),
                LoadContext { registry, tables: &tables },
            ) {
                Err(error) if error.exit_code == DOES_NOT_FIT && self.files.len() > 1 => {
                    planned.misfits.push((file.clone(), error));
                    continue;
                }
                sweep => sweep?,
            };
            for point in &mut sweep.points {
                point.scenario.exact_steps = self.exact_steps;
                point.scenario.log_events = self.log_events;
            }
            let target = self.target(&sweep.name);
            // Where the case of letters means nothing, these are one.
            if !targets.insert(target.to_string_lossy().to_lowercase()) {
                return Err(Failure::bad_argument(format!(
                    "two scenarios would write into {}",
                    target.display()
                )));
            }
            let scenarios = || sweep.points.iter().map(|point| &point.scenario);
            let hashes: Vec<String> = scenarios().map(Scenario::hash).collect();
            let inputs = scenarios().flat_map(Scenario::input_files);
            let inputs: BTreeSet<PathBuf> = inputs.collect();
            let claim = Claim {
                target,
                replace: Replace::of(self.force, self.out.is_some()),
                command: "run",
                settings: self.all_settings(),
                scenario: (sweep.name.clone(), file.clone(), hashes.join(" ")),
                inputs: inputs.into_iter().collect(),
            };
            planned.runs.push((file.clone(), claim, sweep));
        }
        match planned.runs.is_empty() && !planned.misfits.is_empty() {
            true => Err(planned.misfits.swap_remove(0).1.into()),
            false => Ok(planned),
        }
    }

    /// The table of several files; that of a single one is in its result folder.
    fn table(&self, planned: &[(PathBuf, Claim, Sweep)]) -> Result<Option<Collection>, Failure> {
        if self.files.len() < 2 {
            return Ok(None);
        }
        let claims: Vec<Claim> = planned.iter().map(|(_, claim, _)| claim.clone()).collect();
        Ok(Some(Collection::claim(&self.folder(), &claims)?))
    }

    /// The folder of the result folders of several files.
    fn folder(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| PathBuf::from("results"))
    }

    /// `--set` arguments, those that have an option of their own included.
    fn all_settings(&self) -> Vec<String> {
        let mut settings = self.settings.clone();
        settings.extend(self.seed.map(|seed| format!("seed={seed}")));
        settings.extend(self.seeds.map(|seeds| format!("seeds={seeds}")));
        settings
    }

    /// Where the results of that name go.
    fn target(&self, name: &str) -> PathBuf {
        let name = file_name(name);
        match &self.out {
            Some(out) if self.files.len() == 1 => out.clone(),
            _ => self.folder().join(name),
        }
    }

    /// Shows the report on a single run, or the table of several, which lies in `folder`.
    fn show(
        &self,
        finished: &[FileDone],
        misfits: &[(PathBuf, Box<Diagnostic>)],
        folder: Option<&Path>,
    ) {
        let text = match finished {
            [FileDone { file, target, points, misfits: left_out, .. }]
                if points.len() == 1 && left_out.is_empty() && misfits.is_empty() =>
            {
                let (point, done) = &points[0];
                report(&ReportInput {
                    next: next_step(file, &point.scenario, &done.result),
                    width: width(),
                    colour: use_colour(),
                    ..ReportInput::of(done, target)
                })
            }
            many => run_many::report(many, misfits, folder),
        };
        failure::show_report(&text);
        for one in finished {
            failure::note(&one.notes);
        }
        if self.check_determinism {
            failure::say("deterministic: two runs of every seed were identical");
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
    let capacity = variant.capacity.rate().filter(|_| too_high && has_rate)?;
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
            "there is no file `{written}`; did you mean the subcommand `{name}`?"
        ))),
        None => Ok(()),
    }
}
