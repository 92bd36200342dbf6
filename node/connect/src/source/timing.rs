//! When a source's runs are due, and their bounds.

use super::config::SourceConfig;
use super::since::{BadSince, Since};
use crate::jobs::part::part;
use crate::jobs::schedule::{BadSchedule, Schedule, zone_of};

/// Why that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum BadTiming {
    /// A schedule, or its zone.
    #[error("{key}: {source}")]
    Schedule {
        /// Where it stands.
        key: &'static str,
        /// What is wrong with it.
        source: BadSchedule,
    },
    /// How moments are written.
    #[error(transparent)]
    Since(#[from] BadSince),
    /// The guard.
    #[error("inactive_guard: {0}")]
    Guard(String),
}

/// What a configuration says about time and bounds.
pub(crate) struct Timing {
    pub(super) schedule: Option<Schedule>,
    pub(super) full_schedule: Option<Schedule>,
    pub(super) since: Since,
    pub(super) guard: f64,
}

impl Timing {
    pub(crate) fn of(config: &SourceConfig) -> Result<Self, BadTiming> {
        let zone = config.zone.as_deref();
        let schedule = |key: &'static str, text: &Option<String>| {
            let parsed = text.as_deref().map(|text| Schedule::parse(text, zone)).transpose();
            parsed.map_err(|source| BadTiming::Schedule { key, source })
        };
        let zone = zone_of(zone).map_err(|source| BadTiming::Schedule { key: "zone", source })?;
        Ok(Self {
            schedule: schedule("schedule", &config.schedule)?,
            full_schedule: schedule("full_schedule", &config.full_schedule)?,
            since: Since::new(&config.since(), zone)?,
            guard: part(&config.inactive_guard).map_err(BadTiming::Guard)?,
        })
    }

    /// When the next run is due after a moment.
    pub(crate) fn next(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let due = |schedule: &Option<Schedule>| {
            schedule.as_ref().and_then(|schedule| schedule.next(after))
        };
        due(&self.schedule).into_iter().chain(due(&self.full_schedule)).min()
    }
}
