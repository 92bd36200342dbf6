//! Logs: their entries, their tips, and what is not in step.

use std::collections::BTreeMap;

use axum::Json;
use branchline_crdt::ids::{RealmId, SiteId, SpaceId};
use branchline_crdt::inspect::log::{self, LoggedEntry, WithRecords};
use branchline_crdt::inspect::why::{self, Cause, Reason};
use branchline_crdt::log::entry::EntryId;
use branchline_crdt::log::entry::text::{EntryText, MEMBERSHIP};
use branchline_crdt::log::frontier::Known;
use branchline_crdt::store::Position;
use branchline_crdt::store::tables::logs::EntryStatus;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::{ApiError, Code};
use crate::api::params::extract::{InSpace, Params, page_records};
use crate::api::params::named::find_keys;
use crate::api::params::page;
use crate::api::records::query::turn;
use crate::api::texts::name_of;
use crate::api::texts::rfc3339;
use crate::handle::Handle;

/// Entries, newest last, in the order in which this site took them in.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LogResponse {
    /// The entries.
    pub entries: Vec<EntryResponse>,
    /// Where the page of those before them ends (`?before=`); `None`: there are none.
    pub next: Option<u64>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryResponse {
    /// `main`, or `_network` for membership.
    pub space: String,
    /// The site that wrote it.
    pub site: String,
    /// That site's name.
    pub site_name: String,
    /// The site's incarnation, in hex.
    pub incarnation: String,
    /// Its number in the log of that incarnation.
    pub seq: u64,
    /// All of this as one name, which commands take: `INCARNATION/SEQ`, with `_network/` before it for membership.
    pub entry: String,
    /// Its hash, in hex.
    pub hash: String,
    /// When it was written, by its author's clock, in RFC 3339.
    pub time: Option<String>,
    /// Transactions in it, or operations on members. `None`: it cannot be read here.
    pub transactions: Option<u64>,
    /// Changes to records in it.
    pub changes: Option<u64>,
    /// Its size. `None`: it is damaged here.
    pub bytes: Option<u64>,
    /// `applied`, `held` (of a later format than this program knows), `void` (without effect anywhere) or `damaged`.
    pub status: String,
    /// Its place in this site's journal.
    pub position: u64,
    /// The first hundred records that it changes, as `COLLECTION/ID`; reported where the entry is asked for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
}

/// What this site holds: the tips of all logs. As a file it tells `bundle --since` what another site holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FrontierResponse {
    /// The network, in hex.
    pub network: String,
    /// Whose frontier it is.
    pub site: String,
    /// The tips, by space: `main`, and `_network` for membership.
    pub spaces: BTreeMap<String, Vec<LogTipResponse>>,
}

/// The tip of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogTipResponse {
    /// The site that writes the log.
    pub site: String,
    /// Its incarnation, in hex.
    pub incarnation: String,
    /// The number of the last entry.
    pub seq: u64,
    /// The beginning of that entry's hash, in hex.
    pub hash: String,
    /// The incarnations before, newest first, each with its last number.
    pub before: Vec<(String, u64)>,
}

/// Records that are named for one reason and site.
const RECORDS_NAMED_MAX: usize = 100;

/// All that is not in step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyResponse {
    /// Whether nothing is wrong.
    pub in_sync: bool,
    /// What is not in step, by reason and site.
    pub causes: Vec<DivergenceResponse>,
    /// Collections of which only the first records were held against their schema here, because there are too many:
    /// `GET /v1/schemas/{collection}/check` looks at all.
    #[serde(default)]
    pub partial: Vec<String>,
}

/// What is not in step for one reason at one site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DivergenceResponse {
    /// `not_confirmed`, `ahead`, `never_heard`, `held`, `void`, `damaged`, `unreadable`, `schema_mismatch`, `writes_refused` or `held_back`.
    pub reason: String,
    /// The site that is behind, ahead or not heard, or whose entries they are.
    pub site: String,
    /// Its name.
    pub site_name: String,
    /// How many entries.
    pub entries: u64,
    /// The first of them: incarnation in hex and number.
    pub first: Option<(String, u64)>,
    /// The same as one name, which `branchline log` takes.
    pub first_entry: Option<String>,
    /// The records that these entries change, as `COLLECTION/ID`: the first hundred.
    pub records: Vec<String>,
    /// How many records these entries change; counted up to 10,000, and as far as a thousand entries say.
    pub record_count: u64,
    /// There may be more records than were counted.
    pub has_more_records: bool,
    /// In words for a person.
    pub detail: String,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogParams {
    /// Of this site only, member or not any more: its name, or the id of one of its keys.
    site: Option<String>,
    /// This entry only, as answers name it, or the beginning of its incarnation with its number.
    entry: Option<String>,
    /// Entries before this place, the `next` of the page behind them; or before this entry.
    before: Option<String>,
    /// At most so many entries: 1 to 1000, 100 if not given.
    limit: Option<usize>,
}

/// The names of the two spaces of a realm: in a private space the same as in the network.
pub(crate) fn space_names(realm: RealmId) -> [(&'static str, SpaceId); 2] {
    [(MEMBERSHIP, realm.membership_space()), ("main", realm.main_space())]
}

/// The last entries, in the order in which this site took them in.
#[utoipa::path(
    get,
    path = "/v1/log",
    operation_id = "list_entries",
    params(InSpace, LogParams),
    responses((status = OK, description = "A page of them, newest last.", body = LogResponse)),
)]
pub(crate) async fn log(
    InSpace(handle): InSpace,
    Params(LogParams { site, entry, before, limit }): Params<LogParams>,
) -> Result<Json<LogResponse>, ApiError> {
    let limit = page_records(limit)?;
    let realm = handle.realm()?;
    let status = handle.replica_status().await?;
    let names = status.names();
    let sites = site.map(|site| find_keys(&status, &site)).transpose()?;
    let spaces = space_names(realm);
    if let Some(entry) = entry {
        let named = named(&handle, &entry).await?;
        let answer = |(entry, records): WithRecords| EntryResponse {
            records: records.iter().take(RECORDS_NAMED_MAX).map(record_name).collect(),
            ..entry_answer(entry, &spaces, &names)
        };
        return Ok(Json(LogResponse {
            entries: named.into_iter().map(answer).collect(),
            next: None,
        }));
    }
    let before = match before {
        None => None,
        Some(text) => Some(place_of(&handle, &text).await?),
    };
    let read = handle.read(move |journal, _| {
        let spaces = spaces.map(|(_, space)| space);
        log::entries(journal, &spaces, sites.as_ref(), before, limit + 1)
    });
    let mut entries = read.await?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(|entry| entry.position.0);
    let answer = |entry: LoggedEntry| entry_answer(entry, &spaces, &names);
    Ok(Json(LogResponse { entries: entries.into_iter().rev().map(answer).collect(), next }))
}

/// The entries that a person names, with the records that each changes; at least one.
async fn named(handle: &Handle, text: &str) -> Result<Vec<WithRecords>, ApiError> {
    let entry: EntryText = text.parse().map_err(|error| {
        ApiError::of(Code::BadParameter, &error).hint("`branchline log` lists the entries")
    })?;
    let realm = handle.realm()?;
    let space = if entry.is_of_membership { realm.membership_space() } else { realm.main_space() };
    let found = handle.read(move |journal, _| log::named(journal, space, &entry)).await?;
    if found.is_empty() {
        let message = format!("this site holds no entry {text}");
        return Err(ApiError::new(Code::BadParameter, message).hint(
            "`branchline log` lists those that it holds, `branchline space list` its other spaces",
        ));
    }
    Ok(found)
}

/// A place in the journal, by its number or by the entry that lies there.
async fn place_of(handle: &Handle, text: &str) -> Result<Position, ApiError> {
    if let Ok(position) = text.parse() {
        return Ok(Position(position));
    }
    match &named(handle, text).await?[..] {
        [(entry, _)] => Ok(entry.position),
        several => {
            let message = format!("{} entries are called {text}: give more of it", several.len());
            Err(ApiError::new(Code::BadParameter, message))
        }
    }
}

fn record_name((collection, id): &(String, String)) -> String {
    format!("{collection}/{id}")
}

fn entry_answer(
    logged: LoggedEntry,
    spaces: &[(&'static str, SpaceId)],
    names: &BTreeMap<SiteId, String>,
) -> EntryResponse {
    let LoggedEntry { space, author, seq, hash, status, position, content } = logged;
    let named = spaces.iter().find(|(_, known)| *known == space);
    let space = named.map_or_else(|| space.to_string(), |(name, _)| (*name).to_owned());
    let entry = EntryId { author, seq };
    let before = if space == MEMBERSHIP { format!("{MEMBERSHIP}/") } else { String::new() };
    let entry = format!("{before}{entry}");
    let count = |count: Option<usize>| count.map(|count| count as u64);
    let status = match (content, status) {
        (None, _) => "damaged",
        (Some(_), EntryStatus::Applied) => "applied",
        (Some(_), EntryStatus::Held) => "held",
        (Some(_), EntryStatus::Void) => "void",
    };
    EntryResponse {
        space,
        site: author.site.to_string(),
        site_name: name_of(author.site, names),
        incarnation: HEXLOWER.encode(&author.incarnation.0),
        seq,
        entry,
        hash: hash.to_string(),
        time: content.and_then(|content| rfc3339(content.time_ms)),
        transactions: content.and_then(|content| count(content.transactions)),
        changes: content.and_then(|content| count(content.changes)),
        bytes: content.map(|content| content.bytes as u64),
        status: status.to_owned(),
        position: position.0,
        records: Vec::new(),
    }
}

/// What this site holds: the tips of all logs. Tells `POST /v1/bundle` at another site what to leave out.
#[utoipa::path(
    get,
    path = "/v1/frontier",
    operation_id = "get_frontier",
    params(InSpace),
    responses((status = OK, description = "The tips.", body = FrontierResponse)),
)]
pub(crate) async fn frontier(InSpace(handle): InSpace) -> Result<Json<FrontierResponse>, ApiError> {
    let realm = handle.realm()?;
    let site = handle.site();
    let read = handle.read(move |tables, _| {
        let spaces = space_names(realm).map(|(name, space)| {
            let known = log::known(tables, space)?;
            Ok((name.to_owned(), known.into_iter().map(tip_answer).collect()))
        });
        spaces.into_iter().collect()
    });
    let (network, site) = (realm.to_string(), site.to_string());
    Ok(Json(FrontierResponse { network, site, spaces: read.await? }))
}

fn tip_answer(known: Known) -> LogTipResponse {
    let before = known.predecessors.iter();
    LogTipResponse {
        site: known.author.site.to_string(),
        incarnation: HEXLOWER.encode(&known.author.incarnation.0),
        seq: known.seq,
        hash: HEXLOWER.encode(&known.check),
        before: before.map(|it| (HEXLOWER.encode(&it.incarnation.0), it.seq)).collect(),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhyParams {
    /// Hold no more than so many records against the schemas of their collections, some microseconds each: 1 to 100000,
    /// 100000 if not given. `partial` names collections that have more.
    records_max: Option<usize>,
}

/// What is not in step, and why.
#[utoipa::path(
    get,
    path = "/v1/status/why",
    operation_id = "explain_status",
    params(InSpace, WhyParams),
    responses((status = OK, description = "Reasons, sites and records.", body = WhyResponse)),
)]
pub(crate) async fn why(
    InSpace(handle): InSpace,
    Params(WhyParams { records_max }): Params<WhyParams>,
) -> Result<Json<WhyResponse>, ApiError> {
    let most = page::LOOKED_AT_MAX;
    if let Some(found) = records_max.filter(|asked| !(1..=most).contains(asked)) {
        let message = format!("records_max is {found}, expected 1 to {most}");
        return Err(ApiError::new(Code::BadParameter, message));
    }
    let records_max = records_max.unwrap_or(most);
    let realm = handle.realm()?;
    let names = handle.names().await?;
    let members: Vec<_> = handle.sites().await?.into_iter().map(|site| site.site).collect();
    let own = handle.site();
    let receipts = handle.receipts_of(realm.main_space()).await?;
    let turn = turn().await?;
    let read = handle.read(move |journal, _| {
        let _turn = turn;
        let refusal = journal.refusal();
        Ok((why::causes(journal, realm, own, members, &receipts, records_max)?, refusal))
    });
    let (why::DivergenceReport { causes, partly_checked }, refusal) = read.await?;
    let mut causes: Vec<_> = causes
        .into_iter()
        .map(|((reason, site), cause)| cause_answer(reason, site, cause, &names))
        .collect();
    let held_back = handle.look(|driver| driver.room().held_back()).await?;
    let of_disk = [("writes_refused", refusal), ("held_back", held_back)];
    let of_disk = of_disk.into_iter().filter_map(|(reason, detail)| Some((reason, detail?)));
    causes.extend(of_disk.map(|(reason, detail)| DivergenceResponse {
        reason: reason.to_owned(),
        site: own.to_string(),
        site_name: name_of(own, &names),
        entries: 0,
        first: None,
        first_entry: None,
        records: Vec::new(),
        record_count: 0,
        has_more_records: false,
        detail,
    }));
    Ok(Json(WhyResponse { in_sync: causes.is_empty(), causes, partial: partly_checked }))
}

fn cause_answer(
    reason: Reason,
    site: SiteId,
    cause: Cause,
    names: &BTreeMap<SiteId, String>,
) -> DivergenceResponse {
    let (reason, detail) = match reason {
        Reason::Behind => {
            ("not_confirmed", "no receipt of the site covers them; it may hold them by now")
        }
        Reason::Ahead => ("ahead", "the site holds entries that have not come here"),
        Reason::NeverHeard => {
            ("never_heard", "the site has never said what it holds: nothing is confirmed")
        }
        Reason::Held => ("held", "a newer program is needed to read these entries"),
        Reason::Void => ("void", "the checker found a fault, so they have no effect anywhere"),
        Reason::Damaged => ("damaged", "the journal's copy is damaged; peers are asked for it"),
        Reason::Unreadable => ("unreadable", "the record cannot be read at this site"),
        Reason::SchemaMismatch => ("schema_mismatch", "records do not fit their schema"),
    };
    let detail = match (cause.detail, reason) {
        (Some(fault), "void") if cause.entries > 1 => format!("{detail}; of the first: {fault}"),
        (Some(fault), "void") => format!("{detail}: {fault}"),
        (Some(counts), "schema_mismatch") => {
            format!("{detail}: {counts}; `branchline schema check` lists them")
        }
        (Some(reported), _) => reported,
        (None, _) => detail.to_owned(),
    };
    let first = cause.first.map(|(author, seq)| EntryId { author, seq });
    DivergenceResponse {
        reason: reason.to_owned(),
        site: site.to_string(),
        site_name: name_of(site, names),
        entries: cause.entries,
        first: first.map(|first| (HEXLOWER.encode(&first.author.incarnation.0), first.seq)),
        first_entry: first.map(|first| first.to_string()),
        records: cause.records.iter().take(RECORDS_NAMED_MAX).map(record_name).collect(),
        record_count: cause.records.len() as u64,
        has_more_records: cause.has_more_records,
        detail,
    }
}
