//! Numbers and times as they are written: what a field of each kind makes of them, exactly or not at all.

use super::datetime::{Datetime, DatetimeError};
use super::limits::DECIMAL_DIGITS_MAX;
use super::schema::kind::Kind;
use super::value::{Value, is_decimal, timestamp_from_text};

/// The form of a decimal, for errors.
pub(crate) const DECIMAL_FORM: &str = "a decimal like \"-12.50\" of at most 38 digits";

/// Decimals of so many digits are distinguished by floats of 64 bits, unless those are very small.
const FLOAT_DIGITS: usize = 15;
/// Digits of the greatest whole number of 64 bits.
const INTEGER_DIGITS: i64 = 19;
/// Powers of ten beyond these are all alike: no field holds such a number.
const EXPONENT_MAX: i64 = 999_999_999;

/// A number as JSON writes it: `-?digits(.digits)?`, with a power of ten behind an `e` or not. Unlike in JSON there may
/// be zeros before the first digit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrittenNumber<'t> {
    pub(crate) is_negative: bool,
    whole: &'t str,
    fraction: &'t str,
    /// The power of ten that it is multiplied by.
    exponent: i64,
}

/// What a number is as a whole number of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole {
    Is(i64),
    /// It needs more bits.
    TooLarge,
    /// It has a fraction.
    Broken,
}

/// The digits of a number without zeros at either end, and the power of ten of the last of them. Zero has no digits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Significant {
    pub(crate) digits: String,
    pub(crate) power: i64,
}

/// A text as a field of a kind that is replaced as a whole has it; the error is the form that was expected. `None`: no
/// value of the kind is written as a text, or in another form elsewhere.
pub(crate) fn of_text(kind: Kind, text: &str) -> Option<Result<Value, &'static str>> {
    match kind {
        Kind::String => Some(Ok(Value::Str(text.to_owned()))),
        Kind::Decimal if is_decimal(text) => Some(Ok(Value::Str(text.to_owned()))),
        Kind::Decimal => Some(Err(DECIMAL_FORM)),
        Kind::Timestamp => {
            let time = timestamp_from_text(text).map(Value::Timestamp);
            Some(time.ok_or("an RFC 3339 timestamp like \"2026-01-31T12:00:00Z\""))
        }
        Kind::Datetime => {
            let time = text.parse::<Datetime>().map(|time| Value::Str(time.to_string()));
            Some(time.map_err(|error: DatetimeError| error.expected()))
        }
        Kind::Integer
        | Kind::Float
        | Kind::Boolean
        | Kind::Bytes
        | Kind::Counter
        | Kind::Text
        | Kind::List
        | Kind::Map => None,
    }
}

impl<'t> WrittenNumber<'t> {
    /// Reads a number; `None`: the text is none.
    pub(crate) fn read(text: &'t str) -> Option<Self> {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let is_number = !whole.is_empty() && is_digits(whole) && is_digits(fraction);
        is_number.then_some(WrittenNumber { is_negative, whole, fraction, exponent })
    }

    pub(crate) fn significant(&self) -> Significant {
        let mut digits = [self.whole, self.fraction].concat();
        let last = digits.trim_end_matches('0').len();
        let behind = digits.len() - last;
        digits.truncate(last);
        digits.drain(..digits.len() - digits.trim_start_matches('0').len());
        if digits.is_empty() {
            return Significant { digits, power: 0 };
        }
        let power = self.exponent - count(self.fraction.len()) + count(behind);
        Significant { digits, power }
    }

    /// The number as a whole one: `1e2` and `100.0` are 100.
    pub(crate) fn whole(&self) -> Whole {
        let Significant { mut digits, power } = self.significant();
        if power < 0 {
            return Whole::Broken;
        }
        if count(digits.len()) + power > INTEGER_DIGITS {
            return Whole::TooLarge;
        }
        digits.insert_str(0, if self.is_negative { "-0" } else { "0" });
        digits.extend((0..power).map(|_| '0'));
        digits.parse().map_or(Whole::TooLarge, Whole::Is)
    }

    /// The number as a decimal, which has no power of ten, with all the digits that are written: `1.50e1` is `15.0`.
    /// `None`: it has more digits than a decimal.
    pub(crate) fn decimal(&self) -> Option<String> {
        let digits = [self.whole, self.fraction].concat();
        if digits.len() > DECIMAL_DIGITS_MAX {
            return None;
        }
        let is_zero = digits.bytes().all(|digit| digit == b'0');
        let exponent =
            if is_zero { self.exponent.min(count(self.fraction.len())) } else { self.exponent };
        // How many digits stand before the point.
        let point = count(self.whole.len()) + exponent;
        let most = count(DECIMAL_DIGITS_MAX);
        if !(-most..=2 * most).contains(&point) {
            return None;
        }
        let zeros = |n: i64| "0".repeat(usize::try_from(n).unwrap_or_default());
        let digits = format!("{}{digits}{}", zeros(1 - point), zeros(point - count(digits.len())));
        let (whole, fraction) = digits.split_at(usize::try_from(point.max(1)).ok()?);
        // Zeros that moving the point has left in front.
        let whole = if exponent > 0 { whole.trim_start_matches('0') } else { whole };
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = if self.is_negative { "-" } else { "" };
        let text = match fraction {
            "" => format!("{sign}{whole}"),
            fraction => format!("{sign}{whole}.{fraction}"),
        };
        is_decimal(&text).then_some(text)
    }

    /// Whether a float is this number: it is shown as the same number. Of two texts that are the shortest that read as
    /// one float, that of JSON counts, in which it is shown.
    fn is_float(&self, float: f64) -> bool {
        let digits = self.whole.len() + self.fraction.len();
        if digits <= FLOAT_DIGITS && float.is_normal() {
            return true;
        }
        let text = shown(float);
        let shortest = WrittenNumber::read(&text).map(|shortest| shortest.significant());
        shortest == Some(self.significant())
    }
}

/// The decimal of a number as JSON writes it: `1.10` stays `1.10`, `1e2` is `100`. `None`: it is no number, or has more
/// than 38 digits.
#[must_use]
pub fn decimal_of(number: &str) -> Option<String> {
    WrittenNumber::read(number)?.decimal()
}

/// The float that is nearest to a number. `None`: it is beyond all floats, or no number.
pub(crate) fn nearest_float(number: &str) -> Option<f64> {
    number.parse().ok().filter(|float: &f64| float.is_finite())
}

/// A finite float as JSON has it.
pub(crate) fn shown(float: f64) -> String {
    serde_json::Number::from_f64(float).map(|number| number.to_string()).unwrap_or_default()
}

/// The float that gives all digits of a number back, but for zeros at its ends. `None`: no float of 64 bits does.
pub(crate) fn exact_float(number: &str) -> Option<f64> {
    let float = nearest_float(number)?;
    WrittenNumber::read(number)?.is_float(float).then_some(float)
}

/// What a number is as a whole number.
pub(crate) fn whole(number: &str) -> Whole {
    match number.parse() {
        Ok(whole) => Whole::Is(whole),
        Err(_) => WrittenNumber::read(number).map_or(Whole::Broken, |written| written.whole()),
    }
}

fn read_exponent(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !is_digits(digits) {
        return None;
    }
    // More digits than 64 bits have.
    let power = digits.parse().unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX);
    Some(if is_negative { -power } else { power })
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bigdecimal::BigDecimal;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_decimal_keeps_the_digits_that_are_written() {
        for (written, decimal) in [
            ("1.10", Some("1.10")),
            ("1234567890123456.78", Some("1234567890123456.78")),
            ("-0", Some("-0")),
            ("-0.00", Some("-0.00")),
            ("1e2", Some("100")),
            ("1.50E+1", Some("15.0")),
            ("1.5e3", Some("1500")),
            ("-12.5e-3", Some("-0.0125")),
            ("0.05e1", Some("0.5")),
            ("0.0e9999999999999999999", Some("0")),
            ("1e37", Some("10000000000000000000000000000000000000")),
            ("1e38", None),
            ("1e-37", Some("0.0000000000000000000000000000000000001")),
            ("1e-38", None),
            ("1e400", None),
            ("1e-99999999999999999999", None),
            (
                "99999999999999999999999999999999999999",
                Some("99999999999999999999999999999999999999"),
            ),
            ("999999999999999999999999999999999999990", None),
            ("1.", None),
            (".5", None),
            ("1e", None),
            ("1e+", None),
            ("+1", None),
            ("", None),
            ("NaN", None),
        ] {
            assert_eq!(decimal_of(written).as_deref(), decimal, "{written}");
        }
    }

    #[test]
    fn a_whole_number_is_one_in_every_form() {
        for (written, expected) in [
            ("7", Whole::Is(7)),
            ("-0", Whole::Is(0)),
            ("0.0", Whole::Is(0)),
            ("-0e5", Whole::Is(0)),
            ("1e2", Whole::Is(100)),
            ("-1.50e1", Whole::Is(-15)),
            ("100.00", Whole::Is(100)),
            ("1200e-2", Whole::Is(12)),
            ("9223372036854775807", Whole::Is(i64::MAX)),
            ("9223372036854775807.0", Whole::Is(i64::MAX)),
            ("-9223372036854775808.0", Whole::Is(i64::MIN)),
            ("9223372036854775808.0", Whole::TooLarge),
            ("18446744073709551616", Whole::TooLarge),
            ("1e19", Whole::TooLarge),
            ("1e99999999999999999999", Whole::TooLarge),
            ("0.5", Whole::Broken),
            ("1e-1", Whole::Broken),
            ("x", Whole::Broken),
        ] {
            assert_eq!(whole(written), expected, "{written}");
        }
    }

    #[test]
    fn a_float_is_exact_if_it_gives_the_digits_back() {
        for (written, expected) in [
            ("0.1", Some(0.1)),
            ("1.10", Some(1.1)),
            ("-2.5e-3", Some(-0.0025)),
            ("1e23", Some(1e23)),
            ("0.30000000000000004", Some(0.1 + 0.2)),
            ("9007199254740992.0", Some(9_007_199_254_740_992.0)),
            ("9007199254740993.0", None),
            ("1234567890123456.78", None),
            ("0.1000000000000000055511151231257827", None),
            // Both are the shortest that read as one float; the first is how it is shown.
            ("-256558180941074.62", Some(-256_558_180_941_074.62)),
            ("-256558180941074.63", None),
            ("5e-324", Some(5e-324)),
            ("4e-324", None),
            ("1e-400", None),
            ("1.7976931348623157e308", Some(f64::MAX)),
            ("1e400", None),
        ] {
            assert_eq!(exact_float(written), expected, "{written}");
        }
        assert_eq!(exact_float("-0.0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
        assert_eq!(nearest_float("1e400"), None);
    }

    /// A number as JSON may write it.
    fn json_number() -> impl Strategy<Value = String> {
        "-?(0|[1-9][0-9]{0,22})(\\.[0-9]{1,22})?([eE][+-]?[0-9]{1,3})?"
    }

    proptest! {
        #[test]
        fn a_decimal_is_the_number_and_its_digits_are_those_written(text in json_number()) {
            let number = text.parse::<BigDecimal>().unwrap();
            if let Some(decimal) = decimal_of(&text) {
                prop_assert_eq!(decimal.parse::<BigDecimal>().unwrap(), number);
                let digits = |text: &str| {
                    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
                    mantissa.replace(['-', '.'], "").trim_start_matches('0').to_owned()
                };
                let added = digits(&decimal);
                prop_assert!(added.trim_end_matches('0') == digits(&text).trim_end_matches('0'));
                prop_assert!(added.starts_with(&digits(&text)), "{} of {}", decimal, text);
            } else {
                prop_assert!(!is_decimal(&number.to_plain_string()) || text.len() > DECIMAL_DIGITS_MAX);
            }
        }

        #[test]
        fn a_number_is_whole_or_a_float_only_if_it_is_exactly_that(text in json_number()) {
            let number = text.parse::<BigDecimal>().unwrap();
            match whole(&text) {
                Whole::Is(n) => prop_assert_eq!(&number, &BigDecimal::from(n)),
                Whole::TooLarge => {
                    let all = BigDecimal::from(i64::MIN)..=BigDecimal::from(i64::MAX);
                    prop_assert!(number.is_integer() && !all.contains(&number));
                }
                Whole::Broken => prop_assert!(!number.is_integer()),
            }
            let nearest: f64 = text.parse().unwrap();
            let is_same = shown(nearest).parse::<BigDecimal>().is_ok_and(|n| n == number);
            prop_assert_eq!(exact_float(&text), is_same.then_some(nearest));
        }
    }
}
