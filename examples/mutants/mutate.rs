//! Changes texts: some bytes, or what they mean.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Numbers that have broken programs before.
const NUMBERS: [&str; 30] = [
    "0",
    "1",
    "2",
    "-1",
    "3",
    "7",
    "64",
    "65535",
    "65536",
    "1000000",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "1000000000000",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e308",
    "1e-308",
    "1e400",
    "0.0",
    "-0.0",
    "0.5",
    "0.001",
    "NaN",
    "inf",
    "0x7f",
    "1_000",
];

/// Texts that have broken programs before.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "\u{1b}[2J",
    "=cmd|' /C calc'!A0",
    "../../etc/passwd",
    "/dev/zero",
    "/",
    "a/b",
    ".",
    "..",
    "\u{202e}x",
    "é",
    "summary.json",
    "None",
    "\\",
    "\u{0}",
];

/// Tokens put in anywhere.
const TOKENS: [&str; 22] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "//",
    "/*",
    "*/",
    "\n",
    "\r\n",
    "\t",
    "Some(",
    "None",
    "true",
    "r#\"",
    "#![enable(x)]",
    "\u{feff}",
];

/// Mutants of one seed: the same numbers make the same mutants.
pub struct Mutator {
    random: Pcg64,
}

impl Mutator {
    /// The mutator of the mutant with that number.
    pub fn new(seed: u64, number: u64) -> Mutator {
        Mutator { random: Pcg64::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) }
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.random.next_u64() % bound.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A changed copy: one to four changes, of bytes or of what they mean.
    pub fn mutate(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..1 + self.below(4) {
            bytes = match self.below(14) {
                0 => self.flip(bytes),
                1 => self.delete(bytes),
                2 => self.repeat(bytes),
                3 => self.truncate(bytes),
                4 => self.insert_bytes(bytes),
                5 | 6 => self.insert_token(bytes),
                7..=9 => self.change_number(bytes),
                10 => self.change_text(bytes),
                11 => self.move_part(bytes),
                12 => self.lines(bytes),
                _ => self.deepen(bytes),
            };
            bytes.truncate(1 << 20);
        }
        bytes
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        let most = if self.below(4) == 0 { length } else { 24 };
        let end = (start + 1 + self.below(most)).min(length);
        start..end.max(start)
    }

    fn flip(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if !bytes.is_empty() {
            let at = self.below(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        }
        bytes
    }

    fn delete(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let range = self.range(bytes.len());
        bytes.drain(range);
        bytes
    }

    fn repeat(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let range = self.range(bytes.len());
        let part = bytes[range.clone()].to_vec();
        let times = if self.below(20) == 0 { 2000 } else { 1 + self.below(3) };
        let more = part.repeat(times.min(200_000 / part.len().max(1)));
        bytes.splice(range.end..range.end, more);
        bytes
    }

    fn truncate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let length = self.below(bytes.len() + 1);
        bytes.truncate(length);
        bytes
    }

    fn insert_bytes(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.below(bytes.len() + 1);
        let new: Vec<u8> = (0..1 + self.below(8)).map(|_| self.below(256) as u8).collect();
        bytes.splice(at..at, new);
        bytes
    }

    fn insert_token(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.below(bytes.len() + 1);
        let token = self.pick(&TOKENS);
        bytes.splice(at..at, token.bytes());
        bytes
    }

    fn change_number(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let inside = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        let starts: Vec<usize> = (0..bytes.len())
            .filter(|&at| bytes[at].is_ascii_digit() && (at == 0 || !inside(bytes[at - 1])))
            .collect();
        if starts.is_empty() {
            return self.insert_token(bytes);
        }
        let start = starts[self.below(starts.len())];
        let end = (start..bytes.len()).find(|&at| !inside(bytes[at])).unwrap_or(bytes.len());
        let number = self.pick(&NUMBERS);
        bytes.splice(start..end, number.bytes());
        bytes
    }

    fn change_text(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let quotes: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'"').collect();
        if quotes.len() < 2 {
            return self.insert_bytes(bytes);
        }
        let first = self.below(quotes.len() - 1);
        let (start, end) = (quotes[first] + 1, quotes[first + 1]);
        let long = "x".repeat(60_000);
        let text = if self.below(12) == 0 { long.as_str() } else { self.pick(&TEXTS) };
        bytes.splice(start..end, text.bytes());
        bytes
    }

    fn move_part(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let range = self.range(bytes.len());
        let part: Vec<u8> = bytes.drain(range).collect();
        let at = self.below(bytes.len() + 1);
        bytes.splice(at..at, part);
        bytes
    }

    /// Leaves a line out, doubles it, or puts two in another order.
    fn lines(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        let (one, other) = (self.below(lines.len()), self.below(lines.len()));
        match self.below(3) {
            0 => _ = lines.remove(one),
            1 => lines.insert(one, lines[other]),
            _ => lines.swap(one, other),
        }
        lines.join(&b'\n')
    }

    /// Many brackets in one place.
    fn deepen(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let at = self.below(bytes.len() + 1);
        let bracket = self.pick(&["(", "[", "{", "/*", "Some(", "[[", "{\"a\":"]);
        let times = if self.below(3) == 0 { 5000 } else { 200 };
        bytes.splice(at..at, bracket.repeat(times).bytes());
        bytes
    }
}
