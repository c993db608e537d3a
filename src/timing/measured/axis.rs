//! The points of a table along one quantity.

/// Axes that end later than this are searched even if an index is wanted.
const INDEXED: f64 = 65536.0;

/// Ascending points, on request with an index by whole numbers that finds the point at or before
/// any number without a search.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    points: Vec<f64>,
    /// For each whole number from 0 to the last point: how many points are not above it. Empty
    /// without an index.
    index: Vec<u32>,
}

impl Axis {
    /// `points` ascend and are not empty (profiles are checked for that).
    pub(super) fn new(points: Vec<f64>) -> Axis {
        Axis { points, index: Vec::new() }
    }

    /// The axis with its index, if the points allow one.
    pub(super) fn indexed(mut self) -> Axis {
        if self.last() <= INDEXED && self.points.iter().all(|point| point.fract() == 0.0) {
            let numbers = 0..=self.last() as u32;
            self.index = numbers.map(|number| self.search(f64::from(number)) as u32).collect();
        }
        self
    }

    /// Number of points.
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// The last point.
    pub(super) fn last(&self) -> f64 {
        self.points.last().copied().unwrap_or(0.0)
    }

    /// Where `x`, which is not negative, lies: the point at or before it and the fraction of the
    /// way to the next, which is 0 at a point and beyond both ends.
    pub(super) fn locate(&self, x: f64) -> (usize, f64) {
        // All points are whole, so none lies between a number and its floor.
        let not_above = match self.index.get(x as usize) {
            Some(count) => *count as usize,
            None => self.search(x),
        };
        let Some(at) = not_above.checked_sub(1) else { return (0, 0.0) };
        match self.points.get(not_above) {
            Some(next) => (at, (x - self.points[at]) / (next - self.points[at])),
            None => (at, 0.0),
        }
    }

    /// How many points are not above `x`.
    fn search(&self, x: f64) -> usize {
        self.points.partition_point(|point| *point <= x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexed_and_searched_axes_agree() {
        let points = [2.0, 3.0, 8.0];
        let indexed = Axis::new(points.to_vec()).indexed();
        assert_eq!(indexed.index.len(), 9);
        let searched = Axis::new(points.map(|x| x / 2.0).to_vec()).indexed();
        assert_eq!(searched.index.len(), 0);
        for x in [0.0, 1.9, 2.0, 2.5, 3.0, 4.25, 7.9, 8.0, 8.5, 1e12] {
            assert_eq!(indexed.locate(x), searched.locate(x / 2.0), "{x}");
        }
        assert_eq!(indexed.locate(4.25), (1, 0.25));
        assert_eq!(indexed.locate(9.0), (2, 0.0));
    }
}
