//! The report on the terminal: what ran, how it went, what it rests on; at most 30 lines.

mod classes;
mod configuration;
mod host;
mod latency;
mod line;
mod models;
mod shared;
mod variants;

use std::io::IsTerminal;

use crate::metrics::ExperimentResult;
use line::Line;

/// Most lines of a report.
pub const MAX_LINES: usize = 30;

/// All that the report shows. It is a pure function of this.
#[derive(Clone, Debug)]
pub struct ReportInput<'a> {
    /// The results.
    pub result: &'a ExperimentResult,
    /// Where the files are, if any were written: `results/i2_1`.
    pub folder: Option<String>,
    /// Their names.
    pub files: Vec<String>,
    /// The file of all rows of a table that is cut short: `variants.csv` or `runs.csv`.
    pub table: &'static str,
    /// What to try next, as a command line.
    pub next: Option<String>,
    /// Warnings of the run; the first one is shown.
    pub warnings: Vec<String>,
    /// Whether labels are coloured ([`use_colour`]).
    pub colour: bool,
}

/// Whether standard output wants colour: it is a terminal, and neither `NO_COLOR` is set nor `TERM`
/// is `dumb`.
pub fn use_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

/// The report, ending with a line end.
pub fn report(input: &ReportInput) -> String {
    let result = input.result;
    let mut tail = tail(input);
    tail.splice(0..0, shared::misfits(&result.misfits, input.table));
    let budget = MAX_LINES.saturating_sub(tail.len());
    let mut lines = match result.variants.as_slice() {
        [only] if only.name.is_empty() => configuration::lines(&result.name, only),
        // Expectations want room below the table.
        many => {
            let wanted = result.outcomes.len().min(budget / 2);
            variants::lines(result, many, input.table, budget - wanted)
        }
    };
    if lines.len() + result.outcomes.len() > budget {
        lines.retain(|line| !line.is_blank());
    }
    lines.extend(shared::expectations(&result.outcomes, budget.saturating_sub(lines.len())));
    lines.extend(tail);
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.render(input.colour));
        text.push('\n');
    }
    text
}

/// The lines after the expectations.
fn tail(input: &ReportInput) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(warning(&input.warnings));
    if let Some(next) = &input.next {
        lines.extend(line::wrapped("next", next, 0));
    }
    if let Some(folder) = &input.folder {
        let mut items = vec![format!("{}/", folder.trim_end_matches('/'))];
        items.extend(input.files.iter().cloned());
        lines.extend(line::packed("wrote", &items, " ", 0));
    }
    lines
}

/// The first warning in at most two lines, and how many more there are.
fn warning(warnings: &[String]) -> Vec<Line> {
    let Some(first) = warnings.first() else { return Vec::new() };
    let more = match warnings.len() {
        1 => String::new(),
        many => format!(" (and {} more in run.log)", many - 1),
    };
    let words: Vec<&str> = first.split_whitespace().collect();
    let mut lines = line::wrapped("warn", &format!("{first}{more}"), 0);
    for kept in (0..words.len()).rev() {
        if lines.len() <= 2 {
            break;
        }
        lines = line::wrapped("warn", &format!("{} ...{more}", words[..kept].join(" ")), 0);
    }
    lines
}

#[cfg(test)]
mod tests;
