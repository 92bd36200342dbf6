//! How many rows the columns of a chunk stand for: a few bytes can mean any number of them, so they are counted before
//! Automerge makes them.

use super::super::change::leb128::LebReader;
use super::fault::DocumentFault;

/// Greatest number of columns in a chunk; Automerge knows some twenty.
const COLUMNS_MAX: u64 = 64;
/// The bit of a column's number that says that its bytes are deflated.
pub(super) const DEFLATED: u64 = 0b1000;

/// One column, as the metadata states it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    /// Its number, of which the last three bits are its type.
    pub(super) spec: u64,
    pub(super) length: u64,
}

/// Reads a chunk's list of columns.
pub(super) fn read_list(input: &mut LebReader<'_>) -> Result<Vec<Column>, DocumentFault> {
    let count = input.unsigned()?;
    if count > COLUMNS_MAX {
        return Err(DocumentFault::TooManyColumns { found: count });
    }
    let mut columns = Vec::with_capacity(count as usize);
    for _ in 0..count {
        columns.push(Column { spec: input.unsigned()?, length: input.unsigned()? });
    }
    Ok(columns)
}

/// Counts the rows of a column, and what they stand for in others.
///
/// # Errors
/// [`DocumentFault`] if there are more than `max`, or the bytes are no column.
pub(super) fn check(spec: u64, bytes: &[u8], max: u64) -> Result<u64, DocumentFault> {
    let mut count = Count { input: LebReader::new(bytes, "columns"), rows: 0, max };
    match spec & 0b111 {
        // How many rows of the columns behind it belong to each row.
        0 => count.runs(|input| input.unsigned()),
        // Actors, integers.
        1 | 2 => count.runs(|input| input.unsigned().map(|_| 0)),
        3 => count.runs(|input| input.signed().map(|_| 0)),
        4 => count.booleans(),
        5 => count.runs(|input| {
            let length = input.unsigned()?;
            input.take(length).map(|_| 0)
        }),
        // Types and lengths of values. A length without bytes is found where the bytes are read.
        6 => count.runs(|input| input.unsigned().map(|_| 0)),
        // The bytes of values.
        _ => Ok(()),
    }?;
    Ok(count.rows)
}

struct Count<'a> {
    input: LebReader<'a>,
    rows: u64,
    max: u64,
}

type ColumnLayout<T> = Result<T, super::super::change::leb128::LayoutFault>;

impl<'a> Count<'a> {
    /// `read` takes one value, and says for how many further rows it stands.
    fn runs(
        &mut self,
        read: impl Fn(&mut LebReader<'a>) -> ColumnLayout<u64>,
    ) -> Result<(), DocumentFault> {
        while !self.input.is_empty() {
            let length = self.input.signed()?;
            match length {
                1.. => {
                    let further = read(&mut self.input)?;
                    self.add(length.unsigned_abs().saturating_mul(further.saturating_add(1)))?;
                }
                0 => {
                    let rows = self.input.unsigned()?;
                    self.add(rows)?;
                }
                ..0 => {
                    for _ in 0..length.unsigned_abs() {
                        let further = read(&mut self.input)?;
                        self.add(further.saturating_add(1))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn booleans(&mut self) -> Result<(), DocumentFault> {
        while !self.input.is_empty() {
            let rows = self.input.unsigned()?;
            self.add(rows)?;
        }
        Ok(())
    }

    fn add(&mut self, rows: u64) -> Result<(), DocumentFault> {
        self.rows = self.rows.saturating_add(rows);
        if self.rows > self.max {
            return Err(DocumentFault::TooManyRows { max: self.max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::change::leb128::{write_signed, write_unsigned};

    #[test]
    fn a_few_bytes_that_stand_for_many_rows_are_refused() {
        let run = |rows: i64, value: u64| {
            let mut bytes = Vec::new();
            write_signed(&mut bytes, rows);
            write_unsigned(&mut bytes, value);
            bytes
        };
        for (spec, bytes, is_good) in [
            (0x42, run(100, 1), true),
            (0x42, run(67_000_000, 1), false),
            (0x42, run(i64::MAX, 1), false),
            (0x42, run(0, 67_000_000), false),
            (0x34, vec![0xff, 0xff, 0xff, 0x7f], false),
            (0x34, vec![0, 10, 10], true),
            // One row that has many, and many that have some.
            (0x70, run(2, 67_000_000), false),
            (0x70, run(100, u64::MAX), false),
            (0x70, run(100, 2), true),
            (0x70, run(1, 1_000), false),
            (0x42, vec![0x7f], false),
            (0x57, vec![0xff; 10], true),
        ] {
            let result = check(spec, &bytes, 1_000);
            assert_eq!(result.is_ok(), is_good, "{spec:#x} {bytes:?} {result:?}");
        }
    }
}
