//! Collections of events: storing, loading and following what is never changed.

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use branchline_crdt::ids::SiteId;
use branchline_crdt::log::entry::limits::CHANGES_MAX;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::changes::{event_stream, since, wants_events};
use super::events::{push, push_heartbeat};
use crate::api::error::{ApiError, Code};
use crate::api::http::room::Room;
use crate::api::params::extract::{
    Collection, InSpace, JsonBody, Params, page_after, page_records, wait_time,
};
use crate::api::records::transactions::EntryName;
use crate::api::records::writes::{AskedWrite, WriteDone, WriteParams};
use crate::api::texts::name_of;
use crate::api::texts::rfc3339;
use crate::events::{
    Altered, Event, EventContent, EventsPage, EventsVersion, NewEvent, Subscription,
};
use crate::feed::{FeedPage, Since, WAIT_MAX};
use crate::records::Item;

/// Events to be stored together.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoreRequest {
    /// The events, which show together or not at all.
    pub events: Vec<EventRequest>,
}

/// An event to be stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventRequest {
    /// Its id, one of the collection.
    pub id: String,
    /// What happened.
    pub r#type: String,
    /// To what.
    pub aggregate_id: String,
    /// Any JSON; every digit is kept.
    pub data: Value,
    /// The same, for what is to be known beside it.
    #[serde(default)]
    pub metadata: Value,
}

/// What storing did. What it says is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreEventsResponse {
    /// Events that were stored; 0 where all were there, or the request is a repeat.
    pub stored: u64,
    /// Events that were there, exactly as they are.
    pub known: u64,
    /// The entry that holds those that were stored; `None`: none was.
    pub entry: Option<EntryName>,
    /// Whether this is the repeat of a request that was done before.
    pub repeat: bool,
    /// Other sites that hold it durably, where the request waited for that.
    pub received: Option<u64>,
    /// The version of each event, in the order of the request.
    pub versions: Vec<String>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventContentResponse {
    /// What happened.
    pub r#type: String,
    /// To what.
    pub aggregate_id: String,
    /// The event's data.
    pub data: Value,
    /// What is to be known beside it; null if nothing is.
    pub metadata: Value,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventResponse {
    /// Its id.
    pub id: String,
    /// What happened.
    pub r#type: String,
    /// To what.
    pub aggregate_id: String,
    /// The event's data.
    pub data: Value,
    /// What is to be known beside it; null if nothing is.
    pub metadata: Value,
    /// The place behind it at this site (`?since=`). No part of the event: at another site it has another.
    pub version: String,
    /// The site that stored it.
    pub site: String,
    /// When, by that site's clock, in RFC 3339.
    pub time: Option<String>,
    /// What others stored under the same id, who had not seen it: a conflict. Left out where there is none, as a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<EventContentResponse>,
}

/// A page of events.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventsResponse {
    /// The events, in the order in which this site took them in.
    pub events: Vec<EventResponse>,
    /// Where the next page begins (`?since=`).
    pub version: String,
    /// Whether there are more already.
    pub more: bool,
}

/// A version of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventsVersionResponse {
    /// The version behind all that this site shows.
    pub version: String,
}

/// Events that were changed after they were stored, by a site that does not keep to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlteredEventsResponse {
    /// The events, by id.
    pub events: Vec<AlteredEvent>,
    /// Where the next page begins (`?after=`); `None`: this is the last.
    pub next: Option<String>,
}

/// An event that was changed after it was stored; the change is not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlteredEvent {
    /// Its id.
    pub id: String,
    /// How many changes there are.
    pub changes: u64,
    /// The site that made the first of them. `None`: the journal cannot be read there.
    pub site: Option<String>,
    /// Its name.
    pub site_name: Option<String>,
    /// When, by that site's clock, in RFC 3339.
    pub time: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsParams {
    /// `start` (taken if none is given), `now`, or a version.
    since: Option<String>,
    /// Of this aggregate only. The index leads to its events; `wait` and server-sent events are of all.
    aggregate_id: Option<String>,
    /// At most so many events: 1 to 1000, 100 if not given.
    limit: Option<usize>,
    /// Where there is nothing, wait so long for something: `30s`, 50 s at the most.
    wait: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlteredParams {
    /// At most so many events: 1 to 1000, 100 if not given.
    limit: Option<usize>,
    /// The `next` of the page before.
    after: Option<String>,
}

/// Stores events, together or not at all. An event that is there exactly so is a success that changes nothing.
#[utoipa::path(
    post,
    path = "/v1/events/{collection}",
    operation_id = "store_events",
    params(InSpace, Collection, AskedWrite, WriteParams),
    request_body = StoreRequest,
    responses(
        (status = OK, description = "The events are stored, durably.", body = StoreEventsResponse),
        (
            status = ACCEPTED,
            description = "The same; what was waited for has not come true in time.",
            body = StoreEventsResponse,
        ),
    ),
)]
pub(crate) async fn store(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    asked: AskedWrite,
    Params(params): Params<WriteParams>,
    JsonBody(StoreRequest { events }): JsonBody<StoreRequest>,
) -> Result<Response, ApiError> {
    if !(1..=CHANGES_MAX).contains(&events.len()) {
        let message = format!("{} events, expected 1 to {CHANGES_MAX} at a time", events.len());
        return Err(ApiError::new(Code::BadParameter, message));
    }
    let log = handle.events(&collection);
    // Said before anything is written.
    log.demand().await?;
    let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
    let edits = events.into_iter().map(|event| event.into_new().into_edit(&collection));
    let done = asked.write(&handle, &params, edits.collect()).await?;
    let shown = async {
        let WriteDone { written, received } = &done;
        let stored = written.records_changed as u64;
        let entry = written.entry.map(EntryName::of);
        let versions = log.by_id(ids.clone()).await?;
        let answer = StoreEventsResponse {
            stored,
            known: (ids.len() as u64).saturating_sub(stored),
            entry,
            repeat: written.is_repeat,
            received: received.map(|(count, _)| count as u64),
            versions: versions.iter().map(|event| event.version.to_string()).collect(),
        };
        Ok(Json(answer).into_response())
    };
    Ok(done.answer(shown.await))
}

/// Events behind a version, of all aggregates or of one, as a page, a long poll (`wait`), or server-sent events
/// (`Accept: text/event-stream`).
#[utoipa::path(
    get,
    path = "/v1/events/{collection}",
    operation_id = "load_events",
    params(
        InSpace,
        Collection,
        EventsParams,
        (
            "Last-Event-ID" = Option<String>,
            Header,
            description = "The version from which a client of server-sent events continues.",
        ),
    ),
    responses(
        (
            status = OK,
            description = "A page; or events named `event`: data is an `EventResponse`, id its version.",
            content((EventsResponse = "application/json"), (String = "text/event-stream")),
        ),
    ),
)]
pub(crate) async fn load(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    room: Room,
    headers: HeaderMap,
    Params(params): Params<EventsParams>,
) -> Result<Response, ApiError> {
    let limit = page_records(params.limit)?;
    let wait = params.wait.as_deref().map(|text| wait_time("wait", text, WAIT_MAX)).transpose()?;
    let as_events = wants_events(&headers);
    let log = handle.events(&collection);
    let since = since(&headers, params.since)?;
    if let Some(aggregate_id) = params.aggregate_id {
        if wait.is_some() || as_events {
            let message = "aggregate_id is given with a wait, which is for all events";
            return Err(ApiError::new(Code::BadParameter, message)
                .hint("follow all events, and keep those of the aggregate"));
        }
        let since = match since {
            Since::Start => None,
            Since::Now => Some(log.latest_version().await?),
            Since::Cursor(cursor) => Some(EventsVersion::from(cursor)),
        };
        return Ok(answer(log.load_aggregate(&aggregate_id, since, limit).await?));
    }
    let waiting = (as_events || wait.is_some()).then(|| room.wait()).transpose()?;
    if waiting.is_some() {
        room.leave();
    }
    log.demand().await?;
    let consumer = handle.follow(since, Some(collection)).await?;
    if as_events {
        return Ok(event_stream(consumer, frames, waiting));
    }
    let mut subscription = Subscription::new(consumer);
    let page = match wait {
        None => subscription.page(limit).await?,
        Some(wait) => subscription.next_page(limit, wait).await?,
    };
    Ok(answer(page))
}

/// The version behind all that this site shows.
#[utoipa::path(
    get,
    path = "/v1/events/{collection}/latest",
    operation_id = "get_latest_version",
    params(InSpace, Collection),
    responses((status = OK, description = "The version.", body = EventsVersionResponse)),
)]
pub(crate) async fn latest(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
) -> Result<Json<EventsVersionResponse>, ApiError> {
    let version = handle.events(&collection).latest_version().await?.to_string();
    Ok(Json(EventsVersionResponse { version }))
}

/// Events that were changed after they were stored, which is not shown.
#[utoipa::path(
    get,
    path = "/v1/events/{collection}/altered",
    operation_id = "list_altered_events",
    params(InSpace, Collection, AlteredParams),
    responses((status = OK, description = "A page of them.", body = AlteredEventsResponse)),
)]
pub(crate) async fn altered(
    InSpace(handle): InSpace,
    Collection(collection): Collection,
    Params(params): Params<AlteredParams>,
) -> Result<Json<AlteredEventsResponse>, ApiError> {
    let limit = page_records(params.limit)?;
    let after = page_after(params.after)?;
    let found = handle.events(&collection).altered(after, limit).await?;
    let names = handle.names().await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.key.id.clone());
    let event = |Altered { key, count, first }: Altered| {
        let name = |site: SiteId| name_of(site, &names);
        AlteredEvent {
            id: key.id,
            changes: count,
            site: first.map(|(entry, _)| entry.author.site.to_string()),
            site_name: first.map(|(entry, _)| name(entry.author.site)),
            time: first.and_then(|(_, time_ms)| rfc3339(time_ms)),
        }
    };
    Ok(Json(AlteredEventsResponse { events: found.into_iter().map(event).collect(), next }))
}

fn answer(page: EventsPage) -> Response {
    let EventsPage { events, version, has_more } = page;
    let events = events.into_iter().map(EventResponse::of).collect();
    let answer = EventsResponse { events, version: version.to_string(), more: has_more };
    Json(answer).into_response()
}

/// The events on a page of the feed, as server-sent events.
fn frames(page: &FeedPage) -> String {
    let mut text = String::new();
    for item in &page.items {
        let Item::Change(change) = &item.reported.item else { continue };
        let Some(event) = Event::of_change(change, item.reported.cursor.clone()) else { continue };
        // These types are described to serde in full: this does not fail.
        let data = serde_json::to_string(&EventResponse::of(event)).unwrap_or_default();
        push(&mut text, item.cursor_text(), "event", &data);
    }
    if text.is_empty() {
        push_heartbeat(&mut text, page);
    }
    text
}

impl EventRequest {
    fn into_new(self) -> NewEvent {
        let Self { id, r#type, aggregate_id, data, metadata } = self;
        NewEvent::new(id, r#type, aggregate_id, data).with_metadata(metadata)
    }
}

impl EventContentResponse {
    fn of(content: EventContent) -> Self {
        let EventContent { kind, aggregate_id, data, metadata } = content;
        Self { r#type: kind, aggregate_id, data, metadata }
    }
}

impl EventResponse {
    fn of(event: Event) -> Self {
        let Event { id, content, others, version, entry, time_ms } = event;
        let EventContent { kind, aggregate_id, data, metadata } = content;
        Self {
            id,
            r#type: kind,
            aggregate_id,
            data,
            metadata,
            version: version.to_string(),
            site: entry.author.site.to_string(),
            time: rfc3339(time_ms),
            others: others.into_iter().map(EventContentResponse::of).collect(),
        }
    }
}
