//! The elements of one JSON list, read one at a time.

use std::io::{BufReader, Read};

use super::text::{BUFFER, Bytes, MOST_ROW, Text};
use crate::base::SettingError;

/// The objects of a list, as text. Nothing but the next of them is kept.
pub(super) struct Elements {
    bytes: std::io::Bytes<BufReader<Bytes>>,
    /// The byte that comes next.
    next: u64,
    /// How many there were.
    count: u64,
    element: Vec<u8>,
    done: bool,
}

/// An element: the byte at which it starts, its number from 1, its text.
type Element<'a> = (u64, u64, &'a [u8]);

impl Elements {
    /// # Errors
    /// As [`Text::open`].
    pub fn open(text: &Text) -> Result<Elements, SettingError> {
        let bytes = BufReader::with_capacity(BUFFER, text.open()?).bytes();
        Ok(Elements { bytes, next: 0, count: 0, element: Vec::new(), done: false })
    }

    /// The next element, the byte at which it starts, and its number from 1.
    ///
    /// # Errors
    /// `text`, whose elements these are, cannot be read any further or is no list of objects.
    pub fn next(&mut self, text: &Text) -> Result<Option<Element<'_>>, SettingError> {
        if self.done {
            return Ok(None);
        }
        let expected = if self.count == 0 { "`[`" } else { "`,` or `]`" };
        let first = self.expect(text, expected)?;
        match (self.count, first) {
            (0, b'[') | (1.., b',') => {}
            (1.., b']') => return self.end(text),
            (_, other) => return Err(self.wrong(text, other, expected)),
        }
        match self.expect(text, "an object")? {
            b'{' => {}
            b']' if self.count == 0 => return self.end(text),
            other => return Err(self.wrong(text, other, "an object")),
        }
        let at = self.next - 1;
        self.element.clear();
        self.element.push(b'{');
        let (mut depth, mut in_text, mut escaped) = (1_u32, false, false);
        while depth > 0 {
            let Some(byte) = self.byte(text)? else { return Err(self.ended(text, at)) };
            self.element.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                b'{' | b'[' if !in_text => depth += 1,
                b'}' | b']' if !in_text => depth -= 1,
                _ => {}
            }
            if self.element.len() > MOST_ROW {
                return Err(text.too_long(at));
            }
        }
        self.count += 1;
        Ok(Some((at, self.count, &self.element)))
    }

    fn byte(&mut self, text: &Text) -> Result<Option<u8>, SettingError> {
        let Some(byte) = self.bytes.next() else { return Ok(None) };
        self.next += 1;
        byte.map(Some).map_err(|error| text.unreadable(error))
    }

    /// The next byte that is no white space.
    fn visible(&mut self, text: &Text) -> Result<Option<u8>, SettingError> {
        loop {
            match self.byte(text)? {
                Some(byte) if byte.is_ascii_whitespace() => {}
                other => return Ok(other),
            }
        }
    }

    fn expect(&mut self, text: &Text, expected: &str) -> Result<u8, SettingError> {
        let start = self.next;
        self.visible(text)?.ok_or_else(|| {
            let found = format!("the end of the list at {}", text.place(start));
            SettingError::new("file", found, format!("{expected} there"))
        })
    }

    fn end(&mut self, text: &Text) -> Result<Option<Element<'_>>, SettingError> {
        self.done = true;
        match self.visible(text)? {
            None => Ok(None),
            Some(byte) => Err(self.wrong(text, byte, "nothing after the list")),
        }
    }

    fn wrong(&self, text: &Text, byte: u8, expected: &str) -> SettingError {
        let at = self.next - 1;
        let (found, after) = (char::from(byte), self.count);
        let found = format!("`{found}` at {}, after element {after}", text.place(at));
        SettingError::new("file", found, expected)
    }

    fn ended(&self, text: &Text, at: u64) -> SettingError {
        let found = format!("the end in the middle of the object at {}", text.place(at));
        SettingError::new("file", found, "a list of JSON objects")
    }
}
