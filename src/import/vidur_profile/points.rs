//! Measurements by point, reduced to one time each.

use std::collections::{BTreeMap, BTreeSet};

use crate::import::vidur_profile::table::round3;
use crate::profile::format::{Curve, Surface, SurfaceRow};

/// Measured times by `(row, column)`; several measurements of a point are reduced to their median.
#[derive(Default)]
pub(super) struct Points(BTreeMap<(u32, u32), Vec<f64>>);

impl Points {
    pub(super) fn add(&mut self, at: u32, x: u32, us: f64) {
        self.0.entry((at, x)).or_default().push(us);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As one curve; all points must be in one row.
    pub(super) fn curve(&self) -> Curve {
        Curve {
            x: self.0.keys().map(|(_, x)| *x).collect(),
            us: self.0.values().map(|times| median(times)).collect(),
        }
    }

    /// As one curve per row. Columns that most rows begin with are written once.
    pub(super) fn surface(&self) -> Surface {
        let columns: BTreeSet<u32> = self.0.keys().map(|(_, x)| *x).collect();
        let columns: Vec<u32> = columns.into_iter().collect();
        let mut rows: BTreeMap<u32, (Vec<u32>, Vec<f64>)> = BTreeMap::new();
        for (&(at, x), times) in &self.0 {
            let (xs, us) = rows.entry(at).or_default();
            xs.push(x);
            us.push(median(times));
        }
        let rows = rows
            .into_iter()
            .map(|(at, (x, us))| {
                let x = (!columns.starts_with(&x)).then_some(x);
                SurfaceRow { at, x, us }
            })
            .collect();
        Surface { x: columns, rows }
    }
}

/// The middle value; the mean of the two middle ones of an even number. 0 of none.
fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[middle],
        _ => round3((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_points_give_their_median() {
        let mut points = Points::default();
        for us in [3.0, 1.0, 2.0] {
            points.add(0, 8, us);
        }
        points.add(0, 4, 1.0);
        points.add(0, 4, 2.0);
        assert_eq!(points.curve(), Curve { x: vec![4, 8], us: vec![1.5, 2.0] });
    }

    #[test]
    fn rows_name_columns_only_where_they_leave_some_out() {
        let mut points = Points::default();
        for (at, x) in [(1, 0), (1, 32), (1, 64), (2, 0), (2, 32), (3, 0), (3, 64)] {
            points.add(at, x, f64::from(at + x));
        }
        let surface = points.surface();
        assert_eq!(surface.x, [0, 32, 64]);
        let named: Vec<_> = surface.rows.iter().map(|row| row.x.clone()).collect();
        assert_eq!(named, [None, None, Some(vec![0, 64])]);
        assert_eq!(surface.columns(&surface.rows[1]), [0, 32]);
    }
}
