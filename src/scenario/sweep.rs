//! Sweeps: `--set path=[1,2,4]` where the setting is no list gives one scenario per element, and
//! several of them every combination.

use std::path::Path;
use std::sync::Arc;

use super::document::{Document, Kind};
use super::scenario::source_of;
use super::{LoadContext, Scenario};
use crate::base::diagnostic::DOES_NOT_FIT;
use crate::base::paths::{folded_file_name, reserved_name};
use crate::base::{Diagnostic, Source};

/// More combinations than this are a slip of the pen.
const MOST_POINTS: usize = 10_000;

/// One combination of swept values.
pub struct Point {
    /// The swept paths with their values as text; empty if nothing is swept.
    pub values: Vec<(String, String)>,
    /// The scenario with these values.
    pub scenario: Scenario,
}

/// A combination that does not fit in memory.
pub struct MisfitPoint {
    /// Which point it would have been.
    pub index: usize,
    /// The values, as [`Point::values`].
    pub values: Vec<(String, String)>,
    /// What is missing.
    pub error: Box<Diagnostic>,
}

impl MisfitPoint {
    /// Its name, as [`Point::label`].
    pub fn label(&self) -> String {
        label(&self.values)
    }
}

/// All combinations.
pub struct Sweep {
    /// What the results are called.
    pub name: String,
    /// Points that run; at least one.
    pub points: Vec<Point>,
    /// Points that do not fit in memory.
    pub misfits: Vec<MisfitPoint>,
}

impl Point {
    /// `qps=2, max_num_seqs=64`; empty if nothing is swept.
    pub fn label(&self) -> String {
        label(&self.values)
    }

    /// The value that a sweep gave to a path.
    pub fn value(&self, path: &str) -> Option<&str> {
        self.values.iter().find(|(other, _)| other == path).map(|(_, value)| value.as_str())
    }
}

/// Reads a scenario file with `--set` arguments, of which some may sweep. The last one varies
/// fastest. Points with the same times share their tables, and those of other files with the same
/// `tables`.
///
/// # Errors
/// As [`Scenario::load`] for the first point that is wrong. Points that do not fit in memory are
/// left out, unless there is no other.
pub fn load(
    path: &Path,
    settings: &[String],
    shared: LoadContext<'_>,
) -> Result<Sweep, Box<Diagnostic>> {
    let (source, name, base_dir) = source_of(path)?;
    let read = |settings: &[String]| {
        Scenario::with_tables(&source, name.clone(), base_dir, settings, shared)
    };
    let axes = axes(&source, settings, &read)?;
    let count = axes.iter().try_fold(1_usize, |count, axis| count.checked_mul(axis.len()));
    if count.is_none_or(|count| count > MOST_POINTS) {
        let sizes: Vec<String> = axes.iter().map(|axis| axis.len().to_string()).collect();
        let found = sizes.into_iter().filter(|size| size != "1").collect::<Vec<_>>().join(" x ");
        return Err(Box::new(Diagnostic::error(format!(
            "--set sweeps {found} combinations, expected at most {MOST_POINTS}"
        ))));
    }
    let mut points = Vec::new();
    let mut misfits: Vec<MisfitPoint> = Vec::new();
    let mut folders = std::collections::BTreeSet::new();
    for index in 0..count.unwrap_or(0) {
        let mut rest = index;
        let mut chosen: Vec<&Choice> = axes
            .iter()
            .rev()
            .map(|axis| {
                let choice = &axis[rest % axis.len()];
                rest /= axis.len();
                choice
            })
            .collect();
        chosen.reverse();
        let settings: Vec<String> = chosen.iter().map(|choice| choice.setting.clone()).collect();
        let values: Vec<(String, String)> =
            chosen.iter().filter_map(|choice| choice.swept.clone()).collect();
        let label = label(&values);
        let read = read(&settings).map_err(|error| match label.as_str() {
            "" => error,
            label => Box::new((*error).note(format!("in the sweep, at {label}"))),
        });
        if !folders.insert(folded_file_name(&label)) {
            return Err(Box::new(Diagnostic::error(format!(
                "--set sweeps {label} twice (or values that make the same folder name)"
            ))));
        }
        if let Some(file) = reserved_name(&label) {
            return Err(Box::new(Diagnostic::error(format!(
                "--set sweeps {label}, whose folder would take the place of {file}"
            ))));
        }
        match read {
            Ok(scenario) => points.push(Point { values, scenario }),
            Err(error) if error.exit_code == DOES_NOT_FIT => {
                misfits.push(MisfitPoint { index, values, error });
            }
            Err(error) => return Err(error),
        }
    }
    match (points.first(), misfits.is_empty()) {
        (None, false) => Err(misfits.swap_remove(0).error),
        (first, _) => {
            let name = first.map_or(name, |point| point.scenario.name.clone());
            Ok(Sweep { name, points, misfits })
        }
    }
}

/// Reads the scenario with these `--set` arguments.
type Reader<'a> = dyn Fn(&[String]) -> Result<Scenario, Box<Diagnostic>> + 'a;

/// One `--set` argument, or one element of a swept one.
struct Choice {
    setting: String,
    /// Path and value, if it is swept.
    swept: Option<(String, String)>,
}

/// The choices of each argument, at least one.
fn axes(
    source: &Arc<Source>,
    settings: &[String],
    read: &Reader<'_>,
) -> Result<Vec<Vec<Choice>>, Box<Diagnostic>> {
    let mut axes: Vec<Vec<Choice>> = Vec::new();
    for setting in settings {
        let whole = || vec![Choice { setting: setting.clone(), swept: None }];
        let Some((path, text)) = setting.split_once('=') else {
            axes.push(whole());
            continue;
        };
        let path = path.trim();
        if !text.trim_start().starts_with('[') {
            axes.push(whole());
            continue;
        }
        // What the arguments before it have made of the scenario says what is being set.
        let mut document = Document::parse(source)?;
        for axis in &axes {
            document = document.with_setting(&axis[0].setting)?;
        }
        let elements = elements(&document, path, text);
        let takes_list = || {
            let firsts = axes.iter().map(|axis| axis[0].setting.clone());
            let trial: Vec<String> = firsts.chain([setting.clone()]).collect();
            read(&trial).is_ok()
        };
        let is_sweep = match (&elements, document.node(path)) {
            (None, _) => false,
            (Some(found), Some(old)) => match &old.kind {
                // A list takes a list, and is swept by a list of lists.
                Kind::List(items) => {
                    !found.is_empty()
                        && found.iter().all(|text| text.starts_with('['))
                        && !items.iter().any(|item| matches!(item.kind, Kind::List(_)))
                }
                // A setting that takes a list as well as what is written is set.
                _ => !takes_list(),
            },
            (Some(_), None) => !takes_list(),
        };
        axes.push(match elements {
            Some(elements) if is_sweep && elements.is_empty() => {
                return Err(Box::new(Diagnostic::error(format!(
                    "--set {setting}: nothing to sweep over, expected at least one value"
                ))));
            }
            Some(elements) if is_sweep => elements
                .into_iter()
                .map(|value| Choice {
                    setting: format!("{path}={value}"),
                    swept: Some((path.to_owned(), value.trim_matches('"').to_owned())),
                })
                .collect(),
            _ => whole(),
        });
    }
    Ok(axes)
}

/// The elements of a list, as written; `None` if it is none.
fn elements(document: &Document, path: &str, text: &str) -> Option<Vec<String>> {
    let list = Document::parse(&Source::new("--set", text)).ok();
    if let Some(list) = list
        && let Kind::List(items) = &list.root().kind
    {
        return Some(items.iter().map(|item| list.slice(&item.span).to_owned()).collect());
    }
    // A shell strips quotes, so texts may come without them where there is a text already.
    let is_text = document.node(path).is_some_and(|old| document.slice(&old.span).starts_with('"'));
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let bare = is_text && !inner.contains(['"', '\\', '\n', '[', ']']);
    bare.then(|| inner.split(',').map(|value| value.trim().to_owned()).collect())
}

/// The last step of each path with its value; the whole path where the last step is not enough.
fn label(values: &[(String, String)]) -> String {
    let paths: Vec<String> = values.iter().map(|(path, _)| path.clone()).collect();
    let parts = short_names(&paths).into_iter().zip(values);
    parts.map(|(name, (_, value))| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// The last part of each path, or all of it where two would be the same.
pub fn short_names(paths: &[String]) -> Vec<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let name = |path: &String| {
        let twice = paths.iter().filter(|other| last(other) == last(path)).count() > 1;
        if twice { path.clone() } else { last(path) }
    };
    paths.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;
    use crate::timing::SharedTables;

    const SCENARIO: &str = r#"(
    model: "Llama-2-7B",
    device: "A100-SXM-80G",
    engine: (policy: VllmV0()),
    workload: (requests: 3, arrivals: Poisson(qps: 5.0), lengths: Fixed(prompt: 100, output: 8)),
    timing: Formula(base: 0.005),
    expect: [(metric: "finished", equals: 3)],
)"#;

    fn labels(settings: &[&str]) -> Result<Vec<String>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.ron");
        std::fs::write(&path, SCENARIO).expect("written");
        let settings: Vec<String> = settings.iter().map(|&s| s.to_owned()).collect();
        load(
            &path,
            &settings,
            LoadContext { registry: &Registry::with(&[]), tables: &SharedTables::default() },
        )
        .map(|sweep| sweep.points.iter().map(Point::label).collect())
        .map_err(|error| error.render(false))
    }

    #[test]
    fn lists_sweep_what_is_no_list() {
        let none: [&str; 1] = [""];
        assert_eq!(labels(&[]), Ok(none.map(str::to_owned).to_vec()));
        assert_eq!(labels(&["seed=3"]).map(|l| l.len()), Ok(1));
        assert_eq!(
            labels(&["workload.arrivals.qps=[1, 2.5]", "engine.policy.max_num_seqs=[64,128]"]),
            Ok([
                "qps=1, max_num_seqs=64",
                "qps=1, max_num_seqs=128",
                "qps=2.5, max_num_seqs=64",
                "qps=2.5, max_num_seqs=128"
            ]
            .map(str::to_owned)
            .to_vec())
        );
        assert_eq!(
            labels(&["model=[Llama-2-7B,Llama-2-13B]"]),
            Ok(["model=Llama-2-7B", "model=Llama-2-13B"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            labels(&["engine.policy=[VllmV0(), Orca()]"]).map(|l| l.len()),
            Ok(2),
            "whole plug-ins"
        );
        assert_eq!(
            labels(&["workload.arrivals=Poisson(qps: 1)", "workload.arrivals.qps=[1,2]"])
                .map(|l| l.len()),
            Ok(2)
        );
    }

    #[test]
    fn points_that_do_not_fit_are_left_out_unless_there_is_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.ron");
        std::fs::write(&path, SCENARIO).expect("written");
        let load = |setting: &str| {
            load(
                &path,
                &[setting.to_owned()],
                LoadContext { registry: &Registry::with(&[]), tables: &SharedTables::default() },
            )
        };
        let sweep = load("model=[Llama-2-70B,Llama-2-7B,CodeLlama-34B]")
            .unwrap_or_else(|error| panic!("{}", error.render(false)));
        let labels = |points: &[Point]| points.iter().map(Point::label).collect::<Vec<_>>();
        assert_eq!(labels(&sweep.points), ["model=Llama-2-7B", "model=CodeLlama-34B"]);
        assert_eq!((sweep.misfits.len(), sweep.misfits[0].index), (1, 0));
        let text = sweep.misfits[0].error.in_one_line();
        assert!(text.contains("the smallest tensor_parallel that fits is 2"), "{text}");
        let error = load("model=[Llama-2-70B]").err().expect("none fits");
        assert_eq!(error.exit_code, DOES_NOT_FIT);
    }

    #[test]
    fn lists_stay_settable() {
        assert_eq!(labels(&["expect=[]"]), Ok(vec![String::new()]));
        assert_eq!(labels(&["expect=[[],[]]"]).err().map(|e| e.contains("twice")), Some(true));
        // Not written in the scenario: a field that takes a list.
        let one = labels(&["workload.lengths=Fixed(prompt: 1, output: 2)", "expect=[]"]);
        assert_eq!(one, Ok(vec![String::new()]));
    }

    #[test]
    fn a_setting_that_takes_a_list_is_set_and_swept_by_a_list_of_lists() {
        let engine =
            "engine=(policy: VllmV0(), speculative: (draft: NGram(), k: 3, acceptance: 0.8))";
        let list = "engine.speculative.acceptance=[0.7, 0.5, 0.4]";
        assert_eq!(labels(&[engine, list]), Ok(vec![String::new()]));
        let lists = "engine.speculative.acceptance=[[0.7, 0.5, 0.4], [0.9, 0.8, 0.7]]";
        assert_eq!(labels(&[engine, lists]).map(|labels| labels.len()), Ok(2));
    }

    #[test]
    fn bad_sweeps_are_one_message() {
        for (setting, words) in [
            ("workload.arrivals.qps=[1,-2]", "at qps=-2"),
            ("workload.arrivals.qps=[]", "nothing to sweep"),
            ("workload.arrivals.qps=[1,1]", "twice"),
            ("workload.arrivals.pqs=[1,2]", "pqs"),
            ("workload.arrivals.qps=[1,", "bracket"),
        ] {
            let error = labels(&[setting]).expect_err(setting);
            assert!(error.contains(words), "{setting}: {error}");
        }
        let many: Vec<String> = (0..101).map(|n| n.to_string()).collect();
        let seeds = format!("seed=[{}]", many.join(","));
        let blocks = format!("engine.policy.max_num_seqs=[{}]", many.join(","));
        let error = labels(&[&seeds, &blocks]).expect_err("too many");
        assert!(error.contains("101 x 101"), "{error}");
    }
}
