//! What a writer may ask for besides the write itself, the same for one record and for a transaction.
//!
//! | in the request | what |
//! |---|---|
//! | `If-Match: "ETAG", ...` or `*` | only if the record is of one of these versions, or exists |
//! | `If-None-Match: *` | only if the record does not exist |
//! | `Idempotency-Key: TEXT` | a repeat of the same request under the same key changes nothing |
//! | `?wait=received:N` or `?wait=site:NAME` | answer once N other sites, or that one, prove that they hold the write durably |
//! | `&timeout=30s` | but then at the latest, with status 202 |

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use branchline_crdt::ids::SiteId;
use branchline_crdt::log::entry::{EntryId, Origin};
use branchline_crdt::record::{Edit, Expected};
use branchline_crdt::replica::{LocalTransaction, RecordEdit, WriteError, Written};
use branchline_crdt::store::changes::{self, read_entry};
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::tables::records::{RecordKey, RecordRow};
use branchline_crdt::store::{Position, StoreError};
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

use crate::api::REQUEST_TIMEOUT;
use crate::api::error::{ApiError, Code};
use crate::api::http::room::Room;
use crate::api::params::bounds::KEY_BYTES_MAX;
use crate::api::params::extract::wait_time;
use crate::feed::WAIT_MAX;
use crate::handle::Handle;
use crate::storage::Reader;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Tells that the request was a repeat.
const REPLAYED: &str = "idempotency-replayed";
/// Tells how many other sites hold the write durably, as far as is proven.
const RECEIVED: &str = "branchline-received";
/// How long to wait for other sites where nothing is asked for.
const TIMEOUT: Duration = Duration::from_secs(30);
/// When a request that waits is answered at the latest after it came, so that it is not cut off as one that takes too long.
const WAIT_END: Duration = Duration::from_secs(REQUEST_TIMEOUT.as_secs() - 5);

/// What the headers of a write ask for.
pub(crate) struct AskedWrite {
    headers: HeaderMap,
    room: Room,
    /// When the request began to be read.
    came: Instant,
}

impl IntoParams for AskedWrite {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let header = |name: &str, description: &str| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
            parameter.description(Some(description)).schema(Some(String::schema())).build()
        };
        vec![
            header("If-Match", "Only if the record is of one of these versions, or (`*`) exists."),
            header("If-None-Match", "`*`: only if the record does not exist."),
            header(
                "Idempotency-Key",
                "A repeat of the request under the same key changes nothing.",
            ),
        ]
    }
}

impl<S: Send + Sync> FromRequestParts<S> for AskedWrite {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let room = Room::from_request_parts(parts, state).await?;
        Ok(Self { headers: parts.headers.clone(), room, came: Instant::now() })
    }
}

/// What the query of a write asks for.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteParams {
    /// Whether to give versions and conflicts as well.
    #[serde(default)]
    pub(crate) meta: bool,
    /// Answer once so many other sites (`received:N`), or this one (`site:NAME`), prove that they hold the write durably.
    wait: Option<String>,
    /// But then at the latest, with status 202: `30s` if not given, 50 s at the most.
    timeout: Option<String>,
}

impl WriteParams {
    /// The same, of a write that shows no record.
    pub(crate) fn waiting(wait: Option<String>, timeout: Option<String>) -> Self {
        Self { meta: false, wait, timeout }
    }
}

/// What a write did, and what became of the wait for others.
pub(crate) struct WriteDone {
    pub(crate) written: Written,
    /// How many other sites hold it durably, and whether that is what was waited for. `None`: nobody waited.
    pub(crate) received: Option<(usize, bool)>,
}

/// For whom a writer waits.
enum WaitFor {
    Count(usize),
    Site(SiteId),
}

impl WaitFor {
    fn is_met(&self, holders: &BTreeMap<SiteId, Option<bool>>) -> bool {
        match self {
            Self::Count(count) => count_of(holders) >= *count,
            Self::Site(site) => holders.get(site) == Some(&Some(true)),
        }
    }
}

fn count_of(holders: &BTreeMap<SiteId, Option<bool>>) -> usize {
    holders.values().filter(|holds| **holds == Some(true)).count()
}

impl AskedWrite {
    /// What the record must be, by the headers.
    pub(crate) fn expected(&self) -> Result<Option<Expected>, ApiError> {
        let text = |name: header::HeaderName| -> Result<Option<String>, ApiError> {
            let values: Vec<_> = self.headers.get_all(&name).iter().collect();
            let texts: Result<Vec<_>, _> = values.iter().map(|value| value.to_str()).collect();
            let texts = texts.map_err(|_| bad(format!("{name} is not text")))?;
            Ok((!texts.is_empty()).then(|| texts.join(",")))
        };
        expected(text(header::IF_MATCH)?.as_deref(), text(header::IF_NONE_MATCH)?.as_deref())
    }

    /// Writes the edits as one transaction, and waits for others if that is asked for. An error of one edit among
    /// several names its record.
    pub(crate) async fn write(
        &self,
        handle: &Handle,
        params: &WriteParams,
        edits: Vec<RecordEdit>,
    ) -> Result<WriteDone, ApiError> {
        let origin = self.origin(handle.site(), &edits)?;
        let records: Vec<_> =
            edits.iter().map(|edit| (edit.collection.clone(), edit.id.clone())).collect();
        let write = async {
            let results = handle.write(vec![LocalTransaction { origin, edits }]).await?;
            match results.into_iter().next() {
                Some(Ok(written)) => Ok(written),
                Some(Err(error)) => Err(refused(&error, &records)),
                None => Err(ApiError::new(Code::Internal, "the write was not answered")),
            }
        };
        self.await_held(handle, params, records.clone(), write).await
    }

    /// Awaits a write of these records, and others if that is asked for.
    pub(crate) async fn await_held(
        &self,
        handle: &Handle,
        params: &WriteParams,
        records: Vec<(String, String)>,
        write: impl Future<Output = Result<Written, ApiError>>,
    ) -> Result<WriteDone, ApiError> {
        let wait = self.wait_for(handle, params).await?;
        // What can be refused is refused before anything is written.
        let _waiting = wait.as_ref().map(|_| self.room.wait()).transpose()?;
        let written = write.await?;
        let received = match wait {
            None => None,
            Some((wait, deadline)) => {
                self.room.leave();
                let entries = match written.entry {
                    Some(entry) => Ok(vec![entry]),
                    None => last_entries(handle, records).await,
                };
                // It is written: what cannot be found out about others is not proven.
                Some(match entries {
                    Ok(entries) => await_receipts(handle, &entries, &wait, deadline).await,
                    Err(_) => (0, false),
                })
            }
        };
        Ok(WriteDone { written, received })
    }

    /// The origin that stands for key and request.
    fn origin(&self, site: SiteId, edits: &[RecordEdit]) -> Result<Option<Origin>, ApiError> {
        let mut keys = self.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(key) = keys.next() else { return Ok(None) };
        if keys.next().is_some() {
            return Err(bad(format!(
                "the request has several headers {IDEMPOTENCY_KEY}, expected one"
            )));
        }
        let key = key.as_bytes();
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            let found = key.len();
            let expected = format!("expected 1 to {KEY_BYTES_MAX}");
            return Err(bad(format!("{IDEMPOTENCY_KEY} has {found} bytes, {expected}")));
        }
        // Keys are a site's own: programs of two offices may use the same.
        let key = blake3::derive_key("branchline 1 idempotency key", &[&site.0[..], key].concat());
        let request: Vec<_> = edits.iter().map(described).collect();
        let request = Value::Array(request).to_string();
        let request = blake3::derive_key("branchline 1 idempotent request", request.as_bytes());
        let mut number = [0; 8];
        number.copy_from_slice(&key[..8]);
        let source =
            format!("http{}#{}", HEXLOWER.encode(&key[8..20]), HEXLOWER.encode(&request[..12]));
        Ok(Some(Origin { source, number: u64::from_be_bytes(number) }))
    }

    async fn wait_for(
        &self,
        handle: &Handle,
        params: &WriteParams,
    ) -> Result<Option<(WaitFor, Instant)>, ApiError> {
        let timeout = params.timeout.as_deref();
        let Some(wait) = &params.wait else {
            return match timeout {
                None => Ok(None),
                Some(_) => Err(bad("timeout is given without wait".to_owned())),
            };
        };
        let timeout = timeout.map_or(Ok(TIMEOUT), |text| wait_time("timeout", text, WAIT_MAX))?;
        let sites = handle.sites().await?;
        let others = || sites.iter().filter(|site| site.site != handle.site());
        let wait = match wait.split_once(':') {
            Some(("received", count)) => {
                let parsed = count.parse().ok();
                let most = others().count();
                let count = parsed.filter(|count| (1..=most).contains(count)).ok_or_else(|| {
                    bad(format!("wait=received:{count}: expected 1 to {most}, the other sites"))
                })?;
                WaitFor::Count(count)
            }
            Some(("site", name)) => {
                let is_named = |site: &&_| -> bool {
                    let site: &branchline_crdt::replica::SiteStatus = site;
                    site.name == name || site.site.to_string() == name
                };
                let site = others().find(is_named).ok_or_else(|| {
                    let message = format!("wait=site:{name}: no other site has that name or id");
                    ApiError::new(Code::UnknownSite, message)
                        .hint("`branchline members` shows the sites")
                })?;
                WaitFor::Site(site.site)
            }
            Some(_) | None => {
                let message = format!("wait is {wait:?}, expected received:N or site:NAME");
                return Err(bad(message));
            }
        };
        // A body that came slowly leaves less of the time that a request has.
        Ok(Some((wait, (Instant::now() + timeout).min(self.came + WAIT_END))))
    }
}

impl WriteDone {
    /// Answers with what is to be shown of the write, and says what became of it. What is written is never answered with
    /// an error: where it cannot be shown (the node stops, the disk fails), the answer is 202 and shows nothing.
    pub(crate) fn answer(&self, shown: Result<Response, ApiError>) -> Response {
        let mut response = shown.unwrap_or_else(|_| StatusCode::ACCEPTED.into_response());
        let headers = response.headers_mut();
        if self.written.is_repeat {
            headers.insert(REPLAYED, HeaderValue::from_static("true"));
        }
        if let Some((count, is_met)) = self.received {
            headers.insert(RECEIVED, HeaderValue::from(count as u64));
            if !is_met {
                *response.status_mut() = StatusCode::ACCEPTED;
            }
        }
        response
    }
}

/// What a record must be, by the texts of `If-Match` and `If-None-Match`. A tag that is no version matches none.
pub(crate) fn expected(
    matches: Option<&str>,
    none_matches: Option<&str>,
) -> Result<Option<Expected>, ApiError> {
    match (matches.map(str::trim), none_matches.map(str::trim)) {
        (None, None) => Ok(None),
        (Some("*"), None) => Ok(Some(Expected::Existing)),
        (Some(tags), None) => {
            let tag = |text: &str| text.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok();
            Ok(Some(Expected::OneOf(tags.split(',').filter_map(tag).collect())))
        }
        (None, Some("*")) => Ok(Some(Expected::Missing)),
        (None, Some(found)) => Err(bad(format!("If-None-Match is {found:?}, expected *"))),
        (Some(_), Some(_)) => Err(bad("If-Match and If-None-Match exclude each other".to_owned())),
    }
}

fn bad(message: String) -> ApiError {
    ApiError::new(Code::BadParameter, message)
}

/// What an edit asks for, in a form that stays the same over versions of this program.
fn described(edit: &RecordEdit) -> Value {
    let RecordEdit { collection, id, edit, expected, builds_on, drafted: _ } = edit;
    let what = match edit {
        Edit::Put(fields) => json!(["put", fields]),
        Edit::Merge { patch, create } => json!(["patch", patch, create]),
        Edit::Import(fields) => json!(["import", fields]),
        Edit::Revive(fields) => json!(["revive", fields]),
        Edit::Delete => json!(["delete"]),
        Edit::Undelete => json!(["undelete"]),
    };
    let expected = match expected {
        None => Value::Null,
        Some(Expected::Existing) => json!("existing"),
        Some(Expected::Missing) => json!("missing"),
        Some(Expected::OneOf(versions)) => {
            versions.iter().map(|version| Value::String(version.to_string())).collect()
        }
    };
    match builds_on {
        None => json!([collection, id, what, expected]),
        Some(version) => json!([collection, id, what, expected, version.to_string()]),
    }
}

fn refused(error: &WriteError, records: &[(String, String)]) -> ApiError {
    let (error, number) = match error {
        WriteError::InEdit { number, error } => (&**error, *number),
        error => (error, 0),
    };
    let unnamed = Default::default();
    let (collection, id) = records.get(number).unwrap_or(&unnamed);
    let refused = ApiError::of_write(error, collection, id);
    match records.len() {
        0 | 1 => refused,
        _ => refused.about(&format!("edit {} ({collection}/{id})", number + 1)),
    }
}

/// The entries of the records' last changes.
async fn last_entries(
    handle: &Handle,
    records: Vec<(String, String)>,
) -> Result<Vec<EntryId>, ApiError> {
    let read = handle.read(move |reader, space| {
        let mut entries = Vec::new();
        for (collection, id) in records {
            entries.extend(last_entry(reader, &RecordKey { space, collection, id })?);
        }
        Ok(entries)
    });
    Ok(read.await?)
}

fn last_entry(reader: &Reader, key: &RecordKey) -> Result<Option<EntryId>, StoreError> {
    let Some(row) = reader.get(&key.record())? else { return Ok(None) };
    let places = changes::places(reader, key, &RecordRow::decode(&row)?.changes)?;
    let Some(at) = places.last() else { return Ok(None) };
    let header = read_entry(reader, Position(at.position))?.header;
    Ok(Some(EntryId { author: header.author, seq: header.seq }))
}

/// Waits until receipts prove what is waited for, and says how many sites hold all entries, and whether that is it. Ends
/// early where the node stops.
async fn await_receipts(
    handle: &Handle,
    entries: &[EntryId],
    wait: &WaitFor,
    deadline: Instant,
) -> (usize, bool) {
    let (mut receipts, mut stopping) = (handle.receipts(), handle.feed.stopping());
    let mut count = 0;
    loop {
        receipts.mark_unchanged();
        let mut least: Option<(usize, bool)> = None;
        for entry in entries {
            let Ok(holders) = handle.holders(*entry).await else { return (count, false) };
            let found = (count_of(&holders), wait.is_met(&holders));
            least = Some(least.map_or(found, |(count, met)| (found.0.min(count), found.1 && met)));
        }
        // Nothing was written ever, so nobody lacks it.
        let (found, is_met) = least.unwrap_or((0, true));
        count = found;
        if is_met {
            return (count, true);
        }
        let has_changed = tokio::select! {
            changed = receipts.changed() => changed.is_ok(),
            _ = stopping.wait_for(|is_stopping| *is_stopping) => false,
            () = sleep_until(deadline) => false,
        };
        if !has_changed {
            return (count, false);
        }
    }
}
