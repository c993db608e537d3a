//! `vidur-ecs profile`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use crate::profile::{self, ImportLayerwiseOptions, ImportVidurOptions};

/// Arguments of `profile`.
#[derive(Debug, Args)]
pub(super) struct ProfileArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Computes a profile from others' measurements
    Import(Box<ImportArgs>),
    /// Lists the profiles that are part of the program
    List,
}

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// From CSV files in Vidur's format
    Vidur(VidurArgs),
    /// From a layerwise bundle of LLMServingSim 2.0
    Layerwise(LayerwiseArgs),
}

#[derive(Debug, Args)]
struct VidurArgs {
    #[command(flatten)]
    options: ImportVidurOptions,
    /// The profile to write
    #[arg(short = 'o', long = "out", value_name = "FILE.ron")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct LayerwiseArgs {
    #[command(flatten)]
    options: ImportLayerwiseOptions,
    /// The profile to write
    #[arg(short = 'o', long = "out", value_name = "FILE.ron")]
    out: PathBuf,
}

impl ProfileArgs {
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::List => {
                for (name, about) in shipped() {
                    failure::say(&format!("{name}  {about}"));
                }
            }
            Command::Import(import) => {
                let (profile, out) = match import.from {
                    From::Vidur(args) => (profile::import_vidur(&args.options), args.out),
                    From::Layerwise(args) => (profile::import_layerwise(&args.options), args.out),
                };
                let profile = profile.map_err(Failure::bad_argument)?;
                profile::write(&profile, &out).map_err(Failure::unexpected)?;
                failure::say(&format!("wrote {}", out.display()));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Name and description of each profile that is part of the program.
pub(super) fn shipped() -> impl Iterator<Item = (&'static str, String)> {
    profile::shipped().iter().map(|shipped| (shipped.name, shipped.about().to_owned()))
}
