//! Uniform lengths, in two forms.

use super::{LengthDistribution, LengthPair, LengthPairs};
use crate::base::{RandomStream, SettingError};
use crate::workload::checks;

/// A uniform total, split by a fixed share, rounded as in Vidur: the total is a real number in
/// `[min, max)`, the output `ceil(total * (1 - share))`, the prompt `floor(total - output)`, each
/// at least 1.
#[derive(Clone, Copy, Debug)]
pub struct UniformTotal {
    min: f64,
    max: f64,
    output_share: f64,
}

impl UniformTotal {
    /// # Errors
    /// No such range or share, or one that leaves no prompt at the smallest total.
    pub fn new(total: (u32, u32), prompt_share: f64) -> Result<UniformTotal, SettingError> {
        checks::token_range("total", total)?;
        checks::share("prompt_share", prompt_share)?;
        let uniform = UniformTotal {
            min: f64::from(total.0),
            max: f64::from(total.1),
            output_share: 1.0 - prompt_share,
        };
        if uniform.min - (uniform.min * uniform.output_share).ceil() < 1.0 {
            return Err(SettingError::new(
                "total",
                format!("({}, {})", total.0, total.1),
                format!("a smallest total of which a share of {prompt_share} is 1 token or more"),
            ));
        }
        Ok(uniform)
    }

    fn split(self, total: f64) -> LengthPair {
        let output = (total * self.output_share).ceil().max(1.0);
        let prompt = (total - output).floor().max(1.0);
        LengthPair { prompt: prompt as u32, output: output as u32 }
    }
}

impl LengthDistribution for UniformTotal {
    fn pairs(&self, seed: u64) -> LengthPairs {
        let uniform = *self;
        let mut stream = RandomStream::new(seed, "lengths");
        Box::new(std::iter::repeat_with(move || {
            uniform.split(uniform.min + (uniform.max - uniform.min) * stream.uniform())
        }))
    }

    fn max_total(&self) -> Option<u32> {
        Some(self.max as u32)
    }
}

/// Independent uniform prompts and outputs: whole numbers, both ends included.
#[derive(Clone, Copy, Debug)]
pub struct UniformRanges {
    prompt: (u32, u32),
    output: (u32, u32),
}

impl UniformRanges {
    /// # Errors
    /// No such range.
    pub fn new(prompt: (u32, u32), output: (u32, u32)) -> Result<UniformRanges, SettingError> {
        checks::token_range("prompt", prompt)?;
        checks::token_range("output", output)?;
        Ok(UniformRanges { prompt, output })
    }
}

impl LengthDistribution for UniformRanges {
    fn pairs(&self, seed: u64) -> LengthPairs {
        let UniformRanges { prompt, output } = *self;
        let mut stream = RandomStream::new(seed, "lengths");
        let mut draw =
            move |(min, max): (u32, u32)| min + stream.below(u64::from(max - min) + 1) as u32;
        Box::new(std::iter::repeat_with(move || LengthPair {
            prompt: draw(prompt),
            output: draw(output),
        }))
    }

    fn max_total(&self) -> Option<u32> {
        Some(self.prompt.1 + self.output.1)
    }
}
