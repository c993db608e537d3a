//! `vidur-ecs list`.

use std::fmt::Write as _;
use std::fs::DirEntry;
use std::path::Path;
use std::process::ExitCode;

use super::failure::{self, Failure};
use crate::base::Source;
use crate::hardware::model::ModelSpec;
use crate::hardware::{device_names, find_device, model};
use crate::metrics::names;
use crate::registry::Registry;
use crate::scenario::Document;

/// Lists everything.
pub(super) fn run(registry: &Registry) -> Result<ExitCode, Failure> {
    failure::say(&text(registry, Path::new("scenarios")));
    Ok(ExitCode::SUCCESS)
}

fn text(registry: &Registry, scenarios: &Path) -> String {
    let mut out = String::new();
    section(&mut out, "policies", registry.policies().iter().map(|e| (e.name, e.about.to_owned())));
    section(&mut out, "routers", registry.routers().iter().map(|e| (e.name, e.about.to_owned())));
    let admissions = registry.admissions().iter();
    section(&mut out, "admission", admissions.map(|e| (e.name, e.about.to_owned())));
    section(&mut out, "timings", registry.timings().iter().map(|e| (e.name, e.about.to_owned())));
    let other = ("HuggingFace(\"FILE\")", "any other, from its config.json".to_owned());
    let models = model::names().into_iter().map(|name| (name, about_model(name)));
    section(&mut out, "models", models.chain([other]));
    section(&mut out, "devices", device_names().into_iter().map(|name| (name, about_device(name))));
    section(&mut out, "profiles", super::profile::shipped());
    section(&mut out, "lengths (Empirical)", super::workload::shipped());
    let families = names::FAMILIES.iter().map(|family| (family.name, family.about.to_owned()));
    let statistics: Vec<&str> = names::STATISTICS.iter().map(|(name, _)| *name).collect();
    section(&mut out, &format!("metrics, each with .{}", statistics.join(" .")), families);
    let scalars = names::all().filter(|metric| !metric.name.contains('.'));
    section(
        &mut out,
        "metrics of a run",
        scalars.map(|metric| (metric.name.as_str(), metric.about.clone())),
    );
    let found = titles(scenarios);
    if !found.is_empty() {
        let rows = found.iter().map(|(name, title)| (name.as_str(), title.clone()));
        section(&mut out, &format!("scenarios in {}", scenarios.display()), rows);
    }
    out
}

fn section<N: AsRef<str>>(
    out: &mut String,
    title: &str,
    rows: impl IntoIterator<Item = (N, String)>,
) {
    let rows: Vec<(N, String)> = rows.into_iter().collect();
    if rows.is_empty() {
        return;
    }
    let width = rows.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or(0);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{title}");
    for (name, about) in rows {
        let _ = writeln!(out, "{}", format!("  {:<width$}  {about}", name.as_ref()).trim_end());
    }
    out.push('\n');
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

/// The scenarios in a folder and those below it, by path, with their titles: the folder's own first.
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
        let text = text(&Registry::built_in(), folder.path());
        for wanted in [
            "VllmV0 ",
            "PowerOfTwo ",
            "Formula ",
            "Llama-2-7B ",
            "A100-SXM-80G ",
            "HuggingFace(\"FILE\")  any other",
            "  a.ron\n  b.ron             Second\n  a_sub/deep/z.ron  Third\n",
            "ttft ",
            "kv_allocated_peak ",
        ] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
        assert!(!text.contains("No scenario"));
    }
}
