//! Interpolation between measured points in several dimensions.

/// A function of `D` quantities, known on a full grid: linear along every axis between the points,
/// held below the first and extrapolated along the last two beyond the last.
#[derive(Clone, Debug)]
pub(super) struct Grid<const D: usize> {
    axes: [Vec<f64>; D],
    /// The last axis varies fastest.
    values: Vec<f64>,
}

/// A point next to a place, and the share of the way to the next point.
#[derive(Clone, Copy, Default)]
struct Place {
    index: usize,
    fraction: f64,
}

impl<const D: usize> Grid<D> {
    /// Takes `value` at every point. Axes ascend and are not empty.
    pub(super) fn new(axes: [Vec<f64>; D], mut value: impl FnMut([usize; D]) -> f64) -> Grid<D> {
        let count = axes.iter().map(Vec::len).product();
        let mut values = Vec::with_capacity(count);
        let mut at = [0; D];
        for _ in 0..count {
            values.push(value(at));
            for (index, axis) in at.iter_mut().zip(&axes).rev() {
                *index += 1;
                if *index < axis.len() {
                    break;
                }
                *index = 0;
            }
        }
        Grid { axes, values }
    }

    /// The last point of each axis.
    pub(super) fn limits(&self) -> [f64; D] {
        std::array::from_fn(|axis| self.axes[axis].last().copied().unwrap_or(0.0))
    }

    /// Whether `x` lies beyond an axis' last point.
    pub(super) fn is_beyond(&self, x: [f64; D]) -> bool {
        self.limits().iter().zip(x).any(|(limit, x)| x > *limit)
    }

    /// The value at `x`, never below 0.
    pub(super) fn at(&self, x: [f64; D]) -> f64 {
        let places: [Place; D] = std::array::from_fn(|axis| locate(&self.axes[axis], x[axis]));
        let mut sum = 0.0;
        for corner in 0..1_usize << D {
            let (mut offset, mut weight) = (0, 1.0);
            for (axis, place) in places.iter().enumerate() {
                let next = corner >> axis & 1;
                weight *= if next == 1 { place.fraction } else { 1.0 - place.fraction };
                offset = offset * self.axes[axis].len() + place.index + next;
            }
            // Where there is no next point, its weight is 0.
            if weight != 0.0 {
                sum += weight * self.values[offset];
            }
        }
        sum.max(0.0)
    }
}

fn locate(axis: &[f64], x: f64) -> Place {
    let not_above = axis.partition_point(|point| *point <= x);
    if not_above == 0 || axis.len() == 1 {
        return Place::default();
    }
    let index = (not_above - 1).min(axis.len() - 2);
    Place { index, fraction: (x - axis[index]) / (axis[index + 1] - axis[index]) }
}

/// The value at `x` on the line through measured points `(x, value)`, which ascend.
pub(super) fn along(points: &[(f64, f64)], x: f64) -> f64 {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return 0.0 };
    if x <= first.0 || points.len() == 1 {
        return if x <= first.0 { first.1 } else { last.1 };
    }
    let next = points.partition_point(|point| point.0 < x).min(points.len() - 1);
    let ((x0, y0), (x1, y1)) = (points[next - 1], points[next]);
    y0 + (y1 - y0) * (x - x0) / (x1 - x0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_are_met_inside_and_beyond() {
        let axes = [vec![1.0, 2.0, 4.0], vec![0.0, 10.0]];
        let plane = |x: f64, y: f64| 1.0 + 3.0 * x + 0.5 * y;
        let (a, b) = (axes[0].clone(), axes[1].clone());
        let grid = Grid::new(axes, |[i, j]| plane(a[i], b[j]));
        for (x, y) in [(1.0, 0.0), (1.5, 3.0), (4.0, 10.0), (3.0, 20.0), (8.0, 5.0)] {
            assert!((grid.at([x, y]) - plane(x, y)).abs() < 1e-12, "{x} {y}");
        }
        assert_eq!(grid.at([0.0, 0.0]), plane(1.0, 0.0), "held below the first point");
        assert_eq!(grid.limits(), [4.0, 10.0]);
        assert!(grid.is_beyond([4.0, 10.5]) && !grid.is_beyond([4.0, 10.0]));
    }

    #[test]
    fn lines_are_held_below_and_extrapolated_above() {
        let points = [(1.0, 1.0), (3.0, 5.0), (4.0, 6.0)];
        let values = [0.0, 1.0, 2.0, 3.0, 3.5, 6.0].map(|x| along(&points, x));
        assert_eq!(values, [1.0, 1.0, 3.0, 5.0, 5.5, 8.0]);
        assert_eq!(along(&points[..1], 9.0), 1.0);
    }
}
