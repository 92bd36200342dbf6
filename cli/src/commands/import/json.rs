//! The records of a JSON input: one object in each line, objects over several lines, or one array of them.

use std::io::BufRead;

use serde::de::IgnoredAny;

use super::input::lines::{LINE_BYTES_MAX, Line, Lines, LinesError};
use super::rows::RawRow;

/// Deepest nesting of a value, which is that of the JSON reader. It bounds what is scanned for the end of a value.
const DEPTH_MAX: usize = 127;

/// How a JSON input holds its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonForm {
    /// One object in each line.
    Lines,
    /// Objects behind each other, over several lines perhaps.
    Values,
    /// One array of objects.
    Array,
}

/// Recognises the form by the first lines.
pub(crate) fn form(start: &str, sample: &[Line]) -> JsonForm {
    if start.starts_with('[') {
        return JsonForm::Array;
    }
    // A broken line makes no other form of lines.
    let is_record = |line: &Line| line.text.starts_with('{') && is_json(line.text.as_bytes());
    if start.starts_with('{') && !sample.iter().any(is_record) {
        JsonForm::Values
    } else {
        JsonForm::Lines
    }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// A record, or what stands in the place of one: why it is none, where that was found already.
pub(crate) struct JsonRow {
    pub(crate) raw: RawRow,
    pub(crate) text: String,
    pub(crate) error: Option<String>,
}

/// Reads records.
pub(crate) enum JsonRows<R> {
    Lines(Lines<R>),
    Values(Values<R>),
}

impl<R: BufRead> JsonRows<R> {
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Lines(lines) => lines.bytes(),
            Self::Values(values) => values.bytes,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<JsonRow>, LinesError> {
        match self {
            Self::Lines(lines) => next_line(lines),
            Self::Values(values) => values.next(),
        }
    }
}

fn next_line<R: BufRead>(lines: &mut Lines<R>) -> Result<Option<JsonRow>, LinesError> {
    while let Some(line) = lines.next()? {
        if line.text.trim().is_empty() && line.is_text {
            continue;
        }
        let error = if line.is_text {
            None
        } else {
            Some("it has bytes that are not text in this encoding".to_owned())
        };
        let raw = RawRow { line: line.number, lines: 1, bytes: line.bytes };
        return Ok(Some(JsonRow { raw, text: line.text, error }));
    }
    Ok(None)
}

/// Values behind each other or in one array, in UTF-8. Commas between them are passed over.
pub(crate) struct Values<R> {
    input: R,
    /// What is read and not yet passed over.
    ahead: Vec<u8>,
    at: usize,
    line: u64,
    bytes: u64,
    is_ended: bool,
    place: JsonPlace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum JsonPlace {
    /// Before the bracket that opens the array, if there is to be one.
    Before,
    InArray,
    /// Among values without an array, or behind it.
    Bare,
}

/// What a scan for the end of a value found.
enum Scanned {
    /// The value ends before this place.
    Whole(usize),
    /// Brackets do not match, or a string does not end on its line, at this place; or the input ends.
    Broken(usize),
}

impl<R: BufRead> Values<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            ahead: Vec::new(),
            at: 0,
            line: 1,
            bytes: 0,
            is_ended: false,
            place: JsonPlace::Before,
        }
    }

    fn next(&mut self) -> Result<Option<JsonRow>, LinesError> {
        loop {
            match self.byte(self.at)? {
                None if self.place == JsonPlace::InArray => {
                    self.place = JsonPlace::Bare;
                    let raw = RawRow { line: self.line, lines: 0, bytes: Vec::new() };
                    let error = Some("the array is not closed; is the input whole?".to_owned());
                    return Ok(Some(JsonRow { raw, text: String::new(), error }));
                }
                None => return Ok(None),
                Some(b'[') if self.place == JsonPlace::Before => {
                    self.place = JsonPlace::InArray;
                    self.pass(self.at + 1);
                }
                Some(b']') if self.place == JsonPlace::InArray => {
                    self.place = JsonPlace::Bare;
                    self.pass(self.at + 1);
                }
                Some(byte) if byte.is_ascii_whitespace() || byte == b',' => self.pass(self.at + 1),
                Some(0xef) if self.bytes == 0 && self.byte(2)? == Some(0xbf) => self.pass(3),
                Some(_) => return self.value().map(Some),
            }
        }
    }

    fn value(&mut self) -> Result<JsonRow, LinesError> {
        if self.place == JsonPlace::Before {
            self.place = JsonPlace::Bare;
        }
        let start = self.at;
        let (end, error) = match self.scan(start)? {
            Scanned::Whole(end) if is_json(&self.ahead[start..end]) => (end, None),
            Scanned::Whole(end) => {
                let error = serde_json::from_slice::<IgnoredAny>(&self.ahead[start..end]).err();
                let next = self.next_good(start, end)?;
                (next.unwrap_or(end), error.map(|error| format!("no JSON object: {error}")))
            }
            Scanned::Broken(broken) => {
                let error = match self.byte(broken)? {
                    None => "the input ends within it".to_owned(),
                    Some(b'\n' | b'\r') => "a string does not end on its line".to_owned(),
                    Some(_) => "its brackets do not match, or it is too long".to_owned(),
                };
                (self.resume(start)?, Some(format!("no JSON object: {error}")))
            }
        };
        let (line, bytes) = (self.line, self.ahead[start..end].to_vec());
        self.pass(end);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines = 1 + text.trim_end().matches('\n').count() as u64;
        Ok(JsonRow { raw: RawRow { line, lines, bytes }, text, error })
    }

    /// Returns a byte that is read or to be read.
    fn byte(&mut self, at: usize) -> Result<Option<u8>, LinesError> {
        while at >= self.ahead.len() && !self.is_ended {
            let more = self.input.fill_buf()?;
            self.is_ended = more.is_empty();
            self.ahead.extend_from_slice(more);
            let read = more.len();
            self.input.consume(read);
        }
        Ok(self.ahead.get(at).copied())
    }

    fn pass(&mut self, to: usize) {
        let passed = &self.ahead[self.at..to];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.bytes += passed.len() as u64;
        self.at = to;
        // What is passed over is let go in large pieces.
        if self.at > LINE_BYTES_MAX / 8 {
            self.ahead.drain(..self.at);
            self.at = 0;
        }
    }

    fn scan(&mut self, start: usize) -> Result<Scanned, LinesError> {
        let mut open = Vec::new();
        let (mut in_string, mut is_escaped) = (false, false);
        let mut at = start;
        while let Some(byte) = self.byte(at)? {
            if at - start > LINE_BYTES_MAX || open.len() > DEPTH_MAX {
                return Ok(Scanned::Broken(at));
            }
            if in_string {
                match byte {
                    b'\n' | b'\r' => return Ok(Scanned::Broken(at)),
                    _ if is_escaped => is_escaped = false,
                    b'\\' => is_escaped = true,
                    b'"' => in_string = false,
                    _ => {}
                }
            } else {
                match byte {
                    b'"' => in_string = true,
                    b'{' => open.push(b'}'),
                    b'[' => open.push(b']'),
                    b'}' | b']' | b',' | b'\n' if open.is_empty() => {
                        return Ok(Scanned::Whole(at.max(start + 1)));
                    }
                    b'}' | b']' if open.pop() != Some(byte) => return Ok(Scanned::Broken(at)),
                    _ => {}
                }
                if open.is_empty() && matches!(byte, b'}' | b']') {
                    return Ok(Scanned::Whole(at + 1));
                }
            }
            at += 1;
        }
        let is_whole = open.is_empty() && !in_string;
        Ok(if is_whole { Scanned::Whole(at) } else { Scanned::Broken(at) })
    }

    /// Finds the beginning of a good object behind `start` on a line of its own, no deeper than that of `start`.
    fn next_good(&mut self, start: usize, end: usize) -> Result<Option<usize>, LinesError> {
        let depth = self.depth(start);
        let mut at = start;
        while at < end {
            let begins_line = self.ahead[at] == b'\n';
            at += 1;
            if begins_line && let Some(object) = self.object_of_line(at, depth)? {
                return Ok(Some(object));
            }
        }
        Ok(None)
    }

    /// Finds where to go on behind a broken value: at the next good object, or at the end of the input.
    fn resume(&mut self, start: usize) -> Result<usize, LinesError> {
        let depth = self.depth(start);
        let mut at = start;
        loop {
            match self.byte(at)? {
                None => return Ok(at),
                Some(b'\n') => {
                    at += 1;
                    if at - start > LINE_BYTES_MAX / 2 {
                        return Ok(at);
                    }
                    if self.ends_array(at)? {
                        return Ok(at);
                    }
                    if let Some(object) = self.object_of_line(at, depth)? {
                        return Ok(object);
                    }
                }
                Some(_) => at += 1,
            }
        }
    }

    /// How far the line of this place is indented; `None`: other things stand before it.
    fn depth(&self, at: usize) -> Option<usize> {
        let before = self.ahead[..at]
            .iter()
            .rev()
            .take_while(|byte| **byte == b' ' || **byte == b'\t')
            .count();
        let is_first = at == before && self.line == 1 || self.ahead[..at - before].ends_with(b"\n");
        is_first.then_some(before)
    }

    fn object_of_line(
        &mut self,
        line: usize,
        depth: Option<usize>,
    ) -> Result<Option<usize>, LinesError> {
        let mut at = line;
        while let Some(b' ' | b'\t' | b',') = self.byte(at)? {
            at += 1;
        }
        let is_deeper = depth.is_some_and(|depth| at - line > depth);
        if is_deeper || self.byte(at)? != Some(b'{') {
            return Ok(None);
        }
        match self.scan(at)? {
            Scanned::Whole(end) if is_json(&self.ahead[at..end]) => Ok(Some(at)),
            Scanned::Whole(_) | Scanned::Broken(_) => Ok(None),
        }
    }

    /// Whether the array ends on this line, and nothing but it.
    fn ends_array(&mut self, line: usize) -> Result<bool, LinesError> {
        if self.place != JsonPlace::InArray || self.byte(line)? != Some(b']') {
            return Ok(false);
        }
        let mut at = line + 1;
        while let Some(byte) = self.byte(at)? {
            if !byte.is_ascii_whitespace() {
                return Ok(false);
            }
            at += 1;
        }
        Ok(true)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The lines and texts of the values, and of those that are none, with `!`.
    fn values(text: &str) -> Vec<(u64, String)> {
        let mut values = Values::new(text.as_bytes());
        let row = |row: JsonRow| {
            let mark = if row.error.is_some() { "!" } else { "" };
            (row.raw.line, format!("{mark}{}", row.text.trim_end()))
        };
        std::iter::from_fn(|| values.next().unwrap()).map(row).collect()
    }

    fn owned(rows: &[(u64, &str)]) -> Vec<(u64, String)> {
        rows.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn arrays_and_objects_over_several_lines_are_read() {
        let array = "\u{feff}[{\"id\":1},{\"id\":\"]}\\\"\"}\n,\n {\"id\":{\"a\":[1]}} ]\n";
        let found = [(1, "{\"id\":1}"), (1, "{\"id\":\"]}\\\"\"}"), (3, "{\"id\":{\"a\":[1]}}")];
        assert_eq!(values(array), owned(&found));
        let pretty = "{\n  \"id\": 1\n}\n{\n  \"id\": 2\n}";
        assert_eq!(values(pretty), owned(&[(1, "{\n  \"id\": 1\n}"), (4, "{\n  \"id\": 2\n}")]));
        assert_eq!(values("[]"), []);
        assert_eq!(values("[1, nope]"), owned(&[(1, "1"), (1, "!nope")]));
    }

    #[test]
    fn a_broken_object_takes_no_other_with_it() {
        let text = "[\n  {\n    \"id\": 1,\n    \"a\": {\n  },\n  {\n    \"id\": 2\n  },\n  {\"id\": \"3},\n  {\"id\": 4}\n]\n";
        let found = values(text);
        let good: Vec<_> = found.iter().filter(|(_, text)| !text.starts_with('!')).collect();
        assert_eq!(
            good,
            [&(6, "{\n    \"id\": 2\n  }".to_owned()), &(10, "{\"id\": 4}".to_owned())]
        );
        let bad: Vec<_> =
            found.iter().filter(|(_, text)| text.starts_with('!')).map(|(line, _)| *line).collect();
        assert_eq!(bad, [2, 9]);
    }

    #[test]
    fn an_array_that_was_cut_off_says_so() {
        assert_eq!(
            values("[{\"id\":1},\n{\"id\":2"),
            owned(&[(1, "{\"id\":1}"), (2, "!{\"id\":2"), (2, "!")])
        );
        assert_eq!(values("[{\"id\":1},\n"), owned(&[(1, "{\"id\":1}"), (2, "!")]));
    }

    #[test]
    fn the_first_lines_tell_the_form() {
        let of = |text: &str| {
            let line = |(number, text): (u64, &str)| {
                let bytes = text.as_bytes().to_vec();
                Line { number, bytes, text: text.to_owned(), end: "\n", is_text: true }
            };
            form(text, &(1..).zip(text.lines()).map(line).collect::<Vec<_>>())
        };
        assert_eq!(of("{\"id\":1}\n{\"id\":2}\n"), JsonForm::Lines);
        assert_eq!(of("{\"id\":1,\n{\"id\":2}\n"), JsonForm::Lines);
        assert_eq!(of("{\n  \"id\":1\n}\n"), JsonForm::Values);
        assert_eq!(of("[{\"id\":1}]"), JsonForm::Array);
        assert_eq!(of("nope"), JsonForm::Lines);
    }
}
