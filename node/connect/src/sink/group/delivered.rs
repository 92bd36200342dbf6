//! What is known of a group at the remote: a record of the collection `sink_NAME`, in the space of the sink, so that a site
//! that takes over knows it too.

use branchline_node::Handle;
use branchline_node::records::{NotWritten, View};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::jobs::digest::digest;

/// Bytes of a representation that is kept until its create is confirmed: with others a record holds less than 1 MiB.
const PENDING_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an error that is kept.
const ERROR_BYTES_MAX: usize = 1_000;
/// A key is of use for so long, by the services that say how long: 24 h, of which some are kept back.
const KEY_MS: i64 = 20 * 3_600_000;

/// What is known of a group at the remote.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Delivered {
    /// What the object is called there; absent: there is none, or nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    /// The digest of the representation that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The version of the object, where the remote says it and minds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The digest of the watched values that it was made of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watched: Option<String>,
    /// The expression that it was made by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// When it was confirmed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synced_at: Option<String>,
    /// How often something was confirmed.
    pub sequence: u64,
    /// Whether the object was deleted.
    #[serde(skip_serializing_if = "is_false")]
    pub deleted: bool,
    /// What was read before the object was created, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<String>,
    /// A create that was sent, and of which nobody knows what became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// How often the representation was refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Why it was refused last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<String>,
    /// The digest of the representation that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A create that was sent, and of which nobody knows what became.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    /// Its key.
    pub key: String,
    /// The digest of its representation.
    pub digest: String,
    /// The digest of the watched values that it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<String>,
    /// The representation, as JSON; absent where it is too large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// When it was sent.
    pub sent_at: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for references")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// The collection of what is known of a sink's groups.
#[must_use]
pub fn collection(sink: &str) -> String {
    format!("sink_{sink}")
}

impl Delivered {
    /// What a record says; nothing where it says something else.
    #[must_use]
    pub fn of(view: &View) -> Option<Self> {
        let fields = branchline_node::records::fields_into_json(view.live_fields()?.clone());
        serde_json::from_value(Json::Object(fields)).ok()
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The node does not take it, or has stopped.
    pub async fn write(
        &self,
        node: &Handle,
        collection: &str,
        group: &str,
    ) -> Result<(), NotWritten> {
        let fields = serde_json::to_value(self).unwrap_or_else(|_| Json::Object(Map::new()));
        node.put(collection, group, fields).await.map(|_| ())
    }

    /// The key of the next request.
    #[must_use]
    pub fn key(&self, sink: &str, group: &str, digest: &str) -> String {
        let parts = Json::from(vec![
            Json::from(sink),
            Json::from(group),
            Json::from(digest),
            Json::from(self.sequence),
        ]);
        hex(&parts).get(..32).unwrap_or_default().to_owned()
    }

    /// A create is about to be sent.
    pub fn will_create(&mut self, key: String, digest: &str, watched: Option<String>, body: &Json) {
        let body = body.to_string();
        self.pending = Some(Pending {
            key,
            digest: digest.to_owned(),
            watched,
            body: (body.len() <= PENDING_BYTES_MAX).then_some(body),
            sent_at: now(),
        });
    }

    /// The remote has confirmed the object.
    pub fn confirm(&mut self, digest: String, watched: Option<String>, expression: &str) {
        self.digest = Some(digest);
        self.etag = None;
        self.watched = watched;
        self.expression = Some(expression.to_owned());
        self.synced_at = Some(now());
        self.sequence += 1;
        self.deleted = false;
        self.pending = None;
        self.forgive();
    }

    /// The remote has confirmed that there is no object any more.
    pub fn confirm_deleted(&mut self, expression: &str) {
        *self = Self {
            sequence: self.sequence + 1,
            deleted: true,
            synced_at: Some(now()),
            expression: Some(expression.to_owned()),
            ..Self::default()
        };
    }

    /// The remote has something else than what it confirmed: it is sent once more, and created if it `is_gone`.
    pub fn doubt(&mut self, is_gone: bool) {
        (self.digest, self.etag) = (None, None);
        if is_gone {
            self.remote_id = None;
            // Its creation is another request than the one before.
            self.sequence += 1;
        }
    }

    /// What was refused is so no more.
    pub fn forgive(&mut self) {
        (self.attempts, self.error, self.failed_at, self.refused) = (0, None, None, None);
    }

    /// The remote, or the sink itself, has refused a representation.
    pub fn refuse(&mut self, digest: Option<&str>, error: &str, begins_again: bool) {
        let is_same = !begins_again && self.refused.as_deref() == digest;
        self.attempts = if is_same { self.attempts.saturating_add(1) } else { 1 };
        let mut end = error.len().min(ERROR_BYTES_MAX);
        while !error.is_char_boundary(end) {
            end -= 1;
        }
        self.error = Some(error.get(..end).unwrap_or_default().to_owned());
        self.failed_at = Some(now());
        self.refused = digest.map(str::to_owned);
    }
}

impl Pending {
    /// The representation that was sent.
    #[must_use]
    pub fn representation(&self) -> Option<Json> {
        serde_json::from_str(self.body.as_deref()?).ok()
    }

    /// Whether a service that knows keys still knows this one.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        let sent: Option<Timestamp> = self.sent_at.parse().ok();
        let age = |sent: Timestamp| Timestamp::now().as_millisecond() - sent.as_millisecond();
        sent.is_some_and(|sent| age(sent) < KEY_MS)
    }
}

/// A digest as it is kept.
#[must_use]
pub fn hex(value: &Json) -> String {
    HEXLOWER.encode(&digest(value))
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_the_same_on_a_retry_and_another_for_every_other_request() {
        let mut known = Delivered::default();
        let key = known.key("erp", "7", "d1");
        assert_eq!(key, known.key("erp", "7", "d1"));
        for other in
            [known.key("erp", "7", "d2"), known.key("erp", "8", "d1"), known.key("crm", "7", "d1")]
        {
            assert_ne!(key, other);
        }
        // The same object, after it was something else meanwhile.
        known.confirm("d1".to_owned(), None, "e");
        assert_ne!(key, known.key("erp", "7", "d1"));
    }

    #[test]
    fn c28_only_what_is_confirmed_counts_as_synced() {
        let mut known = Delivered::default();
        known.will_create("k".to_owned(), "d1", None, &json!({ "ref": "A" }));
        assert_eq!((&known.synced_at, &known.digest), (&None, &None));
        let pending = known.pending.clone().unwrap();
        assert!(pending.is_fresh());
        assert_eq!(pending.representation().unwrap(), json!({ "ref": "A" }));
        known.refuse(Some("d1"), &"é".repeat(2_000), false);
        known.refuse(Some("d1"), "no", false);
        assert_eq!((known.attempts, known.synced_at.clone()), (2, None));
        known.refuse(Some("d2"), "no", false);
        assert_eq!(known.attempts, 1);
        known.confirm("d2".to_owned(), None, "e");
        assert!(known.synced_at.is_some() && known.error.is_none() && known.pending.is_none());
        let text = serde_json::to_value(&known).unwrap();
        assert_eq!(serde_json::from_value::<Delivered>(text).unwrap(), known);
        known.confirm_deleted("e");
        assert!(known.deleted && known.digest.is_none() && known.sequence == 2);
    }
}
