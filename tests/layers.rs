//! Imports between the top-level modules only go down.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the top layer to the bottom one. Modules of one line may not import each other
/// either.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["import"],
    &["validate", "compare"],
    &["report"],
    &["testing"],
    &["run"],
    &["output"],
    &["scenario"],
    &["registry", "metrics"],
    &["engine"],
    &["workload", "timing"],
    &["profile"],
    &["records"],
    &["hardware"],
    &["base"],
];

/// What only tests are built with.
const TESTS_ONLY: &str = "recorded";

/// Imports that still go up: `from -> to`. The list may only shrink.
const STILL_UPWARD: &[(&str, &str)] = &[];

#[test]
fn imports_only_go_down() {
    let mut upward = BTreeSet::new();
    for file in rust_files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let from = module_of(&file);
        if matches!(from.as_str(), "lib" | "main" | TESTS_ONLY) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        for (number, to) in imports(&without_tests(&text)) {
            if to != TESTS_ONLY && layer(&to) <= layer(&from) && to != from {
                upward.insert((from.clone(), to, format!("{}:{number}", file.display())));
            }
        }
    }
    let new: Vec<_> = upward
        .iter()
        .filter(|(from, to, _)| !STILL_UPWARD.contains(&(from.as_str(), to.as_str())))
        .collect();
    assert!(new.is_empty(), "imports that go up (from, to, where): {new:#?}");
    for (from, to) in STILL_UPWARD {
        let still = upward.iter().any(|(a, b, _)| a == from && b == to);
        assert!(still, "{from} no longer imports {to}: take the line out of STILL_UPWARD");
    }
}

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("{module} is in no layer: add it to LAYERS"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "golden.rs" {
            files.push(path);
        }
    }
    files
}

/// The top-level module that a file belongs to.
fn module_of(file: &Path) -> String {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = file.strip_prefix(source).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// Test modules come last in a file, and may use what they like.
fn without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned()
}

/// The top-level modules that a text names after `crate::`, with the number of the line.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (start, _) in line.match_indices("crate::") {
            let rest = &line[start + "crate::".len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            if end > 0 {
                found.push((number, rest[..end].to_owned()));
            }
        }
    }
    found
}
