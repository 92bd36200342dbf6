//! The lines of an input: their bytes, and the text that these are.

use std::io::{self, BufRead, Read};

use super::encoding::{Recognised, Width};

/// Longest line, and longest row, in bytes: what is longer is no table. It bounds what is held of an input at a time.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A line as it stands in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its number, from 1.
    pub(crate) number: u64,
    /// Its bytes with its end.
    pub(crate) bytes: Vec<u8>,
    /// Its text without its end.
    pub(crate) text: String,
    /// How it ends: empty at the end of the input.
    pub(crate) end: &'static str,
    /// Whether all of its bytes are text.
    pub(crate) is_text: bool,
}

/// Why lines cannot be read on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinesError {
    /// The input cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A line does not end.
    #[error("line {line} has more than {LINE_BYTES_MAX} bytes; is it a table?")]
    TooLong {
        /// Its number.
        line: u64,
    },
}

/// Splits an input into lines.
pub(crate) struct Lines<R> {
    input: R,
    recognised: Recognised,
    line: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R, recognised: Recognised) -> Self {
        Self { input, recognised, line: 0, bytes: 0 }
    }

    /// Returns how many bytes are read so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn next(&mut self) -> Result<Option<Line>, LinesError> {
        let bytes = self.next_bytes()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        self.bytes += bytes.len() as u64;
        let (mut text, is_text) = self.recognised.encoding.decode(&bytes);
        if self.line == 1 && text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len_utf8());
        }
        let ends: &[&'static str] = if self.recognised.cr_only { &["\r"] } else { &["\r\n", "\n"] };
        let end = ends.iter().copied().find(|end| text.ends_with(end)).unwrap_or_default();
        text.truncate(text.len() - end.len());
        Ok(Some(Line { number: self.line, bytes, text, end, is_text }))
    }

    fn next_bytes(&mut self) -> Result<Vec<u8>, LinesError> {
        let mut bytes = Vec::new();
        let last = if self.recognised.cr_only { b'\r' } else { b'\n' };
        loop {
            self.read(last, &mut bytes)?;
            let is_even = bytes.len() % 2 == 0;
            let is_end = match self.recognised.encoding.width() {
                Width::One => true,
                Width::TwoBigEndian => is_even && bytes.ends_with(&[0, last]),
                Width::TwoLittleEndian if !is_even && bytes.ends_with(&[last]) => {
                    // The other half of the character.
                    self.input.by_ref().take(1).read_to_end(&mut bytes)?;
                    bytes.ends_with(&[last, 0])
                }
                Width::TwoLittleEndian => false,
            };
            if is_end || self.input.fill_buf()?.is_empty() {
                return Ok(bytes);
            }
        }
    }

    fn read(&mut self, last: u8, bytes: &mut Vec<u8>) -> Result<(), LinesError> {
        let room = (LINE_BYTES_MAX + 1).saturating_sub(bytes.len()) as u64;
        self.input.by_ref().take(room).read_until(last, bytes)?;
        if bytes.len() > LINE_BYTES_MAX {
            return Err(LinesError::TooLong { line: self.line + 1 });
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::encoding::Encoding;
    use super::*;

    fn lines(bytes: &[u8], encoding: &str, cr_only: bool) -> Vec<Line> {
        let encoding = Encoding::parse(encoding).unwrap();
        let mut lines = Lines::new(bytes, Recognised { encoding, cr_only });
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    fn texts(lines: &[Line]) -> Vec<(&str, &str)> {
        lines.iter().map(|line| (line.text.as_str(), line.end)).collect()
    }

    #[test]
    fn no_byte_is_lost_whatever_the_encoding() {
        // A character of UTF-16 one half of which is a line feed.
        let text = "\u{feff}a\u{0a0a}\r\n\u{010a}b\n\n\u{0a00}c";
        let expected = [("a\u{0a0a}", "\r\n"), ("\u{010a}b", "\n"), ("", "\n"), ("\u{0a00}c", "")];
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, encoding) in [(text.as_bytes(), "utf-8"), (&le, "utf-16le"), (&be, "utf-16be")]
        {
            let found = lines(bytes, encoding, false);
            assert_eq!(texts(&found), expected, "{encoding}");
            let again: Vec<u8> = found.into_iter().flat_map(|line| line.bytes).collect();
            assert_eq!(again, bytes);
        }
    }

    #[test]
    fn a_line_that_is_no_text_is_said_to_be_none() {
        let found = lines(b"a\n\xff\nb", "utf-8", false);
        let is_text: Vec<bool> = found.iter().map(|line| line.is_text).collect();
        assert_eq!(is_text, [true, false, true]);
        // Half a character at the end, and half a pair.
        let found = lines(b"a\0\n\0\0\xd8\n\0b", "utf-16le", false);
        let is_text: Vec<bool> = found.iter().map(|line| line.is_text).collect();
        assert_eq!(is_text, [true, false, false]);
    }

    #[test]
    fn carriage_returns_end_lines_where_they_alone_do() {
        assert_eq!(texts(&lines(b"a\rb\r", "utf-8", true)), [("a", "\r"), ("b", "\r")]);
        assert_eq!(texts(&lines(b"a\rb\n", "utf-8", false)), [("a\rb", "\n")]);
    }

    #[test]
    fn a_line_that_does_not_end_is_reported() {
        let text = vec![b'x'; LINE_BYTES_MAX + 1];
        let encoding = Encoding::UTF_8;
        let mut lines = Lines::new(&text[..], Recognised { encoding, cr_only: false });
        assert!(matches!(lines.next(), Err(LinesError::TooLong { line: 1 })));
    }
}
