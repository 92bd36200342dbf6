//! When something is due: cron expressions and the time zone that they are meant in.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A schedule that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    /// It is no cron expression.
    #[error(
        "{found:?} is not a schedule: {what}; expected five fields, minute, hour, day, month and weekday, like \"0 2 * * *\" for \
         every night at two"
    )]
    Cron {
        /// What was found.
        found: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no such time zone.
    #[error("{found:?} is not a known time zone: expected a name like Europe/Madrid or UTC")]
    Zone {
        /// What was found.
        found: String,
    },
    /// It never comes.
    #[error("{found:?} is never due: is the day in none of its months?")]
    Never {
        /// What was found.
        found: String,
    },
}

/// When something is due, by the wall clock of a zone.
///
/// Where clocks are put forward, what is due in the hour that is left out is due at its end; where they are put back, it is due
/// once.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    /// Reads a cron expression of five fields, for a zone by its IANA name; `None`: this machine's zone.
    ///
    /// # Errors
    /// [`BadSchedule`].
    pub fn parse(text: &str, zone: Option<&str>) -> Result<Self, BadSchedule> {
        let found = || text.to_owned();
        let parser =
            CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser
            .parse(text)
            .map_err(|error| BadSchedule::Cron { found: found(), what: error.to_string() })?;
        let schedule = Self { cron, zone: zone_of(zone)? };
        match schedule.next(Timestamp::now()) {
            Some(_) => Ok(schedule),
            None => Err(BadSchedule::Never { found: found() }),
        }
    }

    /// The next moment after `after` at which it is due. `None`: none in the next thousands of years.
    #[must_use]
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let after = after.to_zoned(self.zone.clone());
        Some(self.cron.find_next_occurrence(&after, false).ok()?.timestamp())
    }
}

/// A zone by its name; `None`: this machine's.
///
/// # Errors
/// There is none of this name.
pub fn zone_of(name: Option<&str>) -> Result<TimeZone, BadSchedule> {
    match name {
        None => Ok(TimeZone::system()),
        Some(name) => TimeZone::get(name).map_err(|_| BadSchedule::Zone { found: name.to_owned() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn dues(text: &str, zone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(text, Some(zone)).unwrap();
        let mut at: Timestamp = from.parse().unwrap();
        let mut dues = Vec::new();
        for _ in 0..count {
            at = schedule.next(at).unwrap();
            dues.push(at.to_string());
        }
        dues
    }

    #[test]
    fn a_schedule_is_due_by_the_wall_clock_of_its_zone() {
        let dues_of = |from, count| dues("0 2 * * *", "Europe/Madrid", from, count);
        assert_eq!(
            dues_of("2026-01-10T00:00:00Z", 2),
            ["2026-01-10T01:00:00Z", "2026-01-11T01:00:00Z"]
        );
        assert_eq!(dues_of("2026-07-10T00:30:00Z", 1), ["2026-07-11T00:00:00Z"]);
        assert_eq!(dues("0 3 * * 0", "UTC", "2026-11-29T03:00:00Z", 1), ["2026-12-06T03:00:00Z"]);
    }

    #[test]
    fn the_hours_in_which_clocks_change_are_due_once() {
        // Put forward on 2026-03-29 from 2:00 to 3:00, put back on 2026-10-25 from 3:00 to 2:00.
        let spring = dues("30 2 * * *", "Europe/Madrid", "2026-03-28T12:00:00Z", 2);
        assert_eq!(spring[1], "2026-03-30T00:30:00Z");
        assert!(spring[0].starts_with("2026-03-29T01:"), "{spring:?}");
        let autumn = dues("30 2 * * *", "Europe/Madrid", "2026-10-24T12:00:00Z", 2);
        assert_eq!(autumn[1], "2026-10-26T01:30:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_what_was_expected() {
        for text in ["", "nightly", "0 2 * *", "61 2 * * *", "0 2 * * * *", "0 2 30 2 *"] {
            let error = Schedule::parse(text, None).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
        let error = Schedule::parse("0 2 * * *", Some("Europe/Madird")).unwrap_err().to_string();
        assert!(error.contains("Europe/Madird") && error.contains("Europe/Madrid"), "{error}");
    }
}
