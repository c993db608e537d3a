//! What is compared: the runs of a result folder, or of a scenario that was run.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use crate::base::input;
use crate::base::text::{cut, of_cell};
use crate::metrics::{ExperimentResult, Metrics, RunSummary, names};
use crate::output::summary_json::SUMMARY;
use crate::output::tables::{RUNS, SEEDS};
use crate::output::{Manifest, OutputError, State};

/// One configuration under its seeds.
#[derive(Clone, Debug)]
pub struct Side {
    /// Path and variant.
    pub label: String,
    /// A run per seed.
    pub runs: Vec<RunSummary>,
}

/// A result folder that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SideError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder without results.
    #[error("{} is not a result folder: there is no {SUMMARY} in it", .0.display())]
    NoResults(PathBuf),
    /// A folder whose run has not ended.
    #[error("{} is not complete: a run is writing into it, or broke off; run it again", .0.display())]
    Unfinished(PathBuf),
    /// What a manifest lists could not be looked at.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The folder of a sweep or of several files.
    #[error("{} holds the results of several runs ({RUNS}): name the folders in it", .0.display())]
    Several(PathBuf),
    /// A file that is not as this program writes it.
    #[error("{}: {what}", .path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl Side {
    /// The variants of results, one side each.
    pub fn of_results(label: &str, result: &ExperimentResult) -> Vec<Side> {
        let side = |name: &str, runs: &[RunSummary]| Side {
            label: join(label, name),
            runs: runs.to_vec(),
        };
        result.variants.iter().map(|variant| side(&variant.name, &variant.runs)).collect()
    }

    /// What is to be known of a result folder before it is compared: files of it that have changed
    /// since they were written, or are gone. Folders of earlier versions have no manifest and say
    /// nothing.
    ///
    /// # Errors
    /// A run is writing into the folder, or broke off; or a file cannot be read.
    pub fn doubts(folder: &Path) -> Result<Option<String>, SideError> {
        let Some(manifest) = Manifest::read(folder) else { return Ok(None) };
        if manifest.state != State::Complete {
            return Err(SideError::Unfinished(folder.to_owned()));
        }
        let changes = manifest.check(folder)?;
        let list = |what: &str, files: &[PathBuf]| {
            let names: Vec<String> =
                files.iter().take(3).map(|f| f.display().to_string()).collect();
            let more = files.len().saturating_sub(names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (!names.is_empty()).then(|| format!("{what}: {}{more}", names.join(", ")))
        };
        let said: Vec<String> = [("changed", &changes.modified), ("missing", &changes.missing)]
            .into_iter()
            .filter_map(|(what, files)| list(what, files))
            .collect();
        let text =
            || format!("{} is not as it was written ({})", folder.display(), said.join("; "));
        Ok((!said.is_empty()).then(text))
    }

    /// The variants of a result folder, one side each: every seed from `seeds.csv`, or the only one
    /// from `summary.json`.
    ///
    /// # Errors
    /// The folder holds no results, or they cannot be read.
    pub fn read(folder: &Path) -> Result<Vec<Side>, SideError> {
        let label = folder.display().to_string();
        let (seeds, summary) = (folder.join(SEEDS), folder.join(SUMMARY));
        if !summary.is_file() {
            return Err(match folder.join(RUNS).is_file() {
                true => SideError::Several(folder.to_owned()),
                false => SideError::NoResults(folder.to_owned()),
            });
        }
        if !seeds.is_file() {
            return read_summary(&summary, &label);
        }
        let sides = read_seeds(&seeds, &label)?;
        match missing(&sides, &summary, &label)? {
            None => Ok(sides),
            Some(what) => Err(SideError::Malformed { path: seeds, what }),
        }
    }
}

fn join(label: &str, variant: &str) -> String {
    if variant.is_empty() { label.to_owned() } else { format!("{label}, {variant}") }
}

fn read_text(path: &Path) -> Result<String, SideError> {
    input::read_to_string(path).map_err(|source| SideError::Io { path: path.to_owned(), source })
}

fn read_seeds(path: &Path, label: &str) -> Result<Vec<Side>, SideError> {
    let malformed = |what: String| SideError::Malformed { path: path.to_owned(), what };
    let text = read_text(path)?;
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let header = csv.headers().map_err(|error| malformed(error.to_string()))?.clone();
    if (header.get(0), header.get(1)) != (Some("variant"), Some("seed")) {
        return Err(malformed("the header does not begin with variant,seed".to_owned()));
    }
    let mut sides: IndexMap<String, Vec<RunSummary>> = IndexMap::new();
    for record in csv.records() {
        let record = record.map_err(|error| malformed(error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let bad = |name: &str, cell: &str, expected: &str| {
            malformed(format!(
                "line {line}: `{}` for {}, expected {expected}",
                cut(cell),
                cut(name)
            ))
        };
        let cell = |index: usize| record.get(index).unwrap_or("");
        let seed = cell(1).parse().map_err(|_| bad("seed", cell(1), "a whole number"))?;
        let mut metrics = Metrics::default();
        for (index, name) in header.iter().enumerate().skip(2) {
            if cell(index).is_empty() {
                continue;
            }
            let value = cell(index).parse().ok().filter(|value: &f64| value.is_finite());
            let value = value.ok_or_else(|| bad(name, cell(index), "a number"))?;
            // A metric that this version does not know is no concern of it.
            metrics.set(name, value);
        }
        let run = RunSummary { seed, metrics, ..RunSummary::default() };
        sides.entry(join(label, of_cell(cell(0)))).or_default().push(run);
    }
    Ok(sides.into_iter().map(|(label, runs)| Side { label, runs }).collect())
}

/// What `seeds.csv` lacks of the runs that `summary.json` speaks of.
fn missing(sides: &[Side], summary: &Path, label: &str) -> Result<Option<String>, SideError> {
    let value = read_json(summary)?;
    let of = |name: &str, value: &Value| {
        let listed = value["seeds"].as_array().map(Vec::as_slice).unwrap_or_default();
        let listed: Vec<Option<u64>> = listed.iter().map(Value::as_u64).collect();
        let label = join(label, name);
        let side = sides.iter().find(|side| side.label == label);
        let found: Vec<Option<u64>> =
            side.into_iter().flat_map(|side| &side.runs).map(|run| Some(run.seed)).collect();
        let which = if name.is_empty() { String::new() } else { format!(" of variant {name}") };
        (listed != found || found.is_empty()).then(|| {
            let (found, listed) = (found.len(), listed.len());
            format!(
                "{found} runs{which}, but {SUMMARY} beside it lists {listed}: the folder is damaged"
            )
        })
    };
    Ok(match value["variants"].as_object() {
        Some(variants) => variants.iter().find_map(|(name, value)| of(name, value)),
        None => of("", &value),
    })
}

fn read_json(path: &Path) -> Result<Value, SideError> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|error| SideError::Malformed { path: path.to_owned(), what: error.to_string() })
}

fn read_summary(path: &Path, label: &str) -> Result<Vec<Side>, SideError> {
    let malformed = |what: String| SideError::Malformed { path: path.to_owned(), what };
    let value = read_json(path)?;
    let side = |name: &str, value: &Value| {
        let seed = match value["seeds"].as_array().map(Vec::as_slice) {
            Some([seed]) => seed.as_u64(),
            _ => None,
        };
        let seed = seed.ok_or_else(|| {
            malformed(format!("no single seed in `seeds`, and no {SEEDS} beside it"))
        })?;
        if !value["metrics"].is_object() {
            return Err(malformed("no `metrics`: the folder is damaged".to_owned()));
        }
        let mut metrics = Metrics::default();
        for metric in names::all() {
            metrics.set(&metric.name, value["metrics"][&metric.name]["mean"].as_f64());
        }
        Ok(Side {
            label: join(label, name),
            runs: vec![RunSummary { seed, metrics, ..RunSummary::default() }],
        })
    };
    match value["variants"].as_object() {
        Some(variants) if variants.is_empty() => {
            Err(malformed("no variant in `variants`: the folder is damaged".to_owned()))
        }
        Some(variants) => variants.iter().map(|(name, value)| side(name, value)).collect(),
        None => Ok(vec![side("", &value)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{examples, summary_json, tables};

    fn written(result: &ExperimentResult, seeds: bool) -> Result<Vec<Side>, SideError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(SUMMARY), summary_json::render(result)).unwrap();
        if seeds {
            std::fs::write(folder.path().join(SEEDS), tables::seeds_csv(result)).unwrap();
        }
        Side::read(folder.path())
    }

    #[test]
    fn what_was_written_is_read_back() {
        for (result, seeds) in [
            (examples::many_seeds(), true),
            (examples::one_run(), false),
            (examples::variants(), false),
        ] {
            let sides = written(&result, seeds).unwrap();
            let wanted = Side::of_results("x", &result);
            assert_eq!(sides.len(), wanted.len());
            for (side, wanted) in sides.iter().zip(&wanted) {
                assert_eq!(side.runs, wanted.runs);
                let variant = |side: &Side| side.label.split_once(", ").map(|(_, v)| v.to_owned());
                assert_eq!(variant(side), variant(wanted));
            }
        }
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Side::read(folder.path()).unwrap_err();
        assert!(matches!(read(), SideError::NoResults(_)));
        std::fs::write(folder.path().join(RUNS), "").unwrap();
        assert!(matches!(read(), SideError::Several(_)));
        std::fs::write(folder.path().join(SUMMARY), "{}").unwrap();
        assert!(read().to_string().contains("no single seed"));
        std::fs::write(folder.path().join(SEEDS), "variant,seed,ttft.mean\n,1,x\n").unwrap();
        assert!(read().to_string().contains("line 2: `x` for ttft.mean"), "{}", read());
        assert!(written(&examples::many_seeds(), false).is_err(), "means hide the seeds");
    }

    #[test]
    fn a_damaged_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let result = examples::many_seeds();
        let (summary, seeds) = (summary_json::render(&result), tables::seeds_csv(&result));
        let read = |summary: &str, seeds: &str| {
            std::fs::write(folder.path().join(SUMMARY), summary).unwrap();
            std::fs::write(folder.path().join(SEEDS), seeds).unwrap();
            Side::read(folder.path()).map(|sides| sides.len()).map_err(|error| error.to_string())
        };
        assert_eq!(read(&summary, &seeds), Ok(1));
        let header = seeds.lines().next().unwrap();
        let error = read(&summary, header).unwrap_err();
        assert!(error.contains("0 runs, but summary.json beside it lists 10"), "{error}");
        let five: Vec<&str> = seeds.lines().take(6).collect();
        let error = read(&summary, &five.join("\n")).unwrap_err();
        assert!(error.contains("5 runs, but summary.json"), "{error}");
        let infinite = seeds.replacen(",0.", ",inf", 1);
        assert!(read(&summary, &infinite).unwrap_err().contains("inf"), "not dropped");
        std::fs::remove_file(folder.path().join(SEEDS)).unwrap();
        for text in [r#"{"variants": {}}"#, r#"{"seeds": [1]}"#, "{\"see"] {
            std::fs::write(folder.path().join(SUMMARY), text).unwrap();
            assert!(Side::read(folder.path()).is_err(), "{text}");
        }
    }
}
