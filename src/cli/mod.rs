//! The command line: one file per subcommand. [`main_with`] is the whole of a binary.

mod check;
mod compare;
mod failure;
mod import;
mod json;
mod list;
mod plugin;
mod profile;
mod profile_show;
mod progress;
mod run;
mod run_many;
mod signals;
mod threads;
mod validate;
mod workload;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::registry::{Plugin, Registry};
use failure::Failure;

/// Simulates LLM inference serving without a GPU: TTFT, TPOT, latency, throughput and KV cache use
/// of a model on given GPUs.
#[derive(Debug, Parser)]
#[command(name = "vidur-ecs", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs scenarios (the default: `vidur-ecs FILE` is `vidur-ecs run FILE`)
    Run(run::RunArgs),
    /// Compares results or scenarios: differences, confidence intervals, and whether the
    /// differences are more than noise
    Compare(compare::CompareArgs),
    /// Validates a scenario and shows it with every default, its KV blocks and its weights
    Check(check::CheckArgs),
    /// Lists what scenarios can name, all of it or by topic: `list models`, `list metrics`
    List(list::ListArgs),
    /// Imports runs of Vidur and results of vLLM's benchmark
    Import(import::ImportArgs),
    /// Imports, lists and inspects profiles of measured kernel times
    Profile(profile::ProfileArgs),
    /// Starts a crate with your own scheduling policy
    Plugin(plugin::PluginArgs),
    /// Simulates measured cases and reports the errors
    Validate(validate::ValidateArgs),
    /// Derives workloads from data
    Workload(workload::WorkloadArgs),
}

/// Runs the program with the process's arguments and these plug-ins beside the built-in ones.
///
/// Exit codes: 0 done, 1 an expectation was not met under `--strict` or a file could not be
/// written, 2 a wrong scenario or argument, 3 the model does not fit in memory, 129, 130 or 143 a
/// signal ended the program (SIGHUP, SIGINT, SIGTERM).
pub fn main_with(plugins: &[&dyn Plugin]) -> ExitCode {
    signals::listen();
    run_with(plugins, std::env::args_os())
}

/// Runs the program with these arguments, the program's name first.
pub fn run_with<I>(plugins: &[&dyn Plugin], arguments: I) -> ExitCode
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                // It quotes the arguments.
                failure::complain(&error.render().to_string());
                return ExitCode::from(2);
            }
            // Help and version come this way too. Nobody may be listening.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    let registry = Registry::with(plugins);
    match dispatch(cli, &registry) {
        Ok(code) => code,
        Err(failure) => {
            failure::show_failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(cli: Cli, registry: &Registry) -> Result<ExitCode, Failure> {
    match cli.command {
        Some(Command::Run(args)) => args.run(registry),
        Some(Command::Compare(args)) => args.run(registry),
        Some(Command::Check(args)) => args.run(registry),
        Some(Command::List(args)) => args.run(registry),
        Some(Command::Import(args)) => args.run(),
        Some(Command::Profile(args)) => args.run(),
        Some(Command::Plugin(args)) => args.run(),
        Some(Command::Validate(args)) => args.run(registry),
        Some(Command::Workload(args)) => args.run(),
        None if cli.run.files.is_empty() => {
            failure::complain(&Cli::command().render_help().to_string());
            Ok(ExitCode::from(2))
        }
        None => cli.run.run(registry),
    }
}

/// The names of all subcommands.
fn subcommands() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod arguments {
    use super::*;

    #[test]
    fn arguments_are_well_defined() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_file_is_run_without_saying_so() {
        let short =
            Cli::try_parse_from(["vidur-ecs", "a.ron", "b.ron", "--seeds", "3"]).expect("parses");
        assert!(short.command.is_none());
        assert_eq!(short.run.files.len(), 2);
        let long = Cli::try_parse_from([
            "vidur-ecs",
            "run",
            "a.ron",
            "--set",
            "seed=1",
            "--set",
            "seeds=2",
        ]);
        assert!(
            matches!(long.expect("parses").command, Some(Command::Run(args)) if args.settings.len() == 2)
        );
    }
}
