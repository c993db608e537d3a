//! Independent lognormal prompts and outputs.

use serde::{Deserialize, Serialize};

use super::{LengthDistribution, LengthPair, LengthPairs, trim};
use crate::base::{RandomStream, SettingError};
use crate::workload::checks;
use crate::workload::checks::MAX_TOKENS;

/// The 90 % quantile of the standard normal distribution.
const NORMAL_P90: f64 = 1.281_551_565_544_600_4;

/// Trial pairs that a check draws against `max_total`, and how many of them must fit.
const TRIALS: u32 = 10_000;
const MUST_FIT: u32 = 10;

/// Draws before a pair is trimmed instead. One in 1,000 fits, so this ends the loop and no more.
const MOST_DRAWS: u32 = 100_000;

/// One lognormal length, given by two of its quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogNormalPart {
    /// Median in tokens.
    pub median: f64,
    /// 90 % quantile in tokens, above the median.
    pub p90: f64,
    /// Smallest and largest length. Values beyond are set to the nearest of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<(u32, u32)>,
}

/// A checked part: `exp(mu + sigma * z)`, clamped.
#[derive(Clone, Copy, Debug)]
struct Part {
    mu: f64,
    sigma: f64,
    min: u32,
    max: u32,
}

impl Part {
    fn new(path: &str, part: &LogNormalPart) -> Result<Part, SettingError> {
        let at = |field: &str| format!("{path}.{field}");
        checks::positive(&at("median"), part.median)?;
        checks::positive(&at("p90"), part.p90)?;
        if part.p90 <= part.median {
            return Err(SettingError::new(
                at("p90"),
                part.p90,
                format!("above the median of {}", part.median),
            ));
        }
        let (min, max) = part.clip.unwrap_or((1, MAX_TOKENS));
        checks::token_range(&at("clip"), (min, max))?;
        let sigma = libm::log(part.p90 / part.median) / NORMAL_P90;
        Ok(Part { mu: libm::log(part.median), sigma, min, max })
    }

    fn draw(&self, stream: &mut RandomStream) -> u32 {
        let length = libm::exp(self.mu + self.sigma * stream.normal());
        (length.round_ties_even() as u32).clamp(self.min, self.max)
    }
}

/// Two lognormal lengths, drawn again while their sum exceeds a limit.
#[derive(Clone, Copy, Debug)]
pub struct LogNormal {
    prompt: Part,
    output: Part,
    max_total: Option<u32>,
}

impl LogNormal {
    /// # Errors
    /// Quantiles, clips or a limit that make no sense, or a limit that fewer than about 1 in
    /// 1,000 pairs meet.
    pub fn new(
        prompt: &LogNormalPart,
        output: &LogNormalPart,
        max_total: Option<u32>,
    ) -> Result<LogNormal, SettingError> {
        checks::max_total("max_total", max_total)?;
        let lengths = LogNormal {
            prompt: Part::new("prompt", prompt)?,
            output: Part::new("output", output)?,
            max_total,
        };
        if let Some(most) = max_total {
            let least = lengths.prompt.min + lengths.output.min;
            if least > most {
                return Err(SettingError::new(
                    "max_total",
                    most,
                    format!("at least {least}, the sum of the smallest lengths"),
                ));
            }
            let mut stream = RandomStream::new(0, "lengths: trial");
            let fitting = (0..TRIALS).filter(|_| lengths.draw(&mut stream).total() <= most);
            let fitting = fitting.count() as u32;
            if fitting < MUST_FIT {
                return Err(SettingError::new(
                    "max_total",
                    format!("{most}, which {fitting} of {TRIALS} trial pairs meet"),
                    "a limit that 1 in 1000 pairs meets or more",
                )
                .help("longer pairs are drawn again, so this would hardly end"));
            }
        }
        Ok(lengths)
    }

    fn draw(&self, stream: &mut RandomStream) -> LengthPair {
        let prompt = self.prompt.draw(stream);
        LengthPair { prompt, output: self.output.draw(stream) }
    }

    fn draw_within(&self, stream: &mut RandomStream) -> LengthPair {
        let most = self.max_total.unwrap_or(u32::MAX);
        for _ in 0..MOST_DRAWS {
            let pair = self.draw(stream);
            if pair.total() <= most {
                return pair;
            }
        }
        trim::in_proportion(self.draw(stream), most)
    }
}

impl LengthDistribution for LogNormal {
    fn pairs(&self, seed: u64) -> LengthPairs {
        let lengths = *self;
        let mut stream = RandomStream::new(seed, "lengths");
        Box::new(std::iter::repeat_with(move || lengths.draw_within(&mut stream)))
    }

    fn max_total(&self) -> Option<u32> {
        let clipped = self.prompt.max < MAX_TOKENS && self.output.max < MAX_TOKENS;
        let largest = clipped.then(|| self.prompt.max + self.output.max);
        [self.max_total, largest].into_iter().flatten().min()
    }
}
