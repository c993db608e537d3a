//! The lines on classes of requests.

use super::line::{Line, packed};
use super::shared::slo_limits;
use crate::metrics::unit::{fixed, percent};
use crate::metrics::{ClassResult, VariantResult, names};

/// What is shown of each, with its heading.
const SHOWN: [(&str, &str); 4] =
    [("TTFT", "ttft.mean"), ("P99", "ttft.p99"), ("TPOT", "tpot.mean"), ("goodput", "goodput")];

/// A line or two per class; none for a workload without classes.
pub fn lines(v: &VariantResult) -> Vec<Line> {
    v.classes.iter().map(|class| packed(&class.name, &items(v, class), " | ")).collect()
}

fn items(v: &VariantResult, class: &ClassResult) -> Vec<String> {
    let mean = |metric: &str| v.mean_of_class(&class.name, metric);
    let count = |metric: &str| fixed(mean(metric).unwrap_or_default(), 0);
    let mut items = vec![format!("{} requests", count("arrived"))];
    if mean("rejected").is_some_and(|rejected| rejected > 0.0) {
        items.push(format!("{} rejected", count("rejected")));
    }
    for (heading, metric) in SHOWN {
        let unit = names::find(metric).map(|metric| metric.unit);
        let value = mean(metric).zip(unit);
        items.extend(value.map(|(value, unit)| format!("{heading} {}", unit.show(value))));
    }
    if let (Some(slo), Some(share)) = (&class.slo, mean("slo_attainment")) {
        items.push(format!("{} % within {}", percent(share), slo_limits(slo)));
    }
    items
}
