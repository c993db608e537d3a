//! Interpolation in two dimensions.

use std::collections::BTreeSet;

use ordered_float::OrderedFloat;

use super::axis::Axis;
use super::curve::Curve;
use crate::profile::format::Surface;

/// A measured function of two quantities on a full grid: bilinear between the points.
///
/// Measured surfaces have gaps: a long prompt was not measured on top of a long context. These are
/// filled at the start. A row that ends early goes on as the nearest row that was measured there
/// does, with the increase scaled by the ratio of the rows: for both attention kernels the work per
/// token of context is proportional to the row (requests, or tokens of the chunk).
#[derive(Clone, Debug)]
pub(super) struct Grid {
    rows: Axis,
    columns: Axis,
    /// Row by row.
    values: Vec<f64>,
    /// For each row the last column that it, or a row further on, was measured at.
    reach: Vec<f64>,
}

/// A measured row.
struct MeasuredRow {
    at: f64,
    curve: Curve,
}

impl Grid {
    pub(super) fn new(surface: &Surface) -> Grid {
        let rows: Vec<MeasuredRow> = surface
            .rows
            .iter()
            .map(|row| MeasuredRow {
                at: f64::from(row.at),
                curve: Curve::new(
                    surface.columns(row).iter().map(|x| f64::from(*x)).collect(),
                    row.us.clone(),
                ),
            })
            .collect();
        let columns: BTreeSet<u32> =
            surface.rows.iter().flat_map(|row| surface.columns(row).iter().copied()).collect();
        let columns: Vec<f64> = columns.into_iter().map(f64::from).collect();
        let values = rows
            .iter()
            .flat_map(|row| {
                let nearest = by_distance(&rows, row);
                columns.iter().map(move |column| filled(&nearest, row, *column))
            })
            .collect();
        let mut reach: Vec<f64> = rows.iter().map(|row| row.curve.limit()).collect();
        for index in (1..reach.len()).rev() {
            reach[index - 1] = reach[index - 1].max(reach[index]);
        }
        let rows = Axis::new(rows.iter().map(|row| row.at).collect()).indexed();
        Grid { rows, columns: Axis::new(columns).indexed(), values, reach }
    }

    /// The last row and the last column.
    pub(super) fn limits(&self) -> (f64, f64) {
        (self.rows.last(), self.columns.last())
    }

    /// The value at a point, held at the ends of both axes.
    pub(super) fn within(&self, row: f64, column: f64) -> f64 {
        self.look_up(row, column).0
    }

    /// The value at a point within the limits, and whether it lies between measured ones.
    pub(super) fn look_up(&self, row: f64, column: f64) -> (f64, bool) {
        let (i, row_fraction) = self.rows.locate(row);
        let (j, column_fraction) = self.columns.locate(column);
        let low = self.in_row(i, j, column_fraction);
        if row_fraction == 0.0 {
            return (low, column <= self.reach[i]);
        }
        let high = self.in_row(i + 1, j, column_fraction);
        (low + row_fraction * (high - low), column <= self.reach[i + 1])
    }

    fn in_row(&self, i: usize, j: usize, fraction: f64) -> f64 {
        let start = i * self.columns.len() + j;
        let low = self.values[start];
        match fraction {
            0.0 => low,
            _ => low + fraction * (self.values[start + 1] - low),
        }
    }
}

/// All rows, those first whose ratio to `row` is the least.
fn by_distance<'a>(rows: &'a [MeasuredRow], row: &MeasuredRow) -> Vec<&'a MeasuredRow> {
    let mut nearest: Vec<&MeasuredRow> = rows.iter().collect();
    nearest.sort_by_cached_key(|other| OrderedFloat((other.at / row.at).ln().abs()));
    nearest
}

/// The value of `row` at `column`: measured, or filled in as [`Grid`] says. `nearest` are all rows
/// by their distance.
fn filled(nearest: &[&MeasuredRow], row: &MeasuredRow, column: f64) -> f64 {
    let end = row.curve.limit();
    if column <= end {
        return row.curve.within(column);
    }
    let increase =
        nearest.iter().find(|other| other.curve.limit() >= column).map_or(0.0, |other| {
            let increase = other.curve.within(column) - other.curve.within(end);
            increase * row.at / other.at
        });
    row.curve.within(end) + increase
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::format::SurfaceRow;

    fn surface(rows: &[(u32, &[f64])]) -> Surface {
        let rows = rows.iter().map(|(at, us)| SurfaceRow { at: *at, x: None, us: us.to_vec() });
        Surface { x: vec![0, 10, 20], rows: rows.collect() }
    }

    #[test]
    fn a_full_grid_is_interpolated_in_both_directions() {
        let grid = Grid::new(&surface(&[(1, &[1.0, 2.0, 3.0]), (3, &[5.0, 8.0, 11.0])]));
        assert_eq!(grid.limits(), (3.0, 20.0));
        assert_eq!(grid.within(1.0, 10.0), 2.0);
        assert_eq!(grid.within(1.0, 15.0), 2.5);
        assert_eq!(grid.within(2.0, 15.0), (2.5 + 9.5) / 2.0);
        assert_eq!(grid.within(9.0, 99.0), 11.0);
        assert_eq!(grid.look_up(2.0, 20.0), (7.0, true));
    }

    #[test]
    fn a_row_that_ends_early_goes_on_like_its_neighbour() {
        let grid = Grid::new(&surface(&[(2, &[1.0, 2.0, 4.0]), (4, &[3.0, 6.0]), (6, &[9.0])]));
        assert_eq!(grid.within(4.0, 20.0), 6.0 + (4.0 - 2.0) * 2.0);
        assert_eq!(grid.within(6.0, 10.0), 9.0 + (6.0 - 3.0) * 1.5);
        assert_eq!(grid.within(6.0, 20.0), 9.0 + (4.0 - 1.0) * 3.0);
        let covers = |row, column| grid.look_up(row, column).1;
        assert!(covers(2.0, 20.0), "measured");
        assert!(!covers(3.0, 20.0), "no row from 3 on was measured there");
        assert!(covers(3.0, 10.0) && !covers(5.0, 10.0));
    }
}
