//! Many runs at once: several files, sweeps over settings, and the table of them all.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::failure::Failure;
use crate::base::paths::file_name;
use crate::metrics::{ExperimentResult, Outcome, VariantResult};
use crate::output::ResultFolder;
use crate::output::tables::{RUNS, runs_csv};
use crate::report::{ReportInput, use_colour};
use crate::run::{Finished, RunError};
use crate::scenario::sweep::Point;
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
            "" => run::run(&point.scenario, &folder, progress),
            label => run::run(&point.scenario, &folder.subfolder(label)?, progress),
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
    let mut variants: Vec<VariantResult> = Vec::new();
    let mut outcomes = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    let mut files = vec![RUNS.to_owned()];
    for one in all {
        for (point, done) in &one.points {
            let file = if all.len() > 1 { done.result.name.as_str() } else { "" };
            let label = point.label();
            let name = |variant: &str| {
                let parts = [file, &label, variant];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
            };
            variants.extend(
                done.result
                    .variants
                    .iter()
                    .map(|variant| VariantResult { name: name(&variant.name), ..variant.clone() }),
            );
            outcomes.extend(done.result.outcomes.iter().map(|outcome| Outcome {
                expected: format!("{}: {}", name(""), outcome.expected),
                ..outcome.clone()
            }));
            for warning in &done.warnings {
                if !warnings.contains(warning) {
                    warnings.push(warning.clone());
                }
            }
            if all.len() == 1 {
                files.push(format!("{}/", file_name(&label)));
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
        folder,
        files,
        table: RUNS,
        next: None,
        warnings,
        colour: use_colour(),
    })
}
