//! Fitting a table of lengths to measured pairs, and writing it.

use std::fmt::Write;

use super::{EmpiricalTable, LengthPair, TableSource};

/// Levels at which a fit keeps quantiles, in 1/1000: evenly spaced (median and P90 are among
/// them), and closer together at the upper end, where lengths have their long tail.
const PROMPT_STEP: usize = 10;
const OUTPUT_STEP: usize = 25;
const TAIL: [u32; 10] = [950, 960, 970, 980, 985, 990, 995, 998, 999, 1000];

/// Bands of prompts, each with the same number of pairs.
const BANDS: usize = 16;

impl EmpiricalTable {
    /// The table of measured pairs, which must not be empty; `source.pairs` is filled in.
    pub fn fit(mut pairs: Vec<LengthPair>, mut source: TableSource) -> EmpiricalTable {
        source.pairs = pairs.len() as u64;
        pairs.sort_unstable();
        let prompts: Vec<u32> = pairs.iter().map(|pair| pair.prompt).collect();
        let prompt_levels = levels(PROMPT_STEP);
        let output_levels = levels(OUTPUT_STEP);
        let bands = BANDS.min(pairs.len()).max(1);
        let output = (0..bands).map(|band| {
            let range = band * pairs.len() / bands..(band + 1) * pairs.len() / bands;
            let mut outputs: Vec<u32> = pairs[range].iter().map(|pair| pair.output).collect();
            outputs.sort_unstable();
            quantiles(&outputs, &output_levels)
        });
        EmpiricalTable {
            output: output.collect(),
            prompt: quantiles(&prompts, &prompt_levels),
            source,
            prompt_levels,
            output_levels,
        }
    }

    /// The table as text: a line for each list.
    pub fn to_ron(&self) -> String {
        let mut text = String::from("// Joint distribution of prompt and output lengths.\n(\n");
        let TableSource { name, licence, pairs } = &self.source;
        // A string's debug form is RON's; writing to a string cannot fail.
        let _ = writeln!(
            text,
            "    source: (name: {name:?}, licence: {licence:?}, pairs: {pairs}),\n    \
             prompt_levels: {:?},\n    prompt: {:?},\n    output_levels: {:?},\n    output: [",
            self.prompt_levels, self.prompt, self.output_levels,
        );
        for band in &self.output {
            let _ = writeln!(text, "        {band:?},");
        }
        text.push_str("    ],\n)\n");
        text
    }
}

fn levels(step: usize) -> Vec<u32> {
    (0..TAIL[0]).step_by(step).chain(TAIL).collect()
}

/// The value at each level of a sorted, non-empty list: the smallest that has at least that share
/// of the list at or below it.
fn quantiles(sorted: &[u32], levels: &[u32]) -> Vec<u32> {
    let whole = u64::from(levels[levels.len() - 1]);
    let at = |level: &u32| {
        let rank = (u64::from(*level) * sorted.len() as u64).div_ceil(whole);
        sorted[rank.saturating_sub(1) as usize]
    };
    levels.iter().map(at).collect()
}
