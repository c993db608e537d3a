//! `vidur-ecs plugin new NAME`: a crate with a policy, its test and a scenario.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use clap::{Args, Subcommand};

use super::failure::{self, Failure};

/// Arguments of `plugin`.
#[derive(Debug, Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a crate with a scheduling policy, its test and a scenario into the new folder NAME
    New(NewArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// Name of the crate, such as shortest-first; its policy is then called ShortestFirst
    name: String,
    /// Checkout of vidur-ecs that the crate builds on [default: the one this program was built
    /// from]
    #[arg(long, value_name = "FOLDER")]
    vidur_ecs: Option<PathBuf>,
}

const MAIN: &str = include_str!("plugin_template/main.rs");
const SCENARIO: &str = include_str!("plugin_template/scenario.ron");
const MANIFEST: &str = include_str!("plugin_template/Cargo.toml.txt");

impl PluginArgs {
    pub fn run(self) -> Result<ExitCode, Failure> {
        let Command::New(args) = self.command;
        args.run()?;
        Ok(ExitCode::SUCCESS)
    }
}

impl NewArgs {
    fn run(&self) -> Result<(), Failure> {
        let policy = type_name(&self.name).ok_or_else(|| {
            let name = &self.name;
            Failure::bad_argument(format!(
                "{name:?} cannot be the name of a crate\n  = help: use lower-case letters, digits and `-`, \
                 beginning with a letter: shortest-first"
            ))
        })?;
        let checkout = self.checkout()?;
        let folder = Path::new(&self.name);
        if let Err(error) = fs::create_dir(folder) {
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::bad_argument(format!(
                    "{} already exists\n  = help: choose another name, or remove it first",
                    self.name
                )),
                _ => cannot(folder, &error),
            });
        }
        let written =
            |text: &str| text.replace("MyPolicy", &policy).replace("my-policy", &self.name);
        let checkout = checkout.display().to_string().replace('\\', "/");
        let files = [
            ("Cargo.toml", written(MANIFEST).replace("VIDUR_ECS", &checkout)),
            ("scenario.ron", written(SCENARIO)),
            ("src/main.rs", written(MAIN)),
        ];
        fs::create_dir(folder.join("src")).map_err(|error| cannot(folder, &error))?;
        for (name, text) in files {
            let file = folder.join(name);
            fs::write(&file, text).map_err(|error| cannot(&file, &error))?;
        }
        failure::say(&format!(
            "wrote {name}/ with the policy {policy} (src/main.rs), its test and scenario.ron\n\
             next: cd {name} && cargo test && cargo run --release -- run scenario.ron",
            name = self.name
        ));
        Ok(())
    }

    /// The folder that the new crate depends on.
    fn checkout(&self) -> Result<PathBuf, Failure> {
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = self.vidur_ecs.as_deref().unwrap_or(built_from);
        let found = folder.join("Cargo.toml").is_file() && folder.join("src/engine").is_dir();
        match folder.canonicalize() {
            Ok(folder) if found => Ok(folder),
            _ => Err(Failure::bad_argument(format!(
                "{} is not a checkout of vidur-ecs\n  = help: name one with --vidur-ecs FOLDER",
                folder.display()
            ))),
        }
    }
}

fn cannot(file: &Path, error: &io::Error) -> Failure {
    Failure::unexpected(format!("cannot write {}: {error}", file.display()))
}

/// `ShortestFirst` for `shortest-first`; `None` if that cannot be the name of a crate.
fn type_name(name: &str) -> Option<String> {
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
    };
    good.then(|| name.split('-').filter_map(capital).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_called_as_its_crate() {
        assert_eq!(type_name("shortest-first").as_deref(), Some("ShortestFirst"));
        assert_eq!(type_name("lifo2").as_deref(), Some("Lifo2"));
        for bad in ["", "2nd", "Lifo", "a b", "../x", "a_b", "-a"] {
            assert_eq!(type_name(bad), None, "{bad}");
        }
    }
}
