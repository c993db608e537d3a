//! The kinds of input that are changed, and how each is read.

use std::path::Path;

use vidur_ecs::base::text::printable;
use vidur_ecs::compare::Side;
use vidur_ecs::registry::Registry;
use vidur_ecs::scenario::Scenario;
use vidur_ecs::validate::Case;

use super::seeds;

/// A kind of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Scenario,
    Trace,
    Config,
    Case,
    Results,
}

impl Kind {
    pub const ALL: [Kind; 5] =
        [Kind::Scenario, Kind::Trace, Kind::Config, Kind::Case, Kind::Results];

    /// The kind of a mutant by its number: scenarios and traces most often.
    pub fn of(number: u64) -> Kind {
        match number % 10 {
            0..4 => Kind::Scenario,
            4..7 => Kind::Trace,
            7 => Kind::Config,
            8 => Kind::Case,
            _ => Kind::Results,
        }
    }

    /// Its name, as past finds have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Scenario => "scenario",
            Kind::Trace => "trace",
            Kind::Config => "config",
            Kind::Case => "case",
            Kind::Results => "results",
        }
    }

    /// The texts that are changed: the name of the file in which each lies, and what it is.
    pub fn seeds(self) -> Vec<(&'static str, Vec<u8>)> {
        match self {
            Kind::Scenario => seeds::scenarios(),
            Kind::Trace => seeds::traces(),
            Kind::Config => vec![("config.json", seeds::CONFIG.into())],
            Kind::Case => vec![
                ("engine.json", seeds::ENGINE.into()),
                ("measured.csv", seeds::MEASURED.into()),
            ],
            Kind::Results => seeds::results(),
        }
    }

    /// Fills a folder with what lies beside a changed file, and the file itself.
    pub fn fill(self, folder: &Path, file: &str, bytes: &[u8]) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { std::fs::remove_dir_all(path)? } else { std::fs::remove_file(path)? }
        }
        match self {
            Kind::Scenario => std::fs::write(folder.join("t.csv"), seeds::TRACE_CSV)?,
            Kind::Trace => std::fs::write(folder.join("s.ron"), seeds::replay(file))?,
            Kind::Config => std::fs::write(folder.join("s.ron"), seeds::OF_CONFIG)?,
            Kind::Case | Kind::Results => {
                for (name, text) in self.seeds() {
                    std::fs::write(folder.join(name), text)?;
                }
            }
        }
        std::fs::write(folder.join(file), bytes)
    }

    /// Reads the folder as the program would, without running anything. What is wrong is returned,
    /// as the terminal gets it.
    pub fn read(self, folder: &Path, file: &str, registry: &Registry) -> Result<(), String> {
        let scenario = |name: &str| {
            let checked = Scenario::load(&folder.join(name), &[], registry);
            checked.map(drop).map_err(|error| error.render(false))
        };
        match self {
            Kind::Scenario => scenario(file),
            Kind::Trace | Kind::Config => scenario("s.ron"),
            Kind::Case => match Case::read(folder) {
                Err(error) => Err(printable(&error.to_string()).into_owned()),
                Ok(case) => {
                    std::fs::write(folder.join("s.ron"), case.scenario_text())
                        .map_err(|error| error.to_string())?;
                    scenario("s.ron")
                }
            },
            Kind::Results => match file {
                "s.ron" => scenario(file),
                _ => Side::read(folder)
                    .map(drop)
                    .map_err(|error| printable(&error.to_string()).into_owned()),
            },
        }
    }

    /// What the program is called with for it.
    pub fn arguments(self, number: u64) -> Vec<&'static str> {
        match self {
            // Seldom more than a check: a mutant may ask for hours of simulation.
            Kind::Scenario | Kind::Trace | Kind::Config if number.is_multiple_of(8) => {
                vec!["run", "s.ron", "--out", "out", "--set", "time_limit_s=3"]
            }
            Kind::Scenario | Kind::Trace | Kind::Config => vec!["check", "s.ron"],
            Kind::Case => vec!["validate", "."],
            Kind::Results => vec!["compare", ".", "."],
        }
    }
}
