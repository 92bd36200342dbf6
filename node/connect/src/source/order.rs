//! What a run is asked to be, as its job keeps it.

use serde::{Deserialize, Serialize};

use crate::jobs::board::Job;

/// What a run is asked to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Order {
    /// Whether it lists all objects, and finds those that are gone.
    pub full: bool,
    /// Whether it only says what it would change.
    pub dry_run: bool,
    /// Whether many records may become inactive.
    pub accept: bool,
}

impl Order {
    pub(super) fn of(job: &Job) -> Result<Self, serde_json::Error> {
        serde_json::from_value(job.order.clone())
    }
}
