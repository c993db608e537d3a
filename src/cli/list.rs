//! `vidur-ecs list`.

use std::fs::DirEntry;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use serde_json::{Map, Value, json};

use super::failure::{self, Failure};
use super::json::SCHEMA_VERSION;
use crate::base::Source;
use crate::hardware::model::ModelSpec;
use crate::hardware::{device_names, find_device, model};
use crate::metrics::names;
use crate::output::text_table;
use crate::registry::Registry;
use crate::report::width;
use crate::scenario::Document;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// What to list [default: everything]
    #[arg(value_name = "TOPIC")]
    topics: Vec<Topic>,
    /// Prints names and what they stand for as JSON, by topic
    #[arg(long)]
    json: bool,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Topic {
    /// Scheduling policies
    Policies,
    /// Routers between replicas
    Routers,
    /// Kinds of admission control
    Admission,
    /// Where iteration times come from
    Timings,
    /// Models that are built in
    Models,
    /// GPUs
    Devices,
    /// Profiles of measured times
    Profiles,
    /// Measured distributions of request lengths
    Lengths,
    /// Metrics for `expect` and `compare --metric`
    Metrics,
    /// Scenarios in ./scenarios
    Scenarios,
}

impl ListArgs {
    pub fn run(&self, registry: &Registry) -> Result<ExitCode, Failure> {
        let topics = match self.topics.as_slice() {
            [] => Topic::value_variants(),
            chosen => chosen,
        };
        if self.json {
            failure::say(&self::json(registry, topics, Path::new("scenarios")));
            return Ok(ExitCode::SUCCESS);
        }
        failure::say(text(registry, topics, Path::new("scenarios"), width()).trim_end());
        Ok(ExitCode::SUCCESS)
    }
}

/// The profiles that are part of the program, with their names, in so many columns.
pub(super) fn profiles(width: usize) -> String {
    let rows = super::profile::shipped();
    rows_of(rows.map(|(name, about)| (name.to_owned(), about)), width)
}

fn text(registry: &Registry, topics: &[Topic], scenarios: &Path, width: usize) -> String {
    topics.iter().map(|&topic| section(registry, topic, scenarios, width)).collect()
}

/// A name and what it stands for.
type Row = (String, String);

fn section(registry: &Registry, topic: Topic, scenarios: &Path, width: usize) -> String {
    match topic {
        Topic::Metrics => metrics(width),
        Topic::Profiles => format!("profiles\n{}\n\n", profiles(width)),
        topic => {
            let heading = match topic {
                Topic::Lengths => "lengths (Empirical)".to_owned(),
                Topic::Scenarios => format!("scenarios in {}", scenarios.display()),
                other => name_of(other),
            };
            let mut rows = rows(registry, topic, scenarios);
            if topic == Topic::Models {
                let about = "any other model, from its config.json";
                rows.push(("HuggingFace(\"FILE\")".to_owned(), about.to_owned()));
            }
            table(&heading, rows, width)
        }
    }
}

/// A topic as it is written: `policies`.
fn name_of(topic: Topic) -> String {
    topic.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The names of a topic, and what they stand for.
fn rows(registry: &Registry, topic: Topic, scenarios: &Path) -> Vec<Row> {
    let owned = |(name, about): (&str, &str)| (name.to_owned(), about.to_owned());
    match topic {
        Topic::Policies => registry.policies().iter().map(|e| owned((e.name, e.about))).collect(),
        Topic::Routers => registry.routers().iter().map(|e| owned((e.name, e.about))).collect(),
        Topic::Admission => {
            registry.admissions().iter().map(|e| owned((e.name, e.about))).collect()
        }
        Topic::Timings => registry.timings().iter().map(|e| owned((e.name, e.about))).collect(),
        Topic::Models => {
            let names = model::names().into_iter();
            names.map(|name| (name.to_owned(), about_model(name))).collect()
        }
        Topic::Devices => {
            let names = device_names().into_iter();
            names.map(|name| (name.to_owned(), about_device(name))).collect()
        }
        Topic::Profiles => {
            let rows = super::profile::shipped();
            rows.map(|(name, about)| (name.to_owned(), about)).collect()
        }
        Topic::Lengths => {
            let rows = super::workload::shipped();
            rows.map(|(name, about)| (name.to_owned(), about)).collect()
        }
        Topic::Metrics => {
            let all = names::all().map(|metric| (metric.name.clone(), metric.about.clone()));
            all.collect()
        }
        Topic::Scenarios => titles(scenarios),
    }
}

/// The same for programs.
fn json(registry: &Registry, topics: &[Topic], scenarios: &Path) -> String {
    let mut out = Map::new();
    out.insert("schema_version".to_owned(), json!(SCHEMA_VERSION));
    for &topic in topics {
        let rows = rows(registry, topic, scenarios).into_iter();
        let rows: Vec<Value> =
            rows.map(|(name, about)| json!({ "name": name, "about": about })).collect();
        out.insert(name_of(topic), rows.into());
    }
    serde_json::to_string_pretty(&out).unwrap_or_default()
}

fn metrics(width: usize) -> String {
    let families = names::FAMILIES.iter().map(|f| (f.name.to_owned(), f.about.to_owned()));
    let statistics: Vec<&str> = names::STATISTICS.iter().map(|(name, _)| *name).collect();
    let heading = format!("metrics, each with .{}", statistics.join(" ."));
    let scalars = names::all().filter(|metric| !metric.name.contains('.'));
    let scalars = scalars.map(|metric| (metric.name.clone(), metric.about.clone()));
    table(&heading, families.collect(), width)
        + &table("metrics of a run", scalars.collect(), width)
}

/// A heading with a row for each name below it, and a blank line; nothing without rows.
fn table(heading: &str, rows: Vec<Row>, width: usize) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("{heading}\n{}\n\n", rows_of(rows.into_iter(), width))
}

fn rows_of(rows: impl Iterator<Item = Row>, width: usize) -> String {
    let mut table = text_table::plain();
    text_table::fit(&mut table, width - 1);
    for (name, about) in rows {
        table.add_row([name, about]);
    }
    text_table::keep_whole(&mut table, 0);
    text_table::render(&table)
}

fn about_model(name: &str) -> String {
    let about = model::find(name).map(ModelSpec::about).unwrap_or_default();
    // The name stands in a column of its own.
    about.split_once(": ").map_or(String::new(), |(_, size)| size.to_owned())
}

fn about_device(name: &str) -> String {
    find_device(name).map_or_else(String::new, |d| {
        format!("{} GiB, {} TFLOPS fp16, {} GB/s", d.memory_gib, d.fp16_tflops, d.hbm_gbps)
    })
}

/// The scenarios in a folder and those below it, by path, with their titles: the folder's own
/// first.
fn titles(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(folder, "", &mut found);
    found
}

fn walk(folder: &Path, above: &str, found: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    // A link may lead back up.
    let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let (mut folders, mut files): (Vec<_>, Vec<_>) = entries.flatten().partition(is_folder);
    folders.sort_by_key(DirEntry::file_name);
    files.sort_by_key(DirEntry::file_name);
    for file in files.iter().map(DirEntry::path) {
        if file.extension().is_some_and(|extension| extension == "ron") {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            found.push((format!("{above}{name}"), title(&file).unwrap_or_default()));
        }
    }
    for folder in folders {
        let name = folder.file_name().to_string_lossy().into_owned();
        walk(&folder.path(), &format!("{above}{name}/"), found);
    }
}

/// The title of a scenario, without checking the rest of it.
fn title(path: &Path) -> Option<String> {
    let text = crate::base::input::read_to_string(path).ok()?;
    let document = Document::parse(&Source::new("", text)).ok()?;
    let node = document.node("title")?;
    document.read(node).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_and_titles_are_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written")
        };
        write("b.ron", "(title: \"Second\", model: 3)");
        write("a.ron", "broken");
        write("c.txt", "(title: \"No scenario\")");
        std::fs::create_dir_all(folder.path().join("a_sub/deep")).expect("a folder");
        write("a_sub/deep/z.ron", "(title: \"Third\")");
        let text = text(&Registry::built_in(), Topic::value_variants(), folder.path(), 100);
        for wanted in [
            "VllmV0 ",
            "PowerOfTwo ",
            "Formula ",
            "Llama-2-7B ",
            "A100-SXM-80G ",
            "HuggingFace(\"FILE\") ",
            "any other model",
            "  a.ron\n  b.ron             Second\n  a_sub/deep/z.ron  Third\n",
            "ttft ",
            "kv_allocated_peak ",
        ] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
        assert!(!text.contains("No scenario"));
    }

    #[test]
    fn a_topic_alone_fits_a_narrow_terminal() {
        let nowhere = Path::new("/nonexistent");
        for topic in Topic::value_variants() {
            let text = text(&Registry::built_in(), &[*topic], nowhere, 80);
            for line in text.lines().filter(|line| !line.starts_with("metrics, each")) {
                assert!(line.chars().count() <= 80, "{topic:?}: {line}");
            }
        }
        let models = text(&Registry::built_in(), &[Topic::Models], nowhere, 80);
        assert!(models.starts_with("models\n") && !models.contains("VllmV0"), "{models}");
    }
}
