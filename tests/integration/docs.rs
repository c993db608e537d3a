//! What the documents show works: every complete scenario in them is valid, and every link leads
//! somewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use vidur_ecs::registry::Registry;
use vidur_ecs::scenario::Scenario;

use crate::room::{Room, finish};

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

/// What needs more than the program: a build, a container, a result of an earlier version.
const NOT_RUN: [&str; 4] = ["cargo ", "bash .ci/run", "docker ", "./run_benchmarks.sh"];

/// The commands of a document as one script. The program is installed already.
fn script(text: &str) -> String {
    let blocks = blocks(text, "sh");
    let lines = blocks.iter().flat_map(|block| block.lines());
    let lines = lines.filter(|line| !NOT_RUN.iter().any(|start| line.starts_with(start)));
    lines.map(|line| format!("{}\n", line.replace("./install.sh && ", ""))).collect()
}

/// A room like a clone of the repository, with a result of `vllm bench serve` in it.
fn clone() -> Room {
    let room = Room::new();
    for folder in ["examples", "scenarios"] {
        let to = room.path(folder);
        std::fs::create_dir(&to).expect("created");
        for entry in std::fs::read_dir(root().join(folder)).expect("is there").flatten() {
            if entry.path().is_file() {
                let text = std::fs::read_to_string(entry.path()).expect("readable");
                // Fewer requests show the same.
                let text =
                    text.replace("requests: 1000", "requests: 40").replace(": 256,", ": 40,");
                std::fs::write(to.join(entry.file_name()), text).expect("written");
            }
        }
    }
    let count = 30;
    let each = |value: &dyn Fn(u32) -> String| (0..count).map(value).collect::<Vec<_>>().join(", ");
    let bench = format!(
        r#"{{"model_id": "meta-llama/Llama-3.1-8B", "request_rate": 2.0,
            "input_lens": [{}], "output_lens": [{}], "ttfts": [{}], "itls": [{}],
            "start_times": [{}]}}"#,
        each(&|i| (100 + 10 * i).to_string()),
        each(&|_| "3".to_owned()),
        each(&|i| format!("0.0{}", 20 + i)),
        each(&|_| "[0.007, 0.007]".to_owned()),
        each(&|i| format!("{}.5", 1000 + i)),
    );
    room.write("bench.json", bench);
    room
}

#[test]
fn commands_in_the_documents_work_in_bash_and_zsh() {
    let program = Path::new(env!("CARGO_BIN_EXE_vidur-ecs")).parent().expect("a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.display());
    let shells: [(&str, &[&str]); 2] =
        [("bash", &["-euo", "pipefail", "-c"]), ("zsh", &["-f", "-e", "-c"])];
    for document in ["README.md", "docs/recipes.md"] {
        let text = std::fs::read_to_string(root().join(document)).expect("is there");
        let script = script(&text);
        assert!(script.matches("vidur-ecs ").count() >= 6, "{document}: {script}");
        for (shell, arguments) in shells {
            let there = Command::new(shell).arg("--version").output().is_ok();
            if !there {
                crate::recorded::skip(shell);
                continue;
            }
            let room = clone();
            let mut command = Command::new(shell);
            command.args(arguments).arg(&script).current_dir(room.path("."));
            let ran = finish(command.env("PATH", &path).env("COLUMNS", "80"));
            assert_eq!(ran.code, 0, "{document} in {shell}: {}\n{}", ran.err, ran.out);
        }
    }
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
fn the_quick_start_is_the_one_in_the_readme() {
    let quickstart = std::fs::read_to_string(root().join("examples/quickstart.ron"));
    let quickstart = quickstart.expect("is there");
    let (_, scenario) = quickstart.split_once("\n(").expect("comments, then a scenario");
    let readme = std::fs::read_to_string(root().join("README.md")).expect("is there");
    assert!(readme.contains(&format!("```ron\n({scenario}```")), "the README has another one");
    let first = blocks(&readme, "sh")[0];
    assert_eq!(first, "./install.sh && vidur-ecs scenarios/i3_1.ron\n");
    assert_eq!(blocks(&readme, "sh")[1], "vidur-ecs examples/quickstart.ron\n");
}
