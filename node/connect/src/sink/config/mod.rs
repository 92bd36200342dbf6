//! `[[sink]]` of `branchline.toml`.
//!
//! ```toml
#![doc = include_str!("example.toml")]
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::{AuthConfig, ServiceConfig};
use crate::jobs::duration;
use crate::jobs::retry::RetryConfig;
use crate::sink::weaviate::config::{BATCH, EdgeConfig, ObjectConfig, WeaviateConfig};

/// A sink: groups of records, and the service that is to hold what is made of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Its name, unique at this site: lower-case letters, digits, `-` and `_`.
    pub name: String,
    /// What it pushes to: `http`, or a kind that a program has added.
    pub kind: String,
    /// The space of the collections.
    #[serde(default = "main_space")]
    pub space: String,
    /// The collection of which each record is a group's primary record.
    #[serde(default)]
    pub collection: String,
    /// The primary record's name in `translate`; default: the collection's.
    #[serde(default, rename = "as")]
    pub alias: Option<String>,
    /// Records that belong to a group beside its primary one.
    #[serde(default)]
    pub related: Vec<RelatedConfig>,
    /// jq that makes the representation of a group.
    #[serde(default)]
    pub translate: String,
    /// Which primary records count: a filter, in the language of `list --where`.
    #[serde(default, rename = "where")]
    pub filter: Option<String>,
    /// What becomes of the object when its primary record leaves the filter.
    #[serde(default)]
    pub on_leave: SinkOnLeave,
    /// The values that a change has to touch: `order.state`, or `items` for all of them. Default: the digest of the
    /// representation decides.
    #[serde(default)]
    pub watch: Option<Vec<String>>,
    /// A changed configuration pushes more than so many items only once a person has agreed.
    #[serde(default = "ask_over_default")]
    pub ask_over: u64,
    /// Requests in a time, for all connectors with the same credential: `5/s`, `100/m`, `1000/h`.
    #[serde(default)]
    pub rate: Option<String>,
    /// Requests under way at the same time, for all connectors with the same credential.
    #[serde(default)]
    pub concurrency: Option<usize>,
    /// How it is tried again.
    #[serde(default)]
    pub retry: RetryConfig,
    /// How long a request may take as a whole: `30s`.
    #[serde(default = "timeout_default", with = "duration::written")]
    pub timeout: Duration,
    /// How long the service may send nothing within an answer: `30s`.
    #[serde(default = "timeout_default", with = "duration::written")]
    pub idle: Duration,
    /// Bytes of the largest answer, inflated.
    #[serde(default = "body_max_default")]
    pub body_max: u64,
    /// Texts in a refusal that mean that the service is overloaded, whatever its status.
    #[serde(default)]
    pub overload: Vec<String>,
    /// Addresses and hosts that would be refused otherwise.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Certificates in PEM of authorities that are trusted beside the machine's: those of a company's own.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// How the service knows this office.
    #[serde(default)]
    pub auth: Option<AuthConfig>,
    /// Of another kind: whatever it takes.
    #[serde(default)]
    pub options: toml::Table,
    /// Headers of every request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How an object is created.
    #[serde(default)]
    pub create: Option<CreateConfig>,
    /// How it is updated. Without it objects are created and never changed.
    #[serde(default)]
    pub update: Option<UpdateConfig>,
    /// How it is deleted. Without it what is deleted here stays there.
    #[serde(default)]
    pub delete: Option<DeleteConfig>,
    /// What is read before an object is created.
    #[serde(default)]
    pub initialise: Option<InitialiseConfig>,
    /// How an object is read back, to find what others have changed.
    #[serde(default)]
    pub read: Option<ReadConfig>,
    /// Of kind `weaviate`: where the server is.
    #[serde(default)]
    pub url: Option<String>,
    /// Of kind `weaviate`: objects, or edges, of one request.
    #[serde(default)]
    pub batch: Option<usize>,
    /// Of kind `weaviate`: the pause between two requests.
    #[serde(default, with = "duration::written")]
    pub delay: Duration,
    /// Of kind `weaviate`: collections of which each record is an object.
    #[serde(default, rename = "object")]
    pub objects: Vec<ObjectConfig>,
    /// Of kind `weaviate`: fields that name another record.
    #[serde(default, rename = "edge")]
    pub edges: Vec<EdgeConfig>,
}

/// Records of one collection that belong to a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelatedConfig {
    /// The collection.
    pub collection: String,
    /// Their name in `translate`; default: the collection's.
    #[serde(default, rename = "as")]
    pub alias: Option<String>,
    /// Their field that holds the primary record's id.
    #[serde(default)]
    pub by: Option<String>,
    /// The field that holds their id: of the primary record (`user_id`), or of a related one (`user.customer_id`).
    #[serde(default)]
    pub from: Option<String>,
    /// Whether there may be several: a list in `translate`.
    #[serde(default)]
    pub many: bool,
}

/// What becomes of the object when its primary record leaves the filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SinkOnLeave {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
}

/// How an object is updated: the representation is the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateConfig {
    /// `POST`, `PUT` or `PATCH`.
    pub method: String,
    /// Where to: `{remote_id}`, and what the representation has in braces.
    pub url: String,
    /// Headers of this request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether the `ETag` of the last answer goes along as `If-Match`, so that the service refuses to write over what
    /// others have changed.
    #[serde(default)]
    pub if_match: bool,
}

/// How an object is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateConfig {
    /// `POST`, or `PUT` where the URL names the object, so that a repeat does no harm.
    pub method: String,
    /// Where to, with what the representation has in braces.
    pub url: String,
    /// Headers of this request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// jq that finds the object's id in the answer. Default: the object is called as its primary record.
    #[serde(default)]
    pub remote_id: Option<String>,
    /// Where an object that may have been created is looked for, with what the representation has in braces.
    #[serde(default)]
    pub lookup: Option<String>,
    /// jq that finds the object's id in that answer. Default: that of `remote_id`.
    #[serde(default)]
    pub lookup_id: Option<String>,
}

/// How an object is deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeleteConfig {
    /// `DELETE`, or another with a body.
    pub method: String,
    /// Where to, with `{remote_id}`.
    pub url: String,
    /// Headers of this request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// JSON that is sent: `{"archived": true}`.
    #[serde(default)]
    pub body: Option<String>,
}

/// What is read before an object is created: `.initial` in `translate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialiseConfig {
    /// Where it is, with fields of records in braces: `{order.ref}`.
    pub url: String,
    /// Headers of this request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// How an object is read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadConfig {
    /// Where it is: `{remote_id}`, and what the representation has in braces.
    pub url: String,
    /// Headers of this request.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// jq that finds in the answer what the representation is to be found in. Default: all of it.
    #[serde(default)]
    pub object: Option<String>,
}

impl SinkConfig {
    /// The primary record's name in `translate`.
    #[must_use]
    pub fn primary(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.collection)
    }

    /// The collections of which each record is an object, for people.
    #[must_use]
    pub fn collections(&self) -> String {
        let of_objects: Vec<&str> =
            self.objects.iter().map(|object| object.collection.as_str()).collect();
        if of_objects.is_empty() { self.collection.clone() } else { of_objects.join(", ") }
    }

    /// What of it is about Weaviate.
    #[must_use]
    pub fn weaviate(&self) -> WeaviateConfig {
        WeaviateConfig {
            url: self.url.clone().unwrap_or_default(),
            batch: self.batch.unwrap_or(BATCH),
            delay: self.delay,
            objects: self.objects.clone(),
            edges: self.edges.clone(),
        }
    }

    /// What of it is about the service as such.
    #[must_use]
    pub fn service(&self) -> ServiceConfig {
        ServiceConfig {
            allow: self.allow.clone(),
            ca_file: self.ca_file.clone(),
            auth: self.auth.clone(),
            rate: self.rate.clone(),
            concurrency: self.concurrency,
            timeout: self.timeout,
            idle: self.idle,
            body_max: self.body_max,
            overload: self.overload.clone(),
        }
    }

    /// What decides which representation a group has, and whether it has one: a change of it may change what every item is.
    #[must_use]
    pub fn expression(&self) -> String {
        let Self { space, collection, related, translate, filter, on_leave, .. } = self;
        let parts = (space, collection, self.primary(), related, translate, filter, on_leave);
        let text = serde_json::to_string(&parts).unwrap_or_default();
        let hash = crate::jobs::digest::digest(&serde_json::Value::String(text));
        data_encoding::HEXLOWER.encode(hash.get(..8).unwrap_or_default())
    }
}

impl RelatedConfig {
    /// Their name in `translate`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.collection)
    }
}

fn main_space() -> String {
    "main".to_owned()
}

fn ask_over_default() -> u64 {
    1_000
}

fn timeout_default() -> Duration {
    ServiceConfig::default().timeout
}

fn body_max_default() -> u64 {
    ServiceConfig::default().body_max
}
