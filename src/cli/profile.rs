//! `vidur-ecs profile`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use super::profile_show as show;
use crate::import::{ImportLayerwiseOptions, ImportVidurOptions};
use crate::{import, profile};

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
    /// Shows what a profile covers, and plots a table
    Show(show::ShowArgs),
    /// How well a profile's tables interpolate, and what a model's times would rest on
    Check(show::CheckArgs),
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
    /// From the tables of NVIDIA AISimulate (needs a program built with the feature `aisimulate`)
    Aisimulate(AisimulateArgs),
    /// From a layerwise bundle of LLMServingSim 2.0
    Layerwise(LayerwiseArgs),
}

#[cfg(feature = "aisimulate")]
#[derive(Debug, Args)]
struct AisimulateArgs {
    #[command(flatten)]
    options: profile::ImportAisimulateOptions,
    /// The profile to write
    #[arg(short = 'o', long = "out", value_name = "FILE.ron")]
    out: PathBuf,
}

#[cfg(feature = "aisimulate")]
impl AisimulateArgs {
    fn run(&self) -> Result<(), Failure> {
        let profile = profile::import_aisimulate(&self.options).map_err(Failure::bad_argument)?;
        profile::write(&profile, &self.out).map_err(Failure::unexpected)?;
        failure::say(&format!("wrote {}", self.out.display()));
        Ok(())
    }
}

#[cfg(not(feature = "aisimulate"))]
#[derive(Debug, Args)]
struct AisimulateArgs {
    /// The wheel of the Python package, or its unpacked folder `systems`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[cfg(not(feature = "aisimulate"))]
impl AisimulateArgs {
    fn run(&self) -> Result<(), Failure> {
        let wanted = self.arguments.first().map_or("these files", String::as_str);
        Err(Failure::bad_argument(format!(
            "this program was built without the reader of parquet files that {wanted} needs; build \
             it with `cargo install vidur-ecs --features aisimulate` (in a checkout: `cargo build \
             --release --features aisimulate`)"
        )))
    }
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
            Command::Show(args) => args.run()?,
            Command::Check(args) => args.run()?,
            Command::List => {
                for (name, about) in shipped() {
                    failure::say(&format!("{name}  {about}"));
                }
            }
            Command::Import(import) => {
                let (profile, out) = match import.from {
                    From::Vidur(args) => (import::import_vidur(&args.options), args.out),
                    From::Layerwise(args) => (import::import_layerwise(&args.options), args.out),
                    From::Aisimulate(args) => {
                        args.run()?;
                        return Ok(ExitCode::SUCCESS);
                    }
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
