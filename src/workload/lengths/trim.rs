//! Arithmetic on a pair of lengths.

use super::LengthPair;
use crate::workload::checks::MAX_TOKENS;

impl LengthPair {
    /// Prompt plus output.
    pub fn total(self) -> u32 {
        self.prompt + self.output
    }

    /// Each length times its factor, rounded down, at least 1.
    pub(crate) fn scaled(self, prompt: f64, output: f64) -> LengthPair {
        let scale = |n: u32, factor: f64| ((f64::from(n) * factor) as u32).clamp(1, MAX_TOKENS);
        LengthPair { prompt: scale(self.prompt, prompt), output: scale(self.output, output) }
    }
}

/// Takes what exceeds `max_total` (at least 2) off both in proportion to their lengths, each
/// share rounded up, leaving at least 1 token each: Vidur's rule for lengths from a trace.
pub(crate) fn in_proportion(pair: LengthPair, max_total: u32) -> LengthPair {
    let total = u64::from(pair.total());
    let excess = total.saturating_sub(u64::from(max_total));
    let cut = |n: u32| {
        let off = (excess * u64::from(n)).div_ceil(total) as u32;
        n.saturating_sub(off).max(1)
    };
    LengthPair { prompt: cut(pair.prompt), output: cut(pair.output) }
}

/// Takes what exceeds `max_total` (at least 2) off the prompt, and off the output when the
/// prompt is down to 1 token: Vidur's rule for a replayed trace, except that Vidur lets prompts
/// become zero or negative.
pub(crate) fn off_prompt(pair: LengthPair, max_total: u32) -> LengthPair {
    let excess = pair.total().saturating_sub(max_total);
    let off_prompt = excess.min(pair.prompt - 1);
    LengthPair {
        prompt: pair.prompt - off_prompt,
        output: (pair.output - (excess - off_prompt)).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn pair(prompt: u32, output: u32) -> LengthPair {
        LengthPair { prompt, output }
    }

    #[test]
    fn vidurs_rules() {
        // Excess 904 of 5000: ceil(904 * 4000 / 5000) = 724, ceil(904 * 1000 / 5000) = 181.
        assert_eq!(in_proportion(pair(4000, 1000), 4096), pair(3276, 819));
        assert_eq!(in_proportion(pair(5000, 1), 4096), pair(4095, 1));
        assert_eq!(in_proportion(pair(100, 20), 4096), pair(100, 20));
        assert_eq!(off_prompt(pair(4000, 1000), 4096), pair(3096, 1000));
        assert_eq!(off_prompt(pair(10, 5000), 4096), pair(1, 4095));
        assert_eq!(pair(395, 3).scaled(0.5, 0.1), pair(197, 1));
    }

    proptest! {
        #[test]
        fn limits_hold(prompt in 1..20_000_u32, output in 1..20_000_u32, most in 2..20_000_u32) {
            let original = pair(prompt, output);
            for trimmed in [in_proportion(original, most), off_prompt(original, most)] {
                prop_assert!(trimmed.total() <= most);
                prop_assert!((1..=prompt).contains(&trimmed.prompt));
                prop_assert!((1..=output).contains(&trimmed.output));
                prop_assert!(original.total() > most || trimmed == original);
            }
        }
    }
}
