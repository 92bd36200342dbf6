//! Exact sums and averages.

use std::collections::BTreeMap;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode};

use crate::record::Mantissa;
use crate::record::{
    Kind, Significant, Value, ValueRef, WrittenNumber, exact_float, is_decimal, nearest_float,
    shown,
};

/// Places of an average beyond those of the values.
const AVERAGE_PLACES: i64 = 6;

/// Exact sums, whatever the number of digits and the order. A float counts as the shortest decimal that reads as it.
#[derive(Default)]
pub(super) struct Total {
    count: u64,
    /// 128 bits hold more of them than there can be records.
    integers: i128,
    /// Sums of decimals by their places behind the point, as whole numbers.
    decimals: BTreeMap<i64, i128>,
    /// What 128 bits do not hold of those.
    large: BigDecimal,
    /// Whether there are floats among them;
    has_floats: bool,
    /// and others.
    has_exact: bool,
    /// Floats that are infinite or not a number.
    boundless: Option<f64>,
    /// Values that are no numbers.
    pub(super) skipped: u64,
}

impl Total {
    /// Takes in the value of a field that is declared to be of a kind.
    pub(super) fn add<'v>(&mut self, value: impl Into<ValueRef<'v>>, kind: Option<Kind>) {
        match value.into() {
            ValueRef::Null => return,
            ValueRef::Int(n) | ValueRef::Counter(n) => {
                self.has_exact = true;
                self.integers += i128::from(n);
            }
            ValueRef::Float(n) => self.add_float(n),
            ValueRef::Str(text)
                if kind == Some(Kind::Decimal)
                    && is_decimal(text)
                    && let Some(mantissa) = Mantissa::of_decimal(text)
                    && let Some(digits) = mantissa.signed() =>
            {
                self.has_exact = true;
                self.add_decimal(digits, mantissa.places.into());
            }
            ValueRef::Bool(_)
            | ValueRef::Str(_)
            | ValueRef::Bytes(_)
            | ValueRef::Timestamp(_)
            | ValueRef::Text(_)
            | ValueRef::List(_)
            | ValueRef::Map(_) => {
                self.skipped += 1;
                return;
            }
        }
        self.count += 1;
    }

    fn add_decimal(&mut self, digits: i128, places: i64) {
        let sum = self.decimals.entry(places).or_default();
        *sum = sum.checked_add(digits).unwrap_or_else(|| {
            self.large += BigDecimal::new(BigInt::from(*sum), places);
            digits
        });
    }

    fn add_float(&mut self, n: f64) {
        self.has_floats = true;
        let text = shown(n);
        let Some(written) = WrittenNumber::read(&text).filter(|_| n.is_finite()) else {
            self.boundless = Some(self.boundless.unwrap_or_default() + n);
            return;
        };
        let Significant { digits, power } = written.significant();
        // At most 17 digits; zero has none.
        let digits: i128 = digits.parse().unwrap_or_default();
        self.add_decimal(if written.is_negative { -digits } else { digits }, -power);
    }

    /// The sum or the average; null: there were no numbers.
    pub(super) fn end(self, is_average: bool) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let is_whole = self.decimals.is_empty();
        let places = self.decimals.keys().copied().max().unwrap_or_default();
        let decimals = self.decimals.into_iter();
        let decimals = decimals.map(|(places, sum)| BigDecimal::new(BigInt::from(sum), places));
        let exact = decimals.fold(self.large + BigDecimal::from(self.integers), |a, b| a + b);
        // As many places as the summand with the most, also where that is zero: of prices the sum has cents.
        let places = places.max(exact.fractional_digit_count());
        let exact = exact.with_scale(places);
        if let Some(boundless) = self.boundless {
            return Value::Float(boundless);
        }
        if self.has_floats {
            let all = if is_average { &exact / BigDecimal::from(self.count) } else { exact };
            let text = all.to_scientific_notation();
            // A sum of more than floats is never rounded; an average always is.
            let is_rounded = is_average || !self.has_exact;
            let float = if is_rounded { nearest_float(&text) } else { exact_float(&text) };
            return float.map_or_else(|| Value::Str(all.to_plain_string()), Value::Float);
        }
        if !is_average {
            return match i64::try_from(self.integers) {
                Ok(sum) if is_whole => Value::Int(sum),
                Ok(_) | Err(_) => Value::Str(exact.to_plain_string()),
            };
        }
        let places = exact.fractional_digit_count().max(0) + AVERAGE_PLACES;
        let average = exact / BigDecimal::from(self.count);
        let rounded = average.with_scale_round(places, RoundingMode::HalfUp);
        Value::Str(rounded.normalized().to_plain_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sum_has_as_many_places_as_the_summand_with_the_most() {
        for (summands, expected) in [
            (["0.00", "1.5"], "1.50"),
            (["0.0", "0"], "0.0"),
            (["2", "0.000"], "2.000"),
            (["7", "-7.0"], "0.0"),
        ] {
            for order in [[0, 1], [1, 0]] {
                let mut total = Total::default();
                for index in order {
                    total.add(&Value::Str(summands[index].to_owned()), Some(Kind::Decimal));
                }
                assert_eq!(total.end(false), Value::Str(expected.to_owned()), "{summands:?}");
            }
        }
    }

    proptest! {
        /// What adding up one decimal after the other comes to, digit by digit.
        #[test]
        fn a_sum_is_that_of_arbitrary_precision(
            texts in prop::collection::vec("-?([0-9]{1,4}|[0-9]{20}|[0-9]{34})(\\.[0-9]{1,4})?|-?9{38}", 1..60),
        ) {
            let (mut total, mut expected) = (Total::default(), BigDecimal::default());
            let mut places = 0;
            for text in &texts {
                total.add(&Value::Str(text.clone()), Some(Kind::Decimal));
                let summand = text.parse::<BigDecimal>().unwrap();
                places = summand.fractional_digit_count().max(places);
                expected += summand;
            }
            let expected = expected.with_scale(places);
            prop_assert_eq!(total.end(false), Value::Str(expected.to_plain_string()));
        }

        /// Whatever the order in which they are added up.
        #[test]
        fn a_sum_of_floats_is_the_float_nearest_to_the_exact_one(
            mut floats in prop::collection::vec(any::<f64>().prop_filter("no number", |n| n.is_finite()), 1..20),
        ) {
            let sum = |floats: &[f64]| {
                let mut total = Total::default();
                floats.iter().for_each(|n| total.add(&Value::Float(*n), Some(Kind::Float)));
                total.end(false)
            };
            let exact = |n: &f64| shown(*n).parse::<BigDecimal>().unwrap();
            let expected: BigDecimal = floats.iter().map(exact).sum();
            let forwards = sum(&floats);
            floats.reverse();
            prop_assert_eq!(&forwards, &sum(&floats));
            match forwards {
                Value::Float(n) => {
                    prop_assert_eq!(n, expected.to_plain_string().parse::<f64>().unwrap());
                }
                other => prop_assert_eq!(other, Value::Str(expected.to_plain_string())),
            }
        }
    }

    #[test]
    fn one_float_among_whole_numbers_rounds_none_of_them() {
        let sum = |values: &[Value]| {
            let mut total = Total::default();
            values.iter().for_each(|value| total.add(value, None));
            total.end(false)
        };
        let large = Value::Int(9_007_199_254_740_993);
        assert_eq!(sum(&[Value::Float(0.1), Value::Float(0.2)]), Value::Float(0.3));
        assert_eq!(sum(&[Value::Float(1.5), Value::Int(2)]), Value::Float(3.5));
        assert_eq!(sum(&[Value::Float(1.5), large]), Value::Str("9007199254740994.5".to_owned()));
        let Value::Float(sum) = sum(&[Value::Float(f64::NAN), Value::Int(1)]) else { panic!() };
        assert!(sum.is_nan());
    }
}
