//! What ends the program, and how it is said.

use std::io::{IsTerminal, Write};

use crate::base::Diagnostic;
use crate::output::OutputError;
use crate::run::RunError;

/// An exit code and the message before it.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: u8,
    pub text: String,
}

impl Failure {
    /// A wrong argument.
    pub fn bad_argument(text: impl std::fmt::Display) -> Failure {
        Failure { code: 2, text: format!("error: {text}") }
    }

    /// Something that was neither the scenario's nor the arguments' fault.
    pub fn unexpected(text: impl std::fmt::Display) -> Failure {
        Failure { code: 1, text: format!("error: {text}") }
    }
}

impl From<Box<Diagnostic>> for Failure {
    fn from(diagnostic: Box<Diagnostic>) -> Failure {
        Failure { code: diagnostic.exit_code, text: diagnostic.render(colours()) }
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Failure {
        match error {
            OutputError::Io { .. } => Failure::unexpected(error),
            _ => Failure::bad_argument(error),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        match error {
            RunError::Output(error) => error.into(),
            RunError::Scenario(diagnostic) => diagnostic.into(),
            error => Failure::unexpected(error),
        }
    }
}

/// Whether standard error wants colour.
fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !set("NO_COLOR")
}

/// Says something on standard error. That nobody listens is no reason to stop.
pub(super) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

/// Shows warnings.
pub(super) fn warn<'a>(warnings: impl IntoIterator<Item = &'a Diagnostic>) {
    for warning in warnings {
        complain(&warning.render(colours()));
    }
}

/// Says something on standard output, where a closed pipe (`| head`) is no error.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}
