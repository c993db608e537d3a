//! Lengths from a file.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{LengthDistribution, LengthPair, LengthPairs, Lengths, trim};
use crate::base::{RandomStream, SettingError};
use crate::workload::checks;
use crate::workload::recording::{Convert, Recording};
use crate::workload::traces::{Need, Row, TraceSettings};

/// What happens when a workload asks for more lengths than a file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnEnd {
    /// The scenario is refused before it runs.
    #[default]
    Error,
    /// The workload ends with the last row.
    Stop,
    /// The rows start over (shuffled anew, if they are shuffled).
    Repeat,
}

/// The rows of a file, in order or shuffled by the seed.
#[derive(Clone, Debug)]
pub struct FromRows {
    rows: Arc<Recording<Trimmed>>,
    longest: Option<u32>,
    shuffle: bool,
    on_end: OnEnd,
    warnings: Arc<[String]>,
}

/// Lengths of rows, scaled and cut.
#[derive(Clone, Copy, Debug)]
struct Trimmed {
    prompt_scale: f64,
    output_scale: f64,
    max_total: Option<u32>,
}

impl Convert for Trimmed {
    type Item = LengthPair;

    fn convert(&mut self, row: Row) -> LengthPair {
        let pair = row.lengths.scaled(self.prompt_scale, self.output_scale);
        self.max_total.map_or(pair, |most| trim::in_proportion(pair, most))
    }
}

/// Reads the file of [`Lengths::Trace`].
pub(super) fn read(settings: &Lengths, base_dir: &Path) -> Result<FromRows, SettingError> {
    let Lengths::Trace { file, format, shuffle, prompt_scale, output_scale, max_total, on_end } =
        settings
    else {
        return Err(SettingError::new("", "another distribution", "a trace"));
    };
    checks::scale("prompt_scale", *prompt_scale)?;
    checks::scale("output_scale", *output_scale)?;
    checks::max_total("max_total", *max_total)?;
    let trimmed =
        Trimmed { prompt_scale: *prompt_scale, output_scale: *output_scale, max_total: *max_total };
    let file = TraceSettings::new(file, format).find(base_dir, Need::LENGTHS)?;
    let mut longest = None;
    // Any row can be the next of shuffled ones.
    let (rows, reader) =
        Recording::read(file, trimmed, *shuffle, |pair| longest = longest.max(Some(pair.total())))?;
    let (rows, warnings) = (Arc::new(rows), reader.warnings().into());
    Ok(FromRows { rows, longest, shuffle: *shuffle, on_end: *on_end, warnings })
}

impl LengthDistribution for FromRows {
    fn pairs(&self, seed: u64) -> LengthPairs {
        let rows = self.rows.clone();
        let passes = if self.on_end == OnEnd::Repeat { usize::MAX } else { 1 };
        let mut stream = RandomStream::new(seed, "shuffle");
        match self.rows.kept() {
            Some(kept) if self.shuffle => {
                let count = kept.len();
                Box::new((0..passes).flat_map(move |_| {
                    let rows = rows.clone();
                    let order = shuffled(count, &mut stream).into_iter();
                    order.filter_map(move |index| rows.kept()?.get(index).copied())
                }))
            }
            _ => {
                let passes = (0..passes).map_while(move |_| match rows.failure() {
                    None => Some(rows.items()),
                    // A file that has gone would otherwise be tried for ever.
                    Some(_) => None,
                });
                Box::new(passes.flatten())
            }
        }
    }

    fn max_total(&self) -> Option<u32> {
        self.longest
    }

    fn count(&self) -> Option<u64> {
        (self.on_end == OnEnd::Stop).then_some(self.rows.count())
    }

    fn rows_required(&self) -> Option<u64> {
        (self.on_end == OnEnd::Error).then_some(self.rows.count())
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn failure(&self) -> Option<&str> {
        self.rows.failure()
    }
}

/// A random order of `0..count` (Fisher and Yates).
fn shuffled(count: usize, stream: &mut RandomStream) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, stream.below(last as u64 + 1) as usize);
    }
    order
}
