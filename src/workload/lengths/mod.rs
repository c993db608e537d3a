//! Length distributions, one per file. To add one: a file with a type that implements
//! [`LengthDistribution`], a variant of [`Lengths`], and its line in [`Lengths::check`].

mod empirical;
#[cfg(feature = "cli")]
mod fitted;
mod fixed;
mod lognormal;
mod shipped;
mod table;
mod trace;
pub(crate) mod trim;
mod uniform;
mod zipf;

pub(crate) use empirical::Empirical;
pub(crate) use fixed::Fixed;
pub(crate) use lognormal::{LogNormal, LogNormalPart};
#[cfg(feature = "cli")]
pub(crate) use shipped::SHIPPED;
pub(crate) use shipped::shipped;
pub(crate) use table::EmpiricalTable;
#[cfg(feature = "cli")]
pub(crate) use table::TableSource;
pub(crate) use trace::OnEnd;
pub(crate) use uniform::{UniformRanges, UniformTotal};
pub(crate) use zipf::Zipf;

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::replay::one;
use super::traces::TraceFormat;
use crate::base::SettingError;

/// Lengths of one request in tokens, each at least 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LengthPair {
    /// Prompt.
    pub prompt: u32,
    /// Output.
    pub output: u32,
}

/// How long prompts and outputs are, as a scenario says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Lengths {
    /// One pair of lengths for all.
    Fixed {
        /// Prompt tokens.
        prompt: u32,
        /// Output tokens.
        output: u32,
    },
    /// Either a uniform `total` of which `prompt_share` is prompt (as Vidur), or independent
    /// uniform `prompt` and `output`.
    Uniform {
        /// Smallest and largest prompt plus output.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<(u32, u32)>,
        /// Share of the prompt in `total`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt_share: Option<f64>,
        /// Smallest and largest prompt, both included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<(u32, u32)>,
        /// Smallest and largest output, both included.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<(u32, u32)>,
    },
    /// A total from a bounded Zipf distribution: the k-th smallest has weight `k^-theta`.
    Zipf {
        /// Smallest (the most frequent) and largest prompt plus output.
        total: (u32, u32),
        /// Skew; 0 is uniform.
        theta: f64,
        /// Share of the prompt in the total.
        prompt_share: f64,
    },
    /// Independent lognormal prompts and outputs.
    LogNormal {
        /// Prompt.
        prompt: LogNormalPart,
        /// Output.
        output: LogNormalPart,
        /// Pairs with a longer prompt plus output are drawn again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_total: Option<u32>,
    },
    /// A measured joint distribution: a shipped one by `name`, or a `file` made by
    /// `vidur-ecs workload fit`.
    Empirical {
        /// Name of a shipped one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// File of one's own, relative to the scenario.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<PathBuf>,
        /// Most tokens of prompt plus output; what is too much is taken off both in proportion,
        /// as in `Trace`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_total: Option<u32>,
    },
    /// The lengths in a file, in order or shuffled; what its prompts have in common is not kept.
    Trace {
        /// CSV file, JSON Lines or a JSON list, relative to the scenario; `.gz` is unpacked on the
        /// fly.
        file: PathBuf,
        /// How it is to be read.
        #[serde(default)]
        format: TraceFormat,
        /// Shuffles the rows by the seed.
        #[serde(default)]
        shuffle: bool,
        /// Prompts are multiplied by it, rounded down, at least 1.
        #[serde(default = "one")]
        prompt_scale: f64,
        /// Outputs are multiplied by it, rounded down, at least 1.
        #[serde(default = "one")]
        output_scale: f64,
        /// Most tokens of prompt plus output. What is too much is taken off both in proportion,
        /// rounded up, leaving at least 1 each (as Vidur's trace lengths do).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_total: Option<u32>,
        /// What happens after the last row.
        #[serde(default)]
        on_end: OnEnd,
    },
}

/// A stream of lengths.
pub type LengthPairs = Box<dyn Iterator<Item = LengthPair> + Send>;

/// A checked length distribution.
pub trait LengthDistribution: Debug + Send + Sync {
    /// The lengths under `seed`.
    fn pairs(&self, seed: u64) -> LengthPairs;

    /// The largest prompt plus output, if there is one.
    fn max_total(&self) -> Option<u32>;

    /// How many pairs there are, if the workload is to end with them.
    fn count(&self) -> Option<u64> {
        None
    }

    /// How many pairs there are, if asking for more is an error.
    fn rows_required(&self) -> Option<u64> {
        None
    }

    /// What the user should know.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Why lengths ended early, if a file that they are read from has gone or changed since.
    fn failure(&self) -> Option<&str> {
        None
    }
}

impl Lengths {
    /// The names a scenario may use, in the order of the documentation.
    pub const NAMES: [&str; 6] = ["Fixed", "Uniform", "Zipf", "LogNormal", "Empirical", "Trace"];

    /// Checks the settings and reads the file, if there is one.
    ///
    /// # Errors
    /// A setting that makes no sense, its path relative to the distribution.
    pub fn check(&self, base_dir: &Path) -> Result<Arc<dyn LengthDistribution>, SettingError> {
        Ok(match self {
            Lengths::Fixed { prompt, output } => Arc::new(Fixed::new(*prompt, *output)?),
            Lengths::Uniform { total, prompt_share, prompt, output } => {
                match (total, prompt_share, prompt, output) {
                    (Some(total), Some(share), None, None) => {
                        Arc::new(UniformTotal::new(*total, *share)?)
                    }
                    (None, None, Some(prompt), Some(output)) => {
                        Arc::new(UniformRanges::new(*prompt, *output)?)
                    }
                    _ => {
                        return Err(SettingError::new(
                            "",
                            "another combination",
                            "`total` with `prompt_share`, or `prompt` with `output`",
                        )
                        .help("for example `Uniform(prompt: (64, 512), output: (16, 256))`"));
                    }
                }
            }
            Lengths::Zipf { total, theta, prompt_share } => {
                Arc::new(Zipf::new(*total, *theta, *prompt_share)?)
            }
            Lengths::LogNormal { prompt, output, max_total } => {
                Arc::new(LogNormal::new(prompt, output, *max_total)?)
            }
            Lengths::Empirical { name, file, max_total } => {
                let table = match (name, file) {
                    (Some(name), None) => shipped(name)?,
                    (None, Some(file)) => EmpiricalTable::read(file, base_dir)?,
                    _ => {
                        return Err(SettingError::new(
                            "",
                            if name.is_some() { "both" } else { "neither" },
                            "either `name` or `file`",
                        ));
                    }
                };
                Arc::new(Empirical::new(table, *max_total)?)
            }
            Lengths::Trace { .. } => Arc::new(trace::read(self, base_dir)?),
        })
    }
}

#[cfg(test)]
mod shipped_tests;
