//! What ends the program, and how it is said.

use std::io::{IsTerminal, Write};

use crate::base::Diagnostic;
use crate::base::text::printable;
use crate::output::OutputError;
use crate::run::RunError;
use crate::scenario::Scenario;

/// An exit code and the message before it.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: u8,
    pub text: String,
}

impl Failure {
    /// A wrong argument.
    pub fn bad_argument(text: impl std::fmt::Display) -> Failure {
        Failure { code: 2, text: printable(&format!("error: {text}")).into_owned() }
    }

    /// Something that was neither the scenario's nor the arguments' fault.
    pub fn unexpected(text: impl std::fmt::Display) -> Failure {
        Failure { code: 1, text: printable(&format!("error: {text}")).into_owned() }
    }
}

impl From<Box<Diagnostic>> for Failure {
    fn from(diagnostic: Box<Diagnostic>) -> Failure {
        Failure { code: diagnostic.exit_code, text: diagnostic.render(colours()) }
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Failure {
        match error.is_argument() {
            true => Failure::bad_argument(error),
            false => Failure::unexpected(error),
        }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Failure {
        match error {
            RunError::Output(error) => error.into(),
            RunError::Scenario(diagnostic) => diagnostic.into(),
            RunError::Simulation { ref run, ref error } if error.is_too_much() => {
                Failure::bad_argument(format!("{run}: {error}"))
            }
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
    send(std::io::stderr(), &printable(text));
}

/// Ends with a message that is safe already, and perhaps coloured.
pub(super) fn show_failure(failure: &Failure) {
    send(std::io::stderr(), &failure.text);
}

/// Shows warnings.
pub(super) fn warn<'a>(warnings: impl IntoIterator<Item = &'a Diagnostic>) {
    for warning in warnings {
        send(std::io::stderr(), &warning.render(colours()));
    }
}

/// Shows what does not fit in memory while the rest runs, as far as a person wants to read it:
/// points and files, and variants of the scenarios that run.
pub(super) fn misfits<'a>(
    misfits: impl IntoIterator<Item = &'a Box<Diagnostic>>,
    scenarios: impl IntoIterator<Item = &'a Scenario>,
) {
    const SHOWN: usize = 3;
    let mut all: Vec<String> = misfits.into_iter().map(|misfit| misfit.render(colours())).collect();
    for one in scenarios.into_iter().flat_map(Scenario::left_out) {
        let text = Diagnostic::error(one).render(colours());
        // The points of a sweep have the same variants.
        if !all.contains(&text) {
            all.push(text);
        }
    }
    for misfit in all.iter().take(SHOWN) {
        complain(misfit);
    }
    if all.len() > SHOWN {
        complain(&format!("error: {} more do not fit in memory", all.len() - SHOWN));
    }
}

/// Tells what was mended or left in a result folder.
pub(super) fn note(notes: &[String]) {
    for note in notes {
        complain(&format!("note: {note}"));
    }
}

/// Says something on standard output, where a closed pipe (`| head`) is no error.
pub(super) fn say(text: &str) {
    send(std::io::stdout(), &printable(text));
}

/// Shows a report, whose lines are safe already and perhaps coloured.
pub(super) fn show_report(report: &str) {
    send(std::io::stdout(), report);
}

fn send(mut to: impl Write, text: &str) {
    let _ = writeln!(to, "{}", text.trim_end());
}
