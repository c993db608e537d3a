//! Bounds on a value.

use crate::base::SettingError;
use crate::metrics::unit::{TimeScale, Unit, number};

/// What a value must keep, or how variants must be ordered.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// Not below.
    AtLeast(f64),
    /// Not above.
    AtMost(f64),
    /// Exactly this count; other numbers to 9 digits.
    Equals(f64),
    /// Not below the first, not above the second.
    Between(f64, f64),
    /// Not farther from the target than the tolerance.
    Within {
        /// Wanted value.
        target: f64,
        /// Largest distance from it.
        tolerance: f64,
    },
    /// These variants in strictly increasing order of value.
    Order(Vec<String>),
    /// These pairs of variants in strictly increasing order of (first's value) / (second's value).
    RatioOrder(Vec<(String, String)>),
}

impl Bound {
    /// Complains about limits that nothing can keep; `path` is the setting's name.
    pub(super) fn check(&self, path: &str) -> Option<SettingError> {
        let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
        let numbers = match self {
            Bound::AtLeast(value) | Bound::AtMost(value) | Bound::Equals(value) => vec![*value],
            Bound::Between(least, most) => vec![*least, *most],
            Bound::Within { target, tolerance } => vec![*target, *tolerance],
            Bound::Order(names) => return check_order(path, names, "variant"),
            Bound::RatioOrder(pairs) => {
                let names: Vec<String> = pairs.iter().map(show_pair).collect();
                return check_order(path, &names, "pair");
            }
        };
        if !finite(&numbers) {
            return Some(SettingError::new(path, format!("{numbers:?}"), "finite numbers"));
        }
        match *self {
            Bound::Between(least, most) if least > most => Some(SettingError::new(
                path,
                format!("({least}, {most})"),
                "(least, most) with least <= most",
            )),
            Bound::Within { target, tolerance } if tolerance < 0.0 => Some(SettingError::new(
                path,
                format!("({target}, {tolerance})"),
                "(target, tolerance) with a tolerance of at least 0",
            )),
            _ => None,
        }
    }

    /// The bound in another unit.
    pub(super) fn scaled(&self, factor: f64) -> Bound {
        // Milliseconds are divided, so that 150 ms is the float closest to 0.15.
        let scale = |value: f64| if factor == 1e-3 { value / 1e3 } else { value * factor };
        match self {
            Bound::AtLeast(value) => Bound::AtLeast(scale(*value)),
            Bound::AtMost(value) => Bound::AtMost(scale(*value)),
            Bound::Equals(value) => Bound::Equals(scale(*value)),
            Bound::Between(least, most) => Bound::Between(scale(*least), scale(*most)),
            Bound::Within { target, tolerance } => {
                Bound::Within { target: scale(*target), tolerance: scale(*tolerance) }
            }
            Bound::Order(_) | Bound::RatioOrder(_) => self.clone(),
        }
    }

    /// Whether one value keeps the bound; an order is not about one value.
    pub(super) fn keeps(&self, value: f64, unit: Unit) -> bool {
        match *self {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
            Bound::Equals(wanted) if unit == Unit::Count => value == wanted,
            Bound::Equals(wanted) => (value - wanted).abs() <= 1e-9 * wanted.abs(),
            Bound::Between(least, most) => value >= least && value <= most,
            Bound::Within { target, tolerance } => (value - target).abs() <= tolerance,
            Bound::Order(_) | Bound::RatioOrder(_) => false,
        }
    }

    /// The bound as text: `150..300 ms`, `>= 96 %`, `= 29`, `50 % +- 1 %`, `max < pow2 < paged`.
    pub fn show(&self, unit: Unit) -> String {
        let pair = |a: f64, b: f64, sign: &str| match unit {
            Unit::Seconds => {
                let scale = TimeScale::of(a.abs().max(b.abs()));
                let show = |value: f64| exact(value * scale.factor());
                format!("{}{sign}{} {}", show(a), show(b), scale.symbol())
            }
            Unit::Share => format!("{}{sign}{} %", exact(a * 100.0), exact(b * 100.0)),
            _ => format!("{}{sign}{} {}", exact(a), exact(b), unit.symbol()).trim_end().to_owned(),
        };
        let one = |value: f64| match unit {
            Unit::Seconds => {
                let scale = TimeScale::of(value);
                format!("{} {}", exact(value * scale.factor()), scale.symbol())
            }
            Unit::Share => format!("{} %", exact(value * 100.0)),
            _ => format!("{} {}", exact(value), unit.symbol()).trim_end().to_owned(),
        };
        match self {
            Bound::AtLeast(value) => format!(">= {}", one(*value)),
            Bound::AtMost(value) => format!("<= {}", one(*value)),
            Bound::Equals(value) => format!("= {}", one(*value)),
            Bound::Between(least, most) => pair(*least, *most, ".."),
            Bound::Within { target, tolerance } => pair(*target, *tolerance, " +- "),
            Bound::Order(names) => names.join(" < "),
            Bound::RatioOrder(pairs) => pairs.iter().map(show_pair).collect::<Vec<_>>().join(" < "),
        }
    }
}

/// A number as a person wrote it: at most 6 decimals, no trailing zeros.
fn exact(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A measured value as text, with a digit more than in a table: it may be close to a limit.
pub(super) fn show_measured(value: f64, unit: Unit) -> String {
    let short = |value: f64| {
        let text = number(value, 4);
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    match unit {
        Unit::Share => format!("{} %", short(value * 100.0)),
        Unit::Seconds => {
            let scale = TimeScale::of(value);
            format!("{} {}", short(value * scale.factor()), scale.symbol())
        }
        _ => format!("{} {}", short(value), unit.symbol()).trim_end().to_owned(),
    }
}

/// Two measured values in one unit: `299 to 2351 ms`.
pub(super) fn show_range(least: f64, most: f64, unit: Unit) -> String {
    let (factor, symbol) = match unit {
        Unit::Seconds => (TimeScale::of(most).factor(), TimeScale::of(most).symbol()),
        Unit::Share => (100.0, "%"),
        _ => (1.0, unit.symbol()),
    };
    let show = |value: f64| show_measured(value * factor, Unit::Number);
    format!("{} to {} {symbol}", show(least), show(most)).trim_end().to_owned()
}

fn show_pair((above, below): &(String, String)) -> String {
    format!("{above} / {below}")
}

fn check_order(path: &str, names: &[String], noun: &str) -> Option<SettingError> {
    if names.len() < 2 {
        let plural = if names.len() == 1 { "" } else { "s" };
        let found = format!("{} {noun}{plural}", names.len());
        return Some(SettingError::new(path, found, "at least 2"));
    }
    let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name))?;
    let expected = format!("each {noun} once");
    Some(SettingError::new(path, format!("`{}` twice", twice.1), expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_was_written() {
        assert_eq!(Bound::Between(0.15, 0.3).show(Unit::Seconds), "150..300 ms");
        assert_eq!(Bound::AtLeast(0.96).show(Unit::Share), ">= 96 %");
        assert_eq!(Bound::Equals(29.0).show(Unit::Count), "= 29");
        assert_eq!(Bound::AtMost(2.5).show(Unit::Seconds), "<= 2.5 s");
        assert_eq!(Bound::Within { target: 0.5, tolerance: 0.01 }.show(Unit::Share), "50 +- 1 %");
        assert_eq!(Bound::AtLeast(2.2).show(Unit::RequestsPerSecond), ">= 2.2 req/s");
    }

    #[test]
    fn bounds_include_their_ends_and_counts_are_exact() {
        assert!(Bound::Between(1.0, 2.0).keeps(2.0, Unit::Number));
        assert!(!Bound::Between(1.0, 2.0).keeps(2.000_001, Unit::Number));
        assert!(Bound::Equals(29.0).keeps(29.0, Unit::Count));
        assert!(!Bound::Equals(29.0).keeps(29.000_000_001, Unit::Count));
        assert!(Bound::Equals(0.3).keeps(0.1 + 0.2, Unit::Number));
        assert!(Bound::Within { target: 0.5, tolerance: 0.25 }.keeps(0.25, Unit::Share));
    }
}
