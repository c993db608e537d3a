//! A measured joint distribution of prompt and output lengths in compact form: quantiles of the
//! prompt, and quantiles of the output for each of several bands of prompts.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::LengthPair;
use crate::base::SettingError;
use crate::workload::checks::MAX_TOKENS;

/// Where the pairs of a table came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSource {
    /// Name of the data.
    pub name: String,
    /// Licence of the data.
    pub licence: String,
    /// Number of pairs measured.
    pub pairs: u64,
}

/// Quantiles of prompts and, within bands of prompts, of outputs.
///
/// A pair is drawn from two uniform numbers: the first gives the prompt by linear interpolation
/// between its quantiles, and the band; the second gives the output by the quantiles of the band.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmpiricalTable {
    /// Where the pairs came from.
    pub source: TableSource,
    /// Levels of the prompt quantiles, from 0, as fractions of the last one.
    pub prompt_levels: Vec<u32>,
    /// Prompt length in tokens at each level.
    pub prompt: Vec<u32>,
    /// Levels of the output quantiles, from 0, as fractions of the last one.
    pub output_levels: Vec<u32>,
    /// For each band of prompts, shortest first and equally probable: output length in tokens at
    /// each level.
    pub output: Vec<Vec<u32>>,
}

impl EmpiricalTable {
    /// Reads a table that `vidur-ecs workload fit` wrote.
    ///
    /// # Errors
    /// The file cannot be read or is no such table.
    pub fn read(file: &Path, base_dir: &Path) -> Result<EmpiricalTable, SettingError> {
        let path = base_dir.join(file);
        let text = crate::base::input::read_to_string(&path).map_err(|error| {
            SettingError::new("file", format!("{}: {error}", path.display()), "a readable file")
                .help("paths are relative to the scenario")
        })?;
        EmpiricalTable::parse(&text, &file.display().to_string())
    }

    /// # Errors
    /// The text is no such table; `name` stands in the message.
    pub(super) fn parse(text: &str, name: &str) -> Result<EmpiricalTable, SettingError> {
        let refused = |what: String| {
            SettingError::new("file", format!("{name}: {what}"), "a table of lengths")
                .help("`vidur-ecs workload fit FILE.csv -o FILE.ron` makes one")
        };
        let table: EmpiricalTable =
            ron::from_str(text).map_err(|error| refused(error.to_string()))?;
        table.check().map_err(refused)?;
        Ok(table)
    }

    fn check(&self) -> Result<(), String> {
        let levels = |name: &str, levels: &[u32]| {
            let rising = levels.windows(2).all(|pair| pair[0] < pair[1]);
            match levels.len() >= 2 && levels[0] == 0 && rising {
                true => Ok(()),
                false => Err(format!("{name} must start with 0 and rise")),
            }
        };
        let lengths = |name: &str, lengths: &[u32], levels: &[u32]| {
            if lengths.len() != levels.len() {
                return Err(format!(
                    "{name} has {} lengths, expected {}",
                    lengths.len(),
                    levels.len()
                ));
            }
            let rising = lengths.windows(2).all(|pair| pair[0] <= pair[1]);
            match rising && lengths[0] >= 1 && lengths[lengths.len() - 1] <= MAX_TOKENS {
                true => Ok(()),
                false => Err(format!("{name} must rise from at least 1 to at most {MAX_TOKENS}")),
            }
        };
        levels("prompt_levels", &self.prompt_levels)?;
        levels("output_levels", &self.output_levels)?;
        lengths("prompt", &self.prompt, &self.prompt_levels)?;
        if self.output.is_empty() {
            return Err("output has no bands".to_owned());
        }
        for (band, output) in self.output.iter().enumerate() {
            lengths(&format!("band {} of output", band + 1), output, &self.output_levels)?;
        }
        Ok(())
    }

    /// The pair at two levels in `[0, 1)`.
    pub(super) fn pair_at(&self, prompt: f64, output: f64) -> LengthPair {
        let band = (prompt * self.output.len() as f64) as usize;
        let band = &self.output[band.min(self.output.len() - 1)];
        LengthPair {
            prompt: interpolate(&self.prompt_levels, &self.prompt, prompt),
            output: interpolate(&self.output_levels, band, output),
        }
    }

    /// The longest prompt plus output that can be drawn.
    pub(super) fn max_total(&self) -> u32 {
        let bands = self.output.len();
        let longest = |(band, output): (usize, &Vec<u32>)| {
            let level = (band + 1) as f64 / bands as f64;
            interpolate(&self.prompt_levels, &self.prompt, level) + output[output.len() - 1]
        };
        self.output.iter().enumerate().map(longest).max().unwrap_or(0)
    }
}

/// The value at `level` in `[0, 1]`, to the nearest whole number.
fn interpolate(levels: &[u32], values: &[u32], level: f64) -> u32 {
    let last = levels.len() - 1;
    let level = level * f64::from(levels[last]);
    let upper = levels.partition_point(|&l| f64::from(l) <= level).clamp(1, last);
    let (from, to) = (f64::from(levels[upper - 1]), f64::from(levels[upper]));
    let (low, high) = (f64::from(values[upper - 1]), f64::from(values[upper]));
    (low + (high - low) * (level - from) / (to - from)).round_ties_even() as u32
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    fn table() -> EmpiricalTable {
        let pairs = (1..=1000).map(|n| LengthPair { prompt: n, output: 2000 - n }).collect();
        EmpiricalTable::fit(pairs, TableSource { name: "a \"b\"".into(), ..Default::default() })
    }

    #[test]
    fn text_and_back() {
        let table = table();
        assert_eq!(EmpiricalTable::parse(&table.to_ron(), "x").unwrap(), table);
        assert_eq!(table.source.pairs, 1000);
    }

    #[test]
    fn interpolates() {
        let table = table();
        assert_eq!(table.pair_at(0.0, 0.0), LengthPair { prompt: 1, output: 1938 });
        assert_eq!(table.pair_at(0.5, 0.5).prompt, 500);
        assert_eq!(table.pair_at(1.0, 1.0).prompt, 1000);
        // Outputs fall with prompts: the first band, prompts up to 62, has the longest.
        assert_eq!(table.max_total(), 63 + 1999);
    }

    #[test]
    fn few_pairs_will_do() {
        let table =
            EmpiricalTable::fit(vec![LengthPair { prompt: 5, output: 7 }], TableSource::default());
        assert_eq!(table.pair_at(0.3, 0.9), LengthPair { prompt: 5, output: 7 });
    }

    #[test]
    fn refuses_nonsense() {
        let good = table();
        let mut bad = Vec::new();
        let mut change = |change: &dyn Fn(&mut EmpiricalTable)| {
            let mut table = good.clone();
            change(&mut table);
            bad.push(table.to_ron());
        };
        change(&|t| t.output.clear());
        change(&|t| t.prompt[0] = 0);
        change(&|t| t.prompt[3] = 9999);
        change(&|t| t.output[2].truncate(3));
        change(&|t| t.prompt_levels[0] = 1);
        change(&|t| t.output_levels.swap(3, 4));
        bad.push("(".to_owned());
        bad.push(String::new());
        for text in bad {
            let error = EmpiricalTable::parse(&text, "x.ron").unwrap_err();
            assert!(error.found.starts_with("x.ron: "), "{error}");
        }
    }
}
