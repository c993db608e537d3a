//! Errors of a simulated run against a measured one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;

use super::case::{CaseError, Measured, rows_of};

/// What was simulated of a request, in milliseconds; `None` for what it did not come to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Simulated {
    /// First token - arrival.
    pub ttft: Option<f64>,
    /// (Last token - first token) / (output tokens - 1), with more than one output token.
    pub tpot: Option<f64>,
    /// Last token - arrival.
    pub e2e: Option<f64>,
}

/// Reads `request_metrics.csv` of a result folder, by request.
///
/// # Errors
/// The file is missing or malformed.
pub fn read_simulated(path: &Path) -> Result<BTreeMap<u64, Simulated>, CaseError> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(rename = "Request Id")]
        id: u64,
        ttft: Option<f64>,
        tpot: Option<f64>,
        request_e2e_time: Option<f64>,
    }
    let mut simulated = BTreeMap::new();
    for row in rows_of::<Row>(path)? {
        let row = row?;
        let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
        let times =
            Simulated { ttft: ms(row.ttft), tpot: ms(row.tpot), e2e: ms(row.request_e2e_time) };
        simulated.insert(row.id, times);
    }
    Ok(simulated)
}

/// One metric: statistics of the measured and the simulated requests in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricScore {
    /// `TTFT`, `TPOT` or `E2E`.
    pub metric: &'static str,
    /// Name of the statistic, measured, simulated.
    pub statistics: Vec<(&'static str, f64, f64)>,
    /// Mean over requests of |simulated / measured - 1|.
    pub mape: f64,
    /// Requests that count.
    pub requests: usize,
}

/// The errors of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorTable {
    /// TTFT, TPOT, E2E.
    pub rows: Vec<MetricScore>,
    /// Measured requests of which the simulation finished none of the tokens.
    pub missing: usize,
    /// Measured values that are no times, by metric.
    pub unusable: Vec<Unusable>,
}

/// Measured values of a metric that are no times: NaN, infinite or negative, or 0 where something
/// has to take time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// `TTFT`, `TPOT` or `E2E`.
    pub metric: &'static str,
    /// The requests, in order.
    pub requests: Vec<u64>,
}

impl ErrorTable {
    /// Compares requests that are in both, the first `skip` measured ones left out.
    pub fn new(
        measured: &BTreeMap<u64, Measured>,
        simulated: &BTreeMap<u64, Simulated>,
        skip: usize,
    ) -> ErrorTable {
        type Pick = (&'static str, fn(&Measured) -> f64, fn(&Simulated) -> Option<f64>);
        let metrics: [Pick; 3] = [
            ("TTFT", |m| m.ttft, |s| s.ttft),
            ("TPOT", |m| m.tpot, |s| s.tpot),
            ("E2E", |m| m.e2e, |s| s.e2e),
        ];
        let rows = metrics.into_iter().map(|(metric, of_measured, of_simulated)| {
            let pairs: Vec<(f64, f64)> = measured
                .iter()
                .skip(skip)
                .filter_map(|(id, times)| {
                    Some((of_measured(times), of_simulated(simulated.get(id)?)?))
                })
                .filter(|(measured, _)| is_time(*measured))
                .collect();
            row(metric, &pairs)
        });
        let unusable = metrics.into_iter().filter_map(|(metric, of_measured, _)| {
            let requests = measured.iter().skip(skip).filter(|(_, times)| {
                let value = of_measured(times);
                // A request of one token has no TPOT.
                !(is_time(value) || metric == "TPOT" && value == 0.0)
            });
            let requests: Vec<u64> = requests.map(|(id, _)| *id).collect();
            (!requests.is_empty()).then_some(Unusable { metric, requests })
        });
        let unusable = unusable.collect();
        let missing = measured
            .keys()
            .skip(skip)
            .filter(|id| simulated.get(id).is_none_or(|times| times.e2e.is_none()))
            .count();
        ErrorTable { rows: rows.collect(), missing, unusable }
    }

    /// The largest error of a mean, as a share; `None` if a metric could not be compared although
    /// requests have it.
    pub fn largest_mean_error(&self) -> Option<f64> {
        let has = |row: &&MetricScore| {
            row.metric != "TPOT" || self.unusable.iter().any(|one| one.metric == row.metric)
        };
        if self.rows.iter().filter(has).any(|row| row.requests == 0) {
            return None;
        }
        let errors = self.rows.iter().filter_map(|row| row.statistics.first());
        Some(errors.map(|(_, measured, ours)| (ours / measured - 1.0).abs()).fold(0.0, f64::max))
    }

    /// Whether not one value was compared.
    pub fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.requests == 0)
    }
}

fn is_time(milliseconds: f64) -> bool {
    milliseconds.is_finite() && milliseconds > 0.0
}

fn row(metric: &'static str, pairs: &[(f64, f64)]) -> MetricScore {
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let measured = sorted(pairs.iter().map(|pair| pair.0).collect());
    let simulated = sorted(pairs.iter().map(|pair| pair.1).collect());
    let mut statistics = Vec::new();
    let mut mape = 0.0;
    if !pairs.is_empty() {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        statistics.push(("mean", mean(&measured), mean(&simulated)));
        for (name, p) in [("P50", 0.5), ("P90", 0.9), ("P99", 0.99)] {
            statistics.push((name, percentile(&measured, p), percentile(&simulated, p)));
        }
        let errors: Vec<f64> = pairs.iter().map(|(m, s)| (s / m - 1.0).abs()).collect();
        mape = mean(&errors);
    }
    MetricScore { metric, statistics, mape, requests: pairs.len() }
}

/// Linear between the two nearest ranks, as NumPy does.
fn percentile(sorted: &[f64], p: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * p;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

impl fmt::Display for ErrorTable {
    /// A few lines of 80 columns per metric, then what is missing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  measured -> simulated, milliseconds from arrival")?;
        for row in &self.rows {
            if row.requests == 0 {
                writeln!(f, "  {:<5} nothing to compare", row.metric)?;
                continue;
            }
            let statistic = |(name, measured, ours): &(&str, f64, f64)| {
                let error = 100.0 * (ours / measured - 1.0);
                format!("{name} {measured:.1} -> {ours:.1} ({error:+.2} %)")
            };
            let mut metric = row.metric;
            for two in row.statistics.chunks(2) {
                let two: Vec<String> = two.iter().map(statistic).collect();
                writeln!(f, "  {metric:<5} {}", two.join(" | "))?;
                metric = "";
            }
            writeln!(f, "  {metric:<5} MAPE {:.2} %", 100.0 * row.mape)?;
        }
        for Unusable { metric, requests } in &self.unusable {
            let some: Vec<String> = requests.iter().take(5).map(u64::to_string).collect();
            let more = if requests.len() > 5 { ", ..." } else { "" };
            writeln!(
                f,
                "  {} measured {metric} values are not times (0, negative, infinite or NaN)\n  \
                 and do not count: requests {}{more}",
                requests.len(),
                some.join(", ")
            )?;
        }
        match self.missing {
            0 => Ok(()),
            missing => {
                writeln!(f, "  {missing} measured requests did not finish in the simulation")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(times: &[(f64, f64, f64)]) -> BTreeMap<u64, Measured> {
        let requests = times.iter().map(|&(ttft, tpot, e2e)| Measured { ttft, tpot, e2e });
        requests.enumerate().map(|(id, times)| (id as u64, times)).collect()
    }

    fn simulated(times: &[(f64, Option<f64>, f64)]) -> BTreeMap<u64, Simulated> {
        let requests = times.iter().map(|&(ttft, tpot, e2e)| Simulated {
            ttft: Some(ttft),
            tpot,
            e2e: Some(e2e),
        });
        requests.enumerate().map(|(id, times)| (id as u64, times)).collect()
    }

    #[test]
    fn errors_by_hand() {
        let measured = measured(&[(9.0, 9.0, 9.0), (10.0, 0.0, 10.0), (20.0, 4.0, 60.0)]);
        let simulated =
            simulated(&[(1.0, Some(1.0), 1.0), (11.0, None, 11.0), (18.0, Some(5.0), 60.0)]);
        let table = ErrorTable::new(&measured, &simulated, 1);
        let ttft = &table.rows[0];
        assert_eq!(ttft.statistics[0], ("mean", 15.0, 14.5));
        assert_eq!(ttft.statistics[2], ("P90", 19.0, 11.0 + 0.9 * 7.0));
        assert!((ttft.mape - 0.1).abs() < 1e-12);
        assert_eq!((table.rows[1].requests, table.missing), (1, 0), "one token has no TPOT");
        assert!((table.largest_mean_error().unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(table.unusable, []);
        let text = table.to_string();
        assert!(text.contains("TPOT  mean 4.0 -> 5.0 (+25.00 %) |"), "{text}");
    }

    #[test]
    fn what_did_not_finish_is_counted() {
        let table = ErrorTable::new(&measured(&[(1.0, 1.0, 1.0)]), &BTreeMap::new(), 0);
        assert_eq!(table.missing, 1);
        assert!(table.to_string().contains("TTFT  nothing to compare"));
    }

    #[test]
    fn values_that_are_no_times_are_named() {
        let nan = f64::NAN;
        let measured = measured(&[
            (10.0, 1.0, 20.0),
            (nan, 1.0, 30.0),
            (0.0, f64::INFINITY, -1.0),
            (5.0, 0.0, 5.0),
        ]);
        let simulated = simulated(&[(10.0, Some(1.0), 20.0); 4]);
        let table = ErrorTable::new(&measured, &simulated, 0);
        let requests = |metric: &str| {
            let found = table.unusable.iter().find(|one| one.metric == metric);
            found.map(|one| one.requests.clone()).unwrap_or_default()
        };
        assert_eq!(requests("TTFT"), [1, 2]);
        assert_eq!(requests("TPOT"), [2], "a request of one token has none");
        assert_eq!(requests("E2E"), [2]);
        let text = table.to_string();
        assert!(
            text.contains("2 measured TTFT values are not times") && text.contains("requests 1, 2")
        );
        assert!(table.largest_mean_error().is_some());
    }

    #[test]
    fn nothing_compared_is_no_error_of_0() {
        let nothing = measured(&[(f64::NAN, f64::NAN, f64::NAN)]);
        let ours = simulated(&[(1.0, Some(1.0), 1.0)]);
        let table = ErrorTable::new(&nothing, &ours, 0);
        assert!(table.is_empty());
        assert_eq!(table.largest_mean_error(), None);
        let skipped = ErrorTable::new(&measured(&[(1.0, 1.0, 1.0)]), &ours, 5);
        assert!(skipped.is_empty() && skipped.largest_mean_error().is_none());
        // One token each: no TPOT is no gap.
        let short = ErrorTable::new(&measured(&[(1.0, 0.0, 1.0)]), &ours, 0);
        assert_eq!(short.largest_mean_error(), Some(0.0));
        let no_ttft = ErrorTable::new(&measured(&[(0.0, 1.0, 1.0)]), &ours, 0);
        assert_eq!((no_ttft.is_empty(), no_ttft.largest_mean_error()), (false, None));
    }
}
