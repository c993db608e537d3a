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
    /// Describes the values, changing their order; `None` without values.
    pub fn of(values: &mut [f64]) -> Option<Distribution> {
        if values.is_empty() {
            return None;
        }
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        sort_for(values, [50.0, 90.0, 95.0, 99.0, 100.0]);
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
    let (below, above, share) = place(last, p);
    let (low, high) = (sorted[below], sorted[above]);
    low + (high - low) * share
}

/// The order statistics between which percentile `p` lies, of values of which the last has this
/// index, and how far it is from the first of them to the second.
fn place(last: usize, p: f64) -> (usize, usize, f64) {
    let position = (p / 100.0).clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    (below, (below + 1).min(last), position - below as f64)
}

/// Sorts values as far as these percentiles, in ascending order, need it: in O(values).
fn sort_for<const N: usize>(values: &mut [f64], percentiles: [f64; N]) {
    let Some(last) = values.len().checked_sub(1) else { return };
    // What comes before is in its place, or will not be looked at.
    let mut from = 0;
    for p in percentiles {
        let (below, above, _) = place(last, p);
        for index in [below, above] {
            if index >= from {
                values[from..].select_nth_unstable_by(index - from, f64::total_cmp);
                from = index + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn percentiles_need_no_full_sort(
            values in prop::collection::vec(0..50_u32, 1..200),
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let got = Distribution::of(&mut values.clone()).unwrap();
            let want = [50.0, 90.0, 95.0, 99.0, 100.0].map(|p| percentile(&sorted, p));
            prop_assert_eq!([got.p50, got.p90, got.p95, got.p99, got.max], want);
        }
    }

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
