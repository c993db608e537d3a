//! Lengths from a file.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{LengthDistribution, LengthPair, LengthPairs, Lengths, trim};
use crate::scenario::SettingError;
use crate::sim::RandomStream;
use crate::workload::checks;
use crate::workload::traces::{Need, TraceSettings};

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
    rows: Arc<[LengthPair]>,
    shuffle: bool,
    on_end: OnEnd,
    warnings: Arc<[String]>,
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
    let trace = TraceSettings::new(file, format).read(base_dir, Need::LENGTHS)?;
    let trimmed = |pair: LengthPair| {
        let pair = pair.scaled(*prompt_scale, *output_scale);
        max_total.map_or(pair, |most| trim::in_proportion(pair, most))
    };
    let rows = trace.rows.iter().map(|row| trimmed(row.lengths)).collect();
    let warnings = trace.warnings.into();
    Ok(FromRows { rows, shuffle: *shuffle, on_end: *on_end, warnings })
}

impl LengthDistribution for FromRows {
    fn pairs(&self, seed: u64) -> LengthPairs {
        let rows = self.rows.clone();
        let passes = if self.on_end == OnEnd::Repeat { usize::MAX } else { 1 };
        if !self.shuffle {
            return Box::new((0..passes).flat_map(move |_| {
                let rows = rows.clone();
                (0..rows.len()).map(move |index| rows[index])
            }));
        }
        let mut stream = RandomStream::new(seed, "shuffle");
        Box::new((0..passes).flat_map(move |_| {
            let rows = rows.clone();
            shuffled(rows.len(), &mut stream).into_iter().map(move |index| rows[index])
        }))
    }

    fn max_total(&self) -> Option<u32> {
        self.rows.iter().map(|pair| pair.total()).max()
    }

    fn count(&self) -> Option<u64> {
        (self.on_end == OnEnd::Stop).then_some(self.rows.len() as u64)
    }

    fn rows_required(&self) -> Option<u64> {
        (self.on_end == OnEnd::Error).then_some(self.rows.len() as u64)
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
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
