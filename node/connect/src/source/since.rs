//! From when on objects are asked for: the start of the last good run by the provider's own clock, less an overlap, as the
//! provider writes its times.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::config::SinceConfig;
use crate::jobs::duration::{self, BadDuration};

/// How moments are written for a provider.
#[derive(Clone, Debug)]
pub struct Since {
    form: SinceForm,
    overlap: Duration,
    first: Option<String>,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum SinceForm {
    Rfc3339,
    Epoch,
    EpochMs,
    Pattern(String),
}

/// Why moments cannot be written so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSince {
    /// The format is none.
    #[error(
        "since.format is {0:?}: expected rfc3339, epoch, epoch-ms, date, or a pattern like %Y-%m-%dT%H:%M:%S"
    )]
    Format(String),
    /// The overlap is none.
    #[error("since.overlap: {0}")]
    Overlap(#[from] BadDuration),
}

impl Since {
    /// Reads how moments are written. `zone`: that of patterns.
    ///
    /// # Errors
    /// [`BadSince`].
    pub fn new(config: &SinceConfig, zone: TimeZone) -> Result<Self, BadSince> {
        let form = match config.format.as_str() {
            "rfc3339" => SinceForm::Rfc3339,
            "epoch" => SinceForm::Epoch,
            "epoch-ms" => SinceForm::EpochMs,
            "date" => SinceForm::Pattern("%Y-%m-%d".to_owned()),
            pattern if pattern.contains('%') => {
                let tried = jiff::fmt::strtime::format(
                    pattern,
                    &Timestamp::UNIX_EPOCH.to_zoned(zone.clone()),
                );
                match tried {
                    Ok(_) => SinceForm::Pattern(pattern.to_owned()),
                    Err(_) => return Err(BadSince::Format(pattern.to_owned())),
                }
            }
            other => return Err(BadSince::Format(other.to_owned())),
        };
        let overlap = duration::parse(&config.overlap)?;
        Ok(Self { form, overlap, first: config.first.clone(), zone })
    }

    /// From when on the next run asks, for a run that began at `started`.
    #[must_use]
    pub fn after(&self, started: Timestamp) -> Timestamp {
        let overlap =
            jiff::SignedDuration::try_from(self.overlap).unwrap_or(jiff::SignedDuration::MAX);
        started.checked_sub(overlap).unwrap_or(Timestamp::MIN)
    }

    /// A moment as the provider writes it; `None`: what is sent on a first or full run.
    ///
    /// Always earlier than the moment or equal to it: parts that cannot be written are cut off.
    #[must_use]
    pub fn write(&self, since: Option<Timestamp>) -> String {
        let since = match (since, &self.first) {
            (Some(since), _) => since,
            (None, Some(first)) => return first.clone(),
            (None, None) => Timestamp::UNIX_EPOCH,
        };
        match &self.form {
            SinceForm::Rfc3339 => since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            SinceForm::Epoch => since.as_second().to_string(),
            SinceForm::EpochMs => since.as_millisecond().to_string(),
            SinceForm::Pattern(pattern) => {
                let zoned = since.to_zoned(self.zone.clone());
                // It was tried when the source was made.
                jiff::fmt::strtime::format(pattern, &zoned).unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn since(format: &str, zone: &str) -> Since {
        let config = SinceConfig {
            format: format.to_owned(),
            first: Some("2000-01-01".to_owned()),
            ..SinceConfig::default()
        };
        Since::new(&config, TimeZone::get(zone).unwrap()).unwrap()
    }

    #[test]
    fn c3_since_is_written_as_the_provider_writes_it_and_never_later() {
        let at = Some("2026-07-01T00:30:10.999Z".parse().unwrap());
        for (format, expected) in [
            ("rfc3339", "2026-07-01T00:30:10Z"),
            ("epoch", "1782865810"),
            ("epoch-ms", "1782865810999"),
            ("date", "2026-07-01"),
            ("%d/%m/%Y %H:%M", "01/07/2026 02:30"),
        ] {
            assert_eq!(since(format, "Europe/Madrid").write(at), expected, "{format}");
        }
        // A date that has begun there only.
        assert_eq!(since("date", "America/New_York").write(at), "2026-06-30");
        assert_eq!(since("rfc3339", "UTC").write(None), "2000-01-01");
        let epoch = Since::new(&SinceConfig::default(), TimeZone::UTC).unwrap();
        assert_eq!(epoch.write(None), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn since_is_the_start_of_the_last_run_less_the_overlap() {
        let after = since("rfc3339", "UTC").after("2026-07-01T00:02:00Z".parse().unwrap());
        assert_eq!(after.to_string(), "2026-06-30T23:57:00Z");
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        for format in ["iso", "%~", ""] {
            let config = SinceConfig { format: format.to_owned(), ..SinceConfig::default() };
            let error = Since::new(&config, TimeZone::UTC).unwrap_err().to_string();
            assert!(error.contains(&format!("{format:?}")), "{error}");
        }
        let config = SinceConfig { overlap: "soon".to_owned(), ..SinceConfig::default() };
        assert!(Since::new(&config, TimeZone::UTC).unwrap_err().to_string().contains("overlap"));
    }
}
