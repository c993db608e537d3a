//! Many runs at once: several files, sweeps over settings, and the table of them all.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::failure::Failure;
use crate::base::Diagnostic;
use crate::base::paths::file_name;
use crate::metrics::{ExperimentResult, Misfit, Outcome, VariantResult};
use crate::output::tables::{RUNS, Swept, runs_csv};
use crate::output::{OpenFolder, OutputError, ResultFolder};
use crate::report::{ReportInput, use_colour};
use crate::run::{FinishedScenario, RunError};
use crate::scenario::Scenario;
use crate::scenario::sweep::{MisfitPoint, Point, short_names};
use crate::{report, run};

/// A scenario file, the scenarios that it and the sweeps make, and the folder of their results.
pub(super) struct FileRuns {
    pub file: PathBuf,
    /// What its results are called.
    pub name: String,
    pub points: Vec<Point>,
    /// Points that do not fit in memory.
    pub misfits: Vec<MisfitPoint>,
    pub folder: ResultFolder,
}

impl FileRuns {
    /// Creates the folders of all points and variants, so that a run does not find out at its end
    /// that it cannot.
    pub fn create_folders(&self) -> Result<(), OutputError> {
        for point in &self.points {
            let place = self.place(point)?;
            for variant in point.scenario.configurations.iter().filter(|c| !c.name.is_empty()) {
                place.subfolder(&variant.name)?;
            }
        }
        Ok(())
    }

    /// Where the results of a point go.
    fn place(&self, point: &Point) -> Result<OpenFolder, OutputError> {
        match point.label().as_str() {
            "" => Ok((*self.folder).clone()),
            label => self.folder.subfolder(label),
        }
    }
}

/// A file whose runs are over.
pub(super) struct FileDone {
    pub file: PathBuf,
    pub target: PathBuf,
    /// What the user should know about the folder.
    pub notes: Vec<String>,
    pub points: Vec<(Point, FinishedScenario)>,
    /// Points that do not fit in memory, and what is known of them.
    pub misfits: Vec<(MisfitPoint, ExperimentResult)>,
}

impl FileDone {
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.points.iter().flat_map(|(_, done)| &done.result.outcomes)
    }

    /// Whether anything did not run because it does not fit in memory.
    pub fn has_misfits(&self) -> bool {
        !self.misfits.is_empty()
            || self.points.iter().any(|(_, done)| !done.result.misfits.is_empty())
    }

    /// The rows of the table, in the order of the points.
    fn rows(&self) -> Vec<Swept<'_>> {
        let mut points =
            self.points.iter().map(|(point, done)| (point.values.as_slice(), &done.result));
        let mut rows: Vec<Swept<'_>> = Vec::new();
        for (misfit, result) in &self.misfits {
            let before = misfit.index - rows.len();
            rows.extend(points.by_ref().take(before));
            rows.push((misfit.values.as_slice(), result));
        }
        rows.extend(points);
        rows
    }
}

/// Runs everything on the threads of the pool that this is called in. A file's folder is committed
/// as soon as all of its scenarios are done, whatever becomes of the others.
pub(super) fn run(
    all: Vec<FileRuns>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<FileDone>, Failure> {
    let done: Vec<Result<FileDone, RunError>> =
        all.into_par_iter().map(|one| run_file(one, progress)).collect();
    // In the order of the files, so that the same error is reported whatever the threads did.
    Ok(done.into_iter().collect::<Result<_, _>>()?)
}

fn run_file(one: FileRuns, progress: &(dyn Fn(u64) + Sync)) -> Result<FileDone, RunError> {
    let finished: Vec<Result<FinishedScenario, RunError>> = one
        .points
        .par_iter()
        .map(|point| run_one(&point.scenario, &one.place(point)?, progress))
        .collect();
    let FileRuns { file, name, points, misfits, folder } = one;
    let finished: Vec<FinishedScenario> = finished.into_iter().collect::<Result<_, _>>()?;
    let points: Vec<(Point, FinishedScenario)> = points.into_iter().zip(finished).collect();
    let misfits = misfits.into_iter().map(|misfit| {
        let result = nothing_fits(&name, &misfit.error);
        (misfit, result)
    });
    let target = folder.target().to_owned();
    let mut done = FileDone { file, target, notes: Vec::new(), points, misfits: misfits.collect() };
    if done.points.iter().any(|(point, _)| !point.values.is_empty()) {
        folder.write(RUNS, runs_csv(&done.rows()))?;
    }
    done.notes = folder.commit()?.notes;
    Ok(done)
}

/// Runs one scenario, with its report in the log.
fn run_one(
    scenario: &Scenario,
    place: &OpenFolder,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<FinishedScenario, RunError> {
    let log = |done: &FinishedScenario| report::report(&ReportInput::of(done, place.target()));
    run::run_with_report(scenario, place, progress, &log)
}

/// The results of what does not fit in memory.
fn nothing_fits(name: &str, error: &Diagnostic) -> ExperimentResult {
    ExperimentResult {
        name: name.to_owned(),
        title: None,
        variants: Vec::new(),
        misfits: vec![Misfit { name: String::new(), why: error.in_one_line() }],
        exact_steps: false,
        outcomes: Vec::new(),
    }
}

/// The table over all files. `misfits` are files of which nothing fits.
pub(super) fn csv(all: &[FileDone], misfits: &[(PathBuf, Box<Diagnostic>)]) -> String {
    let unfit: Vec<ExperimentResult> =
        misfits.iter().map(|(file, error)| nothing_fits(&stem(file), error)).collect();
    let rows = all.iter().flat_map(FileDone::rows);
    let none: &[(String, String)] = &[];
    runs_csv(&rows.chain(unfit.iter().map(|result| (none, result))).collect::<Vec<_>>())
}

/// What does not fit and what would: the rest is said before the run.
fn in_short(error: &Diagnostic) -> String {
    error.help.iter().fold(error.title.clone(), |line, help| format!("{line}; {help}"))
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The names of the result folders of all files.
pub(super) fn folders(all: &[FileDone]) -> Vec<String> {
    let names = all.iter().filter_map(|one| one.target.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// The table of all runs for the terminal, with their expectations. `folder` is where the table of
/// several files was written.
pub(super) fn report(
    all: &[FileDone],
    misfits: &[(PathBuf, Box<Diagnostic>)],
    folder: Option<&Path>,
) -> String {
    let points: Vec<&Point> = all.iter().flat_map(|one| &one.points).map(|(p, _)| p).collect();
    let axes = Axes::of(&points, folder.is_some());
    let mut unfit: Vec<Misfit> = Vec::new();
    let mut variants: Vec<VariantResult> = Vec::new();
    let mut met: Vec<Option<bool>> = Vec::new();
    let mut outcomes = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    let mut files = vec![RUNS.to_owned()];
    for one in all {
        for (point, done) in &one.points {
            let file = if folder.is_some() { done.result.name.as_str() } else { "" };
            let name = |variant: &str| axes.row(file, point, variant);
            for variant in &done.result.variants {
                met.push(reached(variant, &done.result.outcomes));
                variants.push(VariantResult { name: name(&variant.name), ..variant.clone() });
            }
            let label = axes.label(point);
            let of = [file, &label].into_iter().filter(|part| !part.is_empty());
            let of = of.collect::<Vec<_>>().join(", ");
            outcomes.extend(done.result.outcomes.iter().map(|outcome| Outcome {
                expected: format!("{of}: {}", outcome.expected),
                ..outcome.clone()
            }));
            unfit.extend(
                done.result
                    .misfits
                    .iter()
                    .map(|misfit| Misfit { name: name(&misfit.name), why: misfit.why.clone() }),
            );
            for warning in &done.warnings {
                if !warnings.contains(warning) {
                    warnings.push(warning.clone());
                }
            }
            if folder.is_none() {
                files.push(format!("{}/", file_name(&point.label())));
            }
        }
        unfit.extend(
            one.misfits
                .iter()
                .map(|(misfit, _)| Misfit { name: misfit.label(), why: in_short(&misfit.error) }),
        );
        if folder.is_some() {
            files
                .push(format!("{}/", one.target.file_name().unwrap_or_default().to_string_lossy()));
        }
    }
    unfit.extend(
        misfits.iter().map(|(file, error)| Misfit { name: stem(file), why: in_short(error) }),
    );
    let many = files.len() - 1;
    if many > 4 {
        files.truncate(1);
        files.push(format!("and {many} folders"));
    }
    let names: Vec<&str> = all
        .iter()
        .filter_map(|one| one.points.first().map(|(_, done)| done.result.name.as_str()))
        .collect();
    let exact_steps = all.iter().flat_map(|one| &one.points).any(|(_, d)| d.result.exact_steps);
    let folder = match folder {
        Some(path) => Some(path.display().to_string()),
        None => all.first().map(|one| one.target.display().to_string()),
    };
    report::report(&ReportInput {
        result: &ExperimentResult {
            name: names.join(", "),
            title: None,
            variants,
            misfits: unfit,
            exact_steps,
            outcomes,
        },
        swept: axes.heading(),
        met,
        folder,
        files,
        table: RUNS,
        next: None,
        warnings,
        width: report::width(),
        colour: use_colour(),
    })
}

/// Whether a variant keeps its own objectives and the scenario its expectations; `None` without
/// any.
fn reached(variant: &VariantResult, outcomes: &[Outcome]) -> Option<bool> {
    let by_slo = || {
        let attained = variant.mean("slo_attainment")?;
        Some(variant.slo.as_ref()?.met(attained, variant.mean("itl.p99")))
    };
    let expected = (!outcomes.is_empty()).then(|| outcomes.iter().all(|outcome| outcome.met));
    match (by_slo(), expected) {
        (Some(slo), Some(expected)) => Some(slo && expected),
        (one, other) => one.or(other),
    }
}

/// What tells the runs of sweeps apart.
struct Axes {
    /// Last parts of the swept paths of which values differ, or whole ones where that is ambiguous.
    names: Vec<String>,
    /// These paths.
    paths: Vec<String>,
    several_files: bool,
    variants: bool,
}

impl Axes {
    fn of(points: &[&Point], several_files: bool) -> Axes {
        let mut paths: Vec<String> = Vec::new();
        for (path, value) in points.iter().flat_map(|point| &point.values) {
            let differs = points.iter().any(|other| other.value(path) != Some(value));
            if differs && !paths.contains(path) {
                paths.push(path.clone());
            }
        }
        let variants = points.iter().any(|point| point.scenario.has_variants());
        Axes { names: short_names(&paths), paths, several_files, variants }
    }

    /// What the names of the rows consist of.
    fn heading(&self) -> String {
        let mut parts: Vec<&str> = self.names.iter().map(String::as_str).collect();
        if self.several_files {
            parts.insert(0, "scenario");
        }
        if self.variants {
            parts.push("variant");
        }
        parts.join(", ")
    }

    /// What tells a point apart: `qps=2, replicas=1`.
    fn label(&self, point: &Point) -> String {
        let value =
            |(name, path): (&String, &String)| Some(format!("{name}={}", point.value(path)?));
        let parts = self.names.iter().zip(&self.paths).filter_map(value);
        parts.collect::<Vec<_>>().join(", ")
    }

    /// The name of a row.
    fn row(&self, file: &str, point: &Point, variant: &str) -> String {
        let values = self.paths.iter().map(|path| point.value(path).unwrap_or("-"));
        let parts = [file].into_iter().chain(values).chain([variant]);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }
}
