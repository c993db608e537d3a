//! Comparisons as a table for the terminal, as CSV and as JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Change, Comparison, Difference, Pairing};
use crate::base::text::cell;
use crate::metrics::names;
use crate::metrics::unit::{Unit, decimals_for, fixed};
use crate::output::text_table;

/// The table of these metrics, on a terminal of so many columns.
pub fn text(baseline: &str, comparisons: &[Comparison], metrics: &[&str], width: usize) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "baseline   {baseline}");
    let mut tested = 0;
    for comparison in comparisons {
        let _ = writeln!(
            out,
            "\ncompared   {}\n           {}",
            comparison.label,
            basis(comparison.basis)
        );
        let shown: Vec<(&str, &Difference)> = metrics
            .iter()
            .filter_map(|name| comparison.metric(name).map(|difference| (*name, difference)))
            .collect();
        tested += shown.iter().filter(|(_, difference)| difference.p.is_some()).count();
        let rows = |form: Interval| -> Vec<[String; 6]> {
            let heading = ["", "baseline", "compared", "difference", form.heading(), ""];
            let rows = shown.iter().map(|(name, d)| row(name, d, comparison.basis, form));
            std::iter::once(heading.map(str::to_owned)).chain(rows).collect()
        };
        let forms = [Interval::Ends, Interval::Half, Interval::Bare].map(rows);
        let fits = forms.iter().find(|rows| needs(rows) < width).unwrap_or(&forms[2]);
        let mut rows = fits.clone();
        let mut table = text_table::new(rows.remove(0));
        text_table::fit(&mut table, width - 1);
        table.add_rows(rows);
        text_table::right_aligned(&mut table, 1);
        text_table::left_aligned(&mut table, 5);
        text_table::without_end(&mut table, 5);
        // All in one piece but remarks behind verdicts, and where that is too wide the differences.
        let remarks = shown.iter().any(|(_, d)| !left_out(d, comparison.basis).is_empty());
        let whole = [0, 1, 2, 4].into_iter().chain((!remarks).then_some(5));
        whole.for_each(|column| text_table::keep_whole(&mut table, column));
        let _ = writeln!(out, "{}", text_table::render(&table));
    }
    if tested > 0 {
        let chance = 0.05 * tested as f64;
        let _ = writeln!(
            out,
            "\nhigher, lower: more than noise at 95 %.\nOf {tested} comparisons, {chance:.1} would be by chance alone."
        );
    }
    out
}

/// How an interval is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interval {
    /// By its ends.
    Ends,
    /// By what is to be added to the difference and subtracted from it, where there is little room.
    Half,
    /// Likewise, and without the difference in percent.
    Bare,
}

impl Interval {
    fn heading(self) -> &'static str {
        match self {
            Interval::Ends => "95 % interval",
            Interval::Half | Interval::Bare => "95 %",
        }
    }
}

/// Columns that these rows take in one piece.
fn needs(rows: &[[String; 6]]) -> usize {
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    // Two blanks in front of each.
    (0..6).map(|column| widest(column).unwrap_or(0) + 2).sum()
}

fn basis(basis: Pairing) -> String {
    match basis {
        Pairing::Paired { common: 1, .. } => {
            "one seed: no interval (more seeds: --seeds 10)".to_owned()
        }
        Pairing::Paired { common, left_out: 0 } => format!("paired over {common} seeds"),
        Pairing::Paired { common, left_out } => format!(
            "paired over the {common} seeds in common; {left_out} runs of other seeds are left out"
        ),
        Pairing::Unpaired { baseline, other } => {
            format!("the seeds do not pair: means of {baseline} and {other} runs, Welch's test")
        }
    }
}

fn row(name: &str, difference: &Difference, basis: Pairing, form: Interval) -> [String; 6] {
    let unit = names::find(name).map(|metric| metric.unit);
    let show = |value: f64| unit.map_or_else(|| value.to_string(), |unit| unit.show(value));
    // A difference of shares is in points: a percentage of a percentage would be read as one of
    // both.
    let size = |value: f64| match unit {
        Some(Unit::Share) => {
            let points = value * 100.0;
            format!("{} points", fixed(points, decimals_for(points, 2).min(2)))
        }
        _ => show(value),
    };
    let signed = |value: f64| match value < 0.0 {
        true => format!("-{}", size(-value)),
        false => format!("+{}", size(value)),
    };
    let change = match difference.relative() {
        _ if difference.verdict == Change::Same => "0".to_owned(),
        Some(relative) if unit != Some(Unit::Share) && form != Interval::Bare => {
            format!("{} ({:+.1} %)", signed(difference.absolute()), relative * 100.0)
        }
        _ => signed(difference.absolute()),
    };
    let interval = match (difference.ci95, difference.verdict) {
        (_, Change::Same) | (None, _) => String::new(),
        (Some(half), _) if form != Interval::Ends => format!("±{}", size(half)),
        (Some(half), _) => {
            let middle = difference.absolute();
            format!("{} .. {}", signed(middle - half), signed(middle + half))
        }
    };
    [
        name.to_owned(),
        show(difference.baseline),
        show(difference.other),
        change,
        interval,
        format!("{}{}", difference.verdict.key(), left_out(difference, basis)),
    ]
}

/// Which runs have no value, if not all have one.
fn left_out(difference: &Difference, basis: Pairing) -> String {
    let (of, others) = match basis {
        Pairing::Paired { common, .. } => (common, common),
        Pairing::Unpaired { baseline, other } => (baseline, other),
    };
    let (runs, other_runs) = difference.runs;
    match basis {
        _ if (runs, other_runs) == (of, others) => String::new(),
        Pairing::Paired { .. } => format!(" ({runs} of {of} seeds have a value)"),
        Pairing::Unpaired { .. } => {
            format!(" ({runs} of {of} and {other_runs} of {others} runs have a value)")
        }
    }
}

/// One row per comparison and metric. Values in the registry's units.
pub fn csv(baseline: &str, comparisons: &[Comparison]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let header = [
        "baseline",
        "compared",
        "seeds",
        "paired",
        "metric",
        "baseline_mean",
        "compared_mean",
        "difference",
        "ci95",
        "relative",
        "p",
        "verdict",
    ];
    // Rows of equal length into memory: nothing can fail.
    let _ = writer.write_record(header);
    for comparison in comparisons {
        for (name, d) in &comparison.metrics {
            let (seeds, paired) = match comparison.basis {
                Pairing::Paired { .. } => (d.runs.0.to_string(), "true"),
                Pairing::Unpaired { .. } => (format!("{}+{}", d.runs.0, d.runs.1), "false"),
            };
            let _ = writer.write_record([
                &*cell(baseline),
                &*cell(&comparison.label),
                &seeds,
                paired,
                name,
                &d.baseline.to_string(),
                &d.other.to_string(),
                &d.absolute().to_string(),
                &number(d.ci95),
                &number(d.relative()),
                &number(d.p),
                d.verdict.key(),
            ]);
        }
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// The comparisons as JSON.
pub fn json(baseline: &str, comparisons: &[Comparison]) -> String {
    let comparisons: Vec<Value> = comparisons
        .iter()
        .map(|comparison| {
            let metrics: Map<String, Value> = comparison
                .metrics
                .iter()
                .map(|(name, d)| {
                    let value = json!({
                        "baseline": d.baseline,
                        "compared": d.other,
                        "difference": d.absolute(),
                        "ci95": d.ci95,
                        "relative": d.relative(),
                        "p": d.p,
                        "runs": [d.runs.0, d.runs.1],
                        "verdict": d.verdict.key(),
                    });
                    ((*name).to_owned(), value)
                })
                .collect();
            let (paired, seeds) = match comparison.basis {
                Pairing::Paired { common, .. } => (true, json!(common)),
                Pairing::Unpaired { baseline, other } => (false, json!([baseline, other])),
            };
            json!({
                "compared": comparison.label,
                "paired": paired,
                "seeds": seeds,
                "basis": basis(comparison.basis),
                "metrics": metrics,
            })
        })
        .collect();
    let value = json!({ "baseline": baseline, "comparisons": comparisons });
    let mut text = serde_json::to_string_pretty(&value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Side;
    use crate::output::examples;

    #[test]
    fn shares_differ_in_points_and_missing_values_are_said() {
        let run = |seed: u64, share: f64, ttft: Option<f64>| {
            let mut run = examples::run(seed, &[("busy_fraction", share)]);
            run.metrics.set("ttft.mean", ttft);
            run
        };
        let side = |label: &str, share: f64, last: Option<f64>| Side {
            label: label.to_owned(),
            runs: vec![run(1, share, Some(1.0)), run(2, share, Some(1.0)), run(3, share, last)],
        };
        let comparison = Comparison::new(&side("a", 0.5, Some(1.0)), &side("b", 0.55, None));
        let text =
            text("a", std::slice::from_ref(&comparison), &["busy_fraction", "ttft.mean"], 120);
        assert!(text.contains("+5.0 points") && !text.contains("10.0 %"), "{text}");
        assert!(text.contains("same (2 of 3 seeds have a value)"), "{text}");
        assert!(csv("a", &[comparison]).contains("a,b,2,true,ttft.mean,1,1,"), "{text}");
    }

    #[test]
    fn shows_what_differs_by_more_than_noise() {
        let runs = |shift: f64, spread: f64| {
            let run = |i: u64| {
                let noise = i as f64 * 0.01;
                let changes = [
                    ("ttft.mean", 0.25 + noise + shift),
                    ("tpot.mean", 0.04 + spread * (i as f64 - 2.0)),
                    ("preemptions", 0.0),
                ];
                examples::run(i, &changes)
            };
            (0..5).map(run).collect::<Vec<_>>()
        };
        let side = |label: &str, runs| Side { label: label.to_owned(), runs };
        let a = side("a", runs(0.0, 0.0001));
        let b = side("b", runs(-0.05, 0.002));
        let mut c = side("c, x", runs(0.001, 0.0));
        for run in &mut c.runs {
            run.seed += 100;
        }
        let comparisons = [Comparison::new(&a, &b), Comparison::new(&a, &c)];
        let text = text("a", &comparisons, &["ttft.mean", "tpot.mean", "preemptions"], 100);
        insta::assert_snapshot!(text, @r"
baseline   a

compared   b
           paired over 5 seeds
               baseline  compared          difference         95 % interval
  ttft.mean      270 ms    220 ms  -50.0 ms (-18.5 %)  -50.0 ms .. -50.0 ms  lower
  tpot.mean     40.0 ms   40.0 ms      +0 ms (+0.0 %)  -3.73 ms .. +3.73 ms  noise
  preemptions         0         0                   0                        same

compared   c, x
           the seeds do not pair: means of 5 and 5 runs, Welch's test
               baseline  compared         difference           95 % interval
  ttft.mean      270 ms    271 ms  +1.00 ms (+0.4 %)    -22.1 ms .. +24.1 ms  noise
  tpot.mean     40.0 ms   40.0 ms     +0 ms (+0.0 %)  -0.196 ms .. +0.196 ms  noise
  preemptions         0         0                  0                          same

higher, lower: more than noise at 95 %.
Of 6 comparisons, 0.3 would be by chance alone.
");
        let names = ["ttft.mean", "tpot.mean", "preemptions"];
        let narrow = super::text("a", &comparisons[..1], &names, 80);
        insta::assert_snapshot!(narrow, @r"
baseline   a

compared   b
           paired over 5 seeds
               baseline  compared          difference      95 %
  ttft.mean      270 ms    220 ms  -50.0 ms (-18.5 %)     ±0 ms  lower
  tpot.mean     40.0 ms   40.0 ms      +0 ms (+0.0 %)  ±3.73 ms  noise
  preemptions         0         0                   0            same

higher, lower: more than noise at 95 %.
Of 3 comparisons, 0.2 would be by chance alone.
");
        let csv = csv("a", &comparisons);
        assert!(
            csv.lines().any(|line| line.starts_with("a,b,5,true,ttft.mean,0.27,0.22")),
            "{csv}"
        );
        assert!(csv.contains("\"c, x\",5+5,false,"));
        let json: Value = serde_json::from_str(&json("a", &comparisons)).unwrap();
        assert_eq!(json["comparisons"][0]["metrics"]["ttft.mean"]["verdict"], json!("lower"));
    }
}
