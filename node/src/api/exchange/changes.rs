//! The feed of changes: as pages, as long polls, and as server-sent events.

use crate::api::texts::fields;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use branchline_crdt::feed::{BadCursor, Change, FeedEvent, Item};
use branchline_crdt::record::{View, check_collection};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};

use super::events::{self, events};
use crate::api::error::{ApiError, Code};
use crate::api::http::room::{Room, Waiting};
use crate::api::params::accept::prefers;
use crate::api::params::extract::{InSpace, Params, page_records, wait_time};
use crate::api::texts::rfc3339;
use crate::feed::{Consumer, FeedError, PageBounds, Since, WAIT_MAX};

/// Bytes of values on a page, about. At least one change is on it.
const PAGE_VALUES_BYTES: usize = 4 * 1024 * 1024;
/// The content type of server-sent events.
const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";
/// Where a client of server-sent events goes on from.
const LAST_EVENT_ID: &str = "last-event-id";

/// A part of the feed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChangesResponse {
    /// What is reported, in the order in which this site took it in.
    pub changes: Vec<FeedItemResponse>,
    /// Where the next page begins (`?since=`).
    pub cursor: String,
    /// Whether there is more already.
    pub more: bool,
}

/// One thing that the feed tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FeedItemResponse {
    /// The consumer's place once it has seen this (`?since=`).
    pub cursor: String,
    /// What is reported.
    #[serde(flatten, deserialize_with = "branchline_crdt::format::json::flattened")]
    pub item: FeedContent,
}

/// What the feed tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FeedContent {
    /// A record changed.
    Change(Box<RecordChangeResponse>),
    /// A site signed one number of its log twice. Both stay; of what it wrote from there on another one of the values in
    /// conflict may be shown now. Read again what was derived from it.
    Fork {
        /// The site.
        site: String,
        /// The site's incarnation, in hex.
        incarnation: String,
        /// The number.
        seq: u64,
    },
}

/// A change of a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordChangeResponse {
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// The change's hash in hex.
    pub change: String,
    /// The site that made it.
    pub site: String,
    /// The site's incarnation, in hex.
    pub incarnation: String,
    /// The number of its entry in the log of that incarnation.
    pub seq: u64,
    /// When, by the site's clock, in RFC 3339.
    pub time: Option<String>,
    /// Its transaction.
    pub transaction: TransactionPart,
    /// The record before; `null` where this created it, or where it is unreadable.
    pub before: Option<RecordStateResponse>,
    /// The record after; `null` where it is unreadable.
    pub after: Option<RecordStateResponse>,
    /// Why the record's values cannot be given here, if they cannot.
    pub unreadable: Option<String>,
}

/// The place of a change in its transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TransactionPart {
    /// The number of the transaction in its entry, from 0.
    pub number: u32,
    /// The source and number under which it was written, if it was.
    pub origin: Option<(String, u64)>,
    /// Whether this is its last change.
    pub last: bool,
    /// Whether this is its last change in this collection: what consumers of one collection go by.
    pub last_of_collection: bool,
}

/// A record at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RecordStateResponse {
    /// Its fields.
    pub fields: Map<String, Value>,
    /// Whether it is deleted.
    pub deleted: bool,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangesParams {
    /// `start` (taken if none is given), `now`, or a cursor.
    since: Option<String>,
    /// Of this collection only.
    collection: Option<String>,
    /// At most so many changes: 1 to 1000, 100 if not given.
    limit: Option<usize>,
    /// Where there is nothing, wait so long for something: `30s`, 50 s at the most.
    wait: Option<String>,
}

/// Every change of every record, as a page, a long poll (`wait`), or server-sent events (`Accept: text/event-stream`).
#[utoipa::path(
    get,
    path = "/v1/changes",
    operation_id = "list_changes",
    params(
        InSpace,
        ChangesParams,
        (
            "Last-Event-ID" = Option<String>,
            Header,
            description = "The cursor from which a client of server-sent events continues.",
        ),
    ),
    responses(
        (
            status = OK,
            description = "A page; or events named `change`: data is a `FeedItemResponse`, id its cursor.",
            content((ChangesResponse = "application/json"), (String = "text/event-stream")),
        ),
    ),
)]
pub(crate) async fn changes(
    InSpace(handle): InSpace,
    room: Room,
    headers: HeaderMap,
    Params(params): Params<ChangesParams>,
) -> Result<Response, ApiError> {
    if let Some(collection) = &params.collection {
        check_collection(collection)?;
    }
    let as_events = wants_events(&headers);
    let since = since(&headers, params.since)?;
    let bounds =
        PageBounds { items_max: page_records(params.limit)?, bytes_max: PAGE_VALUES_BYTES };
    let wait = params.wait.as_deref().map(|text| wait_time("wait", text, WAIT_MAX)).transpose()?;
    let waiting = (as_events || wait.is_some()).then(|| room.wait()).transpose()?;
    if waiting.is_some() {
        room.leave();
    }
    let mut consumer = handle.follow(since, params.collection).await?;
    if as_events {
        return Ok(event_stream(consumer, events::changes, waiting));
    }
    let page = match wait {
        None => consumer.page(bounds).await?,
        Some(wait) => consumer.next_page(bounds, Instant::now() + wait).await?,
    };
    let items: Vec<_> = page.items.iter().map(|item| item.text(text_of)).collect();
    let (items, cursor, more) = (items.join(","), page.cursor, !page.is_end);
    let body = format!(r#"{{"changes":[{items}],"cursor":"{cursor}","more":{more}}}"#);
    Ok(([(header::CONTENT_TYPE, JSON)], body).into_response())
}

/// Whether a client asks for server-sent events.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    prefers(headers, EVENT_STREAM, JSON)
}

/// Where a client begins: where its stream broke off, or where its query says.
pub(crate) fn since(headers: &HeaderMap, asked: Option<String>) -> Result<Since, ApiError> {
    let resumed = headers.get(LAST_EVENT_ID).filter(|_| wants_events(headers));
    let since = match resumed {
        Some(id) => Some(String::from_utf8_lossy(id.as_bytes()).into_owned()),
        None => asked,
    };
    let since = since.map_or(Ok(Since::Start), |text| text.parse::<Since>());
    Ok(since.map_err(FeedError::from)?)
}

/// What a consumer gets, without end.
pub(crate) fn event_stream(
    consumer: Consumer,
    frames: events::EventFrames,
    waiting: Option<Waiting>,
) -> Response {
    let body = Body::from_stream(events(consumer, frames, waiting));
    let headers = [
        (header::CONTENT_TYPE, EVENT_STREAM),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies like nginx would otherwise keep events back until there are many.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

/// An item as JSON.
pub(crate) fn text_of(reported: &FeedEvent) -> String {
    let answer =
        FeedItemResponse { cursor: reported.cursor.to_string(), item: answer(&reported.item) };
    // These types are described to serde in full: this does not fail.
    serde_json::to_string(&answer).unwrap_or_default()
}

fn answer(item: &Item) -> FeedContent {
    let (author, seq) = match item {
        Item::Change(change) => (change.entry.author, change.entry.seq),
        Item::Fork { author, seq } => (*author, *seq),
    };
    let (site, incarnation) = (author.site.to_string(), HEXLOWER.encode(&author.incarnation.0));
    match item {
        Item::Change(change) => of_change(change, site, incarnation, seq),
        Item::Fork { .. } => FeedContent::Fork { site, incarnation, seq },
    }
}

fn of_change(change: &Change, site: String, incarnation: String, seq: u64) -> FeedContent {
    let state =
        |view: &View| RecordStateResponse { fields: fields(view.clone()), deleted: view.deleted };
    let values = change.values.as_ref();
    let origin = change.origin.as_ref();
    FeedContent::Change(Box::new(RecordChangeResponse {
        collection: change.key.collection.clone(),
        id: change.key.id.clone(),
        change: HEXLOWER.encode(&change.hash),
        site,
        incarnation,
        seq,
        time: rfc3339(change.time_ms),
        transaction: TransactionPart {
            number: change.transaction,
            origin: origin.map(|origin| (origin.source.clone(), origin.number)),
            last: change.is_last,
            last_of_collection: change.is_last_of_collection,
        },
        before: values.ok().and_then(|values| values.before.as_ref()).map(state),
        after: values.ok().map(|values| state(&values.after)),
        unreadable: values.err().cloned(),
    }))
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Cursor(error @ BadCursor::Gone) => Self::of(Code::CursorGone, &error).hint(
                "what happened since is not known: take the cursor of since=now, read the records again, then continue from that cursor",
            ),
            FeedError::Cursor(error @ (BadCursor::Text { .. } | BadCursor::Foreign)) => {
                Self::of(Code::BadCursor, &error)
                    .hint("since is `start`, `now`, or a cursor that this site gave out")
            }
            FeedError::Read(error) => error.into(),
        }
    }
}
