//! `vidur-ecs workload fit`: measured lengths to a table that scenarios can name.

use std::path::{Path, PathBuf};

use super::LengthPair;
use super::lengths::{EmpiricalTable, TableSource};
use super::traces::{Need, TraceFormat, TraceSettings};
use crate::base::SettingError;

/// Fits the joint distribution of prompt and output lengths in a CSV file, for
/// `lengths: Empirical(file: ...)`.
#[derive(Clone, Debug, clap::Args)]
pub struct FitArgs {
    /// CSV file with a header (Vidur, Splitwise, Azure or BurstGPT columns; others with
    /// --prompt-column and --output-column), or JSON Lines (Mooncake, ShareGPT); may be gzipped
    pub file: PathBuf,
    /// The table to write
    #[arg(short = 'o', long = "out", value_name = "OUT.ron")]
    pub out: PathBuf,
    /// Replaces the file if it already exists
    #[arg(long)]
    pub force: bool,
    /// Column of prompt lengths
    #[arg(long, requires = "output_column", value_name = "NAME")]
    pub prompt_column: Option<String>,
    /// Column of output lengths
    #[arg(long, requires = "prompt_column", value_name = "NAME")]
    pub output_column: Option<String>,
    /// What the data are called (default: the file's name)
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Licence of the data
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub licence: String,
}

impl FitArgs {
    /// Reads the file and fits the table.
    ///
    /// # Errors
    /// The file cannot be read, or a row of it makes no sense.
    pub fn fit(&self) -> Result<EmpiricalTable, SettingError> {
        let format = match (&self.prompt_column, &self.output_column) {
            (None, None) => TraceFormat::Auto,
            (prompt, output) => TraceFormat::Columns {
                arrived_at: None,
                prompt: prompt.clone(),
                output: output.clone(),
                id: None,
                priority: None,
                class: None,
                time_unit: Default::default(),
                rebase: false,
            },
        };
        let pairs = lengths_of(&self.file, &format)?;
        let name = self.name.clone().unwrap_or_else(|| {
            self.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
        });
        let source = TableSource { name, licence: self.licence.clone(), pairs: 0 };
        Ok(EmpiricalTable::fit(pairs, source))
    }
}

/// The lengths of all rows of a file that is not relative to any folder.
///
/// # Errors
/// The first thing wrong with it, with its place in `found`.
pub(super) fn lengths_of(
    file: &Path,
    format: &TraceFormat,
) -> Result<Vec<LengthPair>, SettingError> {
    let trace = TraceSettings::new(file, format);
    let mut rows = trace.find(Path::new(""), Need::LENGTHS)?.open()?;
    let mut lengths = Vec::new();
    while let Some(row) = rows.next()? {
        lengths.push(row.lengths);
    }
    Ok(lengths)
}
