//! Dates with times: moments, and what a clock shows somewhere.
//!
//! A column without a zone is read by the table's `zone`, where one is declared. A local time that the zone skips (a gap)
//! or has twice (a fold) is no moment: a field of the kind `datetime` keeps it as it is, without a zone; a `timestamp`
//! cannot, and the row is set aside.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::civil::{self, CivilFault, Written};
use super::{Codec, FieldKind, Misfit, TimeForm, ZeroDate};
use crate::sql::cell::Cell;
use crate::sql::database::Engine;
use crate::sql::shape::ColumnType;
use crate::sql::value::{Datetime, Value};

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const NANOSECONDS: i128 = 1_000_000_000;
/// 1970-01-01 in Julian days, as milliseconds.
const JULIAN_EPOCH_MS: f64 = 210_866_760_000_000.0;
const DAY_MS: f64 = 86_400_000.0;
/// What MariaDB's TIMESTAMP holds, in seconds.
const MARIADB_MOMENTS: std::ops::RangeInclusive<i64> = 1..=2_147_483_647;

/// A time: in UTC, or as a clock somewhere shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct When {
    shown: DateTime,
    is_local: bool,
}

impl When {
    /// A moment; `None`: it lies out of the years 0001 to 9999.
    fn moment(shown: DateTime, ahead: i32) -> Option<Self> {
        let utc = shown.checked_sub(SignedDuration::from_secs(ahead.into())).ok()?;
        (1..=9999).contains(&utc.year()).then_some(Self { shown: utc, is_local: false })
    }

    fn of_nanoseconds(since: i128) -> Option<Self> {
        let seconds = i64::try_from(since.div_euclid(NANOSECONDS)).ok()?;
        let rest = i32::try_from(since.rem_euclid(NANOSECONDS)).ok()?;
        Self::moment(EPOCH.checked_add(SignedDuration::new(seconds, rest)).ok()?, 0)
    }

    fn nanoseconds(self) -> i128 {
        self.shown.duration_since(EPOCH).as_nanos()
    }

    /// Digits of the second's fraction.
    fn digits(self) -> u8 {
        let mut nanoseconds = self.shown.subsec_nanosecond();
        let mut digits = if nanoseconds == 0 { 0 } else { 9 };
        while digits > 0 && nanoseconds % 10 == 0 {
            nanoseconds /= 10;
            digits -= 1;
        }
        digits
    }

    /// Without what comes behind so many digits of a second.
    fn cut(self, digits: u8) -> Self {
        let unit = 10_i32.pow(9_u32.saturating_sub(digits.into()));
        let nanoseconds = self.shown.subsec_nanosecond() / unit * unit;
        let shown = self.shown.with().subsec_nanosecond(nanoseconds).build();
        Self { shown: shown.unwrap_or(self.shown), ..self }
    }

    /// The text form of the kind `datetime`.
    fn canonical(self) -> String {
        format!("{}{}", self.shown, if self.is_local { "" } else { "Z" })
    }
}

impl Codec {
    pub(super) fn time_to_value(&self, cell: &Cell) -> Result<Value, Misfit> {
        let found = match self.options.form {
            TimeForm::Text => self.text_when(cell)?,
            TimeForm::Unix | TimeForm::UnixMs | TimeForm::Julian => {
                let since = self.nanoseconds_of(cell).and_then(When::of_nanoseconds);
                Some(since.ok_or_else(|| self.misfit(cell, self.expected_number()))?)
            }
        };
        let Some(when) = found else { return Ok(Value::Null) };
        if self.field != FieldKind::Timestamp {
            return Ok(Value::Str(when.canonical()));
        }
        if when.is_local {
            return Err(self.misfit(cell, &self.no_moment(when.shown)));
        }
        if when.digits() > 3 && !self.options.is_lossy {
            return Err(
                self.misfit(cell, "at most three digits of a second: use the kind datetime")
            );
        }
        let ms = i64::try_from(when.nanoseconds().div_euclid(1_000_000));
        ms.map(Value::Timestamp).map_err(|_| self.misfit(cell, "a time"))
    }

    pub(super) fn time_to_cell(&self, value: &Value) -> Result<Cell, Misfit> {
        let when = self.when_in(value)?;
        if self.options.form != TimeForm::Text {
            return self.number_of_time(when, value);
        }
        let (digits, has_zone) = match &self.kind {
            ColumnType::DateTime { digits, has_zone } => (*digits, *has_zone && !self.is_sqlite()),
            _ => (9, false),
        };
        let is_too_fine = when.digits() > digits;
        if is_too_fine && !self.options.is_lossy {
            return Err(self.misfit(value, &format!("at most {digits} digits of a second")));
        }
        let when = if is_too_fine { when.cut(digits) } else { when };
        match (when.is_local, has_zone) {
            (true, true) => Err(self.misfit(value, "a moment: a time with Z or an offset")),
            (true, false) => Ok(self.written(when.shown, digits, "")),
            (false, true) => {
                let seconds = when.shown.duration_since(EPOCH).as_secs();
                if self.options.engine == Engine::MariaDb && !MARIADB_MOMENTS.contains(&seconds) {
                    return Err(
                        self.misfit(value, "1970-01-01 00:00:01 to 2038-01-19 03:14:07 in UTC")
                    );
                }
                Ok(self.written(when.shown, digits, if self.is_postgres() { "+00" } else { "" }))
            }
            (false, false) => self.moment_without_zone(when, digits, value),
        }
    }

    /// The time since 1970, for a column that says when something happened: as exactly as the column keeps it, in UTC where it
    /// has no zone.
    pub(in crate::sql) fn now_cell(&self, at_ms: i64) -> Result<Cell, Misfit> {
        let digits = match &self.kind {
            ColumnType::DateTime { digits, .. } => *digits,
            _ => 9,
        };
        let value = Value::Timestamp(at_ms);
        let now = When::of_nanoseconds(i128::from(at_ms) * 1_000_000);
        let now = now.ok_or_else(|| self.misfit(&value, "a time"))?.cut(digits);
        let moment = self.time_to_cell(&Value::Str(now.canonical()));
        moment
            .or_else(|_| self.time_to_cell(&Value::Str(When { is_local: true, ..now }.canonical())))
    }

    /// A moment, for a column that has no zone.
    fn moment_without_zone(&self, when: When, digits: u8, value: &Value) -> Result<Cell, Misfit> {
        let Some(zone) = &self.options.zone else {
            // Texts can say the zone.
            return if self.is_sqlite() || !matches!(self.kind, ColumnType::DateTime { .. }) {
                Ok(self.written(when.shown, digits, "+00:00"))
            } else {
                Err(self.misfit(
                value,
                "a time without a zone, as the column has none; or say zone = \"Europe/Madrid\" or the like for the table",
            ))
            };
        };
        let local = Timestamp::from_nanosecond(when.nanoseconds()).ok().and_then(|moment| {
            let ahead = zone.to_offset(moment).seconds();
            let local = when.shown.checked_add(SignedDuration::from_secs(ahead.into())).ok();
            local.filter(|local| (1..=9999).contains(&local.year()))
        });
        let local = local.ok_or_else(|| self.misfit(value, "a year from 0001 to 9999"))?;
        match resolve(local, zone) {
            Some(again) if again == when => Ok(self.written(local, digits, "")),
            Some(_) | None => Err(self.misfit(value, &self.no_moment(local))),
        }
    }

    /// What a cell of text shows; `None`: a date of zeros that is NULL.
    fn text_when(&self, cell: &Cell) -> Result<Option<When>, Misfit> {
        let Cell::Text(text) = cell else {
            return Err(self.misfit(
                cell,
                "a date and a time as text; where they are numbers, say form = \"unix\", \"unix-ms\" or \"julian\"",
            ));
        };
        let written = match civil::read(text) {
            Ok(written) => written,
            Err(CivilFault::Zero) if self.options.zero_date == ZeroDate::Null => return Ok(None),
            Err(fault) => return Err(self.date_misfit(cell, fault)),
        };
        let when = self.when_of(written);
        when.map(Some).ok_or_else(|| self.misfit(cell, "a year from 0001 to 9999, in UTC"))
    }

    pub(super) fn date_misfit(&self, cell: &Cell, fault: CivilFault) -> Misfit {
        match fault {
            CivilFault::Zero => {
                self.misfit(cell, "a day that the calendar has; zero_date = \"null\" makes it NULL")
            }
            CivilFault::Expected(expected) => self.misfit(cell, expected),
        }
    }

    fn when_of(&self, Written { shown, offset }: Written) -> Option<When> {
        // Whatever SQLite's column is called, only its texts say a zone.
        let is_utc =
            !self.is_sqlite() && matches!(&self.kind, ColumnType::DateTime { has_zone: true, .. });
        match (offset, &self.options.zone) {
            (Some(ahead), _) => When::moment(shown, ahead),
            (None, _) if is_utc => When::moment(shown, 0),
            (None, Some(zone)) => resolve(shown, zone).or(Some(When { shown, is_local: true })),
            (None, None) => Some(When { shown, is_local: true }),
        }
    }

    /// Why a local time is no moment.
    fn no_moment(&self, shown: DateTime) -> String {
        let Some(zone) = &self.options.zone else {
            return "a time with Z or an offset, or say zone = \"Europe/Madrid\" or the like for the table".to_owned();
        };
        let name = zone.iana_name().unwrap_or("the zone");
        match zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Gap { .. } => {
                format!("a time that {name} has: its clocks skip {shown}")
            }
            AmbiguousOffset::Fold { .. } => {
                format!("a time that {name} has once: its clocks show {shown} twice")
            }
            AmbiguousOffset::Unambiguous { .. } => "a year from 0001 to 9999, in UTC".to_owned(),
        }
    }

    /// What a field shows.
    fn when_in(&self, value: &Value) -> Result<When, Misfit> {
        let found = match value {
            Value::Timestamp(ms) => When::of_nanoseconds(i128::from(*ms) * 1_000_000),
            Value::Str(text) => text.parse().ok().and_then(|time: Datetime| {
                let shown = civil::read(&time.to_string()).ok()?.shown;
                Some(When { shown, is_local: time.is_local() })
            }),
            _ => None,
        };
        found.ok_or_else(|| self.misfit(value, "a time like 2024-03-10T00:30:00.123456Z"))
    }

    /// A time as the database itself writes it.
    fn written(&self, shown: DateTime, digits: u8, zone: &str) -> Cell {
        let shown = match self.options.engine {
            // All digits of the column.
            Engine::MariaDb if matches!(self.kind, ColumnType::DateTime { .. }) => {
                format!("{shown:.*}", usize::from(digits))
            }
            Engine::MariaDb | Engine::Postgres | Engine::Sqlite => shown.to_string(),
        };
        Cell::Text(format!("{}{zone}", shown.replacen('T', " ", 1)))
    }

    fn expected_number(&self) -> &'static str {
        match self.options.form {
            TimeForm::Text => "a date and a time",
            TimeForm::Unix => "seconds since 1970, of the years 0001 to 9999",
            TimeForm::UnixMs => "milliseconds since 1970, of the years 0001 to 9999",
            TimeForm::Julian => "a Julian day of the years 0001 to 9999",
        }
    }

    /// Nanoseconds since 1970, of a cell that holds a number.
    fn nanoseconds_of(&self, cell: &Cell) -> Option<i128> {
        let number = match cell {
            Cell::Integer(number) => number.to_string(),
            // The fewest digits that distinguish it from all other floats: 0.1 is one tenth.
            Cell::Real(number) => number.to_string(),
            Cell::Text(number) if !self.is_sqlite() => number.clone(),
            Cell::Text(_) | Cell::Null | Cell::Bytes(_) => return None,
        };
        if self.options.form == TimeForm::Julian {
            let day: f64 = number.parse().ok()?;
            return whole_ms((day * DAY_MS - JULIAN_EPOCH_MS).round()).map(|ms| ms * 1_000_000);
        }
        let places = if self.options.form == TimeForm::Unix { 9 } else { 6 };
        let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > places {
            return None;
        }
        format!("{whole}{fraction:0<places$}").parse().ok()
    }

    fn number_of_time(&self, when: When, value: &Value) -> Result<Cell, Misfit> {
        if when.is_local {
            return Err(self.misfit(value, "a moment: a time with Z or an offset"));
        }
        let since = when.nanoseconds();
        let is_whole_column = matches!(self.kind, ColumnType::Integer { .. });
        let unit = match self.options.form {
            TimeForm::Unix => NANOSECONDS,
            TimeForm::Text | TimeForm::UnixMs | TimeForm::Julian => 1_000_000,
        };
        let cell = match self.options.form {
            TimeForm::Julian => julian(since),
            _ if since % unit == 0 || (is_whole_column && self.options.is_lossy) => {
                let number = since.div_euclid(unit);
                if self.is_sqlite() {
                    number.try_into().ok().map(Cell::Integer)
                } else {
                    Some(Cell::text(number.to_string()))
                }
            }
            _ if is_whole_column => None,
            _ => {
                let (whole, rest) = (since.div_euclid(unit), since.rem_euclid(unit));
                let places = if unit == NANOSECONDS { 9 } else { 6 };
                let sum = if whole < 0 {
                    // -1 and 0.5 is -0.5.
                    format!("-{}.{:0places$}", -(whole + 1), unit - rest)
                } else {
                    format!("{whole}.{rest:0places$}")
                };
                sum.parse().ok().map(Cell::Real)
            }
        };
        // Nothing finer than the form has.
        let is_kept =
            |cell: &Cell| self.nanoseconds_of(cell) == Some(since) || self.options.is_lossy;
        let kept = cell.filter(is_kept);
        kept.ok_or_else(|| self.misfit(value, "a time that is not finer than the column's numbers"))
    }
}

fn julian(since: i128) -> Option<Cell> {
    let ms = i64::try_from(since.div_euclid(1_000_000)).ok()?;
    #[allow(
        clippy::cast_precision_loss,
        reason = "the years 0001 to 9999 have no more than 48 bits of ms"
    )]
    let ms = ms as f64;
    Some(Cell::Real((ms + JULIAN_EPOCH_MS) / DAY_MS))
}

fn whole_ms(ms: f64) -> Option<i128> {
    #[allow(clippy::cast_possible_truncation, reason = "within 53 bits")]
    (ms.abs() < 9e15).then_some(ms as i128)
}

/// The moment at which clocks of the zone show this; `None`: never, or twice.
fn resolve(shown: DateTime, zone: &TimeZone) -> Option<When> {
    match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => When::moment(shown, offset.seconds()),
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Fold { .. } => None,
    }
}
