//! `seeds.csv`, `variants.csv` and `runs.csv`: every scalar metric, one row per seed, per variant,
//! or per variant of every scenario and sweep.

use crate::base;
use crate::metrics::names::Metric;
use crate::metrics::unit::Unit;
use crate::metrics::{ExperimentResult, VariantResult, names};

use super::decimal::{integer, ratio};

/// File name of the table of runs.
pub const SEEDS: &str = "seeds.csv";
/// File name of the table of variants.
pub const VARIANTS: &str = "variants.csv";
/// File name of the table of several scenarios or of a sweep.
pub const RUNS: &str = "runs.csv";

/// One row per variant and seed: `variant,seed`, then all metrics in the registry's order and
/// units. The variant is empty for a scenario without.
pub fn seeds_csv(result: &ExperimentResult) -> String {
    let shown = shown([result]);
    let mut rows = vec![header(&["variant", "seed"], &shown)];
    for variant in &result.variants {
        for run in &variant.runs {
            let mut row = vec![text(&variant.name), run.seed.to_string()];
            row.extend(shown.iter().map(|metric| cell(metric.unit, run.get(&metric.name))));
            rows.push(row);
        }
    }
    to_csv(&rows)
}

/// One row per variant: `variant,seeds,capacity,load_ratio,verdict`, then the means over seeds of
/// all metrics (their intervals are in `summary.json`).
pub fn variants_csv(result: &ExperimentResult) -> String {
    let mut first = vec!["variant"];
    first.extend(MEANS);
    let shown = shown([result]);
    let mut rows = vec![header(&first, &shown)];
    for variant in &result.variants {
        let mut row = vec![text(&variant.name)];
        row.extend(means(variant, &shown));
        rows.push(row);
    }
    for misfit in &result.misfits {
        let mut row = vec![misfit.name.clone()];
        row.extend(nothing(&shown));
        rows.push(row);
    }
    to_csv(&rows)
}

/// The results of a scenario and the values that a sweep gave it, by path.
#[cfg(feature = "cli")]
pub type Swept<'a> = (&'a [(String, String)], &'a ExperimentResult);

/// One row per variant of every result: `scenario,variant`, the swept paths, then as in
/// [`variants_csv`].
#[cfg(feature = "cli")]
pub fn runs_csv(results: &[Swept<'_>]) -> String {
    let mut paths: Vec<&str> = Vec::new();
    for (path, _) in results.iter().flat_map(|(values, _)| values.iter()) {
        if !paths.contains(&path.as_str()) {
            paths.push(path);
        }
    }
    let mut first = vec!["scenario", "variant"];
    first.extend(&paths);
    first.extend(MEANS);
    let shown = shown(results.iter().map(|(_, result)| *result));
    let swept = |values: &[(String, String)]| -> Vec<String> {
        let of = |path: &&str| {
            let value = values.iter().find(|(other, _)| other == path);
            value.map_or_else(String::new, |(_, value)| text(value))
        };
        paths.iter().map(of).collect()
    };
    let mut rows = vec![header(&first, &shown)];
    for (values, result) in results {
        for variant in &result.variants {
            let mut row = vec![text(&result.name), text(&variant.name)];
            row.extend(swept(values));
            row.extend(means(variant, &shown));
            rows.push(row);
        }
        for misfit in &result.misfits {
            let mut row = vec![text(&result.name), text(&misfit.name)];
            row.extend(swept(values));
            row.extend(nothing(&shown));
            rows.push(row);
        }
    }
    to_csv(&rows)
}

/// The columns before the metrics where a row is a mean over seeds.
const MEANS: [&str; 4] = ["seeds", "capacity", "load_ratio", "verdict"];

/// The cells of a variant, and the means over seeds of all metrics.
fn means(variant: &VariantResult, shown: &[&Metric]) -> Vec<String> {
    let mut row = vec![
        variant.runs.len().to_string(),
        cell(Unit::Number, variant.capacity.rate()),
        cell(Unit::Number, variant.load_ratio()),
        variant.verdict().key().to_owned(),
    ];
    row.extend(shown.iter().map(|metric| cell(metric.unit, variant.mean(&metric.name))));
    row
}

/// The cells of a variant where nothing ran because it does not fit in memory.
fn nothing(shown: &[&Metric]) -> Vec<String> {
    let mut row = ["0", "", "", "does not fit"].map(str::to_owned).to_vec();
    row.extend(shown.iter().map(|_| String::new()));
    row
}

fn header(first: &[&str], shown: &[&Metric]) -> Vec<String> {
    let first = first.iter().map(|&name| name.to_owned());
    first.chain(shown.iter().map(|metric| metric.name.clone())).collect()
}

/// The metrics that have a column.
fn shown<'a>(results: impl IntoIterator<Item = &'a ExperimentResult>) -> Vec<&'static Metric> {
    let variants = results.into_iter().flat_map(|result| &result.variants);
    let runs: Vec<_> = variants.flat_map(|variant| &variant.runs).collect();
    names::shown(&runs)
}

/// A text of the user's.
fn text(text: &str) -> String {
    base::text::cell(text).into_owned()
}

fn cell(unit: Unit, value: Option<f64>) -> String {
    let mut text = Vec::new();
    match value {
        Some(count) if unit == Unit::Count && count.fract() == 0.0 && count.abs() < 1e15 => {
            text.extend_from_slice(integer(count as i64).as_bytes());
        }
        Some(value) => text.extend_from_slice(ratio(value).as_bytes()),
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
    use crate::metrics::Misfit;
    use crate::output::examples;

    fn read(text: &str) -> (csv::StringRecord, Vec<csv::StringRecord>) {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        (reader.headers().unwrap().clone(), reader.records().map(Result::unwrap).collect())
    }

    #[test]
    fn a_row_per_seed_with_every_metric() {
        let (header, rows) = read(&seeds_csv(&examples::many_seeds()));
        assert_eq!(header.len(), 2 + names::all().filter(|metric| !metric.optional).count());
        assert_eq!(rows.len(), 10);
        assert_eq!((&rows[0][1], &rows[9][1]), ("42", "51"));
        let column = header.iter().position(|name| name == "batch_iterations").unwrap();
        assert_eq!(&rows[0][column], "12520");
    }

    #[test]
    fn swept_values_are_columns() {
        let (one, many) = (examples::one_run(), examples::variants());
        let values = [("workload.arrivals.qps".to_owned(), "2".to_owned())];
        let (header, rows) = read(&runs_csv(&[(&values, &one), (&[], &many)]));
        let first: Vec<&str> = header.iter().take(7).collect();
        let wanted = ["scenario", "variant", "workload.arrivals.qps"];
        assert_eq!(first[..3], wanted);
        assert_eq!(first[3..], MEANS);
        assert_eq!(rows.len(), 5);
        assert_eq!((&rows[0][0], &rows[0][1], &rows[0][2]), ("i2_1", "", "2"));
        assert_eq!((&rows[4][1], &rows[4][2]), ("max", ""));
    }

    #[test]
    fn what_does_not_fit_has_a_row() {
        let mut one = examples::one_run();
        one.misfits.push(Misfit { name: "large".to_owned(), why: String::new() });
        let values = [("qps".to_owned(), "2".to_owned())];
        let (_, rows) = read(&runs_csv(&[(&values, &one)]));
        let first: Vec<&str> = rows[1].iter().take(7).collect();
        assert_eq!(first, ["i2_1", "large", "2", "0", "", "", "does not fit"]);
        let (_, rows) = read(&variants_csv(&one));
        assert_eq!((&rows[1][0], &rows[1][4]), ("large", "does not fit"));
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
