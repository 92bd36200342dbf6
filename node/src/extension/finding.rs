//! What a person should know.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, for example `bridge till`.
    pub about: String,
    /// What is so, for a person.
    pub what: String,
    /// Since when, by this site's clock, in RFC 3339.
    pub since: Option<String>,
    /// What to do, for a person.
    pub hint: Option<String>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong.
    Info,
    /// Look at it.
    Warning,
    /// Act now: something stands still, or could be lost.
    Error,
}

impl Severity {
    /// As it stands in an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Finding {
    /// Says what is so; since when and what to do are reported by the other fields.
    pub fn new(severity: Severity, about: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity, about: about.into(), what: what.into(), since: None, hint: None }
    }
}
