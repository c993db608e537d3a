//! Parts that reports on one configuration and on several have in common.

use super::line::{Line, Tone, wrapped};
use crate::metrics::unit::{TimeScale, fixed};
use crate::metrics::{Misfit, Outcome, VariantResult};
use crate::profile::NOT_CHECKED;
use crate::timing::TimingNote;
use crate::workload::Slo;

/// What did not run because it does not fit in memory, a line each as far as there is room.
pub fn misfits(misfits: &[Misfit], file: &str) -> Vec<Line> {
    const SHOWN: usize = 4;
    let name = |misfit: &Misfit| match misfit.name.as_str() {
        "" => String::new(),
        name => format!("{name}: "),
    };
    let line = |misfit: &Misfit| wrapped("NO FIT", &format!("{}{}", name(misfit), misfit.why));
    let mut lines: Vec<Line> = misfits.iter().take(SHOWN).map(line).collect();
    if misfits.len() > SHOWN {
        lines.push(wrapped("", &format!("and {} more in {file}", misfits.len() - SHOWN)));
    }
    lines
}

/// `1000 requests` per run, or `about 1000 requests` where runs differ.
pub fn requests(variants: &[VariantResult]) -> String {
    let arrived: Vec<f64> =
        variants.iter().flat_map(|v| v.runs.iter()).filter_map(|run| run.get("arrived")).collect();
    let (Some(&first), count) = (arrived.first(), arrived.len() as f64) else {
        return "no requests".to_owned();
    };
    if arrived.iter().all(|&number| number == first) {
        let plural = if first == 1.0 { "" } else { "s" };
        return format!("{} request{plural}", fixed(first, 0));
    }
    format!("about {} requests", fixed(arrived.iter().sum::<f64>() / count, 0))
}

/// `7424 blocks of 16 tokens`, per replica if there are several.
pub fn kv_size(v: &VariantResult) -> String {
    if !v.models.is_empty() {
        let all = v.mean("kv_blocks").unwrap_or_default();
        return format!("{} blocks in all", fixed(all, 0));
    }
    let several = v.mean("kv_blocks").is_some_and(|all| all > v.kv_blocks as f64);
    let each = if several { " per replica" } else { "" };
    format!("{} blocks of {} tokens{each}", fixed(v.kv_blocks as f64, 0), v.block_size)
}

/// `TTFT <= 1000 ms, TPOT <= 50 ms`.
pub fn slo_limits(slo: &Slo) -> String {
    let limits: Vec<String> = [
        ("TTFT", slo.ttft_ms),
        ("TPOT", slo.tpot_ms),
        ("E2E", slo.e2e_ms),
        ("P99 ITL of the run", slo.itl_p99_ms),
    ]
    .into_iter()
    .filter_map(|(name, limit)| {
        let seconds = limit? / 1e3;
        let scale = TimeScale::of(seconds);
        Some(format!("{name} <= {} {}", seconds * scale.factor(), scale.symbol()))
    })
    .collect();
    limits.join(", ")
}

/// What is said of times that nobody has compared with a run.
const UNCHECKED: &str = "not checked against a real engine for this model and device";

/// What the times rest on.
pub fn timing(note: &TimingNote) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut key = "timing";
    for (what, text) in [
        ("", &note.rests_on),
        ("not modelled: ", &note.not_modelled),
        ("checked against: ", &note.checked_against),
    ] {
        if !text.is_empty() {
            let said = match text.as_str() {
                NOT_CHECKED => UNCHECKED.to_owned(),
                text => format!("{what}{text}"),
            };
            lines.push(wrapped(key, &said));
            key = "";
        }
    }
    lines
}

/// A line per expectation, in order, in at most `budget` lines of the terminal: where there are
/// more, those that are not met come first and the last line counts what is left out.
pub fn expectations(outcomes: &[Outcome], budget: usize, width: usize) -> Vec<Line> {
    let all: Vec<Line> = outcomes.iter().map(expectation).collect();
    let total: usize = all.iter().map(|line| line.height(width)).sum();
    if total <= budget {
        return keyed(all);
    }
    let mut order: Vec<usize> = (0..outcomes.len()).collect();
    order.sort_by_key(|&i| outcomes[i].met);
    let mut lines: Vec<Line> = Vec::new();
    let mut used = 0;
    for &i in &order {
        // One line is kept for the count of the rest.
        used += all[i].height(width);
        if used >= budget {
            break;
        }
        lines.push(all[i].clone());
    }
    let rest = &order[lines.len()..];
    let missed = rest.iter().filter(|&&i| !outcomes[i].met).count();
    let line = wrapped("", &format!("and {} more in summary.json", rest.len()));
    lines.push(match missed {
        0 => line.label("MET", Tone::Good),
        missed => line.label(format!("{missed} NOT MET"), Tone::Bad),
    });
    keyed(lines)
}

fn expectation(outcome: &Outcome) -> Line {
    let (label, tone) = if outcome.met { ("MET", Tone::Good) } else { ("NOT MET", Tone::Bad) };
    let mut text = format!("{}: {}", outcome.expected, outcome.measured);
    if let (false, Some(source)) = (outcome.met, &outcome.source) {
        text.push_str(&format!(" [{source}]"));
    }
    wrapped("", &text).label(label, tone)
}

/// The section's key goes in front of its first line.
fn keyed(mut lines: Vec<Line>) -> Vec<Line> {
    if let Some(first) = lines.first_mut() {
        first.set_key("expect");
    }
    lines
}
