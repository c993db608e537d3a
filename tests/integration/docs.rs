//! What the documents show works: every complete scenario in them is valid, and every link leads
//! somewhere.

use std::path::{Path, PathBuf};

use vidur_ecs::registry::Registry;
use vidur_ecs::scenario::Scenario;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<(PathBuf, String)> {
    let docs = std::fs::read_dir(root().join("docs")).expect("docs/ is there");
    let mut paths: Vec<PathBuf> = docs.flatten().map(|entry| entry.path()).collect();
    paths.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name)));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            (path, text)
        })
        .collect()
}

/// The code blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let rest = text.split(fence.as_str()).skip(1);
    rest.filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn scenarios_in_the_documents_are_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut seen = 0;
    for (path, text) in documents() {
        let whole =
            |block: &&str| block.contains("\n    model:") || block.contains("\n    models:");
        for block in blocks(&text, "ron").into_iter().filter(whole) {
            let file = folder.path().join("documented.ron");
            std::fs::write(&file, block).expect("written");
            if let Err(error) = Scenario::load(&file, &[], &Registry::built_in()) {
                panic!("{}: {}\n{block}", path.display(), error.render(false));
            }
            seen += 1;
        }
    }
    assert!(seen >= 2, "only {seen} scenarios found");
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.starts_with("http") {
                continue;
            }
            let folder = path.parent().expect("has one");
            assert!(folder.join(target).exists(), "{}: {link}", path.display());
        }
    }
}

#[test]
fn the_quirk_table_names_tests_that_exist() {
    let text = std::fs::read_to_string(root().join("docs/vidur-quirks.md")).expect("is there");
    for number in 1..=34 {
        assert!(text.contains(&format!("\n| {number} |")), "quirk {number} has no row");
    }
    let mut seen = 0;
    for reference in text.split('`').filter(|code| code.contains(".rs::")) {
        let (file, test) = reference.split_once("::").expect("has both");
        let source = std::fs::read_to_string(root().join(file))
            .unwrap_or_else(|e| panic!("{reference}: {e}"));
        assert!(source.contains(&format!("fn {test}(")), "{reference} is not there");
        seen += 1;
    }
    assert!(seen >= 30, "only {seen} references found");
}

#[test]
fn examples_beside_the_documents_are_valid() {
    let quickstart = root().join("examples/quickstart.ron");
    if let Err(error) = Scenario::load(&quickstart, &[], &Registry::built_in()) {
        panic!("{}", error.render(false));
    }
}
