//! Units of metrics, and how their values are shown to a person.

/// What a metric's number counts. Times are seconds everywhere except where they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Requests per second.
    RequestsPerSecond,
    /// Tokens per second.
    TokensPerSecond,
    /// A share between 0 and 1.
    Share,
    /// A whole number; in a single run equalities on it are exact.
    Count,
    /// A mean of a count, or another pure number.
    Number,
}

impl Unit {
    /// The unit's symbol as `list` and the docs print it; empty for pure numbers.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::RequestsPerSecond => "req/s",
            Unit::TokensPerSecond => "tok/s",
            Unit::Share => "share",
            Unit::Count | Unit::Number => "",
        }
    }

    /// A value with its unit, for a person: `251 ms`, `20.2 s`, `99.6 %`, `2.01 req/s`, `29`.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds => {
                let scale = TimeScale::of(value);
                format!("{} {}", number(value * scale.factor(), 3), scale.symbol())
            }
            Unit::RequestsPerSecond | Unit::TokensPerSecond => {
                format!("{} {}", number(value, 3), self.symbol())
            }
            Unit::Share => format!("{} %", percent(value)),
            Unit::Count if value.fract() == 0.0 => number(value, 1),
            Unit::Count | Unit::Number => number(value, 3),
        }
    }
}

/// Whether times are shown in seconds or in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeScale {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

impl TimeScale {
    /// The scale in which `seconds` reads best: milliseconds below 2 s.
    pub fn of(seconds: f64) -> TimeScale {
        if seconds.abs() < 2.0 { TimeScale::Millis } else { TimeScale::Seconds }
    }

    /// What seconds are multiplied by.
    pub fn factor(self) -> f64 {
        match self {
            TimeScale::Millis => 1e3,
            TimeScale::Seconds => 1.0,
        }
    }

    /// `ms` or `s`.
    pub fn symbol(self) -> &'static str {
        match self {
            TimeScale::Millis => "ms",
            TimeScale::Seconds => "s",
        }
    }
}

/// Decimals that give a number of this size `significant` digits; at most 6.
pub fn decimals_for(value: f64, significant: usize) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    let before_point = value.abs().log10().floor() as i64 + 1;
    (significant as i64 - before_point).clamp(0, 6) as usize
}

/// A number with about `significant` digits (never fewer than those before the point) and with
/// thousands separated: `0.0148`, `2.01`, `956`, `12,520`.
pub fn number(value: f64, significant: usize) -> String {
    fixed(value, decimals_for(value, significant))
}

/// A number with a fixed number of decimals and with thousands separated from 10,000 on.
pub fn fixed(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, rest) = match plain.find('.') {
        Some(point) => plain.split_at(point),
        None => (plain.as_str(), ""),
    };
    let digits = whole.trim_start_matches('-');
    if digits.len() < 5 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return plain;
    }
    let sign = &whole[..whole.len() - digits.len()];
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest}")
}

/// A share as a percentage without its sign: whole, but with a decimal where whole numbers would
/// hide what matters (below 10 %, and from 99 % up to but not including 100 %).
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let near_an_end = (percent > 0.0 && percent < 9.95) || (98.95..100.0).contains(&percent);
    if !near_an_end {
        return format!("{percent:.0}");
    }
    // Never round up to a full 100: it would say that all of them did.
    if percent > 99.9 { "99.9".to_owned() } else { format!("{percent:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_switch_from_ms_to_s() {
        assert_eq!(Unit::Seconds.show(0.251_4), "251 ms");
        assert_eq!(Unit::Seconds.show(0.009_84), "9.84 ms");
        assert_eq!(Unit::Seconds.show(20.24), "20.2 s");
        assert_eq!(Unit::Seconds.show(0.0), "0 ms");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(number(956.4, 3), "956");
        assert_eq!(number(9999.0, 3), "9999");
        assert_eq!(number(12_520.4, 3), "12,520");
        assert_eq!(fixed(-1_234_567.25, 1), "-1,234,567.2");
        assert_eq!(number(0.014_8, 3), "0.0148");
        assert_eq!(Unit::Count.show(29.0), "29");
        assert_eq!(Unit::Count.show(1.5), "1.50");
    }

    #[test]
    fn a_share_never_rounds_to_all_or_nothing() {
        assert_eq!(percent(1.0), "100");
        assert_eq!(percent(0.99999), "99.9");
        assert_eq!(percent(0.9963), "99.6");
        assert_eq!(percent(0.76), "76");
        assert_eq!(percent(0.004), "0.4");
        assert_eq!(percent(0.0), "0");
    }
}
