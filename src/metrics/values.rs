//! The values of a metric over requests: all of them while they are few, a histogram of them when
//! they are many, so that memory does not grow with the number of requests.

use hdrhistogram::Histogram;

use super::distribution::Distribution;

/// With more values than this, percentiles come from a histogram.
pub const EXACT_VALUES: usize = 1_000_000;

/// Values in seconds.
#[derive(Debug, Default)]
pub(super) struct Values {
    exact: Vec<f64>,
    many: Option<Box<Many>>,
}

/// A histogram with three significant digits, and the exact count, mean, spread and maximum.
#[derive(Debug)]
struct Many {
    histogram: Histogram<u64>,
    count: u64,
    mean: f64,
    /// Sum of squared distances from the mean (Welford 1962).
    squares: f64,
    max: f64,
}

impl Values {
    pub fn push(&mut self, seconds: f64) {
        if let Some(many) = &mut self.many {
            return many.push(seconds);
        }
        if self.exact.len() < EXACT_VALUES {
            return self.exact.push(seconds);
        }
        let many = self.many.insert(Box::new(Many::new()));
        for value in std::mem::take(&mut self.exact) {
            many.push(value);
        }
        many.push(seconds);
    }

    pub fn len(&self) -> u64 {
        self.many.as_ref().map_or(self.exact.len() as u64, |many| many.count)
    }

    /// Whether percentiles come from a histogram.
    pub fn is_histogram(&self) -> bool {
        self.many.is_some()
    }

    /// Describes the values; `None` without any.
    pub fn describe(&mut self) -> Option<Distribution> {
        match &self.many {
            None => Distribution::of(&mut self.exact),
            Some(many) => Some(many.describe()),
        }
    }
}

impl Many {
    fn new() -> Many {
        Many {
            // From 1 ns to 1e9 s, the longest simulated time; the bounds are constants, so this
            // cannot fail.
            histogram: Histogram::new_with_bounds(1, 1_000_000_000_000_000_000, 3)
                .expect("constant bounds are valid"),
            count: 0,
            mean: 0.0,
            squares: 0.0,
            max: 0.0,
        }
    }

    fn push(&mut self, seconds: f64) {
        self.histogram.saturating_record((seconds * 1e9).round() as u64);
        self.count += 1;
        let from_old = seconds - self.mean;
        self.mean += from_old / self.count as f64;
        self.squares += from_old * (seconds - self.mean);
        self.max = self.max.max(seconds);
    }

    fn describe(&self) -> Distribution {
        // A bucket's upper end may lie above the largest value in it.
        let quantile = |q: f64| (self.histogram.value_at_quantile(q) as f64 / 1e9).min(self.max);
        Distribution {
            count: self.count as usize,
            mean: self.mean,
            std: (self.squares / self.count as f64).sqrt(),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max: self.max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_values_are_described_within_a_thousandth() {
        let mut values = Values::default();
        let mut all = Vec::new();
        // Queue times: many are 0, and they span six orders of magnitude.
        for i in 0..EXACT_VALUES as u64 + 20_000 {
            let x = ((i * 7_919) % 1_000_003) as f64 / 1_000_003.0;
            let seconds = if x < 0.3 { 0.0 } else { 1e-4 * (1e6_f64).powf(x) };
            if i == EXACT_VALUES as u64 {
                assert!(!values.is_histogram());
                assert_eq!(values.describe(), Distribution::of(&mut all.clone()), "exact so far");
            }
            values.push(seconds);
            all.push(seconds);
        }
        assert!(values.is_histogram());
        assert_eq!(values.len(), all.len() as u64);
        assert!(values.exact.capacity() == 0, "the values are gone");
        let (got, want) = (values.describe().unwrap(), Distribution::of(&mut all).unwrap());
        assert_eq!(got.max, want.max);
        assert!((got.mean / want.mean - 1.0).abs() < 1e-9, "{got:?} {want:?}");
        assert!((got.std / want.std - 1.0).abs() < 1e-9, "{got:?} {want:?}");
        let pairs =
            [(got.p50, want.p50), (got.p90, want.p90), (got.p95, want.p95), (got.p99, want.p99)];
        for (got, want) in pairs {
            assert!((got / want - 1.0).abs() < 1.1e-3, "{got} {want}");
        }
    }
}
