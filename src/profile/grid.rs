//! Collects measured points into a table, and leaves out those that interpolation finds.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use crate::profile::operators::{Between, Table};

/// Largest relative error of a point that is left out.
pub(crate) const THINNED: f64 = 0.01;

/// Points of one table, rows in the order of their first appearance.
#[derive(Default)]
pub(crate) struct Grid {
    rows: IndexMap<[u32; 2], IndexMap<u32, f64>>,
}

impl Grid {
    /// Adds a point; the first measurement of a point counts.
    pub(crate) fn add(&mut self, keys: [u32; 2], x: u32, us: f64) {
        self.rows.entry(keys).or_default().entry(x).or_insert(us);
    }

    /// The keys of all rows.
    #[cfg(feature = "aisimulate")]
    pub(crate) fn keys(&self) -> impl Iterator<Item = [u32; 2]> {
        self.rows.keys().copied()
    }

    /// Whether there is none.
    #[cfg(feature = "aisimulate")]
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Only rows that `keep`.
    #[cfg(feature = "aisimulate")]
    pub(crate) fn retain(&mut self, keep: impl Fn([u32; 2]) -> bool) {
        self.rows.retain(|keys, _| keep(*keys));
    }

    /// Rows by their keys rather than in the order of the file.
    #[cfg(feature = "aisimulate")]
    pub(crate) fn sort(&mut self) {
        self.rows.sort_unstable_keys();
    }

    /// The table, of `keys` keys per row.
    pub(crate) fn table(&self, keys: usize, between: Between, source: &str) -> Table {
        let axis: BTreeSet<u32> = self.rows.values().flat_map(|row| row.keys().copied()).collect();
        let axis: Vec<u32> = axis.into_iter().collect();
        let mut rows = String::new();
        for (key, points) in &self.rows {
            rows.push('\n');
            for key in &key[..keys] {
                rows.push_str(&key.to_string());
                rows.push(' ');
            }
            let words = words(&axis, points, between);
            rows.push_str(&words.join(" "));
        }
        rows.push('\n');
        Table { source: source.to_owned(), axis, rows }
    }
}

/// One word per point of the axis.
fn words(axis: &[u32], points: &IndexMap<u32, f64>, between: Between) -> Vec<String> {
    let mut words = vec!["-".to_owned(); axis.len()];
    let known: Vec<(usize, f64, f64)> = axis
        .iter()
        .enumerate()
        .filter_map(|(index, x)| {
            let us = rounded(*points.get(x)?);
            Some((index, f64::from(*x), us))
        })
        .collect();
    let mut from = 0;
    while from < known.len() {
        words[known[from].0] = number(known[from].2);
        // The farthest point up to which all in between lie near the line.
        let mut to = from + 1;
        while to + 1 < known.len() && near(&known[from..=to + 1], between) {
            to += 1;
        }
        for (index, ..) in known.iter().take(to).skip(from + 1) {
            words[*index] = ".".to_owned();
        }
        from = to;
    }
    words
}

fn near(points: &[(usize, f64, f64)], between: Between) -> bool {
    let (first, last) = (points[0], points[points.len() - 1]);
    points.iter().all(|(_, x, us)| {
        let found = between.at(*x, (first.1, first.2), (last.1, last.2));
        (found / us - 1.0).abs() <= THINNED
    })
}

/// Four significant digits.
fn rounded(us: f64) -> f64 {
    let scale = 10_f64.powi(3 - us.log10().floor() as i32);
    (us * scale).round() / scale
}

fn number(us: f64) -> String {
    if us >= 1000.0 { format!("{us:.0}") } else { format!("{us}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left out is found again, to the accuracy stated.
    #[test]
    fn thinning_keeps_its_word() {
        let mut grid = Grid::default();
        let us = |x: u32| 5.0 + f64::from(x) * 0.3 + f64::from(x % 7) * 0.02;
        for x in 1..200 {
            grid.add([4, 8], x, us(x));
        }
        let table = grid.table(2, Between::Linear, "nobody");
        let kept = table.rows.split_ascii_whitespace().filter(|word| *word != ".").count() - 2;
        assert!(kept < 20, "{kept}");
        let row = &table.rows(2, Between::Linear).unwrap()[0];
        for (x, found) in row.x.iter().zip(&row.us) {
            assert!((found / us(*x as u32) - 1.0).abs() < THINNED + 1e-3, "{x}");
        }
    }

    #[test]
    fn the_first_measurement_counts() {
        let mut grid = Grid::default();
        grid.add([1, 1], 4, 10.0);
        grid.add([1, 1], 4, 20.0);
        grid.add([1, 1], 8, 12.3456);
        assert_eq!(grid.table(1, Between::Linear, "nobody").rows, "\n1 10 12.35\n");
    }
}
