//! The same lengths for all.

use super::{LengthDistribution, LengthPair, LengthPairs};
use crate::base::SettingError;
use crate::workload::checks;

/// One pair for ever.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    pair: LengthPair,
}

impl Fixed {
    /// # Errors
    /// A length is 0 or absurdly large.
    pub fn new(prompt: u32, output: u32) -> Result<Fixed, SettingError> {
        checks::tokens("prompt", prompt)?;
        checks::tokens("output", output)?;
        Ok(Fixed { pair: LengthPair { prompt, output } })
    }
}

impl LengthDistribution for Fixed {
    fn pairs(&self, _seed: u64) -> LengthPairs {
        Box::new(std::iter::repeat(self.pair))
    }

    fn max_total(&self) -> Option<u32> {
        Some(self.pair.total())
    }
}
