//! What the API says of sinks.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::time;
use crate::jobs::tenure::Tenure;
use crate::sink::config::SinkConfig;
use crate::sink::survey::PlannedItem;
use crate::sink::weaviate::answer::EdgeAnswer;
use crate::sink::weaviate::config::ObjectConfig;
use crate::sink::worker::{GroupAnswer, SinkReport};

/// The sinks of a site.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinksResponse {
    /// By name.
    pub sinks: Vec<SinkResponse>,
}

/// How a sink is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkResponse {
    /// Its name.
    pub name: String,
    /// `http`, or a kind that the program has registered.
    pub kind: String,
    /// The collection of its primary records; of kind `weaviate` all that it has.
    pub collection: String,
    /// The space of its collections.
    pub space: String,
    /// `starting`, `listing`, `waiting`, `running`, `backing-off`, `failed`, `paused`, `superseded` (another site runs it), or
    /// `not-running` where the node does not run.
    pub state: String,
    /// Why it is so, and what to do.
    pub reason: Option<String>,
    /// Since when it is so.
    pub since: Option<String>,
    /// When it tries again, where it is backing off.
    pub until: Option<String>,
    /// The site that runs it; absent: nobody has begun it.
    pub site: Option<String>,
    /// How often it was taken over, from 1.
    pub term: Option<u64>,
    /// Groups that are known.
    pub groups: u64,
    /// Groups that wait to be sent, those that are set aside included.
    pub dirty: u64,
    /// Groups that were refused.
    pub set_aside: u64,
    /// Since when the group that has waited longest waits.
    pub waiting_since: Option<String>,
    /// Records that were looked at so far, while it begins.
    pub listed: u64,
    /// Objects that were created since the node started.
    pub created: u64,
    /// Objects that were updated since then.
    pub updated: u64,
    /// Objects that were deleted since then.
    pub deleted: u64,
    /// Groups that had changed and were not sent, because the service has what they are.
    pub unchanged: u64,
    /// Items that were refused since then.
    pub refused: u64,
    /// Requests that were tried again since then.
    pub retried: u64,
}

impl SinkResponse {
    pub(super) fn of(
        config: &SinkConfig,
        report: Option<SinkReport>,
        tenure: Option<Tenure>,
    ) -> Self {
        let state = report.as_ref().map_or("not-running".to_owned(), |report| report.state.clone());
        let report = report.unwrap_or_default();
        let counted = report.counted;
        Self {
            name: config.name.clone(),
            kind: config.kind.clone(),
            collection: config.collections(),
            space: config.space.clone(),
            state,
            reason: report.reason,
            since: Some(report.since_ms).filter(|since| *since > 0).and_then(time),
            until: report.until_ms.and_then(time),
            site: tenure.as_ref().map(|tenure| tenure.site.clone()),
            term: tenure.map(|tenure| tenure.term),
            groups: report.groups,
            dirty: report.dirty,
            set_aside: report.quarantined,
            waiting_since: report.waiting_since_ms.and_then(time),
            listed: report.listed,
            created: counted.created,
            updated: counted.updated,
            deleted: counted.deleted,
            unchanged: counted.unchanged,
            refused: counted.refused,
            retried: counted.retried,
        }
    }
}

/// What a sink would push.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkPlanResponse {
    /// The sink.
    pub name: String,
    /// The collection of its primary records.
    pub collection: String,
    /// The names that records have in `translate`.
    pub names: Vec<String>,
    /// The jq expression.
    pub translate: String,
    /// Of kind `weaviate`: what each collection's records are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<SinkClassResponse>,
    /// What it sends, as it is configured: secrets are not filled in.
    pub requests: Vec<SinkRequestResponse>,
    /// What a person should know of it.
    pub remarks: Vec<String>,
    /// Groups that were looked at.
    pub groups: u64,
    /// Objects that would be created.
    pub create: u64,
    /// Objects that would be updated.
    pub update: u64,
    /// Objects that would be deleted.
    pub delete: u64,
    /// Groups of which nothing would be sent.
    pub unchanged: u64,
    /// Groups that are refused as they are, or have no representation.
    pub set_aside: u64,
    /// The first of what would be sent.
    pub items: Vec<SinkItemResponse>,
}

/// What the records of a collection are in Weaviate.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkClassResponse {
    /// The collection.
    pub collection: String,
    /// The class of the objects.
    pub class: String,
    /// The jq expression that makes their properties.
    pub translate: String,
    /// The edges that begin there, by property: `hasCustomer: customer_id to customers`.
    pub edges: Vec<String>,
}

impl SinkClassResponse {
    pub(super) fn of(config: &SinkConfig) -> Vec<Self> {
        let edges = |collection: &str| {
            let of = config.edges.iter().filter(|edge| edge.collection == collection);
            of.map(|edge| format!("{}: {} to {}", edge.property, edge.field, edge.to)).collect()
        };
        let class = |object: &ObjectConfig| Self {
            collection: object.collection.clone(),
            class: object.class.clone(),
            translate: object.translate.clone(),
            edges: edges(&object.collection),
        };
        config.objects.iter().map(class).collect()
    }
}

/// A request as it is configured.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkRequestResponse {
    /// `initialise`, `lookup`, `create`, `update`, `delete` or `read`; of kind `weaviate` `objects`, `edges` or `delete`.
    pub what: String,
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
}

/// What would be sent of a group.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkItemResponse {
    /// The primary record's id.
    pub id: String,
    /// `create`, `update`, `delete` or `set aside`.
    pub action: String,
    /// What the object would be.
    pub representation: Option<Value>,
    /// Why it would be set aside.
    pub error: Option<String>,
}

impl From<PlannedItem> for SinkItemResponse {
    fn from(planned: PlannedItem) -> Self {
        let PlannedItem { id, action, representation, error } = planned;
        Self { id, action: action.to_owned(), representation, error }
    }
}

/// Groups of a sink.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkGroupsResponse {
    /// By id.
    pub groups: Vec<SinkGroupResponse>,
    /// Of a sink of kind `weaviate`: the edges that were refused, behind all objects that were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<SinkEdgeResponse>,
    /// The `after` of the next page; absent: there are no more.
    pub next: Option<String>,
}

/// An edge that was refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkEdgeResponse {
    /// What it is called where it is to be tried again: `orders/7:hasCustomer:customers/12`.
    pub id: String,
    /// The object where it begins, by collection and record.
    pub object: String,
    /// The property that it is.
    pub property: String,
    /// The object where it leads.
    pub target: String,
    /// How often it was refused.
    pub attempts: u32,
    /// Why it was refused last.
    pub last_error: String,
    /// When it was refused last.
    pub failed_at: Option<String>,
    /// When it is tried next by itself; absent: it waits for a change of its object, or a person.
    pub next_try: Option<String>,
}

impl From<EdgeAnswer> for SinkEdgeResponse {
    fn from(edge: EdgeAnswer) -> Self {
        let EdgeAnswer { id, object, property, target, attempts, error, failed_ms, due_ms } = edge;
        Self {
            id,
            object,
            property,
            target,
            attempts,
            last_error: error,
            failed_at: failed_ms.and_then(time),
            next_try: due_ms.and_then(time),
        }
    }
}

/// A group of a sink.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkGroupResponse {
    /// The primary record's id.
    pub id: String,
    /// `synced`, `dirty`, `set-aside`, `deleted`, or `not-sent`.
    pub state: String,
    /// When a record of it changed last, as far as this site has seen.
    pub touched_at: Option<String>,
    /// When the service confirmed it last.
    pub synced_at: Option<String>,
    /// The digest of the representation that the service has.
    pub digest: Option<String>,
    /// What the object is called there.
    pub remote_id: Option<String>,
    /// Whether a create was sent of which nobody knows what became.
    pub outcome_unknown: bool,
    /// How often the representation was refused.
    pub attempts: u32,
    /// Why it was refused last.
    pub last_error: Option<String>,
    /// When it was refused last.
    pub failed_at: Option<String>,
    /// When it is tried next by itself, where it waits.
    pub next_try: Option<String>,
}

impl From<GroupAnswer> for SinkGroupResponse {
    fn from(group: GroupAnswer) -> Self {
        let GroupAnswer { id, touched_ms, dirty, set_aside, due_ms, known } = group;
        let state = match (set_aside, dirty) {
            (true, _) => "set-aside",
            (false, true) => "dirty",
            (false, false) if known.deleted => "deleted",
            (false, false) if known.remote_id.is_some() => "synced",
            (false, false) => "not-sent",
        };
        Self {
            id,
            state: state.to_owned(),
            touched_at: time(touched_ms),
            synced_at: known.synced_at,
            digest: known.digest,
            remote_id: known.remote_id,
            outcome_unknown: known.pending.is_some(),
            attempts: known.attempts,
            last_error: known.error,
            failed_at: known.failed_at,
            next_try: due_ms.filter(|_| dirty).and_then(time),
        }
    }
}

/// The last runs of a sink.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkHistoryResponse {
    /// The latest first.
    pub runs: Vec<SinkRunResponse>,
}

/// A run of a sink: from the first group that was due until none was.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkRunResponse {
    /// Its number.
    pub number: i64,
    /// `changes`, or `asked` or `full` where a person asked for it.
    pub kind: String,
    /// When it began.
    pub started_at: Option<String>,
    /// When it ended.
    pub completed_at: Option<String>,
    /// `in_progress`, `completed` or `failed`.
    pub status: String,
    /// Objects that were created.
    pub created: u64,
    /// Objects that were updated.
    pub updated: u64,
    /// Objects that were deleted.
    pub deleted: u64,
    /// Groups that were looked at and not sent.
    pub unchanged: u64,
    /// Items that were refused.
    pub refused: u64,
    /// Requests that were tried again.
    pub retried: u64,
    /// Why it failed.
    pub error: Option<String>,
}

/// Which run is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkRunRequest {
    /// Whether all groups are looked at, whatever has changed, and what was refused is tried again.
    pub full: bool,
    /// Whether a person agrees to what a changed configuration pushes.
    pub yes: bool,
    /// Of a sink of kind `weaviate`: the objects of this collection alone, whatever the server has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Of a sink of kind `weaviate`: edges alone, whatever the server has.
    pub edges: bool,
    /// Of these at most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Of these those behind so many, in the order of their names and ends.
    pub offset: u64,
}

/// What becomes of objects that differ.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkVerifyRequest {
    /// Whether they are sent once more.
    pub repair: bool,
}

/// The job that was taken.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkJobResponse {
    /// Its number: `GET /v1/jobs/{id}` shows it.
    pub job: u64,
}

/// Whether a sink rests.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkPausedResponse {
    /// Whether it rests.
    pub paused: bool,
}

/// What is tried again.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SinkRequeueRequest {
    /// These groups; all where it is empty.
    pub ids: Vec<String>,
    /// Those that were refused at this time (RFC 3339) or later.
    pub since: Option<String>,
    /// Those that were refused before this time.
    pub until: Option<String>,
}

/// What is tried again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkRequeuedResponse {
    /// How many.
    pub requeued: u64,
}

/// Who runs a sink now.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SinkTakenResponse {
    /// How often it was taken over, from 1.
    pub term: u64,
    /// The site that ran it before, if that was another.
    pub from: Option<String>,
    /// Whether everything is sent once more: of kind `weaviate`, as only the other site's file says what the server has.
    #[serde(default)]
    pub sends_all: bool,
}
