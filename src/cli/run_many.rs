//! Many runs at once: several files, sweeps over settings, and the table of them all.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::failure::Failure;
use crate::base::paths::file_name;
use crate::metrics::{ExperimentResult, Outcome, VariantResult};
use crate::output::tables::{RUNS, runs_csv};
use crate::output::{Place, ResultFolder};
use crate::report::{ReportInput, use_colour};
use crate::run::{Finished, RunError};
use crate::scenario::Scenario;
use crate::scenario::sweep::{Point, short_names};
use crate::{report, run};

/// A scenario file, the scenarios that it and the sweeps make, and the folder of their results.
pub(super) struct FileRuns {
    pub file: PathBuf,
    pub points: Vec<Point>,
    pub folder: ResultFolder,
}

/// The same when all have run.
pub(super) struct FileDone {
    pub file: PathBuf,
    pub target: PathBuf,
    pub points: Vec<(Point, Finished)>,
}

impl FileDone {
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.points.iter().flat_map(|(_, done)| &done.result.outcomes)
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
    let FileRuns { file, points, folder } = one;
    let finished: Vec<Result<Finished, RunError>> = points
        .par_iter()
        .map(|point| match point.label().as_str() {
            "" => run_one(&point.scenario, &folder, progress),
            label => run_one(&point.scenario, &folder.subfolder(label)?, progress),
        })
        .collect();
    let finished: Vec<Finished> = finished.into_iter().collect::<Result<_, _>>()?;
    let points: Vec<(Point, Finished)> = points.into_iter().zip(finished).collect();
    let swept = points.iter().any(|(point, _)| !point.values.is_empty());
    if swept {
        folder.write(RUNS, runs_csv(&rows(&points)))?;
    }
    Ok(FileDone { file, target: folder.commit()?, points })
}

/// Runs one scenario, with its report in the log.
fn run_one(
    scenario: &Scenario,
    place: &Place,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Finished, RunError> {
    let log = |done: &Finished| report::report(&ReportInput::of(done, place.target()));
    run::run_with_report(scenario, place, progress, &log)
}

fn rows(points: &[(Point, Finished)]) -> Vec<crate::output::tables::Swept<'_>> {
    points.iter().map(|(point, done)| (point.values.as_slice(), &done.result)).collect()
}

/// The table over all files.
pub(super) fn csv(all: &[FileDone]) -> String {
    runs_csv(&all.iter().flat_map(|one| rows(&one.points)).collect::<Vec<_>>())
}

/// The table of all runs for the terminal, with their expectations. `table` is where the table of
/// several files was written.
pub(super) fn report(all: &[FileDone], table: Option<&Path>) -> String {
    let points: Vec<&Point> = all.iter().flat_map(|one| &one.points).map(|(p, _)| p).collect();
    let axes = Axes::of(&points, all.len() > 1);
    let mut variants: Vec<VariantResult> = Vec::new();
    let mut met: Vec<Option<bool>> = Vec::new();
    let mut outcomes = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    let mut files = vec![RUNS.to_owned()];
    for one in all {
        for (point, done) in &one.points {
            let file = if all.len() > 1 { done.result.name.as_str() } else { "" };
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
            for warning in &done.warnings {
                if !warnings.contains(warning) {
                    warnings.push(warning.clone());
                }
            }
            if all.len() == 1 {
                files.push(format!("{}/", file_name(&point.label())));
            }
        }
        if all.len() > 1 {
            files
                .push(format!("{}/", one.target.file_name().unwrap_or_default().to_string_lossy()));
        }
    }
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
    let folder = match table {
        Some(path) => path.parent().map(|folder| folder.display().to_string()),
        None => all.first().map(|one| one.target.display().to_string()),
    };
    report::report(&ReportInput {
        result: &ExperimentResult {
            name: names.join(", "),
            title: None,
            variants,
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

/// Whether a variant keeps its own objectives and the scenario its expectations; `None` without any.
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
