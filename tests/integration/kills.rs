//! Whenever the program is killed, the old or the new results are there, and whole.
//!
//! A small number of moments is tried with every test run. More of them:
//! `KILL_MOMENTS=500 cargo test --test integration killed -- --nocapture`

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use vidur_ecs::output::{Manifest, State};

use crate::determinism::contents;
use crate::room::{Room, SCENARIO, names};

type Contents = Vec<(PathBuf, Vec<u8>)>;

/// A command that writes into these folders of a room. `old` and `new` are settings.
struct Kind {
    name: &'static str,
    command: &'static str,
    folders: &'static [&'static str],
    /// The file that is written last.
    last: &'static str,
    /// Whether there are results before it.
    replaces: bool,
}

const OLD: &str = "--seed 1";
const NEW: &str = "--seed 2";

const KINDS: [Kind; 5] = [
    Kind {
        name: "run",
        command: "s.ron -q --out out",
        folders: &["out"],
        last: "run.log",
        replaces: false,
    },
    Kind {
        name: "force",
        command: "s.ron -q --out out --force",
        folders: &["out"],
        last: "run.log",
        replaces: true,
    },
    Kind {
        name: "same",
        command: "s.ron -q",
        folders: &["results/s"],
        last: "run.log",
        replaces: true,
    },
    Kind {
        name: "sweep",
        command: "s.ron -q --out out --force --set engine.block_size=[8,16,32]",
        folders: &["out"],
        last: "runs.csv",
        replaces: true,
    },
    Kind {
        name: "several",
        command: "s.ron t.ron u.ron -q --out all --force",
        folders: &["all/s", "all/t", "all/u"],
        last: "run.log",
        replaces: true,
    },
];

fn room() -> Room {
    let text = SCENARIO.replace("requests: 20", "requests: 60").replace("qps: 2.0", "qps: 20.0");
    let room = Room::with("s.ron", &text);
    room.write("t.ron", &text);
    room.write("u.ron", &text);
    room
}

/// Which arguments make the old or the new results. Without `--force` nothing but the text may
/// differ.
fn line(room: &Room, kind: &Kind, which: &str) -> String {
    if kind.name != "same" {
        return format!("{} {which}", kind.command);
    }
    let text = room.read("s.ron");
    let seed = if which == OLD { "seed: 1," } else { "seed: 2," };
    room.write("s.ron", text.replace("seed: 1,", seed).replace("seed: 2,", seed));
    kind.command.to_owned()
}

/// Hidden names anywhere in a folder.
fn hidden(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in names(folder) {
        let path = folder.join(&name);
        if path.is_dir() {
            found.extend(hidden(&path));
        }
        if name.starts_with('.') {
            found.push(name);
        }
    }
    found
}

/// That a folder holds what its manifest lists, and nothing else.
fn check_whole(folder: &Path, when: &str) {
    let manifest = Manifest::read(folder).unwrap_or_else(|| panic!("{when}: no manifest"));
    assert_eq!(manifest.state, State::Complete, "{when}");
    let changes = manifest.check(folder).expect("readable");
    assert_eq!(changes, Default::default(), "{when}");
}

#[derive(Default, Debug)]
struct Count {
    old: usize,
    new: usize,
    none: usize,
    /// Kills that left something hidden for the next run to find.
    left: usize,
}

#[cfg(unix)]
#[test]
fn a_killed_run_leaves_the_old_or_the_new_results() {
    let moments = std::env::var("KILL_MOMENTS").ok().and_then(|text| text.parse().ok());
    let moments: usize = moments.unwrap_or(40);
    let mut random = Pcg64Mcg::seed_from_u64(14);
    for (index, kind) in KINDS.iter().enumerate() {
        let share = moments / KINDS.len() + usize::from(index < moments % KINDS.len());
        let count = kill(kind, share, &mut random);
        println!("{:8} killed at {share} moments: {count:?}", kind.name);
        assert_eq!(count.old + count.new + count.none, share * kind.folders.len());
    }
}

fn kill(kind: &Kind, moments: usize, random: &mut Pcg64Mcg) -> Count {
    let room = room();
    let of = |room: &Room| -> Vec<Contents> {
        kind.folders.iter().map(|folder| contents(&room.path(folder))).collect()
    };
    let first = line(&room, kind, NEW);
    let started = Instant::now();
    room.must(&first);
    let mut length = started.elapsed();
    let new = of(&room);
    let restore = |room: &Room| {
        // The killed run may have come to its end.
        let force = if kind.name == "run" { " --force" } else { "" };
        room.must(&format!("{}{force}", line(room, kind, OLD)));
        assert_eq!(hidden(&room.path("")), [""; 0], "{}: after the next run", kind.name);
        for folder in kind.folders {
            check_whole(&room.path(folder), "after the next run");
            if !kind.replaces {
                std::fs::remove_dir_all(room.path(folder)).expect("removed");
            }
        }
    };
    if !kind.replaces {
        std::fs::remove_dir_all(room.path(kind.folders[0])).expect("removed");
    }
    restore(&room);
    let old = of(&room);
    assert!(old.iter().zip(&new).all(|(old, new)| old != new));
    let mut count = Count::default();
    for moment in 0..moments {
        let line = line(&room, kind, NEW);
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut child = room.command(&words).stderr(Stdio::null()).spawn().expect("starts");
        let started = Instant::now();
        // Half of them when the last file has been written, and results are put in their place.
        let pause = match moment % 2 {
            0 => length.mul_f64(random.random_range(0.0..1.2)),
            _ => {
                let last = room.path(kind.folders[0]);
                let last = last.with_file_name(format!(
                    ".{}.vidur-partial/{}",
                    last.file_name().unwrap_or_default().to_string_lossy(),
                    kind.last
                ));
                while !last.exists() && child.try_wait().expect("is ours").is_none() {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Duration::from_micros(random.random_range(0..5000))
            }
        };
        std::thread::sleep(pause);
        child.kill().expect("is ours");
        child.wait().expect("ends");
        let when = format!("{} killed after {:?} of {length:?}", kind.name, started.elapsed());
        for ((folder, old), new) in kind.folders.iter().zip(&old).zip(&new) {
            let path = room.path(folder);
            if !kind.replaces && !path.exists() {
                count.none += 1;
                continue;
            }
            check_whole(&path, &when);
            let found = contents(&path);
            assert!(found == *old || found == *new, "{when}: {folder} is neither");
            match found == *old {
                true => count.old += 1,
                false => count.new += 1,
            }
        }
        if kind.folders.len() > 1 {
            let all = room.path("all");
            let changes = Manifest::read(&all).expect("is there").check(&all).expect("readable");
            assert!(changes.modified.is_empty(), "{when}: {changes:?}");
        }
        count.left += usize::from(!hidden(&room.path("")).is_empty());
        let started = Instant::now();
        restore(&room);
        // The machine may have become busier.
        length = started.elapsed();
    }
    count
}
