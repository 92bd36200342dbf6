//! Numbers of all kinds in one order.

use crate::record::{DECIMAL_DIGITS_MAX, Significant, WrittenNumber, shown};

/// Digits that are kept of a number: those of the longest decimal.
const DIGITS: u32 = DECIMAL_DIGITS_MAX as u32;

/// An exact decimal number, whatever kind of field it comes from, or an infinity. A float counts as the shortest
/// decimal that reads back as that float: 0.1 is equal to 0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    /// 0 below zero, else 1; the others are complemented below zero, so that they sort as the numbers do.
    sign: u8,
    /// The power of ten of the first digit, as an order-preserving code. Zero has the least.
    power: u16,
    /// The digits, the first of 38 being other than 0.
    digits: u128,
}

/// The digits of a decimal number as a whole number, and how many of them are behind the point.
pub(crate) struct Mantissa {
    pub(crate) is_negative: bool,
    pub(crate) digits: u128,
    pub(crate) places: u32,
}

impl Mantissa {
    /// Reads `-?digits(.digits)?`; `None` if there are more than 38 digits.
    pub(crate) fn of_decimal(text: &str) -> Option<Self> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, text),
        };
        let point = unsigned.bytes().position(|byte| byte == b'.');
        let places = point.map_or(0, |point| unsigned.len() - point - 1);
        let mut digits = unsigned.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0');
        let digits = if unsigned.len() <= SHORT_DIGITS {
            digits.fold(0, |sum, digit| sum * 10 + u64::from(digit)).into()
        } else {
            digits.try_fold(0_u128, |sum, digit| {
                sum.checked_mul(10)?.checked_add(u128::from(digit))
            })?
        };
        Some(Self { is_negative, digits, places: u32::try_from(places).ok()? })
    }

    /// The digits with their sign; `None` only if there are more than 38.
    pub(crate) fn signed(&self) -> Option<i128> {
        let digits = i128::try_from(self.digits).ok()?;
        Some(if self.is_negative { -digits } else { digits })
    }
}

/// So many digits are a number of 64 bits.
const SHORT_DIGITS: usize = 19;
/// What stands for the power 0.
const POWER_ZERO: u16 = 1 << 15;

impl Number {
    /// What [`Number::encode`] writes.
    pub(in crate::record) const ENCODED_BYTES: usize = 1 + 2 + 16;
    const ZERO: Self = Self { sign: 1, power: 0, digits: 0 };

    /// The number `mantissa` times ten to the power of `-scale`. `None`: it has more than 38 digits.
    fn new(is_negative: bool, mantissa: u128, scale: i32) -> Option<Self> {
        let Some(last) = mantissa.checked_ilog10() else { return Some(Self::ZERO) };
        let missing = (DIGITS - 1).checked_sub(last)?;
        let digits = mantissa * 10_u128.pow(missing);
        let power = i32::from(POWER_ZERO) + i32::try_from(last).ok()? - scale;
        // The last one is that of infinity.
        let power = u16::try_from(power).ok().filter(|power| *power < u16::MAX)?;
        let number = Self { sign: 1, power, digits };
        Some(if is_negative { number.negated() } else { number })
    }

    fn negated(self) -> Self {
        match self.digits {
            0 => self,
            _ => Self { sign: 1 - self.sign, power: !self.power, digits: !self.digits },
        }
    }

    /// A whole number.
    #[must_use]
    pub fn of_integer(n: i64) -> Self {
        // 64 bits have 19 digits.
        Self::new(n < 0, n.unsigned_abs().into(), 0).unwrap_or(Self::ZERO)
    }

    /// A decimal: `-?digits(.digits)?` of at most 38 digits.
    #[must_use]
    pub fn of_decimal(text: &str) -> Option<Self> {
        let Mantissa { is_negative, digits, places } = Mantissa::of_decimal(text)?;
        Self::new(is_negative, digits, i32::try_from(places).ok()?)
    }

    /// A float. `None`: it is not a number.
    #[must_use]
    pub fn of_float(n: f64) -> Option<Self> {
        if n.is_nan() {
            return None;
        }
        if n.is_infinite() {
            let infinity = Self { sign: 1, power: u16::MAX, digits: 1 };
            return Some(if n < 0.0 { infinity.negated() } else { infinity });
        }
        // Such as 1.25e-7.
        Self::of_written(&WrittenNumber::read(&shown(n))?)
    }

    /// A number as it is written. `None`: it has more than 38 digits, or its power of ten is beyond that of any field.
    pub(crate) fn of_written(written: &WrittenNumber<'_>) -> Option<Self> {
        let Significant { digits, power } = written.significant();
        let mantissa = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        Self::new(written.is_negative, mantissa, i32::try_from(-power).ok()?)
    }

    /// Bytes that sort as the numbers do.
    pub(in crate::record) fn encode(self, out: &mut Vec<u8>) {
        out.push(self.sign);
        out.extend_from_slice(&self.power.to_be_bytes());
        out.extend_from_slice(&self.digits.to_be_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bigdecimal::BigDecimal;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_of_all_kinds_have_one_order() {
        let nines = "9".repeat(38);
        let mut numbers = vec![
            Number::of_float(f64::NEG_INFINITY).unwrap(),
            Number::of_float(f64::MIN).unwrap(),
            Number::of_decimal(&format!("-{nines}")).unwrap(),
            Number::of_integer(i64::MIN),
            Number::of_decimal("-10").unwrap(),
            Number::of_decimal("-9.99").unwrap(),
            Number::of_float(-1.5).unwrap(),
            Number::of_float(-1e-300).unwrap(),
            Number::of_integer(0),
            Number::of_float(5e-324).unwrap(),
            Number::of_decimal(&format!("0.{}1", "0".repeat(36))).unwrap(),
            Number::of_decimal("0.1").unwrap(),
            Number::of_decimal("0.11").unwrap(),
            Number::of_integer(1),
            Number::of_float(1.000_000_000_000_000_2).unwrap(),
            Number::of_integer(9),
            Number::of_integer(10),
            Number::of_integer(i64::MAX),
            Number::of_decimal(&nines).unwrap(),
            Number::of_float(f64::MAX).unwrap(),
            Number::of_float(f64::INFINITY).unwrap(),
        ];
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        let encoded = |number: &Number| {
            let mut out = Vec::new();
            number.encode(&mut out);
            out
        };
        numbers.reverse();
        assert!(numbers.is_sorted_by(|a, b| encoded(a) > encoded(b)));
    }

    #[test]
    fn a_number_is_itself_in_every_form() {
        for (text, float, integer) in
            [("7.00", 7.0, 7), ("-120", -120.0, -120), ("0.0", -0.0, 0), ("-0", 0.0, 0)]
        {
            let decimal = Number::of_decimal(text).unwrap();
            assert_eq!(Some(decimal), Number::of_float(float), "{text}");
            assert_eq!(decimal, Number::of_integer(integer), "{text}");
        }
        assert_eq!(Number::of_float(0.1), Number::of_decimal("0.100"));
        assert_eq!(Number::of_float(f64::NAN), None);
    }

    #[test]
    fn a_written_number_is_below_infinity_or_none() {
        let of = |text: &str| Number::of_written(&WrittenNumber::read(text).unwrap());
        let infinity = Number::of_float(f64::INFINITY).unwrap();
        assert!(of("1e32766").unwrap() < infinity && of("1e-32767").unwrap() > Number::ZERO);
        for text in ["1e32767", "1e-32769", "1e999999999", "1e-999999999", &"1".repeat(39)] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(of("0e999999999"), Some(Number::ZERO));
        assert_eq!(of("-1.20e2"), Some(Number::of_integer(-120)));
    }

    /// A number of at most 38 digits as a filter, JSON or CSV writes it.
    fn written() -> impl Strategy<Value = String> {
        let digits = "-?[0-9]{1,19}(\\.[0-9]{1,19})?([eE][+-]?[0-9]{1,2})?";
        prop_oneof![digits, "-?[0-2](\\.[0-2]{1,2})?(e[+-]?[0-2])?"]
    }

    proptest! {
        #[test]
        fn numbers_compare_as_those_of_arbitrary_precision(
            a in written(), b in written(), integer in any::<i64>(), float in any::<f64>(),
        ) {
            let reference = |text: &str| text.parse::<BigDecimal>().unwrap();
            let mut numbers = Vec::new();
            for text in [a, b] {
                numbers.push((Number::of_written(&WrittenNumber::read(&text).unwrap()).unwrap(), reference(&text)));
                if let Some(decimal) = Number::of_decimal(&text).filter(|_| !text.contains(['e', 'E'])) {
                    numbers.push((decimal, reference(&text)));
                }
                let float: f64 = text.parse().unwrap();
                numbers.push((Number::of_float(float).unwrap(), reference(&shown(float))));
            }
            numbers.push((Number::of_integer(integer), BigDecimal::from(integer)));
            if float.is_finite() {
                numbers.push((Number::of_float(float).unwrap(), reference(&shown(float))));
            }
            for (number, is) in &numbers {
                for (other, other_is) in &numbers {
                    prop_assert_eq!(number.cmp(other), is.cmp(other_is), "{} and {}", is, other_is);
                }
            }
        }
    }
}
