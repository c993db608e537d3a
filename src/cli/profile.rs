//! `vidur-ecs profile`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use super::list;
use super::profile_show as show;
use crate::import::{ImportLayerwiseOptions, ImportVidurOptions};
use crate::output::NewFile;
use crate::profile::Profile;
use crate::report::width;
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
    /// Lists the shipped profiles
    List,
    /// Shows what a profile covers, and plots a table
    Show(show::ShowArgs),
    /// Shows how well a profile's tables interpolate, and what a model's times would rest on
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

/// Where a profile is written.
#[derive(Debug, Args)]
struct Destination {
    /// The profile to write
    #[arg(short = 'o', long = "out", value_name = "FILE.ron")]
    out: PathBuf,
    /// Replaces the file if it already exists
    #[arg(long)]
    force: bool,
}

impl Destination {
    /// Writes the profile that `import` makes, once it is known that it can be written.
    fn write<E: std::fmt::Display>(
        &self,
        import: impl FnOnce() -> Result<Profile, E>,
    ) -> Result<(), Failure> {
        let file = NewFile::claim(&self.out, self.force)?;
        let profile = import().map_err(Failure::bad_argument)?;
        file.commit(profile.to_string())?;
        failure::say(&format!("wrote {}", self.out.display()));
        Ok(())
    }
}

#[cfg(feature = "aisimulate")]
#[derive(Debug, Args)]
struct AisimulateArgs {
    #[command(flatten)]
    options: import::ImportAisimulateOptions,
    #[command(flatten)]
    destination: Destination,
}

#[cfg(feature = "aisimulate")]
impl AisimulateArgs {
    fn run(&self) -> Result<(), Failure> {
        self.destination.write(|| import::import_aisimulate(&self.options))
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
    #[command(flatten)]
    destination: Destination,
}

#[derive(Debug, Args)]
struct LayerwiseArgs {
    #[command(flatten)]
    options: ImportLayerwiseOptions,
    #[command(flatten)]
    destination: Destination,
}

impl ProfileArgs {
    pub fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Show(args) => args.run()?,
            Command::Check(args) => args.run()?,
            Command::List => failure::say(&list::profiles(width())),
            Command::Import(import) => match import.from {
                From::Vidur(args) => {
                    args.destination.write(|| import::import_vidur(&args.options))?;
                }
                From::Layerwise(args) => {
                    args.destination.write(|| import::import_layerwise(&args.options))?;
                }
                From::Aisimulate(args) => args.run()?,
            },
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Name and description of each profile that is part of the program.
pub(super) fn shipped() -> impl Iterator<Item = (&'static str, String)> {
    profile::shipped().iter().map(|shipped| (shipped.name, shipped.about().to_owned()))
}
