//! `seeds.csv` and `variants.csv`: every scalar metric, one row per run or per variant.

use crate::metrics::unit::Unit;
use crate::metrics::{ExperimentResult, names};

use super::decimal::{push_integer, push_ratio};

/// File name of the table of runs.
pub const SEEDS: &str = "seeds.csv";
/// File name of the table of variants.
pub const VARIANTS: &str = "variants.csv";

/// One row per variant and seed: `variant,seed`, then all metrics in the registry's order and
/// units. The variant is empty for a scenario without.
pub fn seeds_csv(result: &ExperimentResult) -> String {
    let mut rows = vec![header(&["variant", "seed"])];
    for variant in &result.variants {
        for run in &variant.runs {
            let mut row = vec![variant.name.clone(), run.seed.to_string()];
            row.extend(run.metrics.iter().map(|(metric, value)| cell(metric.unit, value)));
            rows.push(row);
        }
    }
    to_csv(&rows)
}

/// One row per variant: `variant,seeds,capacity,load_ratio,verdict`, then the means over seeds of
/// all metrics (their intervals are in `summary.json`).
pub fn variants_csv(result: &ExperimentResult) -> String {
    let mut rows = vec![header(&["variant", "seeds", "capacity", "load_ratio", "verdict"])];
    for variant in &result.variants {
        let mut row = vec![
            variant.name.clone(),
            variant.runs.len().to_string(),
            cell(Unit::Number, variant.capacity),
            cell(Unit::Number, variant.load_ratio()),
            variant.verdict().key().to_owned(),
        ];
        row.extend(names::all().map(|metric| cell(metric.unit, variant.mean(&metric.name))));
        rows.push(row);
    }
    to_csv(&rows)
}

fn header(first: &[&str]) -> Vec<String> {
    let first = first.iter().map(|&name| name.to_owned());
    first.chain(names::all().map(|metric| metric.name.clone())).collect()
}

fn cell(unit: Unit, value: Option<f64>) -> String {
    let mut text = Vec::new();
    match value {
        Some(count) if unit == Unit::Count && count.fract() == 0.0 && count.abs() < 1e15 => {
            push_integer(&mut text, count as i64);
        }
        Some(value) => push_ratio(&mut text, value),
        None => {}
    }
    String::from_utf8(text).unwrap_or_default()
}

fn to_csv(rows: &[Vec<String>]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        // Rows of equal length into memory: neither can fail.
        let _ = writer.write_record(row);
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::examples;

    fn read(text: &str) -> (csv::StringRecord, Vec<csv::StringRecord>) {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        (reader.headers().unwrap().clone(), reader.records().map(Result::unwrap).collect())
    }

    #[test]
    fn a_row_per_seed_with_every_metric() {
        let (header, rows) = read(&seeds_csv(&examples::many_seeds()));
        assert_eq!(header.len(), 2 + names::all().len());
        assert_eq!(rows.len(), 10);
        assert_eq!((&rows[0][1], &rows[9][1]), ("42", "51"));
        let column = header.iter().position(|name| name == "batch_iterations").unwrap();
        assert_eq!(&rows[0][column], "12520");
    }

    #[test]
    fn a_row_per_variant() {
        let (header, rows) = read(&variants_csv(&examples::variants()));
        assert_eq!(&rows[3][0], "max");
        assert_eq!(&rows[3][4], "all at once");
        let column = header.iter().position(|name| name == "running_peak").unwrap();
        assert_eq!(&rows[3][column], "29");
    }
}
