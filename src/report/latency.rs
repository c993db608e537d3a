//! The table of latencies: means with their interval, and percentiles.

use super::line::Line;
use crate::metrics::unit::{TimeScale, Unit, decimals_for, fixed};
use crate::metrics::{Spread, VariantResult};

const ROWS: [(&str, &str); 6] = [
    ("TTFT", "ttft"),
    ("TPOT", "tpot"),
    ("ITL", "itl"),
    ("E2E", "e2e"),
    ("queue", "queue"),
    // Only of disaggregated clusters.
    ("KV tr.", "kv_transfer"),
];
const PERCENTILES: [&str; 3] = ["p50", "p90", "p99"];

/// One row per latency. Percentiles are means over seeds of each seed's percentile.
pub fn table(v: &VariantResult) -> Vec<Line> {
    let rows: Vec<Row> = ROWS.iter().filter_map(|(name, key)| Row::of(v, name, key)).collect();
    if rows.is_empty() {
        return vec![Line::new("       no request finished: there are no latencies")];
    }
    let intervals = rows.iter().any(|row| !row.interval.is_empty());
    let width = |cell: fn(&Row) -> &String, least: usize| {
        rows.iter().map(|row| cell(row).len()).max().unwrap_or(0).max(least)
    };
    let mean = width(|row| &row.mean, if intervals { 6 } else { 8 });
    let interval = width(|row| &row.interval, 0);
    let columns: Vec<usize> = (0..PERCENTILES.len())
        .map(|i| rows.iter().map(|row| row.percentiles[i].len()).max().unwrap_or(0).max(7))
        .collect();

    let over = if intervals { " +- 95 % CI" } else { "" };
    let interval = interval.max(over.len());
    let mut head = format!("{:<9}{:>mean$}{over:<interval$}", "", "mean");
    for (name, width) in PERCENTILES.iter().zip(&columns) {
        head.push_str(&format!("  {:>width$}", name.to_uppercase()));
    }
    let mut lines = vec![Line::new(head)];
    for row in &rows {
        let mut text = format!(
            "{:<6}{:<3}{:>mean$}{:<interval$}",
            row.name,
            row.scale.symbol(),
            row.mean,
            row.interval
        );
        for (cell, width) in row.percentiles.iter().zip(&columns) {
            text.push_str(&format!("  {cell:>width$}"));
        }
        if !row.note.is_empty() {
            text.push_str(&format!("   {}", row.note));
        }
        lines.push(Line::new(text));
    }
    lines
}

struct Row {
    name: &'static str,
    scale: TimeScale,
    mean: String,
    interval: String,
    percentiles: Vec<String>,
    note: String,
}

impl Row {
    fn of(v: &VariantResult, name: &'static str, key: &str) -> Option<Row> {
        let mean = v.spread(&format!("{key}.mean"))?;
        let scale = TimeScale::of(mean.mean);
        let decimals = decimals_for(mean.mean * scale.factor(), 3).min(2);
        let show = |seconds: f64| fixed(seconds * scale.factor(), decimals);
        let of = |statistic: &str| v.spread(&format!("{key}.{statistic}"));
        let percentile =
            |statistic: &&str| of(statistic).map_or(String::new(), |spread| show(spread.mean));
        let note = match key {
            "tpot" => "after the first token".to_owned(),
            "kv_transfer" => "from prefill to decode replica".to_owned(),
            "itl" => of("max")
                .map(|max| format!("longest {}", Unit::Seconds.show(max.max)))
                .unwrap_or_default(),
            _ => unsteady(of("p99"))
                .map(|ci95| format!("P99 +- {}: add seeds", show(ci95)))
                .unwrap_or_default(),
        };
        Some(Row {
            name,
            scale,
            mean: show(mean.mean),
            interval: mean.ci95.map_or(String::new(), |ci95| format!(" +- {}", show(ci95))),
            percentiles: PERCENTILES.iter().map(percentile).collect(),
            note,
        })
    }
}

/// The half width of an interval that is wider than a quarter of its mean: a few bursts drive such
/// a figure, and more seeds make it narrower.
fn unsteady(spread: Option<Spread>) -> Option<f64> {
    let spread = spread?;
    spread.ci95.filter(|ci95| *ci95 > 0.25 * spread.mean)
}
