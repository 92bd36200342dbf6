//! Counts what the bytes of a change would mean, without building it.
//!
//! Columns are run-length encoded, so that a few bytes can stand for any number of rows; a reader
//! that believes them is made to allocate gigabytes. This pass reads headers and run lengths
//! alone, and bounds them by the limits of the format. It also refuses references to actors that
//! are not listed, over which Automerge panics.

use super::limits::{FIELD_NAME_BYTES_MAX, OPERATIONS_MAX};

const CHUNK_TYPE_CHANGE: u8 = 1;
const ACTOR_BYTES: u64 = 16;
const HASH_BYTES: u64 = 32;

/// How the rows of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// Runs of unsigned numbers.
    Unsigned,
    /// Runs of places in the change's list of actors.
    Actors,
    /// Runs of differences.
    Delta,
    /// Runs of strings.
    Strings,
    /// Alternating runs of false and true.
    Boolean,
    /// The bytes of the values, one after the other.
    Raw,
}

/// The columns that a change may have, in the order of their numbers in Automerge's format.
/// Columns of marks (9 and 10) are not among them.
const COLUMNS: [(u64, Encoding); 12] = [
    (0x01, Encoding::Actors),   // object: actor
    (0x02, Encoding::Unsigned), // object: counter
    (0x11, Encoding::Actors),   // key: actor
    (0x13, Encoding::Delta),    // key: counter
    (0x15, Encoding::Strings),  // key: field name
    (0x34, Encoding::Boolean),  // insert
    (ACTION, Encoding::Unsigned),
    (0x56, Encoding::Unsigned), // value: type and length
    (0x57, Encoding::Raw),      // value: bytes
    (0x70, Encoding::Unsigned), // removed: how many
    (0x71, Encoding::Actors),   // removed: actor
    (0x73, Encoding::Delta),    // removed: counter
];
const ACTION: u64 = 0x42;

/// Why bytes are not laid out as a change of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrescanFault {
    /// The bytes end too early.
    #[error("the bytes end within the {within}")]
    Truncated {
        /// What was being read.
        within: &'static str,
    },
    /// A number is longer than 64 bits.
    #[error("a number in the {within} is longer than 64 bits")]
    Number {
        /// What was being read.
        within: &'static str,
    },
    /// The chunk is no plain change.
    #[error("the chunk is of type {found}, expected {CHUNK_TYPE_CHANGE} (a plain change)")]
    ChunkType {
        /// The type byte.
        found: u8,
    },
    /// The stated length of a part is not that of the bytes.
    #[error("the {what} states {stated} bytes, there are {found}")]
    Length {
        /// Which part.
        what: &'static str,
        /// The stated length.
        stated: u64,
        /// The length found.
        found: u64,
    },
    /// An actor id has not 16 bytes.
    #[error("an actor id has {found} bytes, expected {ACTOR_BYTES}")]
    Actor {
        /// Its length in bytes.
        found: u64,
    },
    /// An operation refers to an actor that the change does not list.
    #[error("an operation refers to actor {found} of the change, there are {known}")]
    ActorIndex {
        /// The actor's place in the list, from 0.
        found: u64,
        /// How many are listed.
        known: u64,
    },
    /// The change carries a message.
    #[error("the change carries a message of {found} bytes, expected none")]
    Message {
        /// Its length in bytes.
        found: u64,
    },
    /// A column is unknown, compressed, or out of order.
    #[error("the column {found:#x} is unknown or out of order")]
    Column {
        /// The column's specification.
        found: u64,
    },
    /// A field name is empty or too long.
    #[error("a field name has {found} bytes, expected 1 to {FIELD_NAME_BYTES_MAX}")]
    FieldName {
        /// Its length in bytes.
        found: u64,
    },
    /// A column has too many rows.
    #[error("the column {column:#x} has more than {OPERATIONS_MAX} rows")]
    TooManyRows {
        /// The column's specification.
        column: u64,
    },
    /// The change has no operations.
    #[error("the change has no operations")]
    NoOperations,
}

/// Checks the layout of a change's body (type, length, data) and bounds what it means.
pub(crate) fn check(body: &[u8]) -> Result<(), PrescanFault> {
    let mut input = Input { rest: body, within: "chunk header" };
    let chunk_type = input.byte()?;
    if chunk_type != CHUNK_TYPE_CHANGE {
        return Err(PrescanFault::ChunkType { found: chunk_type });
    }
    let stated = input.unsigned()?;
    expect_length("chunk header", stated, input.rest.len())?;
    let actors = check_change_header(&mut input)?;
    check_columns(&mut input, actors)
}

/// Returns how many actors the change lists: its own and the others.
fn check_change_header(input: &mut Input<'_>) -> Result<u64, PrescanFault> {
    input.within = "change header";
    let deps = input.unsigned()?;
    input.skip(deps.saturating_mul(HASH_BYTES))?;
    input.actor()?;
    input.unsigned()?; // seq
    input.unsigned()?; // start_op
    input.signed()?; // time
    let message = input.unsigned()?;
    if message != 0 {
        return Err(PrescanFault::Message { found: message });
    }
    let other_actors = input.unsigned()?;
    for _ in 0..other_actors {
        input.actor()?;
    }
    Ok(other_actors.saturating_add(1))
}

fn check_columns(input: &mut Input<'_>, actors: u64) -> Result<(), PrescanFault> {
    input.within = "column list";
    let count = input.unsigned()?;
    let mut known = COLUMNS.iter();
    let mut columns = Vec::new();
    for _ in 0..count {
        let spec = input.unsigned()?;
        let length = input.unsigned()?;
        // The iterator only moves on, so an order other than that of COLUMNS finds nothing.
        match known.find(|(column, _)| *column == spec) {
            Some((_, encoding)) => columns.push((spec, *encoding, length)),
            None => return Err(PrescanFault::Column { found: spec }),
        }
    }
    input.within = "columns";
    let mut operations = 0;
    for (spec, encoding, length) in columns {
        let bytes = input.take(length)?;
        let rows = count_rows(spec, encoding, bytes, actors)?;
        if spec == ACTION {
            operations = rows;
        }
    }
    expect_length("columns", 0, input.rest.len())?;
    if operations == 0 {
        return Err(PrescanFault::NoOperations);
    }
    Ok(())
}

fn count_rows(
    column: u64,
    encoding: Encoding,
    bytes: &[u8],
    actors: u64,
) -> Result<u64, PrescanFault> {
    let mut input = Input { rest: bytes, within: "columns" };
    let mut rows: u64 = 0;
    while !input.rest.is_empty() {
        let run = match encoding {
            Encoding::Raw => return Ok(0),
            Encoding::Boolean => input.unsigned()?,
            Encoding::Unsigned | Encoding::Actors | Encoding::Delta | Encoding::Strings => {
                read_run(encoding, column, &mut input, actors)?
            }
        };
        rows = rows.saturating_add(run);
        if rows > OPERATIONS_MAX as u64 {
            return Err(PrescanFault::TooManyRows { column });
        }
    }
    Ok(rows)
}

/// Reads one run: its length, then one value (positive), as many values (negative), or the length
/// of a run of nothing (zero).
fn read_run(
    encoding: Encoding,
    column: u64,
    input: &mut Input<'_>,
    actors: u64,
) -> Result<u64, PrescanFault> {
    let length = input.signed()?;
    if length == 0 {
        return input.unsigned();
    }
    let rows = length.unsigned_abs();
    if rows > OPERATIONS_MAX as u64 {
        return Err(PrescanFault::TooManyRows { column });
    }
    let values = if length > 0 { 1 } else { rows };
    for _ in 0..values {
        match encoding {
            Encoding::Delta => {
                input.signed()?;
            }
            Encoding::Actors => {
                let found = input.unsigned()?;
                if found >= actors {
                    return Err(PrescanFault::ActorIndex { found, known: actors });
                }
            }
            Encoding::Strings => {
                let found = input.unsigned()?;
                if found == 0 || found > FIELD_NAME_BYTES_MAX as u64 {
                    return Err(PrescanFault::FieldName { found });
                }
                input.skip(found)?;
            }
            Encoding::Unsigned | Encoding::Boolean | Encoding::Raw => {
                input.unsigned()?;
            }
        }
    }
    Ok(rows)
}

fn expect_length(what: &'static str, stated: u64, found: usize) -> Result<(), PrescanFault> {
    let found = found as u64;
    if stated == found { Ok(()) } else { Err(PrescanFault::Length { what, stated, found }) }
}

struct Input<'a> {
    rest: &'a [u8],
    within: &'static str,
}

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, PrescanFault> {
        let (first, rest) =
            self.rest.split_first().ok_or(PrescanFault::Truncated { within: self.within })?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], PrescanFault> {
        let truncated = PrescanFault::Truncated { within: self.within };
        let Ok(length) = usize::try_from(length) else {
            return Err(truncated);
        };
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn skip(&mut self, length: u64) -> Result<(), PrescanFault> {
        self.take(length).map(|_| ())
    }

    fn actor(&mut self) -> Result<(), PrescanFault> {
        let found = self.unsigned()?;
        if found != ACTOR_BYTES {
            return Err(PrescanFault::Actor { found });
        }
        self.skip(found)
    }

    /// Reads an unsigned LEB128 number.
    fn unsigned(&mut self) -> Result<u64, PrescanFault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(PrescanFault::Number { within: self.within })
    }

    /// Reads a signed LEB128 number.
    fn signed(&mut self) -> Result<i64, PrescanFault> {
        let mut value: i64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte != 0 && byte != 0x7f {
                break;
            }
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                if byte & 0x40 != 0 && shift + 7 < 64 {
                    value |= -1 << (shift + 7);
                }
                return Ok(value);
            }
        }
        Err(PrescanFault::Number { within: self.within })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn body(data: &[u8]) -> Vec<u8> {
        let mut body = vec![CHUNK_TYPE_CHANGE, u8::try_from(data.len()).unwrap()];
        body.extend(data);
        body
    }

    fn header() -> Vec<u8> {
        let mut data = vec![0, 16];
        data.extend([7; 16]);
        data.extend([1, 1, 0, 0, 0]); // seq, start_op, time, message, other actors
        data
    }

    #[test]
    fn a_few_bytes_cannot_mean_millions_of_operations() {
        let mut data = header();
        data.extend([1, 0x42, 5]); // one column: action
        data.extend([0x80, 0x80, 0x80, 0x20, 3]); // a run of 67,108,864 deletions
        assert_eq!(check(&body(&data)), Err(PrescanFault::TooManyRows { column: 0x42 }));
    }

    #[test]
    fn other_chunks_and_lengths_are_refused() {
        assert_eq!(check(&[2, 0]), Err(PrescanFault::ChunkType { found: 2 }));
        assert!(matches!(check(&[1, 9, 0]), Err(PrescanFault::Length { .. })));
        let mut data = header();
        data.extend([0]);
        assert_eq!(check(&body(&data)), Err(PrescanFault::NoOperations));
        data.extend([0]);
        assert!(matches!(check(&body(&data)), Err(PrescanFault::Length { .. })));
    }

    #[test]
    fn numbers_of_more_than_64_bits_are_refused() {
        let mut bytes = vec![0xff; 9];
        bytes.push(2);
        let mut input = Input { rest: &bytes, within: "columns" };
        assert!(input.unsigned().is_err());
        let least = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
        let mut input = Input { rest: &least, within: "columns" };
        assert_eq!(input.signed(), Ok(i64::MIN));
    }
}
