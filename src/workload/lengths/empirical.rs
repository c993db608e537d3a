//! Lengths from a measured joint distribution.

use std::sync::Arc;

use super::{EmpiricalTable, LengthDistribution, LengthPairs, trim};
use crate::base::{RandomStream, SettingError};
use crate::workload::checks;

/// Pairs drawn from an [`EmpiricalTable`].
#[derive(Clone, Debug)]
pub struct Empirical {
    table: Arc<EmpiricalTable>,
    max_total: Option<u32>,
}

impl Empirical {
    /// # Errors
    /// `max_total` is below 2.
    pub fn new(table: EmpiricalTable, max_total: Option<u32>) -> Result<Empirical, SettingError> {
        checks::max_total("max_total", max_total)?;
        Ok(Empirical { table: Arc::new(table), max_total })
    }
}

impl LengthDistribution for Empirical {
    fn pairs(&self, seed: u64) -> LengthPairs {
        let table = self.table.clone();
        let max_total = self.max_total;
        let mut stream = RandomStream::new(seed, "lengths");
        Box::new(std::iter::repeat_with(move || {
            let prompt_level = stream.uniform();
            let pair = table.pair_at(prompt_level, stream.uniform());
            max_total.map_or(pair, |most| trim::in_proportion(pair, most))
        }))
    }

    fn max_total(&self) -> Option<u32> {
        let longest = self.table.max_total();
        Some(self.max_total.map_or(longest, |most| longest.min(most)))
    }
}
