//! `vidur-ecs workload`.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::{self, Failure};
use crate::workload::FitArgs;

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
        let done = args.run().map_err(Failure::bad_argument)?;
        failure::say(&done);
        Ok(ExitCode::SUCCESS)
    }
}
