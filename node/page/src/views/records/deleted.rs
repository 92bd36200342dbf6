//! The deleted records of a collection. Each leads to its history, and to the button that brings it back.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use branchline_node::api::DeletedResponse;
use maud::{Markup, html};

use super::{command, record_path};
use crate::ask::{encoded, path_with};
use crate::form::Fields;
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;
use crate::texts::Texts;

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(collection): Path<String>,
    uri: Uri,
) -> Response {
    let t = viewer.t;
    let asked = Fields::of_query(&uri);
    let space = asked.given("space");
    let of_collection = encoded(&collection);
    let query = [("space", space), ("after", asked.given("after"))];
    let path = path_with(&format!("/v1/collections/{of_collection}/deleted"), &query);
    let found: DeletedResponse = match office.ask.get(&path).await {
        Ok(found) => found,
        Err(refused) => return layout::failed(&office, &viewer, Place::Records, &refused),
    };
    let records = path_with(&format!("/records/{of_collection}"), &[("space", space)]);
    let here = format!("/records/{of_collection}/deleted");
    let content = html! {
        p.crumbs { a href=(path_with("/records", &[("space", space)])) { (t.records) } " · " a href=(records) { (shown::name(&collection)) } }
        (list(t, &collection, space, &found))
        @if let Some(next) = &found.next {
            p.pages { a href=(path_with(&here, &[("space", space), ("after", Some(next))])) rel="next" { (t.next_page) } }
        }
    };
    let command = command(&format!("list {} --deleted", layout::quoted(&collection)), space);
    let title = t.deleted_records.to_owned();
    layout::page(&office, &viewer, View { place: Place::Records, title, command, content })
}

fn list(t: &Texts, collection: &str, space: Option<&str>, found: &DeletedResponse) -> Markup {
    if found.ids.is_empty() {
        let none = if found.next.is_some() { t.none_found_so_far } else { t.none_found };
        return html! { p.empty { (none) } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(t.deleted_records) {
            table {
                caption { (shown::counted(t, t.on_this_page, found.ids.len() as u64)) }
                thead { tr { th scope="col" { (t.id) } } }
                tbody {
                    @for id in &found.ids {
                        tr { td { a href=(record_path(collection, id, space)) { (shown::name(id)) } } }
                    }
                }
            }
        }
    }
}
