//! What the user sees.

use super::line::WIDTH;
use super::{MAX_LINES, ReportInput, report};
use crate::metrics::{Capacity, ExperimentResult, Load, Outcome};
use crate::output::examples;

fn input(result: &ExperimentResult) -> ReportInput<'_> {
    ReportInput {
        result,
        swept: String::new(),
        met: Vec::new(),
        folder: Some(format!("results/{}", result.name)),
        files: ["summary.json", "request_metrics.csv", "batch_metrics.csv", "run.log"]
            .map(str::to_owned)
            .to_vec(),
        table: "variants.csv",
        next: None,
        warnings: Vec::new(),
        width: WIDTH,
        colour: false,
    }
}

fn shown(result: &ExperimentResult) -> String {
    for width in [80, 120] {
        check_size(&report(&ReportInput { width, ..input(result) }), width);
    }
    let text = report(&input(result));
    check_size(&text, WIDTH);
    text
}

fn check_size(text: &str, width: usize) {
    let most = (MAX_LINES * WIDTH).div_ceil(width.min(WIDTH));
    assert!(text.lines().count() <= most, "{} lines\n{text}", text.lines().count());
    for line in text.lines() {
        assert!(line.chars().count() <= width, "{} columns: {line}\n{text}", line.chars().count());
        assert_eq!(line.trim_end(), line);
    }
}

#[test]
fn a_narrow_terminal() {
    let text = report(&ReportInput { width: 80, ..input(&examples::many_seeds()) });
    insta::assert_snapshot!(text);
    let text = report(&ReportInput { width: 80, ..input(&examples::variants()) });
    insta::assert_snapshot!(text);
}

#[test]
fn one_run() {
    insta::assert_snapshot!(shown(&examples::one_run()));
}

#[test]
fn many_seeds_one_expectation_not_met() {
    insta::assert_snapshot!(shown(&examples::many_seeds()));
}

#[test]
fn variants() {
    insta::assert_snapshot!(shown(&examples::variants()));
}

#[test]
fn variants_under_load() {
    let mut result = examples::variants();
    for (variant, offered) in result.variants.iter_mut().zip([0.5, 1.5, 2.1, 4.0]) {
        variant.load = Load::Open { offered };
        variant.capacity = Capacity::About(2.2);
    }
    insta::assert_snapshot!(shown(&result));
}

#[test]
fn overload() {
    insta::assert_snapshot!(shown(&examples::overload()));
}

#[test]
fn single_request() {
    insta::assert_snapshot!(shown(&examples::single()));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let result = examples::many_seeds();
    let coloured = report(&ReportInput { colour: true, ..input(&result) });
    assert!(coloured.contains("\x1b[1;31mNOT MET\x1b[0m"));
    let mut plain = coloured;
    for code in ["\x1b[1;31m", "\x1b[1;32m", "\x1b[1m", "\x1b[0m"] {
        plain = plain.replace(code, "");
    }
    assert_eq!(plain, shown(&result));
}

#[test]
fn many_variants_and_expectations_fit() {
    let mut result = examples::variants();
    result.variants = result.variants.iter().cycle().take(60).cloned().collect();
    let outcome = |i: usize| Outcome {
        metric: "itl.p99".to_owned(),
        expected: format!("expectation {i} {}", "is long ".repeat(12)),
        measured: "1 ms".to_owned(),
        met: i != 35,
        source: None,
    };
    result.outcomes = (0..40).map(outcome).collect();
    let crowded = |result: &ExperimentResult| {
        let text = report(&ReportInput {
            warnings: vec!["extrapolated ".repeat(20); 3],
            next: Some("vidur-ecs compare x".to_owned()),
            ..input(result)
        });
        check_size(&text, WIDTH);
        assert!(text.contains("expectation 35"), "the one that is not met is hidden\n{text}");
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("... (and 2 more in run.log)"), "the count is cut off\n{text}");
        text
    };
    assert!(crowded(&result).contains("more in variants.csv"));
    result.variants.truncate(1);
    result.variants[0].name.clear();
    crowded(&result);
}

/// A column tells variants apart; an expectation on what is the same in all adds none.
#[test]
fn what_is_the_same_everywhere_has_no_column() {
    let mut result = examples::variants();
    let heading = |result: &ExperimentResult| {
        let text = shown(result);
        text.lines().find(|line| line.contains("TTFT")).unwrap_or_default().to_owned()
    };
    result.outcomes[0].metric = "rejected".to_owned();
    for (i, rejected) in [(0, 7.0), (1, 8.0)] {
        for (j, variant) in result.variants.iter_mut().enumerate() {
            for run in &mut variant.runs {
                run.metrics.set("rejected", if i == j { rejected } else { 7.0 });
            }
        }
        assert_eq!(heading(&result).contains("rejected"), rejected == 8.0);
    }
}

#[test]
fn nothing_finished() {
    let mut result = examples::one_run();
    result.variants[0].runs.iter_mut().for_each(|run| {
        run.metrics = Default::default();
        run.metrics.set("arrived", 5.0);
        run.metrics.set("rejected", 5.0);
    });
    assert!(shown(&result).contains("no request finished"));
    result.variants.clear();
    shown(&result);
}

#[test]
fn prefix_hits_are_shown_where_there_are_any() {
    let mut result = examples::one_run();
    assert!(!shown(&result).contains("prefix"));
    for (share, there) in [(0.0, false), (0.889, true)] {
        result.variants[0].runs[0].metrics.set("prefix_hit_rate", share);
        let text = shown(&result);
        assert_eq!(text.contains("| prefix hits 89 %"), there, "{text}");
    }
}
