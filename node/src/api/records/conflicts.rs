//! Fields with more than one concurrent value: which one is shown, what the others are, and whose they are.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use branchline_crdt::ids::SiteId;
use branchline_crdt::record::{DELETED_FIELD, Version, View, check_collection, check_record_id};
use branchline_crdt::store::StoreError;
use branchline_crdt::store::read::{self, AtOdds};
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::tables::records::RecordKey;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::api::error::{ApiError, Code};
use crate::api::params::extract::{InSpace, Params, page_records};
use crate::api::texts::rfc3339;
use crate::handle::Handle;

/// Conflicted fields, in the order of collection and record id.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConflictsResponse {
    /// The fields.
    pub conflicts: Vec<ConflictResponse>,
    /// `COLLECTION/ID` of the record behind which the next page begins (`?after=`).
    pub next: Option<String>,
}

/// One conflicted field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConflictResponse {
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// The field's path.
    pub field: String,
    /// All concurrent values, the one that is shown first.
    pub values: Vec<ConflictValueResponse>,
    /// The record's version, as `if_match` of a request that settles it takes it, and the header `If-Match` in quotes.
    pub version: String,
}

/// One of a field's values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConflictValueResponse {
    /// The value.
    pub value: serde_json::Value,
    /// Whether it is the one that reads show.
    pub shown: bool,
    /// The name of the site that wrote it; its id where it is no member (any more).
    pub site_name: Option<String>,
    /// The site's id.
    pub site: Option<String>,
    /// When, by that site's clock, in RFC 3339.
    pub time: Option<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConflictsParams {
    /// Of this collection only.
    collection: Option<String>,
    /// Of this record only; with `collection`.
    id: Option<String>,
    /// Instead, of deleted records: what was edited by sites that did not know of the deletion. That stands first, under
    /// `_deleted`. What was added to a counter is not distinguished.
    #[serde(default)]
    deleted: bool,
    /// The `next` of the page before.
    after: Option<String>,
    /// At most so many records: 1 to 1000, 100 if not given.
    limit: Option<usize>,
}

/// What turns the authors of values into names for people.
#[derive(Default)]
pub(crate) struct Naming {
    pub(crate) sites: BTreeMap<[u8; 16], SiteId>,
    pub(crate) names: BTreeMap<SiteId, String>,
}

impl Naming {
    /// For the values of one view.
    pub(crate) async fn of(handle: &Handle, view: &View) -> Result<Self, ApiError> {
        if view.conflicts.is_empty() {
            return Ok(Self::default());
        }
        let actors = actors(view);
        let sites = handle.read(move |tables, _| sites(tables, actors)).await?;
        Ok(Self { sites, names: handle.names().await? })
    }
}

pub(crate) fn actors(view: &View) -> BTreeSet<[u8; 16]> {
    let values = view.conflicts.iter().flat_map(|conflict| &conflict.values);
    values.map(|value| value.actor).collect()
}

pub(crate) fn sites(
    tables: &impl ReadTables,
    actors: BTreeSet<[u8; 16]>,
) -> Result<BTreeMap<[u8; 16], SiteId>, StoreError> {
    let mut sites = BTreeMap::new();
    for actor in actors {
        if let Some(author) = read::author_of(tables, &actor)? {
            sites.insert(actor, author.site);
        }
    }
    Ok(sites)
}

/// Fields with more than one concurrent value.
#[utoipa::path(
    get,
    path = "/v1/conflicts",
    operation_id = "list_conflicts",
    params(InSpace, ConflictsParams),
    responses((status = OK, description = "A page of them.", body = ConflictsResponse)),
)]
pub(crate) async fn conflicts(
    InSpace(handle): InSpace,
    Params(params): Params<ConflictsParams>,
) -> Result<Json<ConflictsResponse>, ApiError> {
    let limit = page_records(params.limit)?;
    let after = params.after.as_deref().map(parse_after).transpose()?;
    if let Some(collection) = &params.collection {
        check_collection(collection)?;
    }
    if let Some(id) = &params.id {
        check_record_id(id)?;
    }
    let one = match (params.collection.clone(), params.id) {
        (Some(collection), Some(id)) => Some((collection, id)),
        (None, Some(_)) => {
            let message = "the parameter id needs the parameter collection";
            return Err(ApiError::new(Code::BadParameter, message));
        }
        (Some(_) | None, None) => None,
    };
    let deleted = params.deleted;
    let which = if deleted { AtOdds::Hidden } else { AtOdds::Conflicted };
    let read = handle.read(move |tables, space| {
        let key = |(collection, id)| RecordKey { space, collection, id };
        let (keys, next) = match one {
            Some(record) => (vec![key(record)], None),
            None => {
                let collection = params.collection.as_deref();
                let after = after.map(key);
                let keys = read::at_odds(tables, space, which, collection, after.as_ref(), limit)?;
                let last = keys.last().filter(|_| keys.len() == limit);
                let next = last.map(|key| format!("{}/{}", key.collection, key.id));
                (keys, next)
            }
        };
        let mut records = Vec::new();
        let mut naming = Naming::default();
        for key in keys {
            if let Some(mut view) = read::record(tables, &key)?.filter(|it| it.deleted == deleted) {
                if deleted {
                    view.conflicts = read::hidden_edits(tables, &key)?;
                }
                naming.sites.append(&mut sites(tables, actors(&view))?);
                records.push((key, view));
            }
        }
        Ok((records, naming, next))
    });
    let (records, naming, next) = read.await?;
    let naming = Naming { names: handle.names().await?, ..naming };
    let of_record =
        |(key, view): &(RecordKey, View)| of_view(&key.collection, &key.id, view, &naming);
    Ok(Json(ConflictsResponse { conflicts: records.iter().flat_map(of_record).collect(), next }))
}

pub(crate) fn parse_after(text: &str) -> Result<(String, String), ApiError> {
    // Collections have no slash in their name; ids may.
    let (collection, id) = text.split_once('/').ok_or_else(|| {
        ApiError::new(Code::BadParameter, format!("after is {text:?}, expected COLLECTION/ID"))
    })?;
    check_collection(collection)?;
    check_record_id(id)?;
    Ok((collection.to_owned(), id.to_owned()))
}

/// The conflicts of one record.
pub(crate) fn of_view(
    collection: &str,
    id: &str,
    view: &View,
    naming: &Naming,
) -> Vec<ConflictResponse> {
    // Of a deleted record nothing is shown but that it is.
    let is_shown = |path: &str| !view.deleted || path == DELETED_FIELD;
    let value = |(shown, value): (bool, &branchline_crdt::record::ConflictValue)| {
        let site = naming.sites.get(&value.actor);
        let name = |site: &SiteId| naming.names.get(site).cloned().unwrap_or(site.to_string());
        ConflictValueResponse {
            value: value.value.to_json(),
            shown,
            site_name: site.map(name),
            site: site.map(SiteId::to_string),
            // What all sites begin with has no author and no time.
            time: site.and_then(|_| rfc3339(value.time_ms)),
        }
    };
    let version = Version::of(view).to_string();
    let conflict = |conflict: &branchline_crdt::record::Conflict| ConflictResponse {
        collection: collection.to_owned(),
        id: id.to_owned(),
        field: conflict.path.clone(),
        values: {
            let firsts = std::iter::once(is_shown(&conflict.path)).chain(std::iter::repeat(false));
            firsts.zip(&conflict.values).map(value).collect()
        },
        version: version.clone(),
    };
    view.conflicts.iter().map(conflict).collect()
}
