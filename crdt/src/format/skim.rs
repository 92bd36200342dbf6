//! Reading bytes in the layout of [`super::codec`] piece by piece, for those who need little of a value and need it
//! often: what is passed over is looked at, and nothing is made of it.
//!
//! Integers of one byte are below 251; 251, 252, 253 and 254 are followed by 2, 4, 8 and 16 bytes, little endian. Signed
//! integers are folded: 0, -1, 1, -2 are 0, 1, 2, 3. Lengths and the numbers of variants are such integers, floats are
//! 8 bytes, strings and bytes follow their length.

/// What is left of bytes that are read. Each reading is `None` where [`super::codec::decode`] would fail, which says why.
pub(crate) struct Skim<'a> {
    rest: &'a [u8],
}

impl<'a> Skim<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Skim { rest: bytes }
    }

    /// The end; nothing may be left.
    pub(crate) fn end(self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    /// An integer of 32 bits, or the number of a variant.
    #[inline]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        match self.byte()? {
            byte @ 0..=250 => Some(byte.into()),
            251 => Some(u16::from_le_bytes(self.array()?).into()),
            252 => Some(u32::from_le_bytes(self.array()?)),
            253..=255 => None,
        }
    }

    /// An integer of 64 bits.
    #[inline]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        match self.byte()? {
            byte @ 0..=250 => Some(byte.into()),
            251 => Some(u16::from_le_bytes(self.array()?).into()),
            252 => Some(u32::from_le_bytes(self.array()?).into()),
            253 => Some(u64::from_le_bytes(self.array()?)),
            254..=255 => None,
        }
    }

    /// A signed integer of 64 bits.
    #[inline]
    pub(crate) fn i64(&mut self) -> Option<i64> {
        let folded = self.u64()?;
        Some((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    /// A signed integer of 128 bits.
    pub(crate) fn i128(&mut self) -> Option<i128> {
        let folded = match self.rest.first()? {
            254 => {
                self.byte()?;
                u128::from_le_bytes(self.array()?)
            }
            _ => self.u64()?.into(),
        };
        Some((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())
    }

    /// A float.
    pub(crate) fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// True or false; or whether there is a value, which then follows.
    #[inline]
    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            2..=255 => None,
        }
    }

    /// Bytes behind their length.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.u64()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    /// Bytes of which there have to be so many.
    #[inline]
    pub(crate) fn bytes_of(&mut self, len: usize) -> Option<&'a [u8]> {
        self.bytes().filter(|bytes| bytes.len() == len)
    }

    /// A string.
    #[inline]
    pub(crate) fn str(&mut self) -> Option<&'a str> {
        str::from_utf8(self.bytes()?).ok()
    }

    /// A string, as its bytes.
    #[inline]
    pub(crate) fn str_bytes(&mut self) -> Option<&'a [u8]> {
        // Nearly all are, and it is known sooner.
        self.bytes().filter(|bytes| bytes.is_ascii() || str::from_utf8(bytes).is_ok())
    }

    /// Each item of a list, by `item`.
    #[inline]
    pub(crate) fn each(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        // Each item takes a byte at least, so that whatever their number claims to be this ends with the bytes.
        for _ in 0..self.u64()? {
            item(self)?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::format::codec;

    fn reads<'a, T>(bytes: &'a [u8], read: impl Fn(&mut Skim<'a>) -> Option<T>) -> Option<T> {
        let mut skim = Skim::new(bytes);
        let value = read(&mut skim)?;
        skim.end().map(|()| value)
    }

    /// Reads what was written of a value, and whatever else, as the codec does.
    fn is_as_decoded<T: Serialize + DeserializeOwned + PartialEq + Debug>(
        value: &T,
        others: &[u8],
        read: impl Fn(&[u8]) -> Option<T>,
    ) {
        assert_eq!(read(&codec::encode(value)).as_ref(), Some(value));
        for end in 0..=others.len() {
            let bytes = &others[..end];
            assert_eq!(read(bytes), codec::decode::<T>("value", bytes).ok(), "{bytes:?}");
        }
    }

    /// Bytes among which those are frequent that begin longer integers.
    fn others() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..6, 248_u8..=255], 0..24)
    }

    proptest! {
        #[test]
        fn every_form_is_read_as_the_codec_reads_it(
            short in any::<u32>(), long in any::<u64>(), signed in any::<i64>(), wide in any::<i128>(),
            bits in any::<u16>(), float in any::<u64>(), flag in any::<bool>(), text in ".{0,9}", others in others(),
        ) {
            for shift in [0, bits % 64] {
                is_as_decoded(&(short >> (shift % 32)), &others, |bytes| reads(bytes, Skim::u32));
                is_as_decoded(&(long >> shift), &others, |bytes| reads(bytes, Skim::u64));
                is_as_decoded(&(signed >> shift), &others, |bytes| reads(bytes, Skim::i64));
                is_as_decoded(&(wide >> (2 * shift)), &others, |bytes| reads(bytes, Skim::i128));
            }
            // As bits: one that is not a number is not equal to itself.
            prop_assert_eq!(reads(&codec::encode(&f64::from_bits(float)), Skim::f64).map(f64::to_bits), Some(float));
            is_as_decoded(&flag, &others, |bytes| reads(bytes, Skim::bool));
            is_as_decoded(&text, &others, |bytes| reads(bytes, Skim::str).map(str::to_owned));
            is_as_decoded(&text, &others, |bytes| {
                reads(bytes, Skim::str_bytes).map(|text| str::from_utf8(text).unwrap().to_owned())
            });
            let numbers = vec![(long, signed); usize::from(bits % 5)];
            is_as_decoded(&numbers, &others, |bytes| {
                reads(bytes, |skim| {
                    let mut found = Vec::new();
                    skim.each(|skim| {
                        found.push((skim.u64()?, skim.i64()?));
                        Some(())
                    })?;
                    Some(found)
                })
            });
        }
    }
}
