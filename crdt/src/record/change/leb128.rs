//! Bytes of a change, read and written piece by piece: LEB128 numbers, strings, lists of known lengths.
//!
//! Each number has one form, the shortest; any other is refused.

/// Why bytes are not laid out as a change of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutFault {
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
    /// It could be written differently. Documents keep the meaning of changes and write their bytes again, so any other
    /// form would not be found again by its hash.
    #[error("the {within} are not in their one canonical form")]
    NotCanonical {
        /// What was being read.
        within: &'static str,
    },
    /// A string is not UTF-8.
    #[error("a string in the {within} is not UTF-8")]
    String {
        /// What was being read.
        within: &'static str,
    },
    /// The chunk is no plain change.
    #[error("the chunk is of type {found}, expected 1 (a plain change)")]
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
    #[error("an actor id has {found} bytes, expected 16")]
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
    /// A column lacks what another one says is there.
    #[error("an operation has half of its {of}")]
    Half {
        /// Of what.
        of: &'static str,
    },
    /// A field name is empty or too long.
    #[error(
        "a field name has {found} bytes, expected 1 to {}",
        crate::record::limits::FIELD_NAME_BYTES_MAX
    )]
    FieldName {
        /// Its length in bytes.
        found: u64,
    },
    /// There are too many operations, or values that they remove.
    #[error(
        "the change has more than {} operations, or removes more values",
        crate::record::limits::OPERATIONS_MAX
    )]
    TooManyRows,
    /// The change has no operations.
    #[error("the change has no operations")]
    NoOperations,
    /// The counters of the operations do not fit into 64 bits.
    #[error("the operation counters run beyond 64 bits")]
    CounterOverflow,
}

/// Bytes that are yet to be read.
#[derive(Debug, Clone, Copy)]
pub(in crate::record) struct LebReader<'a> {
    rest: &'a [u8],
    within: &'static str,
}

impl<'a> LebReader<'a> {
    pub(in crate::record) fn new(bytes: &'a [u8], within: &'static str) -> Self {
        LebReader { rest: bytes, within }
    }

    pub(in crate::record) fn now_within(&mut self, within: &'static str) {
        self.within = within;
    }

    pub(in crate::record) fn len(&self) -> usize {
        self.rest.len()
    }

    pub(in crate::record) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(in crate::record) fn byte(&mut self) -> Result<u8, LayoutFault> {
        let (first, rest) =
            self.rest.split_first().ok_or(LayoutFault::Truncated { within: self.within })?;
        self.rest = rest;
        Ok(*first)
    }

    pub(in crate::record) fn take(&mut self, length: u64) -> Result<&'a [u8], LayoutFault> {
        let truncated = LayoutFault::Truncated { within: self.within };
        let Ok(length) = usize::try_from(length) else {
            return Err(truncated);
        };
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(in crate::record) fn array<const N: usize>(&mut self) -> Result<[u8; N], LayoutFault> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(LayoutFault::Truncated { within: self.within })?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(in crate::record) fn string(&mut self, length: u64) -> Result<&'a str, LayoutFault> {
        let within = self.within;
        std::str::from_utf8(self.take(length)?).map_err(|_| LayoutFault::String { within })
    }

    /// Reads an unsigned number.
    pub(in crate::record) fn unsigned(&mut self) -> Result<u64, LayoutFault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.require_canonical(shift == 0 || byte != 0)?;
                return Ok(value);
            }
        }
        Err(LayoutFault::Number { within: self.within })
    }

    /// Reads a signed number.
    pub(in crate::record) fn signed(&mut self) -> Result<i64, LayoutFault> {
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
                // Without this byte, the one before would say the same.
                let is_needless = match value >> shift {
                    0 | -1 => shift > 0 && (value >> (shift - 1)) == value >> shift,
                    _ => false,
                };
                self.require_canonical(!is_needless)?;
                return Ok(value);
            }
        }
        Err(LayoutFault::Number { within: self.within })
    }

    /// Demands that what was read is in its one form.
    pub(in crate::record) fn require_canonical(
        &self,
        is_canonical: bool,
    ) -> Result<(), LayoutFault> {
        if is_canonical { Ok(()) } else { Err(LayoutFault::NotCanonical { within: self.within }) }
    }

    /// Demands that nothing is left.
    pub(in crate::record) fn end(&self, what: &'static str) -> Result<(), LayoutFault> {
        match self.rest.len() as u64 {
            0 => Ok(()),
            found => Err(LayoutFault::Length { what, stated: 0, found }),
        }
    }
}

pub(in crate::record) fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(in crate::record) fn write_signed(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

pub(in crate::record) fn write_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    write_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for shift in 0..64 {
            for near in [-1_i64, 0, 1] {
                let signed = (1_i64 << shift).wrapping_add(near);
                for signed in [signed, signed.wrapping_neg()] {
                    let mut bytes = Vec::new();
                    write_signed(&mut bytes, signed);
                    write_unsigned(&mut bytes, signed.cast_unsigned());
                    let mut input = LebReader::new(&bytes, "numbers");
                    assert_eq!(input.signed(), Ok(signed));
                    assert_eq!(input.unsigned(), Ok(signed.cast_unsigned()));
                    assert_eq!(input.end("numbers"), Ok(()));
                }
            }
        }
    }

    #[test]
    fn a_number_has_one_form() {
        for bytes in [&[0x80, 0x00][..], &[0xff, 0x00], &[0x81, 0x80, 0x00]] {
            let read = LebReader::new(bytes, "numbers").unsigned();
            assert_eq!(read, Err(LayoutFault::NotCanonical { within: "numbers" }), "{bytes:x?}");
        }
        for bytes in [&[0x80, 0x00][..], &[0xbf, 0x00], &[0xff, 0x7f], &[0xc0, 0xff, 0x7f]] {
            let read = LebReader::new(bytes, "numbers").signed();
            assert_eq!(read, Err(LayoutFault::NotCanonical { within: "numbers" }), "{bytes:x?}");
        }
        assert_eq!(LebReader::new(&[0xc0, 0x00], "numbers").signed(), Ok(64));
        assert_eq!(LebReader::new(&[0xbf, 0x7f], "numbers").signed(), Ok(-65));
    }

    #[test]
    fn numbers_of_more_than_64_bits_are_refused() {
        let mut bytes = vec![0xff; 9];
        bytes.push(2);
        assert!(LebReader::new(&bytes, "numbers").unsigned().is_err());
        let least = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f];
        assert_eq!(LebReader::new(&least, "numbers").signed(), Ok(i64::MIN));
    }
}
