//! Numbers as decimal text, appended to a byte buffer: exact for times, shortest for ratios, and
//! fast enough for a million rows a second.

/// Appends a whole number.
pub fn push_integer(row: &mut Vec<u8>, value: impl itoa::Integer) {
    row.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends nanoseconds as seconds, exactly: `14_875_000` is `0.014875`. At least one decimal is
/// written, and no trailing zeros beyond it.
pub fn push_seconds(row: &mut Vec<u8>, nanos: u64) {
    push_integer(row, nanos / 1_000_000_000);
    let point = row.len();
    // A one in front keeps the leading zeros of the fraction; the point takes its place.
    push_integer(row, 1_000_000_000 + (nanos % 1_000_000_000) as u32);
    row[point] = b'.';
    let zeros = row[point + 2..].iter().rev().take_while(|&&digit| digit == b'0').count();
    row.truncate(row.len() - zeros);
}

/// Appends the shortest text that reads back as the same number; nothing for what is not finite,
/// since such a value does not exist.
pub fn push_ratio(row: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        row.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(nanos: u64) -> String {
        let mut row = Vec::new();
        push_seconds(&mut row, nanos);
        String::from_utf8(row).unwrap()
    }

    #[test]
    fn seconds_are_exact_and_short() {
        for (nanos, text) in [
            (0, "0.0"),
            (1, "0.000000001"),
            (14_875_000, "0.014875"),
            (1_000_000_000, "1.0"),
            (100_000_000, "0.1"),
            (12_300_000_045, "12.300000045"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(seconds(nanos), text);
        }
    }

    proptest! {
        #[test]
        fn seconds_read_back(nanos in prop_oneof![any::<u64>(), 0..10_000_000_000_u64]) {
            let text = seconds(nanos);
            let (whole, fraction) = text.split_once('.').unwrap();
            let back = format!("{whole}{fraction:0<9}").parse::<u64>().unwrap();
            prop_assert_eq!(back, nanos);
            prop_assert!(fraction == "0" || !fraction.ends_with('0'));
            // Reading it as a float gives the same as dividing.
            if nanos < 1 << 53 {
                prop_assert_eq!(text.parse::<f64>().unwrap(), nanos as f64 / 1e9);
            }
        }

        #[test]
        fn ratios_read_back(value in any::<f64>()) {
            let mut row = Vec::new();
            push_ratio(&mut row, value);
            let text = String::from_utf8(row).unwrap();
            match value.is_finite() {
                true => prop_assert_eq!(text.parse::<f64>().unwrap(), value),
                false => prop_assert!(text.is_empty()),
            }
        }
    }
}
