//! Exact sums and averages.

use std::collections::BTreeMap;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode};

use super::number::Mantissa;
use crate::record::{Kind, Value, is_decimal};

/// Places of an average beyond those of the values.
const AVERAGE_PLACES: i64 = 6;

/// Exact sums, whatever the number of digits; of floats as floats add up, in the order of ids.
#[derive(Default)]
pub(super) struct Total {
    count: u64,
    /// 128 bits hold more of them than there can be records.
    integers: i128,
    /// Sums of decimals by their places behind the point, as whole numbers.
    decimals: BTreeMap<i64, i128>,
    /// What 128 bits do not hold of those.
    large: BigDecimal,
    floats: Option<f64>,
    /// Values that are no numbers.
    pub(super) left_out: u64,
}

impl Total {
    /// Takes in the value of a field that is declared to be of a kind.
    pub(super) fn add(&mut self, value: &Value, kind: Option<Kind>) {
        match value {
            Value::Null => return,
            Value::Int(n) | Value::Counter(n) => self.integers += i128::from(*n),
            Value::Float(n) => self.floats = Some(self.floats.unwrap_or_default() + n),
            Value::Str(text)
                if kind == Some(Kind::Decimal)
                    && is_decimal(text)
                    && let Some(mantissa) = Mantissa::of_decimal(text)
                    && let Some(digits) = mantissa.signed() =>
            {
                self.add_decimal(digits, mantissa.places);
            }
            Value::Bool(_)
            | Value::Str(_)
            | Value::Bytes(_)
            | Value::Timestamp(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => {
                self.left_out += 1;
                return;
            }
        }
        self.count += 1;
    }

    fn add_decimal(&mut self, digits: i128, places: u32) {
        let sum = self.decimals.entry(i64::from(places)).or_default();
        *sum = sum.checked_add(digits).unwrap_or_else(|| {
            self.large += BigDecimal::new(BigInt::from(*sum), places.into());
            digits
        });
    }

    /// The sum or the average; null: there were no numbers.
    pub(super) fn end(self, is_average: bool) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let is_whole = self.decimals.is_empty();
        let decimals = self.decimals.into_iter();
        let decimals = decimals.map(|(places, sum)| BigDecimal::new(BigInt::from(sum), places));
        let exact = decimals.fold(self.large + BigDecimal::from(self.integers), |a, b| a + b);
        if let Some(floats) = self.floats {
            let sum = floats + exact.to_plain_string().parse::<f64>().unwrap_or(f64::NAN);
            return Value::Float(if is_average { sum / self.count as f64 } else { sum });
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

    proptest! {
        /// What adding up one decimal after the other comes to, digit by digit.
        #[test]
        fn a_sum_is_that_of_arbitrary_precision(
            texts in prop::collection::vec("-?([0-9]{1,4}|[0-9]{20}|[0-9]{34})(\\.[0-9]{1,4})?|-?9{38}", 1..60),
        ) {
            let (mut total, mut expected) = (Total::default(), BigDecimal::default());
            for text in &texts {
                total.add(&Value::Str(text.clone()), Some(Kind::Decimal));
                expected += text.parse::<BigDecimal>().unwrap();
            }
            prop_assert_eq!(total.end(false), Value::Str(expected.to_plain_string()));
        }
    }
}
