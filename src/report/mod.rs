//! The report on the terminal: what ran, how it went, what it rests on; at most 30 lines of 100
//! columns.

mod classes;
mod configuration;
mod host;
mod latency;
mod line;
mod models;
mod shared;
mod variants;

use std::io::IsTerminal;
use std::path::Path;

use crate::metrics::ExperimentResult;
use crate::output::tables::VARIANTS;
use crate::run::FinishedScenario;
use line::{Line, WIDTH};

/// Most lines of a report on a terminal of the usual width; a narrow one gets more of shorter
/// lines.
pub const MAX_LINES: usize = 30;

/// Narrowest terminal that a report is laid out for.
const MIN_WIDTH: usize = 60;

/// All that the report shows. It is a pure function of this.
#[derive(Clone, Debug)]
pub struct ReportInput<'a> {
    /// The results.
    pub result: &'a ExperimentResult,
    /// Names of the columns that a row of several results starts with: what a sweep changed. Empty
    /// for variants of one scenario, whose rows have their name.
    pub swept: String,
    /// For each variant whether what it should reach was reached; empty where its own objectives
    /// say all.
    pub met: Vec<Option<bool>>,
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
    /// Columns of the terminal ([`width`]).
    pub width: usize,
    /// Whether labels are coloured ([`use_colour`]).
    pub colour: bool,
}

impl<'a> ReportInput<'a> {
    /// What a finished scenario has to show, with all its warnings but in no colour and the usual
    /// width.
    pub fn of(done: &'a FinishedScenario, target: &Path) -> ReportInput<'a> {
        ReportInput {
            result: &done.result,
            swept: String::new(),
            met: Vec::new(),
            folder: Some(target.display().to_string()),
            files: done.files.clone(),
            table: VARIANTS,
            next: None,
            warnings: done.warnings.clone(),
            width: WIDTH,
            colour: false,
        }
    }
}

/// Whether standard output wants colour: it is a terminal, and neither `NO_COLOR` is set nor `TERM`
/// is `dumb`.
pub fn use_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

/// Columns that texts for standard output may take: what `COLUMNS` says, or the terminal's, or
/// 100 columns where there is none; at most 120, beyond which lines are hard to read.
pub fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || {
        let (terminal_size::Width(columns), _) =
            terminal_size::terminal_size_of(std::io::stdout())?;
        Some(usize::from(columns))
    };
    said.or_else(terminal).unwrap_or(WIDTH).clamp(MIN_WIDTH, 120)
}

/// The report, ending with a line end.
pub fn report(input: &ReportInput) -> String {
    let result = input.result;
    let width = input.width;
    let height = |lines: &[Line]| lines.iter().map(|line| line.height(width)).sum::<usize>();
    let mut tail = tail(input);
    tail.splice(0..0, shared::misfits(&result.misfits, input.table));
    let max_lines = (MAX_LINES * WIDTH).div_ceil(width.min(WIDTH));
    let budget = max_lines.saturating_sub(height(&tail));
    let mut lines = match result.variants.as_slice() {
        [only] if only.name.is_empty() => configuration::lines(&result.name, only),
        // Expectations want room below the table.
        many => {
            let wanted = result.outcomes.len().min(budget / 2);
            variants::lines(input, many, budget - wanted)
        }
    };
    if height(&lines) + result.outcomes.len() > budget {
        lines.retain(|line| !line.is_blank());
    }
    let left = budget.saturating_sub(height(&lines));
    lines.extend(shared::expectations(&result.outcomes, left, width));
    lines.extend(tail);
    lines.iter().map(|line| line.render(width, input.colour)).collect()
}

/// The lines after the expectations.
fn tail(input: &ReportInput) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(warning(&input.warnings, input.width));
    lines.extend(input.next.as_ref().map(|next| line::wrapped("next", next)));
    if let Some(folder) = &input.folder {
        let mut items = vec![format!("{}/", folder.trim_end_matches('/'))];
        items.extend(input.files.iter().cloned());
        lines.push(line::packed("wrote", &items, " "));
    }
    lines
}

/// The first warning in at most two lines, and how many more there are.
fn warning(warnings: &[String], width: usize) -> Option<Line> {
    let first = warnings.first()?;
    let more = match warnings.len() {
        1 => String::new(),
        many => format!(" (and {} more in run.log)", many - 1),
    };
    let words: Vec<&str> = first.split_whitespace().collect();
    let mut line = line::wrapped("warn", &format!("{first}{more}"));
    for kept in (0..words.len()).rev() {
        if line.height(width) <= 2 {
            break;
        }
        line = line::wrapped("warn", &format!("{} ...{more}", words[..kept].join(" ")));
    }
    Some(line)
}

#[cfg(test)]
mod tests;
