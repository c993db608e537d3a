//! Totals from a bounded Zipf distribution.

use super::{LengthDistribution, LengthPair, LengthPairs};
use crate::base::{RandomStream, SettingError};
use crate::workload::checks;
use crate::workload::ranks::Ranks;

/// The most different totals, which bounds the table (8 bytes each).
const MAX_TOTALS: u32 = 1 << 20;

/// The k-th smallest total (k from 1) has probability proportional to `k^-theta`. The output is
/// `floor(total * (1 - share))`, the prompt the rest, each at least 1. Vidur's `scramble`, which
/// differs from process to process, does not exist.
#[derive(Clone, Debug)]
pub struct Zipf {
    total: (u32, u32),
    prompt_share: f64,
    ranks: Ranks,
}

impl Zipf {
    /// # Errors
    /// A range, exponent or share that makes no sense.
    pub fn new(total: (u32, u32), theta: f64, prompt_share: f64) -> Result<Zipf, SettingError> {
        checks::token_range("total", total)?;
        checks::share("prompt_share", prompt_share)?;
        checks::skew("theta", theta)?;
        if total.0 < 2 {
            return Err(SettingError::new(
                "total",
                format!("({}, {})", total.0, total.1),
                "a smallest total of at least 2, one token of the prompt and one of the output",
            ));
        }
        let count = total.1 - total.0 + 1;
        if count > MAX_TOTALS {
            return Err(SettingError::new(
                "total",
                format!("({}, {})", total.0, total.1),
                format!("at most {MAX_TOTALS} different totals"),
            ));
        }
        Ok(Zipf { total, prompt_share, ranks: Ranks::new(count, theta) })
    }
}

impl LengthDistribution for Zipf {
    fn pairs(&self, seed: u64) -> LengthPairs {
        let zipf = self.clone();
        let mut stream = RandomStream::new(seed, "lengths");
        Box::new(std::iter::repeat_with(move || {
            let total = zipf.total.0 + zipf.ranks.draw(&mut stream);
            let output = (f64::from(total) * (1.0 - zipf.prompt_share)) as u32;
            let output = output.clamp(1, total - 1);
            LengthPair { prompt: total - output, output }
        }))
    }

    fn max_total(&self) -> Option<u32> {
        Some(self.total.1)
    }
}
