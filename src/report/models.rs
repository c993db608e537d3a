//! The lines on several models that are served together.

use super::line::{Line, packed};
use crate::metrics::unit::fixed;
use crate::metrics::{VariantResult, names};

/// What is shown of each, with its heading.
const SHOWN: [(&str, &str); 4] = [
    ("TTFT", "ttft.mean"),
    ("TPOT", "tpot.mean"),
    ("E2E P99", "e2e.p99"),
    ("", "output_throughput"),
];

/// A line or two per model; none for a scenario with one model.
pub fn lines(v: &VariantResult) -> Vec<Line> {
    v.models
        .iter()
        .map(|model| {
            let mut items = vec![model.what.clone()];
            for (heading, metric) in SHOWN {
                let unit = names::find(metric).map(|metric| metric.unit);
                let value = v.mean_of(&model.name, metric).zip(unit);
                items.extend(value.map(|(value, unit)| {
                    format!("{heading} {}", unit.show(value)).trim().to_owned()
                }));
            }
            items.push(format!("{} KV blocks", fixed(model.kv_blocks as f64, 0)));
            packed(&model.name, &items, " | ")
        })
        .collect()
}
