//! A small plot for the terminal, both axes logarithmic.

use std::fmt::Write;

use crate::profile::NamedRow;

const WIDTH: usize = 64;
const HEIGHT: usize = 14;

/// One mark per curve.
const MARKS: [char; 5] = ['o', '+', 'x', '*', '#'];

/// Named curves of positive numbers, and what the axes are.
pub(super) fn plot(curves: &[NamedRow], x_name: &str, y_name: &str) -> String {
    let curves = &curves[..curves.len().min(MARKS.len())];
    let points: Vec<(f64, f64)> = curves
        .iter()
        .flat_map(|(_, points)| points.iter().copied())
        .filter(|(x, y)| *x > 0.0 && *y > 0.0)
        .collect();
    if points.is_empty() {
        return String::new();
    }
    let ends = |of: fn(&(f64, f64)) -> f64| {
        let low = points.iter().map(of).fold(f64::INFINITY, f64::min);
        let high = points.iter().map(of).fold(0.0, f64::max);
        (low, high)
    };
    let ((x0, x1), (y0, y1)) = (ends(|p| p.0), ends(|p| p.1));
    let place = |value: f64, (low, high): (f64, f64), cells: usize| {
        let span = (high / low).ln();
        let share = if span > 0.0 { (value / low).ln() / span } else { 0.0 };
        (share * (cells - 1) as f64).round() as usize
    };
    let mut cells = vec![vec![' '; WIDTH]; HEIGHT];
    for ((_, points), mark) in curves.iter().zip(MARKS) {
        for (x, y) in points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0) {
            let row = HEIGHT - 1 - place(*y, (y0, y1), HEIGHT);
            cells[row][place(*x, (x0, x1), WIDTH)] = mark;
        }
    }
    let mut text = String::new();
    let (top, bottom) = (short(y1), short(y0));
    let margin = top.len().max(bottom.len());
    for (index, row) in cells.iter().enumerate() {
        let label = match index {
            0 => top.as_str(),
            _ if index == HEIGHT - 1 => bottom.as_str(),
            _ => "",
        };
        let row: String = row.iter().collect();
        // Writing into a string does not fail.
        let _ = writeln!(text, "{label:>margin$} |{}", row.trim_end());
    }
    let (left, right) = (short(x0), short(x1));
    let line = "-".repeat(WIDTH);
    let gap = WIDTH.saturating_sub(left.len());
    let _ = writeln!(text, "{:>margin$} +{line}", "");
    let _ = writeln!(text, "{:>margin$}  {left}{right:>gap$}", "");
    let _ = writeln!(text, "{:>margin$}  {y_name} by {x_name}, both axes logarithmic", "");
    for ((name, _), mark) in curves.iter().zip(MARKS) {
        let _ = writeln!(text, "{:>margin$}  {mark} {name}", "");
    }
    text
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_in_the_corners() {
        let text = plot(&[("a".to_owned(), vec![(1.0, 2.0), (1000.0, 200.0)])], "M", "us");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("  200 |{}o", " ".repeat(WIDTH - 1)));
        assert_eq!(lines[HEIGHT - 1], "2.000 |o");
        assert!(lines[HEIGHT + 1].contains("1.000") && lines[HEIGHT + 1].ends_with("1000"));
        assert_eq!(plot(&[], "M", "us"), "");
    }
}
