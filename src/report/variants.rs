//! The report on several configurations: a row per variant.

use super::ReportInput;
use super::line::{Line, Tone, packed, wrapped};
use super::shared::{requests, slo_limits, timing};
use crate::metrics::unit::{TimeScale, Unit, decimals_for, fixed};
use crate::metrics::{ExperimentResult, VariantResult, Verdict, names};

/// Metric, heading, and how soon the column gives way when room is short (larger: sooner).
const COLUMNS: &[(&str, &str, u8)] = &[
    ("ttft.mean", "TTFT", 1),
    ("ttft.p90", "TTFT P90", 4),
    ("ttft.p99", "TTFT P99", 5),
    ("tpot.mean", "TPOT", 2),
    ("tpot.p99", "TPOT P99", 4),
    ("e2e.mean", "E2E", 3),
    ("e2e.p99", "E2E P99", 6),
    ("request_throughput", "served", 3),
    ("output_throughput", "output", 5),
    ("slo_attainment", "SLO", 2),
    ("running_mean", "run mean", 7),
    ("running_peak", "run peak", 8),
    ("kv_allocated_mean", "KV mean", 7),
    ("kv_used_over_allocated", "used/alloc", 9),
    ("preemptions", "preempted", 8),
];

/// Heading, table and what the variants share, with at most `budget` lines.
pub fn lines(input: &ReportInput, variants: &[VariantResult], budget: usize) -> Vec<Line> {
    let (result, file, width) = (input.result, input.table, input.width);
    let height = |lines: &[Line]| lines.iter().map(|line| line.height(width)).sum::<usize>();
    let what = file.trim_end_matches(".csv");
    let mut head = heading(result, variants, what);
    let mut tail = Vec::new();
    let overloaded = variants.iter().any(|v| v.verdict() == Verdict::Overloaded);
    if overloaded {
        tail.push(wrapped("", "OVERLOADED: TTFT and E2E only measure the length of the run"));
    }
    if variants.iter().any(|v| v.runs.len() > 1) {
        tail.push(wrapped("", "means over seeds; their 95 % intervals are in summary.json"));
    }
    if let Some(slo) = variants.iter().find_map(|v| v.slo.as_ref()) {
        let text = format!("{}, for {} % of requests", slo_limits(slo), slo.attain * 100.0);
        tail.push(packed("SLO", &[text], ""));
    }
    match variants {
        [first, rest @ ..] if rest.iter().all(|v| v.timing == first.timing) => {
            tail.extend(timing(&first.timing));
        }
        [] => {}
        _ => {
            let text = match variants.iter().any(|v| v.timing.estimate) {
                true => format!("differs between {what}, some are an ESTIMATE: see summary.json"),
                false => format!("differs between {what}: see summary.json"),
            };
            tail.push(wrapped("timing", &text));
        }
    }
    let rows = table(input, variants);
    let room = budget.saturating_sub(height(&head) + height(&tail)).max(4);
    if rows.len() > room {
        let left_out = rows.len() + 1 - room;
        head.extend(rows.into_iter().take(room - 1));
        head.push(wrapped("", &format!("and {left_out} more in {file}")));
    } else {
        head.extend(rows);
    }
    head.extend(tail);
    head
}

fn heading(result: &ExperimentResult, variants: &[VariantResult], what: &str) -> Vec<Line> {
    let mut items = common(variants);
    let seeds = variants.iter().map(|v| v.runs.len()).max().unwrap_or(0);
    let seeds = if seeds > 1 { format!(" x {seeds} seeds") } else { String::new() };
    if variants.iter().all(|v| v.verdict() == Verdict::AllAtOnce) && !variants.is_empty() {
        items.push("all arrive at t = 0".to_owned());
    }
    items.push(format!("{} {what}{seeds} x {}", variants.len(), requests(variants)));
    vec![packed(&result.name, &items, " | ")]
}

/// The parts of `what` that all variants share.
fn common(variants: &[VariantResult]) -> Vec<String> {
    let [first, rest @ ..] = variants else { return Vec::new() };
    first
        .what
        .split(" | ")
        .filter(|part| rest.iter().all(|v| v.what.split(" | ").any(|other| other == *part)))
        .map(str::to_owned)
        .collect()
}

struct Column {
    heading: String,
    unit: String,
    cells: Vec<String>,
    gives_way: u8,
}

impl Column {
    fn of(
        metric: &str,
        heading: &str,
        gives_way: u8,
        variants: &[VariantResult],
    ) -> Option<Column> {
        let unit = names::find(metric)?.unit;
        let values: Vec<Option<f64>> = variants.iter().map(|v| v.mean(metric)).collect();
        let most = values.iter().flatten().copied().fold(None, |most: Option<f64>, value| {
            Some(most.map_or(value.abs(), |most| most.max(value.abs())))
        })?;
        let (factor, symbol) = match unit {
            Unit::Seconds => (TimeScale::of(most).factor(), TimeScale::of(most).symbol()),
            Unit::Share => (100.0, "%"),
            other => (1.0, other.symbol()),
        };
        let whole = unit == Unit::Count && values.iter().flatten().all(|v| v.fract() == 0.0);
        // Three digits of the largest, and two of the smallest, which may be the one of interest.
        let least =
            values.iter().flatten().copied().map(f64::abs).filter(|v| *v > 0.0).reduce(f64::min);
        let decimals = decimals_for(most * factor, 3)
            .max(decimals_for(least.unwrap_or(most) * factor, 2).min(2));
        let decimals = if whole { 0 } else { decimals };
        let cells = values
            .iter()
            .map(|value| value.map_or("-".to_owned(), |value| fixed(value * factor, decimals)))
            .collect();
        Some(Column { heading: heading.to_owned(), unit: symbol.to_owned(), cells, gives_way })
    }

    /// The number of GPUs, where it tells variants apart.
    fn gpus(variants: &[VariantResult]) -> Option<Column> {
        let cells: Vec<String> = variants.iter().map(|v| v.gpus.to_string()).collect();
        let unit = String::new();
        let column = Column { heading: "GPUs".to_owned(), unit, cells, gives_way: 1 };
        Some(column).filter(Column::differs)
    }

    /// The load as a share of the capacity, where there is one.
    fn load(variants: &[VariantResult]) -> Option<Column> {
        let ratios: Vec<Option<f64>> = variants.iter().map(VariantResult::load_ratio).collect();
        ratios.iter().any(Option::is_some).then(|| Column {
            heading: "load".to_owned(),
            unit: "%".to_owned(),
            cells: ratios
                .iter()
                .map(|ratio| ratio.map_or("-".to_owned(), |ratio| fixed(ratio * 100.0, 0)))
                .collect(),
            gives_way: 1,
        })
    }

    /// Whether it tells variants apart.
    fn differs(&self) -> bool {
        self.cells.windows(2).any(|pair| pair[0] != pair[1])
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| cell.chars().count());
        cells.chain([self.heading.chars().count(), self.unit.len()]).max().unwrap_or(0)
    }
}

/// The name of the metric that says the same of the window, where there is one.
fn in_window(name: &str) -> Option<&'static str> {
    names::find(&format!("window_{name}")).map(|metric| metric.name.as_str())
}

/// The columns in their order: the usual ones, then those that only an expectation asks for. What
/// an expectation is about never gives way to what none is about, unless it is the same everywhere.
fn columns(input: &ReportInput, variants: &[VariantResult]) -> Vec<Column> {
    let outcomes = &input.result.outcomes;
    let expected = |metric: &str| outcomes.iter().any(|outcome| outcome.metric == metric);
    let mut columns: Vec<Column> = Column::gpus(variants).into_iter().collect();
    columns.extend(Column::load(variants));
    for &(metric, heading, gives_way) in COLUMNS {
        let gives_way = if expected(metric) { 0 } else { gives_way };
        let steady = in_window(metric).filter(|_| !expected(metric));
        let steady = steady.filter(|steady| variants.iter().all(|v| v.mean(steady).is_some()));
        let shown = steady.unwrap_or(metric);
        let column = Column::of(shown, heading, gives_way, variants);
        columns.extend(column.filter(|column| !expected(metric) || column.differs()));
    }
    let mut seen: Vec<&str> = COLUMNS.iter().map(|(metric, ..)| *metric).collect();
    for outcome in outcomes {
        if !seen.contains(&outcome.metric.as_str()) {
            seen.push(&outcome.metric);
            let column = Column::of(&outcome.metric, &outcome.metric, 0, variants);
            columns.extend(column.filter(Column::differs));
        }
    }
    columns
}

/// Two lines of headings, then a row per variant.
fn table(input: &ReportInput, variants: &[VariantResult]) -> Vec<Line> {
    let labels: Vec<Option<(String, Tone)>> =
        variants.iter().enumerate().map(|(i, v)| label(v, met(input, i, v))).collect();
    let room = labels.iter().flatten().map(|(label, _)| label.len() + 2).max().unwrap_or(0);
    let longest = variants.iter().map(|v| v.name.chars().count()).max().unwrap_or(0);
    let names = longest.max(input.swept.chars().count()).clamp(5, 30);
    let mut columns = columns(input, variants);
    let width = |columns: &[Column]| columns.iter().map(|column| column.width() + 2).sum::<usize>();
    while names + width(&columns) + room > input.width {
        let Some(first) = (0..columns.len()).max_by_key(|&i| (columns[i].gives_way, i)) else {
            break;
        };
        columns.remove(first);
    }
    let row = |first: &str, cell: &dyn Fn(&Column) -> String| {
        let first: String = first.chars().take(names).collect();
        let mut text = format!("{first:<names$}");
        for column in &columns {
            let width = column.width();
            text.push_str(&format!("  {:>width$}", cell(column)));
        }
        text
    };
    let mut lines = vec![
        Line::new(row(&input.swept, &|column| column.heading.clone())),
        Line::new(row("", &|column| column.unit.clone())),
    ];
    for ((i, v), label) in variants.iter().enumerate().zip(labels) {
        let text = row(&v.name, &|column| column.cells[i].clone());
        lines.push(match label {
            Some((label, tone)) => Line::new(text).label(label, tone),
            None => Line::new(text),
        });
    }
    lines
}

/// Whether a row reached what it should.
fn met(input: &ReportInput, row: usize, v: &VariantResult) -> Option<bool> {
    let by_slo = || Some(v.slo.as_ref()?.met(v.mean("slo_attainment")?, v.mean("itl.p99")));
    input.met.get(row).copied().unwrap_or_else(by_slo)
}

fn label(v: &VariantResult, met: Option<bool>) -> Option<(String, Tone)> {
    let load = match v.verdict() {
        Verdict::Overloaded => "OVERLOADED",
        Verdict::NearSaturation => "NEAR SATURATION",
        _ => "",
    };
    let (met, tone) = match met {
        Some(true) => ("MET", Tone::Good),
        Some(false) => ("NOT MET", Tone::Bad),
        None if load == "OVERLOADED" => ("", Tone::Bad),
        None => ("", Tone::Plain),
    };
    let parts: Vec<&str> = [met, load].into_iter().filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| (parts.join(", "), tone))
}
