//! Records: the collections there are, a table of one, one record with what became of it, and what is changed.

mod change;
mod csv;
mod deleted;
mod edit;
mod one;
pub(super) mod query;
mod table;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::{get, post};
use branchline_node::api::{CollectionResponse, CollectionsResponse, SpacesResponse};
use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::ask::{Refused, encoded, path_with};
use crate::form::Fields;
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;

/// Collections that are shown; each has its address besides.
const COLLECTIONS_MAX: usize = 1_000;

/// The paths.
pub(super) fn routes() -> Router<Arc<Office>> {
    Router::new()
        .route("/records", get(collections))
        .route("/records/{collection}", get(table::show))
        .route("/records/{collection}/csv", get(csv::download))
        .route("/records/{collection}/deleted", get(deleted::show))
        .route("/records/{collection}/new", get(edit::begin).post(edit::create))
        .route("/record/{collection}/{id}", get(one::show))
        .route("/record/{collection}/{id}/edit", get(edit::show).post(edit::save))
        .route("/record/{collection}/{id}/delete", post(change::delete))
        .route("/record/{collection}/{id}/undelete", post(change::undelete))
}

/// The path of a record on this page.
pub(super) fn record_path(collection: &str, id: &str, space: Option<&str>) -> String {
    path_with(&format!("/record/{}/{}", encoded(collection), encoded(id)), &[("space", space)])
}

/// The path of a record in the API.
fn api_path(collection: &str, id: &str, behind: &str, query: &[(&str, Option<&str>)]) -> String {
    path_with(&format!("/v1/records/{}/{}{behind}", encoded(collection), encoded(id)), query)
}

/// A command line about records, with the space that it is about.
fn command(words: &str, space: Option<&str>) -> String {
    let space = space.map(|space| format!(" --space {}", layout::quoted(space)));
    format!("branchline {words}{}", space.unwrap_or_default())
}

/// The spaces among which one can choose; nothing where there is but one.
pub(super) async fn choice_of_space(
    office: &Office,
    viewer: &Viewer,
    path: &str,
    chosen: Option<&str>,
) -> Markup {
    let spaces: SpacesResponse =
        office.ask.get("/v1/spaces").await.unwrap_or(SpacesResponse { spaces: Vec::new() });
    if spaces.spaces.is_empty() {
        return html! {};
    }
    html! {
        p.crumbs {
            (viewer.t.space) ": "
            a href=(path) aria-current=[chosen.is_none().then_some("true")] { "main" }
            @for space in &spaces.spaces {
                " · "
                a href=(path_with(path, &[("space", Some(&space.name))]))
                    aria-current=[(chosen == Some(space.name.as_str())).then_some("true")] { (shown::name(&space.name)) }
            }
        }
    }
}

/// The fields that a collection's schema declares, with their kinds. None where it cannot be read: it is a help alone.
async fn schema(office: &Office, collection: &str, space: Option<&str>) -> Map<String, Value> {
    let path = path_with(&format!("/v1/schemas/{}", encoded(collection)), &[("space", space)]);
    office.ask.get(&path).await.unwrap_or_default()
}

async fn collections(State(office): State<Arc<Office>>, viewer: Viewer, uri: Uri) -> Response {
    let asked = Fields::of_query(&uri);
    let space = asked.given("space");
    let path = path_with("/v1/collections", &[("space", space)]);
    let found: Result<CollectionsResponse, Refused> = office.ask.get(&path).await;
    let collections = match found {
        Ok(found) => found.collections,
        Err(refused) => return layout::failed(&office, &viewer, Place::Records, &refused),
    };
    let content = html! {
        (choice_of_space(&office, &viewer, "/records", space).await)
        (layout::live_part("collections", &path_with("/records", &[("space", space)]), list(&viewer, &collections, space)))
    };
    let command = command("list COLLECTION", space);
    let title = viewer.t.records.to_owned();
    layout::page(&office, &viewer, View { place: Place::Records, title, command, content })
}

fn list(viewer: &Viewer, collections: &[CollectionResponse], space: Option<&str>) -> Markup {
    let t = viewer.t;
    if collections.is_empty() {
        return html! { p.empty { (t.no_records) } };
    }
    let more = collections.len() > COLLECTIONS_MAX;
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.records) {
            table {
                caption { (shown::counted(t, t.collections_n, collections.len() as u64)) @if more { ", " (shown::counted(t, t.first_shown, COLLECTIONS_MAX as u64)) } }
                thead { tr { th scope="col" { (t.collection) } th.n scope="col" { (t.records) } th.n scope="col" { (t.deleted) } } }
                tbody {
                    @for collection in collections.iter().take(COLLECTIONS_MAX) {
                        tr {
                            td { a href=(path_with(&format!("/records/{}", encoded(&collection.name)), &[("space", space)])) { (shown::name(&collection.name)) } }
                            td.n { a href=(path_with(&format!("/records/{}", encoded(&collection.name)), &[("space", space)])) { (shown::number(t, collection.records)) } }
                            td.n { @if collection.deleted > 0 { a href=(path_with(&format!("/records/{}/deleted", encoded(&collection.name)), &[("space", space)])) { (shown::number(t, collection.deleted)) } } @else { "0" } }
                        }
                    }
                }
            }
        }
    }
}
