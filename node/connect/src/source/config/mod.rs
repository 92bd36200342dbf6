//! `[[source]]` of `branchline.toml`.
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::http::{AuthConfig, ServiceConfig};
use crate::jobs::retry::RetryConfig;

/// The kind of source that this program has by itself.
pub const HTTP: &str = "http";

/// A source: one list of a third party's objects, pulled into a collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Its name, unique at this site: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// When a run is due, as a cron expression of five fields. Omitted: on demand only.
    #[serde(default)]
    pub schedule: Option<String>,
    /// When a full run is due, which also finds what the provider lists no more.
    #[serde(default)]
    pub full_schedule: Option<String>,
    /// The time zone of the schedules and of dates without one: `Europe/Madrid`. Default: the machine's.
    #[serde(default)]
    pub zone: Option<String>,
    /// The collection of the records.
    pub collection: String,
    /// The collection of the runs.
    #[serde(default = "history_default")]
    pub history: String,
    /// The space of both.
    #[serde(default = "main_space")]
    pub space: String,
    /// The part of the active records that a full run may find gone without a person's word: `20%`.
    #[serde(default = "inactive_guard_default")]
    pub inactive_guard: String,
    /// `http`, or a kind that the program has registered ([`crate::Kinds`]).
    #[serde(default = "http")]
    pub kind: String,
    /// Of kind `http`: what is asked for, and what is taken out of the answers.
    #[serde(default)]
    pub request: Option<RequestConfig>,
    /// Of another kind: whatever it takes.
    #[serde(default)]
    pub options: toml::Table,
    /// The list of what was deleted.
    #[serde(default)]
    pub deleted: Option<DeletedConfig>,
    /// Fields of the records besides, by name: jq over `{ "external_id": …, "data": … }`.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Addresses and hosts that would be refused otherwise: this machine's own, private ones, link-local ones.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Certificates in PEM of authorities that are trusted beside the machine's: those of a company's own.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How the provider knows who asks.
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    /// Most requests in a time: `5/s`, `100/m`.
    #[serde(default)]
    pub rate: Option<String>,
    /// Most pages of one run: a provider that has more is taken to be one whose list never ends.
    #[serde(default = "pages_max_default")]
    pub pages_max: u64,
    /// How often a request that fails for the time being is tried before the run fails.
    #[serde(default = "retry_default")]
    pub retry: RetryConfig,
}

/// What is asked for, and what is taken out of the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestConfig {
    /// The address; `{since}` is where the last good run began.
    pub url: String,
    /// `GET`, or `POST` with a body.
    #[serde(default = "get")]
    pub method: String,
    /// Headers, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body of a `POST`: JSON in which `{since}` is replaced.
    #[serde(default)]
    pub body: Option<String>,
    /// How `{since}` is written.
    #[serde(default)]
    pub since: SinceConfig,
    /// jq over an answer: its objects.
    pub items: String,
    /// jq over an object: its id, a string or a whole number.
    pub id: String,
    /// jq over an object: when it was last changed, or null.
    #[serde(default)]
    pub updated_at: Option<String>,
    /// How the next page is found. Omitted: there is one page.
    #[serde(default)]
    pub page: Option<PageConfig>,
}

/// How `{since}` is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinceConfig {
    /// `rfc3339`, `epoch`, `epoch-ms`, `date`, or a pattern with `%Y` and the like, in the source's zone.
    #[serde(default = "rfc3339")]
    pub format: String,
    /// How much earlier than the start of the last good run, for what the provider committed late.
    #[serde(default = "overlap_default")]
    pub overlap: String,
    /// What `{since}` is on a first or full run, as it is sent. Default: 1970, in the format.
    #[serde(default)]
    pub first: Option<String>,
}

impl Default for SinceConfig {
    fn default() -> Self {
        Self { format: rfc3339(), overlap: overlap_default(), first: None }
    }
}

/// How the next page is found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PageConfig {
    /// The answer names the place of the next page.
    Cursor {
        /// jq over an answer: the place; null or "" on the last page.
        next: String,
        /// The parameter of the address that takes it. Omitted: the place is the next page's address.
        #[serde(default)]
        param: Option<String>,
    },
    /// Pages have numbers; one without items is behind the last.
    Number {
        /// The parameter of the address that takes it.
        param: String,
        /// The first page's number.
        #[serde(default = "one")]
        first: u64,
        /// Whether each page before is read once more, for what moved there meanwhile.
        #[serde(default = "yes")]
        reread: bool,
    },
    /// A page begins behind a number of items; one without items is behind the last.
    Offset {
        /// The parameter of the address that takes it.
        param: String,
        /// Whether each page before is read once more, for what moved there meanwhile.
        #[serde(default = "yes")]
        reread: bool,
    },
    /// The answer's `Link` header names the address of the next page.
    Link,
}

/// The list of what was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeletedConfig {
    /// The address; `{since}` as in the request.
    pub url: String,
    /// Headers; default: those of the request.
    #[serde(default)]
    pub headers: Option<BTreeMap<String, String>>,
    /// jq over an answer: the ids.
    pub ids: String,
    /// How the next page is found. Omitted: there is one page.
    #[serde(default)]
    pub page: Option<PageConfig>,
}

impl SourceConfig {
    /// The service that is asked.
    #[must_use]
    pub fn service(&self) -> ServiceConfig {
        ServiceConfig {
            allow: self.allow.clone(),
            ca_file: self.ca_file.clone(),
            auth: self.auth.clone(),
            rate: self.rate.clone(),
            // Pages follow each other.
            concurrency: Some(1),
            ..ServiceConfig::default()
        }
    }

    /// From when on objects are asked for, and how that is written.
    #[must_use]
    pub fn since(&self) -> SinceConfig {
        self.request.as_ref().map(|request| request.since.clone()).unwrap_or_default()
    }

    /// What the source is called among connectors.
    #[must_use]
    pub fn connector(&self) -> String {
        format!("source {}", self.name)
    }
}

fn history_default() -> String {
    "sync_history".to_owned()
}

fn main_space() -> String {
    "main".to_owned()
}

fn inactive_guard_default() -> String {
    "20%".to_owned()
}

/// Ten million objects on pages of a hundred.
fn pages_max_default() -> u64 {
    100_000
}

/// An outage of some minutes is waited for; the next run is the answer to a longer one.
fn retry_default() -> RetryConfig {
    RetryConfig { attempts: 8, ..RetryConfig::default() }
}

fn http() -> String {
    HTTP.to_owned()
}

fn get() -> String {
    "GET".to_owned()
}

fn rfc3339() -> String {
    "rfc3339".to_owned()
}

fn overlap_default() -> String {
    "5m".to_owned()
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}
