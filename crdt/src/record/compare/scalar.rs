//! Values as they are compared, and their order in bytes.

use crate::record::{Datetime, Kind, ValueRef, is_decimal};

use crate::record::Number;

/// What a sort key holds of a string or of bytes: keys are parts of rows' keys and of cursors.
pub const KEY_STRING_BYTES: usize = 256;

/// A value as it is compared. All values have one order: first that of the variants, then that of what is in them.
/// Lists are not distinguished, nor maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scalar<'a> {
    /// Nothing, or no such field.
    Null,
    /// False is before true.
    Bool(bool),
    /// A float that is not a number.
    NotANumber,
    /// An integer, a counter, a float, or the text of a field that is declared as a decimal.
    Number(Number),
    /// A moment, in ms since 1970.
    Timestamp(i64),
    /// A string or a text, by its bytes.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A list.
    List,
    /// A map.
    Map,
    /// The text of a field that is declared as a datetime.
    Datetime(Datetime),
}

impl<'a> Scalar<'a> {
    /// A value of a field that is declared to be of a kind.
    #[must_use]
    pub fn of(value: impl Into<ValueRef<'a>>, kind: Option<Kind>) -> Self {
        match value.into() {
            ValueRef::Null => Scalar::Null,
            ValueRef::Bool(b) => Scalar::Bool(b),
            ValueRef::Int(n) | ValueRef::Counter(n) => Scalar::Number(Number::of_integer(n)),
            ValueRef::Float(n) => Number::of_float(n).map_or(Scalar::NotANumber, Scalar::Number),
            ValueRef::Str(text) if kind == Some(Kind::Decimal) && is_decimal(text) => {
                Number::of_decimal(text).map_or(Scalar::Str(text), Scalar::Number)
            }
            // One from before the schema may have another form.
            ValueRef::Str(text) if kind == Some(Kind::Datetime) => {
                text.parse().map_or(Scalar::Str(text), Scalar::Datetime)
            }
            ValueRef::Str(text) | ValueRef::Text(text) => Scalar::Str(text),
            ValueRef::Bytes(bytes) => Scalar::Bytes(bytes),
            ValueRef::Timestamp(ms) => Scalar::Timestamp(ms),
            ValueRef::List(_) => Scalar::List,
            ValueRef::Map(_) => Scalar::Map,
        }
    }

    /// The place of the variant; other than 0 and 255, which end strings.
    fn class(self) -> u8 {
        match self {
            Scalar::Null => 1,
            Scalar::Bool(_) => 2,
            Scalar::NotANumber => 3,
            Scalar::Number(_) => 4,
            Scalar::Timestamp(_) => 5,
            Scalar::Str(_) => 6,
            Scalar::Bytes(_) => 7,
            Scalar::List => 8,
            Scalar::Map => 9,
            Scalar::Datetime(_) => 10,
        }
    }

    /// Whether the two are of one variant: others are in an order, but no answer to a question.
    #[must_use]
    pub fn is_like(self, other: Scalar<'_>) -> bool {
        self.class() == other.class()
    }

    /// Appends bytes that sort as the values do, whatever follows them, with at most `string_bytes_max` of a string.
    /// The form is that of keys of rows: it changes with [`crate::store::tables::FORMAT`] alone.
    pub fn encode(self, string_bytes_max: usize, out: &mut Vec<u8>) {
        out.push(self.class());
        match self {
            Scalar::Null | Scalar::NotANumber | Scalar::List | Scalar::Map => {}
            Scalar::Bool(b) => out.push(u8::from(b)),
            Scalar::Number(number) => number.encode(out),
            Scalar::Timestamp(ms) => {
                out.extend_from_slice(&(ms.cast_unsigned() ^ (1 << 63)).to_be_bytes());
            }
            Scalar::Datetime(time) => out.extend_from_slice(&time.key()),
            Scalar::Str(text) => encode_bytes(cut(text.as_bytes(), string_bytes_max), out),
            Scalar::Bytes(bytes) => encode_bytes(cut(bytes, string_bytes_max), out),
        }
    }
}

/// How many bytes of an encoded value's beginning are the value; `None` if none is there.
pub(crate) fn encoded_len(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        1 | 3 | 8 | 9 => Some(1),
        2 => Some(2),
        4 => Some(1 + Number::ENCODED_BYTES),
        5 => Some(1 + 8),
        10 => Some(1 + Datetime::KEY_BYTES),
        6 | 7 => {
            let mut at = 1;
            loop {
                at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
                match bytes.get(at) {
                    Some(255) => at += 1,
                    Some(_) | None => return Some(at),
                }
            }
        }
        _ => None,
    }
}

fn cut(bytes: &[u8], max: usize) -> &[u8] {
    &bytes[..bytes.len().min(max)]
}

/// A zero byte ends the bytes; one among them is followed by 255.
fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(255);
        }
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Value;

    fn key(scalar: Scalar<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        scalar.encode(KEY_STRING_BYTES, &mut out);
        out
    }

    #[test]
    fn encoded_values_sort_as_they_compare_whatever_follows() {
        let number = |n: i64| Scalar::Number(Number::of_integer(n));
        let time = |text: &str| Scalar::Datetime(text.parse().unwrap());
        let values = [
            Scalar::Null,
            Scalar::Bool(false),
            Scalar::Bool(true),
            Scalar::NotANumber,
            number(-1),
            number(0),
            number(256),
            Scalar::Timestamp(i64::MIN),
            Scalar::Timestamp(-1),
            Scalar::Timestamp(0),
            Scalar::Str(""),
            Scalar::Str("\0"),
            Scalar::Str("a"),
            Scalar::Str("a\0"),
            Scalar::Str("a\0b"),
            Scalar::Str("ab"),
            Scalar::Str("é"),
            Scalar::Bytes(&[]),
            Scalar::Bytes(&[0]),
            Scalar::Bytes(&[255, 255]),
            Scalar::List,
            Scalar::Map,
            time("0001-01-01T00:00:00Z"),
            time("1969-12-31T23:59:59.999999999Z"),
            time("1970-01-01T00:00:00Z"),
            time("1970-01-01T00:00:00"),
            time("1970-01-01T00:00:00.000000001Z"),
            time("9999-12-31T23:59:59.999999999"),
        ];
        assert!(values.is_sorted_by(|a, b| a < b));
        for (a, b) in values.iter().zip(&values[1..]) {
            for (behind_a, behind_b) in
                [(&b"\xf4"[..], &b"\x01"[..]), (b"\x01", b"\xf4"), (b"", b"")]
            {
                assert_eq!(encoded_len(&[&key(*a), behind_a].concat()), Some(key(*a).len()));
                let (a, b) = ([&key(*a), behind_a].concat(), [&key(*b), behind_b].concat());
                assert!(a < b, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_declared_decimal_is_a_number_and_any_other_string_a_string() {
        let text = Value::Str("2.50".to_owned());
        assert_eq!(Scalar::of(&text, None), Scalar::Str("2.50"));
        let number = Scalar::of(&text, Some(Kind::Decimal));
        assert_eq!(Some(number), Number::of_float(2.5).map(Scalar::Number));
        let other = Value::Str("cheap".to_owned());
        assert_eq!(Scalar::of(&other, Some(Kind::Decimal)), Scalar::Str("cheap"));
    }
}
