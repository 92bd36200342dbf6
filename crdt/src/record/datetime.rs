//! Exact times, in the text form of fields of the kind `datetime`.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};

use super::value::EPOCH;

/// A time to the nanosecond, in the years 0001 to 9999: a moment, or what a clock somewhere shows, which has no zone.
///
/// It is read from RFC 3339 text with any offset, or without one, and has one text form ([`fmt::Display`]), so that equal
/// times are equal texts: `2024-03-10T00:30:00.123456Z` in UTC, and without a zone `2024-03-10T00:30:00.123456`.
///
/// Times have the order of time. One without a zone is compared as if it were in UTC, and comes behind the moment that
/// is equal to it then; the two are not equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Datetime {
    /// Since 1970, of the time as if it were in UTC.
    seconds: i64,
    nanoseconds: u32,
    is_local: bool,
}

/// Why a text is no time of the kind `datetime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatetimeError {
    /// It is written otherwise.
    Form,
    /// The calendar has no such day.
    Day,
    /// The year is out of range, perhaps only in UTC.
    Year,
    /// An hour, minute or second is out of range, of the time or of the offset.
    Time,
    /// It is 24:00:00.
    EndOfDay,
    /// It is a leap second.
    LeapSecond,
    /// A second has too many digits behind its point.
    Digits,
}

impl DatetimeError {
    /// What was expected.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Form => {
                "a time like \"2026-01-31T12:00:00.123456Z\", with any offset, or without a zone \
                 \"2026-01-31T12:00:00.123456\""
            }
            Self::Day => "a day that the calendar has",
            Self::Year => "a year from 0001 to 9999, in UTC where there is an offset",
            Self::Time => "hours from 00 to 23, minutes and seconds from 00 to 59",
            Self::EndOfDay => "hours from 00 to 23: write 00:00:00 of the next day",
            Self::LeapSecond => {
                "seconds from 00 to 59: a leap second is not kept, write the second before or after it"
            }
            Self::Digits => "at most nine digits of a second: round it to nanoseconds",
        }
    }
}

impl fmt::Display for DatetimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected())
    }
}

impl std::error::Error for DatetimeError {}

/// 0001-01-01T00:00:00 and 9999-12-31T23:59:59.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;
/// What comes behind the point of a second at most.
const FRACTION_DIGITS_MAX: usize = 9;

impl Datetime {
    /// How many bytes [`Datetime::key`] has.
    pub(crate) const KEY_BYTES: usize = 13;

    /// Whether it has no zone.
    #[must_use]
    pub fn is_local(self) -> bool {
        self.is_local
    }

    /// Bytes that sort as times do.
    pub(crate) fn key(self) -> [u8; Self::KEY_BYTES] {
        let mut key = [0; Self::KEY_BYTES];
        let (seconds, rest) = key.split_at_mut(8);
        seconds.copy_from_slice(&(self.seconds.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        let (nanoseconds, zone) = rest.split_at_mut(4);
        nanoseconds.copy_from_slice(&self.nanoseconds.to_be_bytes());
        zone.fill(self.is_local.into());
        key
    }

    /// What a clock shows, and how far it is ahead of UTC in seconds, where that is known.
    fn new(shown: DateTime, offset: Option<i64>) -> Result<Self, DatetimeError> {
        let since = shown.duration_since(EPOCH).as_nanos();
        let seconds = i64::try_from(since.div_euclid(SECOND)).map_err(|_| DatetimeError::Year)?;
        let nanoseconds =
            u32::try_from(since.rem_euclid(SECOND)).map_err(|_| DatetimeError::Year)?;
        let seconds = seconds - offset.unwrap_or(0);
        let is_known = SECONDS.contains(&seconds);
        let found = Self { seconds, nanoseconds, is_local: offset.is_none() };
        is_known.then_some(found).ok_or(DatetimeError::Year)
    }
}

/// The one text form.
impl fmt::Display for Datetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = SignedDuration::from_secs(self.seconds)
            + SignedDuration::from_nanos(self.nanoseconds.into());
        let shown = EPOCH.checked_add(since).map_err(|_| fmt::Error)?;
        write!(f, "{shown}{}", if self.is_local { "" } else { "Z" })
    }
}

/// Reads a date, `T` or a space, a time with a fraction perhaps, and perhaps `Z` or an offset: `+01:00`, and as databases
/// and programs write it also `+01`, `+0100` and `+00:53:28`.
impl FromStr for Datetime {
    type Err = DatetimeError;

    fn from_str(text: &str) -> Result<Self, DatetimeError> {
        let mut text = DatetimeReader { rest: text.as_bytes() };
        if text.has_another_year() {
            return Err(DatetimeError::Year);
        }
        let year = text.number(4)?;
        text.demand(b"-")?;
        let month = text.number(2)?;
        text.demand(b"-")?;
        let day = text.number(2)?;
        text.demand(b"Tt ")?;
        let hour = text.number(2)?;
        text.demand(b":")?;
        let minute = text.number(2)?;
        text.demand(b":")?;
        let second = text.number(2)?;
        let nanosecond = text.fraction()?;
        let offset = text.offset()?;
        match (hour, minute, second) {
            (24, 0, 0) if nanosecond == 0 => return Err(DatetimeError::EndOfDay),
            (_, _, 60) => return Err(DatetimeError::LeapSecond),
            _ => {}
        }
        let date = Date::new(year, month, day).map_err(|_| DatetimeError::Day)?;
        let time = Time::new(hour, minute, second, nanosecond).map_err(|_| DatetimeError::Time)?;
        Self::new(date.to_datetime(time), offset)
    }
}

/// What is left of a text.
struct DatetimeReader<'t> {
    rest: &'t [u8],
}

impl DatetimeReader<'_> {
    /// Whether it begins as a date does, but with a sign or more than four digits as the year.
    fn has_another_year(&self) -> bool {
        let digits = self.rest.strip_prefix(b"-").or(self.rest.strip_prefix(b"+"));
        let is_signed = digits.is_some();
        let digits = digits.unwrap_or(self.rest);
        let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_year = count >= 4 && digits.get(count) == Some(&b'-');
        is_year && (is_signed || count > 4)
    }

    /// Takes one of these bytes, if it comes next.
    fn takes(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        let found = bytes.contains(first).then_some(*first)?;
        self.rest = rest;
        Some(found)
    }

    fn demand(&mut self, bytes: &[u8]) -> Result<(), DatetimeError> {
        self.takes(bytes).map(|_| ()).ok_or(DatetimeError::Form)
    }

    /// Takes a number of so many digits.
    fn number<N: FromStr>(&mut self, digits: usize) -> Result<N, DatetimeError> {
        let (number, rest) = self.rest.split_at_checked(digits).ok_or(DatetimeError::Form)?;
        self.rest = rest;
        let number = number.iter().all(u8::is_ascii_digit).then_some(number);
        let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        number.ok_or(DatetimeError::Form)
    }

    /// Takes what stands behind the point of a second, as nanoseconds.
    fn fraction(&mut self) -> Result<i32, DatetimeError> {
        if self.takes(b".").is_none() {
            return Ok(0);
        }
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let missing = FRACTION_DIGITS_MAX.checked_sub(digits).ok_or(DatetimeError::Digits)?;
        let number: i32 = self.number(digits)?;
        Ok((0..missing).fold(number, |number, _| number * 10))
    }

    /// Takes the zone, which ends the text: seconds ahead of UTC, `None` if there is no zone.
    fn offset(&mut self) -> Result<Option<i64>, DatetimeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let sign = match self.takes(b"Zz+-").ok_or(DatetimeError::Form)? {
            b'+' => 1,
            b'-' => -1,
            _ => 0,
        };
        let (mut hours, mut minutes, mut seconds) = (0, 0, 0);
        if sign != 0 {
            hours = self.number(2)?;
            let has_colon = self.takes(b":").is_some();
            if has_colon || !self.rest.is_empty() {
                minutes = self.number(2)?;
            }
            if has_colon && self.takes(b":").is_some() {
                seconds = self.number(2)?;
            }
        }
        if !self.rest.is_empty() {
            return Err(DatetimeError::Form);
        }
        if hours > 23 || minutes > 59 || seconds > 59 {
            return Err(DatetimeError::Time);
        }
        Ok(Some(sign * (hours * 3_600 + minutes * 60 + seconds)))
    }
}

/// Whether `text` is a time in its one form.
pub(crate) fn is_datetime(text: &str) -> bool {
    text.parse().is_ok_and(|time: Datetime| time.to_string() == text)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Datetime {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn each_time_has_one_text() {
        for (text, expected) in [
            ("2024-03-10T00:30:00.123456Z", "2024-03-10T00:30:00.123456Z"),
            ("2024-03-10T00:30:00.123456", "2024-03-10T00:30:00.123456"),
            ("2024-03-10t00:30:00z", "2024-03-10T00:30:00Z"),
            ("2024-03-10 00:30:00.120", "2024-03-10T00:30:00.12"),
            ("2024-03-10T00:30:00.000000000Z", "2024-03-10T00:30:00Z"),
            ("2024-03-10T00:30:00.000000001Z", "2024-03-10T00:30:00.000000001Z"),
            ("2024-03-10T00:30:00.12+02:00", "2024-03-09T22:30:00.12Z"),
            ("2024-03-09T23:30:00-01:00", "2024-03-10T00:30:00Z"),
            ("2024-03-10T00:30:00+00:00", "2024-03-10T00:30:00Z"),
            ("2024-03-10T00:30:00-00:00", "2024-03-10T00:30:00Z"),
            // As PostgreSQL and others write offsets.
            ("2024-03-10 00:30:00.5+01", "2024-03-09T23:30:00.5Z"),
            ("2024-03-10T00:30:00+0130", "2024-03-09T23:00:00Z"),
            ("1880-01-01 00:53:28+00:53:28", "1880-01-01T00:00:00Z"),
            // A day that is there in leap years, and the ends of the range.
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("0000-12-31T23:00:00-01:00", "0001-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
            ("1969-12-31T23:59:59.9Z", "1969-12-31T23:59:59.9Z"),
        ] {
            assert_eq!(time(text).to_string(), expected, "{text}");
            assert_eq!(is_datetime(text), text == expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name() {
        use DatetimeError::{Day, Digits, EndOfDay, Form, LeapSecond, Time, Year};
        for (text, expected) in [
            ("2016-12-31T23:59:60Z", LeapSecond),
            ("2016-12-31T23:59:60.5+01:00", LeapSecond),
            ("2024-03-10T24:00:00Z", EndOfDay),
            ("2024-03-10T24:00:01Z", Time),
            ("2024-03-10T23:60:00Z", Time),
            ("2024-03-10T23:59:61", Time),
            ("2024-03-10T23:59:59+24:00", Time),
            ("2024-03-10T23:59:59-01:60", Time),
            ("2024-03-10T00:30:00.1234567890Z", Digits),
            ("2024-03-10T00:30:00.0000000000", Digits),
            ("2023-02-29T00:00:00Z", Day),
            ("2024-13-01T00:00:00Z", Day),
            ("0000-00-00 00:00:00", Day),
            ("0000-12-31T23:59:59Z", Year),
            ("0001-01-01T00:00:00+01:00", Year),
            ("9999-12-31T23:59:59-00:01", Year),
            ("10000-01-01T00:00:00Z", Year),
            ("294276-12-31 23:59:59", Year),
            ("-0044-03-15T12:00:00Z", Year),
            ("+2024-03-10T00:30:00Z", Year),
            ("0044-03-15 12:00:00 BC", Form),
            ("infinity", Form),
            ("", Form),
            ("2024-03-10", Form),
            ("2024-03-10T00:30Z", Form),
            ("2024-03-10T00:30:00.Z", Form),
            ("2024-03-10T00:30:00,5Z", Form),
            ("2024-3-10T00:30:00Z", Form),
            ("20240310T003000Z", Form),
            ("2024-03-10T00:30:00ZZ", Form),
            ("2024-03-10T00:30:00+1", Form),
            ("2024-03-10T00:30:00+01:", Form),
            ("2024-03-10T00:30:00+01:00[Europe/Madrid]", Form),
            (" 2024-03-10T00:30:00Z", Form),
            ("2024-03-10T00:30:00\u{661}Z", Form),
            ("٢٠٢٤-03-10T00:30:00Z", Form),
        ] {
            assert_eq!(text.parse::<Datetime>(), Err(expected), "{text}");
            assert!(!is_datetime(text), "{text}");
        }
    }

    #[test]
    fn times_have_the_order_of_time_and_not_of_text() {
        let sorted = [
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999999Z",
            "2024-01-01T00:00:00Z",
            // One without a zone stands where it were in UTC, behind the moment that is equal then.
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.000000001Z",
            "2024-01-01T00:00:00.45Z",
            "2024-01-01T00:00:00.5Z",
            "2024-01-01T00:00:00.500000001",
            "2024-01-01T00:00:01Z",
        ]
        .map(time);
        assert!(sorted.is_sorted_by(|a, b| a < b));
        assert!(sorted.is_sorted_by(|a, b| a.key() < b.key()));
    }

    /// Moments that jiff knows, some of them close to each other.
    fn moment() -> impl Strategy<Value = Timestamp> {
        let nanoseconds = |seconds: i64, nanoseconds| Timestamp::new(seconds, nanoseconds);
        let near = (-2_i64..3, 0..1_000_000_000_i32);
        let far = (-62_135_596_800_i64..253_402_207_200, 0..1_000_000_000_i32);
        let round = (-2_i64..3, (0..10_i32).prop_map(|tenths| tenths * 100_000_000));
        prop_oneof![near, far, round]
            .prop_filter_map("no moment of jiff's", move |(s, n)| nanoseconds(s, n).ok())
            .prop_filter("before the year 1", |moment| moment.as_second() >= -62_135_596_800)
    }

    proptest! {
        #[test]
        fn order_and_text_agree_with_jiff(a in moment(), b in moment()) {
            let (x, y) = (time(&a.to_string()), time(&b.to_string()));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.key().cmp(&y.key()), a.cmp(&b));
            prop_assert_eq!(x.to_string(), a.to_string());
            prop_assert_eq!(x.to_string().parse::<Timestamp>().ok(), Some(a));
            // As clocks without a zone too, and one of either.
            let local = |text: String| time(text.trim_end_matches('Z'));
            let (p, q) = (local(a.to_string()), local(b.to_string()));
            prop_assert_eq!(p.cmp(&q), a.cmp(&b));
            prop_assert!(p.is_local() && !x.is_local() && x < p);
            prop_assert_eq!(x.cmp(&q), a.cmp(&b).then(std::cmp::Ordering::Less));
            prop_assert_eq!(x.key().cmp(&q.key()), x.cmp(&q));
        }

        #[test]
        fn what_was_made_canonical_stays_so(
            moment in moment(),
            minutes in -1_439..1_440_i32,
            zeros in 0..10_usize,
            separator in "[Tt ]",
        ) {
            let offset = jiff::tz::Offset::from_seconds(minutes * 60).unwrap();
            let shown = moment.display_with_offset(offset).to_string();
            let utc = moment.to_string();
            if !shown.starts_with('-') {
                prop_assert_eq!(time(&shown.replacen('T', &separator, 1)).to_string(), utc.clone());
            }
            let digits = utc.split_once('.').map_or(0, |(_, fraction)| fraction.len() - 1);
            let point = if digits == 0 && zeros > 0 { "." } else { "" };
            let more = "0".repeat(zeros.min(9 - digits));
            let longer = utc.replace('Z', &format!("{point}{more}Z"));
            prop_assert_eq!(time(&longer).to_string(), utc.clone());
            prop_assert!(is_datetime(&utc) && (is_datetime(&longer) == (longer == utc)));
        }

        #[test]
        fn any_text_is_refused_or_has_a_text_that_reads_as_it(
            text in "[0-9]{4}-[0-9]{2}-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,10})?([Zz]|[+-][0-9]{2}:?([0-9]{2}:?){0,2})?|\\PC{0,30}",
        ) {
            if let Ok(time) = text.parse::<Datetime>() {
                let shown = time.to_string();
                prop_assert_eq!(shown.parse::<Datetime>(), Ok(time));
                prop_assert!(is_datetime(&shown));
            }
        }
    }
}
