//! Columns of a change: run-length encoded, so that a few bytes can stand for any number of rows. Rows are read one by
//! one, and no more of them than the format allows.
//!
//! A run begins with a signed number: `n` > 0, then one value, stands for `n` rows of it; `-n`, then `n` values, for
//! those; 0, then an unsigned number, for as many rows without value. Rows behind the end have no value.

use super::super::leb128::{Input, LayoutFault, write_signed, write_sized, write_unsigned};

/// A column's value.
pub(super) trait Cell<'a>: Copy + PartialEq {
    fn read(input: &mut Input<'a>) -> Result<Self, LayoutFault>;
    fn write(self, out: &mut Vec<u8>);
}

impl Cell<'_> for u64 {
    fn read(input: &mut Input<'_>) -> Result<u64, LayoutFault> {
        input.unsigned()
    }

    fn write(self, out: &mut Vec<u8>) {
        write_unsigned(out, self);
    }
}

impl Cell<'_> for i64 {
    fn read(input: &mut Input<'_>) -> Result<i64, LayoutFault> {
        input.signed()
    }

    fn write(self, out: &mut Vec<u8>) {
        write_signed(out, self);
    }
}

impl<'a> Cell<'a> for &'a str {
    fn read(input: &mut Input<'a>) -> Result<&'a str, LayoutFault> {
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
    input: Input<'a>,
    run: Run<T>,
    left: u64,
}

#[derive(Debug, Clone, Copy)]
enum Run<T> {
    Of(T),
    Literal,
    Nothing,
}

impl<'a, T: Cell<'a>> Runs<'a, T> {
    pub(super) fn new(bytes: &'a [u8]) -> Runs<'a, T> {
        Runs { input: Input::new(bytes, "columns"), run: Run::Nothing, left: 0 }
    }

    /// Whether all rows that the column states were read.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.input.is_empty()
    }

    /// The value of the next row.
    pub(super) fn next(&mut self) -> Result<Option<T>, LayoutFault> {
        while self.left == 0 {
            if self.input.is_empty() {
                return Ok(None);
            }
            let length = self.input.signed()?;
            self.left = length.unsigned_abs();
            self.run = match length {
                1.. => Run::Of(T::read(&mut self.input)?),
                0 => {
                    self.left = self.input.unsigned()?;
                    Run::Nothing
                }
                ..0 => Run::Literal,
            };
        }
        self.left -= 1;
        match self.run {
            Run::Of(value) => Ok(Some(value)),
            Run::Literal => T::read(&mut self.input).map(Some),
            Run::Nothing => Ok(None),
        }
    }
}

/// Reads a column of differences.
#[derive(Debug)]
pub(super) struct Deltas<'a> {
    runs: Runs<'a, i64>,
    last: i64,
}

impl<'a> Deltas<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Deltas<'a> {
        Deltas { runs: Runs::new(bytes), last: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Option<i64>, LayoutFault> {
        let Some(delta) = self.runs.next()? else { return Ok(None) };
        self.last = self.last.checked_add(delta).ok_or(LayoutFault::CounterOverflow)?;
        Ok(Some(self.last))
    }
}

/// Reads a column of booleans: alternating numbers of rows, those of false first.
#[derive(Debug)]
pub(super) struct Booleans<'a> {
    input: Input<'a>,
    value: bool,
    left: u64,
}

impl<'a> Booleans<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Booleans<'a> {
        Booleans { input: Input::new(bytes, "columns"), value: true, left: 0 }
    }

    pub(super) fn next(&mut self) -> Result<bool, LayoutFault> {
        while self.left == 0 {
            if self.input.is_empty() {
                return Ok(false);
            }
            self.value = !self.value;
            self.left = self.input.unsigned()?;
        }
        self.left -= 1;
        Ok(self.value)
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
