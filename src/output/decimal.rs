//! Numbers as decimal text, appended to a byte buffer: exact for times, shortest for ratios, and
//! fast enough for a million rows a second.

/// Appends a whole number.
pub fn push_integer(row: &mut Vec<u8>, value: impl itoa::Integer) {
    row.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Two digits at once.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Appends nanoseconds as seconds, exactly: `14_875_000` is `0.014875`. At least one decimal is
/// written, and no trailing zeros beyond it.
pub fn push_seconds(row: &mut Vec<u8>, nanos: u64) {
    let (whole, fraction) = (nanos / 1_000_000_000, (nanos % 1_000_000_000) as u32);
    // Up to six digits, the point and nine digits; more before the point is rare.
    let mut text = [b'.'; 16];
    let mut start = 6;
    if whole < 1_000_000 {
        let whole = whole as u32;
        text[0..2].copy_from_slice(&PAIRS[(whole / 10_000) as usize]);
        text[2..4].copy_from_slice(&PAIRS[(whole / 100 % 100) as usize]);
        text[4..6].copy_from_slice(&PAIRS[(whole % 100) as usize]);
        let more = [10, 100, 1_000, 10_000, 100_000].map(|power| usize::from(whole >= power));
        start = 5 - more.iter().sum::<usize>();
    } else {
        push_integer(row, whole);
    }
    let (first, last) = (fraction / 100_000, fraction % 100_000);
    text[7..9].copy_from_slice(&PAIRS[(first / 100) as usize]);
    text[9..11].copy_from_slice(&PAIRS[(first % 100) as usize]);
    text[11..13].copy_from_slice(&PAIRS[(last / 1_000) as usize]);
    text[13..15].copy_from_slice(&PAIRS[(last / 10 % 100) as usize]);
    text[15] = b'0' + (last % 10) as u8;
    let mut end = text.len();
    while end > 8 && text[end - 1] == b'0' {
        end -= 1;
    }
    row.extend_from_slice(&text[start..end]);
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
            (999_999_999_999_999, "999999.999999999"),
            (1_000_000_000_000_000, "1000000.0"),
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
