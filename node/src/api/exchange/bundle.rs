//! Bundles: entries to be carried, and taken in.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use branchline_crdt::bundle::{BundleError, Since};
use branchline_crdt::format::container::ChunkError;
use branchline_crdt::ids::{Author, Incarnation, RealmId, SiteId};
use branchline_crdt::log::entry::EntryId;
use branchline_crdt::log::frontier::{Known, Predecessor};
use branchline_crdt::replica::MergeError;
use data_encoding::HEXLOWER;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::log::{FrontierResponse, LogTipResponse, space_names};
use crate::api::error::{ApiError, Code, text_of};
use crate::api::params::extract::{InSpace, JsonBody, StreamedBody};
use crate::api::params::named::find_member;
use crate::api::params::object::object_or_null;
use crate::api::texts::name_of;
use crate::api::texts::rfc3339;
use crate::bundle::{MergeCounts, MergeReport, NotMerged};
use crate::handle::Handle;

/// What a bundle looks like to programs that transport it.
const BUNDLE_TYPE: &str = "application/x-branchline-bundle";
/// How long the rest of a bundle that is not taken in is read.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
/// Missing logs that an error names one by one.
const MISSING_TOLD_MAX: usize = 10;

/// What the receiver of the bundle holds. Neither given: nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleRequest {
    /// What it has said of itself by `GET /v1/frontier`.
    #[serde(default, deserialize_with = "object_or_null")]
    pub since: Option<FrontierResponse>,
    /// The receiver, by name or id: what its latest receipt says.
    pub for_site: Option<String>,
}

/// What merging a bundle did. What it says is durable; merging it again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeResponse {
    /// The site that made the bundle, by its own word.
    pub maker: String,
    /// Its name.
    pub maker_name: String,
    /// When, by its clock, in RFC 3339.
    pub time: Option<String>,
    /// What became of the entries.
    #[serde(flatten, deserialize_with = "branchline_crdt::format::json::flattened")]
    pub counts: MergeCounts,
}

/// Entries to be carried to another site.
#[utoipa::path(
    post,
    path = "/v1/bundle",
    operation_id = "create_bundle",
    request_body = BundleRequest,
    responses(
        (status = OK, description = "The bundle.", body = Vec<u8>, content_type = BUNDLE_TYPE),
    ),
)]
pub(crate) async fn bundle(
    InSpace(handle): InSpace,
    JsonBody(request): JsonBody<BundleRequest>,
) -> Result<Response, ApiError> {
    let network = handle.network_id().ok_or_else(ApiError::no_network)?;
    let since = match (request.since, request.for_site) {
        (Some(_), Some(_)) => {
            let message = "since and for_site both say what the receiver holds";
            return Err(ApiError::new(Code::BadParameter, message));
        }
        (Some(frontier), None) => since(&frontier, &handle, network)?,
        (None, Some(site)) => Since::Receipt(find_member(&handle, &site).await?),
        (None, None) => Since::Nothing,
    };
    let bytes = handle.bundle(since).await?;
    Ok(([(header::CONTENT_TYPE, BUNDLE_TYPE)], Body::from_stream(bytes)).into_response())
}

/// What a frontier file says: of the network, or of a private space.
fn since(
    frontier: &FrontierResponse,
    handle: &Handle,
    network: RealmId,
) -> Result<Since, ApiError> {
    let found = &frontier.network;
    let realm = if *found == network.to_string() {
        Some(network)
    } else {
        handle.in_space(found).ok().and_then(|handle| handle.realm().ok())
    };
    let realm = realm.ok_or_else(|| {
        let message = format!("the frontier is of network {found}, this site belongs to {network}");
        ApiError::new(Code::BundleRefused, message)
    })?;
    let site = frontier.site.parse().ok().and_then(|peer| SiteId::from_peer_id(&peer));
    let site = site.ok_or_else(|| {
        let message = format!("the frontier names no site: {:?}", frontier.site);
        ApiError::new(Code::BadParameter, message)
    })?;
    let mut spaces = BTreeMap::new();
    for (name, tips) in &frontier.spaces {
        let space = space_names(realm).into_iter().find(|(known, _)| known == name);
        // What this site does not hold it cannot bundle.
        let Some((_, space)) = space else { continue };
        let bad =
            || ApiError::new(Code::BadParameter, format!("the frontier of {name} is damaged"));
        let known = tips.iter().map(|tip| known(tip).ok_or_else(bad));
        spaces.insert(space, known.collect::<Result<Vec<_>, _>>()?);
    }
    Ok(Since::Frontier(site, spaces))
}

fn known(tip: &LogTipResponse) -> Option<Known> {
    let incarnation = |hex: &str| {
        let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
        Some(Incarnation(bytes.try_into().ok()?))
    };
    let site = SiteId::from_peer_id(&tip.site.parse().ok()?)?;
    let before = tip.before.iter().map(|(former, seq)| {
        Some(Predecessor { incarnation: incarnation(former)?, seq: *seq, check: [0; 8] })
    });
    Some(Known {
        author: Author { site, incarnation: incarnation(&tip.incarnation)? },
        seq: tip.seq,
        check: HEXLOWER.decode(tip.hash.as_bytes()).ok()?.try_into().ok()?,
        predecessors: before.collect::<Option<_>>()?,
    })
}

/// Takes a bundle in.
#[utoipa::path(
    post,
    path = "/v1/merge",
    operation_id = "merge_bundle",
    request_body(content = Vec<u8>, content_type = BUNDLE_TYPE),
    responses((status = OK, description = "The bundle is merged, durably.", body = MergeResponse)),
)]
pub(crate) async fn merge(
    State(handle): State<Handle>,
    StreamedBody(body): StreamedBody,
) -> Result<Json<MergeResponse>, ApiError> {
    let mut bytes = body.into_data_stream();
    let (report, merged) = handle.merge_bundle(&mut bytes).await;
    if merged.is_err() {
        // Anyone who is still sending would not read the answer.
        let rest = bytes.take_while(|some| std::future::ready(some.is_ok())).for_each(async |_| ());
        let _ = tokio::time::timeout(DRAIN_PATIENCE, rest).await;
    }
    let names = handle.names().await?;
    match merged {
        Ok(()) => Ok(Json(answer(report, &names))),
        Err(error) => Err(not_merged(&error, &report, &names)),
    }
}

fn answer(report: MergeReport, names: &BTreeMap<SiteId, String>) -> MergeResponse {
    MergeResponse {
        maker: report.maker.map(|maker| maker.to_string()).unwrap_or_default(),
        maker_name: report.maker.map(|maker| name_of(maker, names)).unwrap_or_default(),
        time: rfc3339(report.time_ms),
        counts: report.counts,
    }
}

fn not_merged(
    error: &NotMerged,
    report: &MergeReport,
    names: &BTreeMap<SiteId, String>,
) -> ApiError {
    let so_far = match report.counts.entries_new {
        0 => String::new(),
        1 => "; 1 entry before that is merged".to_owned(),
        number => format!("; {number} entries before that are merged"),
    };
    let new = |code| ApiError::new(code, format!("{}{so_far}", text_of(error)));
    match error {
        NotMerged::Bundle(BundleError::File(ChunkError::Version { .. })) => {
            new(Code::BundleRefused)
        }
        NotMerged::Bundle(_) => new(Code::BadBundle)
            .hint("what is merged stays; merge the whole file and only the rest is added"),
        NotMerged::Source { .. } => new(Code::BodyUnreadable),
        NotMerged::Read(_) => new(Code::Stopped),
        NotMerged::Merge(merge) => match merge {
            MergeError::NoNetwork => ApiError::no_network(),
            MergeError::Gap { missing } => {
                let missing_entries = |missing: &branchline_crdt::replica::MissingEntries| {
                    let name = name_of(missing.author.site, names);
                    let from = EntryId { author: missing.author, seq: missing.from };
                    format!("{name} {from} to {}", missing.to)
                };
                let reported: Vec<_> =
                    missing.iter().take(MISSING_TOLD_MAX).map(missing_entries).collect();
                let more = match missing.len().saturating_sub(MISSING_TOLD_MAX) {
                    0 => String::new(),
                    more => format!(" and {more} more logs"),
                };
                let reported = reported.join(", ");
                ApiError::new(
                    Code::BundleGap,
                    format!("the bundle begins after entries that this site does not have: {reported}{more}"),
                )
                .hint(
                    "nothing was merged; print this site's frontier (`branchline frontier > FILE`) and make the bundle from there: `branchline bundle OUT --since FILE`",
                )
            }
            MergeError::NotMember => new(Code::BundleRefused).hint(
                "carry a bundle of this site to a member first: it takes this site's ticket along",
            ),
            MergeError::OtherNetwork { .. } => new(Code::BundleRefused),
            MergeError::TicketRefused { .. } => new(Code::TicketRefused)
                .hint("an admin makes a new ticket with `branchline invite`"),
            MergeError::Unreadable { .. } => new(Code::BadBundle),
            MergeError::Unwritable => new(Code::Unwritable),
        },
    }
}
