//! From where on a number is worth a look, and from where on somebody has to act.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    Warning,
    Critical,
    Unknown,
}

impl State {
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        })
    }
}

/// From which number on it is to be looked at, and from which on to be acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thresholds {
    warning: u64,
    critical: u64,
}

impl FromStr for Thresholds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} are not thresholds; expected WARNING,CRITICAL");
        let (warning, critical) = text.split_once(',').ok_or_else(expected)?;
        let number = |text: &str| text.trim().parse().map_err(|_| expected());
        Ok(Self { warning: number(warning)?, critical: number(critical)? })
    }
}

impl fmt::Display for Thresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.warning, self.critical)
    }
}

impl Thresholds {
    pub(crate) const fn new(warning: u64, critical: u64) -> Self {
        Self { warning, critical }
    }

    /// Reads those of a number that should be small.
    pub(crate) fn rising(text: &str) -> Result<Self, String> {
        let found: Self = text.parse()?;
        found.demand(found.warning <= found.critical, "greater")
    }

    /// Reads those of a number that should be large.
    pub(crate) fn falling(text: &str) -> Result<Self, String> {
        let found: Self = text.parse()?;
        found.demand(found.warning >= found.critical, "less")
    }

    fn demand(self, is_in_order: bool, wrong: &str) -> Result<Self, String> {
        let Self { warning, critical } = self;
        if is_in_order {
            Ok(self)
        } else {
            Err(format!(
                "{warning} warns too late, being {wrong} than {critical}: expected WARNING,CRITICAL"
            ))
        }
    }

    /// Of a number that should be small.
    pub(super) fn above(self, number: u64) -> State {
        match (number >= self.critical, number >= self.warning) {
            (true, _) => State::Critical,
            (false, true) => State::Warning,
            (false, false) => State::Ok,
        }
    }

    /// Of a number that should be large.
    pub(super) fn below(self, number: u64) -> State {
        match (number < self.critical, number < self.warning) {
            (true, _) => State::Critical,
            (false, true) => State::Warning,
            (false, false) => State::Ok,
        }
    }

    /// A number with its thresholds, as Nagios plugins have it.
    pub(super) fn figure(self, name: &str, value: u64) -> String {
        let Self { warning, critical } = self;
        format!("{name}={value};{warning};{critical}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_two_numbers() {
        assert_eq!("3, 5".parse(), Ok(Thresholds::new(3, 5)));
        for text in ["", "3", "3,", "a,b", "-1,2", "1,2,3"] {
            assert!(text.parse::<Thresholds>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_warning_comes_before_what_is_critical() {
        assert!(Thresholds::rising("3,5").is_ok() && Thresholds::rising("3,3").is_ok());
        assert!(Thresholds::falling("5,3").is_ok() && Thresholds::falling("3,3").is_ok());
        for refused in [Thresholds::rising("5,3"), Thresholds::falling("3,5")] {
            let reason = refused.unwrap_err();
            assert!(reason.contains("warns too late"), "{reason}");
        }
    }
}
