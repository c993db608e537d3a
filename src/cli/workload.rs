//! `vidur-ecs workload`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use crate::output::NewFile;
use crate::workload::lengths::SHIPPED;
use crate::workload::{FitArgs, lengths};

/// Arguments of `workload`.
#[derive(Debug, Args)]
pub(super) struct WorkloadArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Fits the joint distribution of prompt and output lengths in a CSV file, for
    /// `lengths: Empirical(file: ...)`
    Fit(FitArgs),
}

impl WorkloadArgs {
    pub fn run(self) -> Result<ExitCode, Failure> {
        let Command::Fit(args) = self.command;
        let file = NewFile::claim(&args.out, args.force)?;
        let table = args.fit().map_err(Failure::bad_argument)?;
        file.commit(table.to_ron())?;
        let (pairs, out) = (table.source.pairs, args.out.display());
        failure::say(&format!("{pairs} pairs, fitted into {out}"));
        Ok(ExitCode::SUCCESS)
    }
}

/// Name and description of each length distribution that is part of the program.
pub(super) fn shipped() -> impl Iterator<Item = (&'static str, String)> {
    SHIPPED.iter().map(|(name, _)| {
        let about = lengths::shipped(name).map(|table| {
            format!(
                "{}, {} requests ({})",
                table.source.name, table.source.pairs, table.source.licence
            )
        });
        (*name, about.unwrap_or_default())
    })
}
