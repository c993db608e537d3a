//! The experts of a mixture from measured ones.

use super::basis::{Cost, TimeBasis};
use super::samples::Samples;
use super::speed::{Experts, Speed, bound};
use crate::profile::operators::{Between, Dtype, ExpertsTable};

/// Number of shapes that a time is transferred from.
const NEIGHBOURS: usize = 3;

/// The experts of one block on one GPU.
pub(super) struct ExpertsCost {
    speed: Speed,
    shape: Experts,
    /// Distance, shape and times; one, at 0, if this shape was measured.
    sites: Vec<(f64, Experts, Samples)>,
}

impl ExpertsCost {
    /// Experts of `shape`, from `tables`.
    ///
    /// # Errors
    /// There is no table of this type, or one is malformed.
    pub(super) fn new(
        tables: &[ExpertsTable],
        shape: Experts,
        speed: Speed,
    ) -> Result<ExpertsCost, String> {
        let mut sites = Vec::new();
        for table in tables.iter().filter(|table| table.dtype == shape.dtype) {
            for row in table.table.rows(1, Between::Linear)? {
                let measured = Experts {
                    dtype: table.dtype,
                    hidden: table.hidden,
                    width: f64::from(table.intermediate) / f64::from(row.keys[0]),
                    experts: table.experts,
                    top_k: table.top_k,
                };
                let samples = Samples::new(row, Between::Linear);
                sites.push((distance(&measured, &shape), measured, samples));
            }
        }
        sites.sort_by(|a, b| a.0.total_cmp(&b.0));
        let exact = sites.first().is_some_and(|(distance, ..)| *distance == 0.0);
        sites.truncate(if exact { 1 } else { NEIGHBOURS });
        match sites.is_empty() {
            true => Err(format!("it has no tables of {} experts", name(shape.dtype))),
            false => Ok(ExpertsCost { speed, shape, sites }),
        }
    }

    /// Whether this very shape was measured.
    pub(super) fn is_measured(&self) -> bool {
        self.sites.len() == 1
    }

    /// The time for `tokens` tokens.
    pub(super) fn cost(&self, tokens: f64) -> Cost {
        let least = |shape: &Experts, tokens: f64| bound(self.speed.experts(shape, tokens));
        if let [(_, shape, samples)] = self.sites.as_slice() {
            let us = samples.held(tokens, |tokens| least(shape, tokens));
            let basis =
                if samples.covers(tokens) { TimeBasis::Measured } else { TimeBasis::Extrapolated };
            return Cost { us, basis };
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for (distance, shape, samples) in &self.sites {
            let weight = 1.0 / (distance * distance + 1e-12);
            let us = samples.held(tokens, |tokens| least(shape, tokens));
            sum += weight * least(shape, tokens) / us;
            weights += weight;
        }
        Cost::transferred(least(&self.shape, tokens) * weights / sum)
    }
}

fn name(dtype: Dtype) -> &'static str {
    dtype.name()
}

/// How far two shapes are apart, in factors of two.
fn distance(a: &Experts, b: &Experts) -> f64 {
    let apart = |a: f64, b: f64| (a / b).log2().powi(2);
    (apart(f64::from(a.hidden), f64::from(b.hidden))
        + apart(a.width, b.width)
        + apart(f64::from(a.experts), f64::from(b.experts))
        + apart(f64::from(a.top_k), f64::from(b.top_k)))
    .sqrt()
}
