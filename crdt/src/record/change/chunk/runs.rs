//! Columns of a change: run-length encoded, so that a few bytes can stand for any number of rows. Rows are read one by
//! one, and no more of them than the format allows.
//!
//! A run begins with a signed number: `n` > 1, then one value, stands for `n` rows of it; `-n`, then `n` values, for
//! those, each of which differs from its neighbours; 0, then an unsigned number, for as many rows without value. A run is
//! as long as it can be, a column without any value is empty, and any other tells all its rows: so there is one form,
//! and readers refuse every other.

use super::super::leb128::{LayoutFault, LebReader, write_signed, write_sized, write_unsigned};

/// A column's value.
pub(super) trait Cell<'a>: Copy + PartialEq {
    fn read(input: &mut LebReader<'a>) -> Result<Self, LayoutFault>;
    fn write(self, out: &mut Vec<u8>);
}

impl Cell<'_> for u64 {
    fn read(input: &mut LebReader<'_>) -> Result<Self, LayoutFault> {
        input.unsigned()
    }

    fn write(self, out: &mut Vec<u8>) {
        write_unsigned(out, self);
    }
}

impl Cell<'_> for i64 {
    fn read(input: &mut LebReader<'_>) -> Result<Self, LayoutFault> {
        input.signed()
    }

    fn write(self, out: &mut Vec<u8>) {
        write_signed(out, self);
    }
}

impl<'a> Cell<'a> for &'a str {
    fn read(input: &mut LebReader<'a>) -> Result<&'a str, LayoutFault> {
        let length = input.unsigned()?;
        input.string(length)
    }

    fn write(self, out: &mut Vec<u8>) {
        write_sized(out, self.as_bytes());
    }
}

/// Reads a column of runs.
#[derive(Debug)]
pub(super) struct Runs<'a, T> {
    input: LebReader<'a>,
    /// `None`: nothing was read.
    run: Option<Run<T>>,
    left: u64,
    /// The value of the row before.
    last: Option<T>,
    has_values: bool,
}

#[derive(Debug, Clone, Copy)]
enum Run<T> {
    Of(T),
    Literal,
    Nothing,
}

impl<'a, T: Cell<'a>> Runs<'a, T> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let input = LebReader::new(bytes, "columns");
        Runs { input, run: None, left: 0, last: None, has_values: false }
    }

    /// Whether all rows that the column states were read.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.input.is_empty()
    }

    /// The value of the next row.
    pub(super) fn next(&mut self) -> Result<Option<T>, LayoutFault> {
        if self.left == 0 {
            if self.input.is_empty() {
                self.input.require_canonical(self.run.is_none())?;
                return Ok(None);
            }
            self.begin_run()?;
        }
        self.left -= 1;
        match self.run {
            Some(Run::Of(value)) => Ok(Some(value)),
            Some(Run::Literal) => {
                let value = T::read(&mut self.input)?;
                self.input.require_canonical(self.last != Some(value))?;
                self.last = Some(value);
                Ok(Some(value))
            }
            Some(Run::Nothing) | None => Ok(None),
        }
    }

    /// Reads how the next run begins, which has at least one row.
    fn begin_run(&mut self) -> Result<(), LayoutFault> {
        let length = self.input.signed()?;
        self.left = length.unsigned_abs();
        let (run, is_canonical) = match length {
            1.. => {
                let value = T::read(&mut self.input)?;
                let is_new = self.last.replace(value) != Some(value);
                (Run::Of(value), length > 1 && is_new)
            }
            0 => {
                self.left = self.input.unsigned()?;
                self.last = None;
                (Run::Nothing, self.left > 0 && !matches!(self.run, Some(Run::Nothing)))
            }
            ..0 => (Run::Literal, !matches!(self.run, Some(Run::Literal))),
        };
        self.has_values |= !matches!(run, Run::Nothing);
        self.run = Some(run);
        self.input.require_canonical(is_canonical)
    }

    /// Demands that the rows were all that the column states.
    pub(super) fn end(&self) -> Result<(), LayoutFault> {
        let is_empty = self.run.is_none();
        self.input.require_canonical(self.is_done() && (is_empty || self.has_values))
    }
}

/// Reads a column of differences.
#[derive(Debug)]
pub(super) struct Deltas<'a> {
    runs: Runs<'a, i64>,
    last: i64,
}

impl<'a> Deltas<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Deltas { runs: Runs::new(bytes), last: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<i64>, LayoutFault> {
        let Some(delta) = self.runs.next()? else { return Ok(None) };
        self.last = self.last.checked_add(delta).ok_or(LayoutFault::CounterOverflow)?;
        Ok(Some(self.last))
    }

    /// Demands that the rows were all that the column states.
    pub(super) fn end(&self) -> Result<(), LayoutFault> {
        self.runs.end()
    }
}

/// Reads a column of booleans: alternating numbers of rows, those of false first, of which there may be none.
#[derive(Debug)]
pub(super) struct Booleans<'a> {
    input: LebReader<'a>,
    /// `None`: nothing was read.
    value: Option<bool>,
    left: u64,
}

impl<'a> Booleans<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Booleans { input: LebReader::new(bytes, "columns"), value: None, left: 0 }
    }

    pub(super) fn next(&mut self) -> Result<bool, LayoutFault> {
        while self.left == 0 {
            self.input.require_canonical(!self.input.is_empty())?;
            self.left = self.input.unsigned()?;
            self.input.require_canonical(self.left > 0 || self.value.is_none())?;
            self.value = Some(self.value == Some(false));
        }
        self.left -= 1;
        Ok(self.value == Some(true))
    }

    /// Demands that the rows were all that the column states.
    pub(super) fn end(&self) -> Result<(), LayoutFault> {
        self.input.require_canonical(self.left == 0 && self.input.is_empty())
    }
}

/// Writes a column in the one form that it has: equal neighbours as one run, others together, nothing at all for a
/// column without any value.
pub(super) fn write_runs<'a, T: Cell<'a>>(
    out: &mut Vec<u8>,
    mut rows: impl Iterator<Item = Option<T>> + Clone,
) {
    let start = out.len();
    let mut has_values = false;
    while let Some((value, count)) = next_run(&rows) {
        has_values |= value.is_some();
        let literals = literals(&rows);
        match value {
            Some(_) if literals > 0 => {
                write_signed(out, -(literals as i64));
                rows.by_ref().take(literals).flatten().for_each(|value| value.write(out));
                continue;
            }
            Some(value) => {
                write_signed(out, count as i64);
                value.write(out);
            }
            None => {
                write_signed(out, 0);
                write_unsigned(out, count as u64);
            }
        }
        rows.nth(count - 1);
    }
    if !has_values {
        out.truncate(start);
    }
}

/// The next row, and how many equal ones follow each other from there.
fn next_run<T: PartialEq>(
    rows: &(impl Iterator<Item = Option<T>> + Clone),
) -> Option<(Option<T>, usize)> {
    let mut rows = rows.clone();
    let first = rows.next()?;
    let count = 1 + rows.take_while(|row| *row == first).count();
    Some((first, count))
}

/// How many rows from the next one on have values other than their neighbours'.
fn literals<T: PartialEq>(rows: &(impl Iterator<Item = Option<T>> + Clone)) -> usize {
    let mut rows = rows.clone();
    let mut count = 0;
    while let Some((Some(_), 1)) = next_run(&rows) {
        rows.next();
        count += 1;
    }
    count
}

/// Writes a column of differences.
pub(super) fn write_deltas(out: &mut Vec<u8>, rows: impl Iterator<Item = Option<i64>> + Clone) {
    let deltas = rows.scan(0i64, |last, row| {
        Some(row.map(|value| {
            let delta = value.saturating_sub(*last);
            *last = value;
            delta
        }))
    });
    write_runs(out, deltas);
}

/// Writes a column of booleans.
pub(super) fn write_booleans(out: &mut Vec<u8>, rows: impl Iterator<Item = bool>) {
    let (mut last, mut count) = (false, 0);
    for value in rows {
        if value != last {
            write_unsigned(out, count);
            (last, count) = (value, 0);
        }
        count += 1;
    }
    if count > 0 {
        write_unsigned(out, count);
    }
}
