//! The text forms of dates and times, as databases and programs write them.

use jiff::civil::{Date, DateTime, Time};

/// A date and a time as they are written, and how far they are ahead of UTC in seconds, where that is written too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) shown: DateTime,
    pub(super) offset: Option<i32>,
}

/// Why a text is no date or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CivilFault {
    /// A MariaDB date with zeros: `0000-00-00`, `2024-00-15`.
    Zero,
    /// What was expected.
    Expected(&'static str),
}

const FORM: CivilFault = CivilFault::Expected("a date and a time like 2024-03-10 00:30:00.123");
const DAY: CivilFault = CivilFault::Expected("a day that the calendar has");
const YEAR: CivilFault = CivilFault::Expected("a year from 0001 to 9999");
const TIME: CivilFault =
    CivilFault::Expected("hours from 00 to 23, minutes and seconds from 00 to 59");
const DIGITS: CivilFault = CivilFault::Expected("at most nine digits of a second");
const ENDLESS: CivilFault = CivilFault::Expected("a time that ends; no field holds infinity");

/// Digits of a second's fraction at most.
const FRACTION_DIGITS_MAX: usize = 9;

/// Reads `2024-03-10 00:30:00.123456`, with `T` or a blank between; perhaps without seconds, or without a time at all; and
/// perhaps with `Z` or an offset behind it: `+01`, `+0100`, `+01:00`, `+00:53:28`, with a blank before it or not.
pub(super) fn read(text: &str) -> Result<Written, CivilFault> {
    if matches!(text, "infinity" | "-infinity") {
        return Err(ENDLESS);
    }
    let mut text = Text { rest: text.as_bytes() };
    let date = text.date()?;
    if text.rest.is_empty() {
        return Ok(Written { shown: date.to_datetime(Time::midnight()), offset: None });
    }
    if text.rest == b" BC" {
        return Err(YEAR);
    }
    text.takes(b"Tt ").ok_or(FORM)?;
    let hour = text.number(2)?;
    text.takes(b":").ok_or(FORM)?;
    let minute = text.number(2)?;
    let (mut second, mut nanosecond) = (0, 0);
    if text.takes(b":").is_some() {
        second = text.number(2)?;
        nanosecond = text.fraction()?;
    }
    let offset = text.offset()?;
    let field = |number: i32| i8::try_from(number).map_err(|_| TIME);
    let time = Time::new(field(hour)?, field(minute)?, field(second)?, nanosecond);
    Ok(Written { shown: date.to_datetime(time.map_err(|_| TIME)?), offset })
}

/// Reads `2024-03-10`.
pub(super) fn read_date(text: &str) -> Result<Date, CivilFault> {
    if matches!(text, "infinity" | "-infinity") {
        return Err(ENDLESS);
    }
    let mut text = Text { rest: text.as_bytes() };
    let date = text.date()?;
    match text.rest {
        b"" => Ok(date),
        b" BC" => Err(YEAR),
        _ => Err(CivilFault::Expected("a date like 2024-03-10")),
    }
}

/// A time without zeros at the end of its second's fraction.
pub(super) fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// What is left of a text.
struct Text<'t> {
    rest: &'t [u8],
}

impl Text<'_> {
    fn takes(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        let found = bytes.contains(first).then_some(*first)?;
        self.rest = rest;
        Some(found)
    }

    fn digits(&self) -> usize {
        self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    }

    fn number(&mut self, digits: usize) -> Result<i32, CivilFault> {
        let (number, rest) = self.rest.split_at_checked(digits).ok_or(FORM)?;
        let is_number = number.iter().all(u8::is_ascii_digit);
        self.rest = rest;
        let number = std::str::from_utf8(number).ok().filter(|_| is_number);
        number.and_then(|number| number.parse().ok()).ok_or(FORM)
    }

    fn date(&mut self) -> Result<Date, CivilFault> {
        let is_signed = self.takes(b"+-").is_some();
        if is_signed || self.digits() > 4 {
            return Err(YEAR);
        }
        let year = self.number(4)?;
        self.takes(b"-").ok_or(FORM)?;
        let month = self.number(2)?;
        self.takes(b"-").ok_or(FORM)?;
        let day = self.number(2)?;
        if month == 0 || day == 0 {
            return Err(CivilFault::Zero);
        }
        if year == 0 {
            return Err(YEAR);
        }
        let field = |number: i32| i8::try_from(number).map_err(|_| DAY);
        let year = i16::try_from(year).map_err(|_| YEAR)?;
        Date::new(year, field(month)?, field(day)?).map_err(|_| DAY)
    }

    fn fraction(&mut self) -> Result<i32, CivilFault> {
        if self.takes(b".").is_none() {
            return Ok(0);
        }
        let digits = self.digits();
        if digits == 0 {
            return Err(FORM);
        }
        let missing = FRACTION_DIGITS_MAX.checked_sub(digits).ok_or(DIGITS)?;
        let number = self.number(digits)?;
        Ok((0..missing).fold(number, |number, _| number * 10))
    }

    fn offset(&mut self) -> Result<Option<i32>, CivilFault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.takes(b" ");
        let sign = match self.takes(b"Zz+-").ok_or(FORM)? {
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
        if self.rest.is_empty() && hours < 24 && minutes < 60 && seconds < 60 {
            Ok(Some(sign * (hours * 3600 + minutes * 60 + seconds)))
        } else {
            Err(FORM)
        }
    }
}
