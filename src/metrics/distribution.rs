//! Exact statistics of a list of values.

/// Mean, spread and percentiles of a list of values, in the unit of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distribution {
    /// Number of values.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Population standard deviation, as numpy's `std` and vLLM's benchmark.
    pub std: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest value.
    pub max: f64,
}

impl Distribution {
    /// Describes the values, sorting them in place; `None` without values.
    pub fn of(values: &mut [f64]) -> Option<Distribution> {
        if values.is_empty() {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        Some(Distribution {
            count,
            mean,
            std: (squares / count as f64).sqrt(),
            p50: percentile(values, 50.0),
            p90: percentile(values, 90.0),
            p95: percentile(values, 95.0),
            p99: percentile(values, 99.0),
            max: values[count - 1],
        })
    }

    /// The statistics in the order of [`super::names::STATISTICS`].
    pub fn statistics(&self) -> [f64; 7] {
        [self.mean, self.std, self.p50, self.p90, self.p95, self.p99, self.max]
    }
}

/// Percentile `p` (0 to 100) of sorted values by linear interpolation between order statistics:
/// numpy's and pandas' default, so that users recompute the same number from
/// `request_metrics.csv`. NaN without values.
pub fn percentile(sorted: &[f64], p: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = (p / 100.0).clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    let (low, high) = (sorted[below], sorted[above]);
    low + (high - low) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numpys() {
        // numpy.percentile([1, 2, 4, 8, 16], [0, 25, 50, 90, 99, 100])
        let values = [1.0, 2.0, 4.0, 8.0, 16.0];
        for (p, want) in
            [(0.0, 1.0), (25.0, 2.0), (50.0, 4.0), (90.0, 12.8), (99.0, 15.68), (100.0, 16.0)]
        {
            assert!((percentile(&values, p) - want).abs() < 1e-12, "p{p}");
        }
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
        assert!(percentile(&[], 50.0).is_nan());
    }

    #[test]
    fn describes_unsorted_values() {
        let d = Distribution::of(&mut [9.0, 2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0]).unwrap();
        assert_eq!((d.count, d.mean, d.std, d.p50, d.max), (8, 5.0, 2.0, 4.5, 9.0));
        assert_eq!(Distribution::of(&mut []), None);
    }
}
