//! Numbers as decimal text: exact for times, shortest for ratios, and fast enough for a million
//! rows a second.

/// The longest text: a float of 24 bytes, and what follows it in a row.
const ROOM: usize = 32;

/// The text of a number. It is copied as a whole, which takes less time than to copy as many bytes
/// as there are.
#[derive(Clone, Copy, Debug)]
pub struct Short {
    bytes: [u8; ROOM],
    len: usize,
}

impl Short {
    /// No text.
    pub const NONE: Short = Short { bytes: [0; ROOM], len: 0 };

    /// At most 24 bytes of text.
    fn of(text: &[u8]) -> Short {
        let mut short = Short { len: text.len(), ..Short::NONE };
        let (bytes, len) = (&mut short.bytes, text.len());
        // Head and tail may overlap.
        if let (Some(head), Some(tail)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            if let Some(head) = text.first_chunk::<16>() {
                bytes[..16].copy_from_slice(head);
            } else {
                bytes[..8].copy_from_slice(head);
            }
            bytes[len - 8..len].copy_from_slice(tail);
        } else {
            for (byte, from) in bytes.iter_mut().zip(text) {
                *byte = *from;
            }
        }
        short
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Writes the text and a comma to the start of `room`, or nothing if `room` is too short.
    /// Returns how many bytes these are.
    pub fn write_cell(&self, room: &mut [u8]) -> Option<usize> {
        let room = room.first_chunk_mut::<ROOM>()?;
        *room = self.bytes;
        room[self.len] = b',';
        Some(self.len + 1)
    }
}

/// A whole number.
pub fn integer(value: impl itoa::Integer) -> Short {
    Short::of(itoa::Buffer::new().format(value).as_bytes())
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

/// Nanoseconds as seconds, exactly: `14_875_000` is `0.014875`. At least one decimal is written,
/// and no trailing zeros beyond it.
pub fn seconds(nanos: u64) -> Short {
    let (whole, fraction) = (nanos / 1_000_000_000, (nanos % 1_000_000_000) as u32);
    let mut short = match whole {
        0..10 => Short::of(&[b'0' + whole as u8]),
        _ => integer(whole),
    };
    // The point and nine digits.
    let (first, last) = (fraction / 100_000, fraction % 100_000);
    let mut text = [b'.'; 10];
    text[1..3].copy_from_slice(&PAIRS[(first / 100) as usize]);
    text[3..5].copy_from_slice(&PAIRS[(first % 100) as usize]);
    text[5..7].copy_from_slice(&PAIRS[(last / 1_000) as usize]);
    text[7..9].copy_from_slice(&PAIRS[(last / 10 % 100) as usize]);
    text[9] = b'0' + (last % 10) as u8;
    let mut length = text.len();
    while length > 2 && text[length - 1] == b'0' {
        length -= 1;
    }
    short.bytes[short.len..short.len + text.len()].copy_from_slice(&text);
    short.len += length;
    short
}

/// The shortest text that reads back as the same number; none for what is not finite, since such a
/// value does not exist.
pub fn ratio(value: f64) -> Short {
    match value.is_finite() {
        true => Short::of(zmij::Buffer::new().format_finite(value).as_bytes()),
        false => Short::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(short: Short) -> String {
        String::from_utf8(short.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn seconds_are_exact_and_short() {
        for (nanos, expected) in [
            (0, "0.0"),
            (1, "0.000000001"),
            (14_875_000, "0.014875"),
            (1_000_000_000, "1.0"),
            (100_000_000, "0.1"),
            (12_300_000_045, "12.300000045"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(text(seconds(nanos)), expected);
        }
    }

    #[test]
    fn a_cell_needs_room_for_the_longest() {
        let mut room = [b'x'; ROOM];
        assert_eq!(seconds(u64::MAX).write_cell(&mut room[1..]), None);
        assert_eq!(room, [b'x'; ROOM]);
        assert_eq!(seconds(u64::MAX).write_cell(&mut room), Some(22));
        assert_eq!(&room[..22], b"18446744073.709551615,");
        assert_eq!(Short::NONE.write_cell(&mut room), Some(1));
        assert_eq!(room[0], b',');
    }

    proptest! {
        #[test]
        fn integers_are_themselves(value in any::<u64>(), shift in 0..64_u32) {
            let value: u64 = value >> shift;
            prop_assert_eq!(text(integer(value)), value.to_string());
        }

        #[test]
        fn seconds_read_back(nanos in prop_oneof![any::<u64>(), 0..10_000_000_000_u64]) {
            let text = text(seconds(nanos));
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
        fn ratios_read_back(value in prop_oneof![any::<f64>(), 0.0..1e4_f64]) {
            let text = text(ratio(value));
            match value.is_finite() {
                true => prop_assert_eq!(text.parse::<f64>().unwrap(), value),
                false => prop_assert!(text.is_empty()),
            }
        }
    }
}
