//! Draws from a bounded Zipf distribution.

use std::sync::Arc;

use crate::base::RandomStream;

/// Ranks from 0; the k-th (from 1) has probability proportional to `k^-theta`.
#[derive(Clone, Debug)]
pub(crate) struct Ranks {
    /// Sums of the weights up to each, 8 bytes a rank.
    cumulative: Arc<[f64]>,
}

impl Ranks {
    /// `count` of them, at least one.
    pub fn new(count: u32, theta: f64) -> Ranks {
        let mut sum = 0.0;
        let cumulative = (1..=count.max(1))
            .map(|rank| {
                sum += libm::pow(f64::from(rank), -theta);
                sum
            })
            .collect();
        Ranks { cumulative }
    }

    /// One of them.
    pub fn draw(&self, stream: &mut RandomStream) -> u32 {
        let last = self.cumulative.len() - 1;
        let target = stream.uniform() * self.cumulative[last];
        self.cumulative.partition_point(|&sum| sum <= target).min(last) as u32
    }
}
