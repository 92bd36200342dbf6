//! Changing a record, and making one: a form of its fields. What was not touched is not written, and nothing is if
//! somebody else has changed the record meanwhile.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::{Map, Value};

use super::one::Name;
use super::schema;
use crate::ask::{Refused, encoded, path_with};
use crate::form::{Fields, Write};
use crate::layout::{self, Place, View};
use crate::office::Office;
use crate::shown;
use crate::sign_in::Viewer;
use crate::texts::{Texts, say};

/// Fields of a new record that are offered at once; others are added one by one.
const OFFERED_MAX: usize = 40;
/// Longest value that a form holds; larger ones are changed by programs.
const VALUE_BYTES_MAX: usize = 256 * 1024;

/// How a value stands in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldKind {
    Text,
    Number,
    Boolean,
    Json,
}

impl FieldKind {
    const ALL: [Self; 4] = [Self::Text, Self::Number, Self::Boolean, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
        }
    }

    fn title(self, t: &Texts) -> &'static str {
        match self {
            Self::Text => t.kind_text,
            Self::Number => t.kind_number,
            Self::Boolean => t.kind_boolean,
            Self::Json => t.kind_json,
        }
    }

    fn named(text: Option<&str>) -> Self {
        let found = Self::ALL.into_iter().find(|kind| Some(kind.as_str()) == text);
        found.unwrap_or(Self::Text)
    }

    fn of(value: &Value) -> Self {
        match value {
            Value::String(_) => Self::Text,
            Value::Number(_) => Self::Number,
            Value::Bool(_) => Self::Boolean,
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Json,
        }
    }

    /// Of a field that a schema declares so, for example `decimal required`.
    fn declared(spec: &Value) -> Self {
        let word = spec.as_str().unwrap_or_default().split(' ').next().unwrap_or_default();
        match word {
            "integer" | "float" | "counter" | "decimal" => Self::Number,
            "boolean" => Self::Boolean,
            "list" | "map" => Self::Json,
            _ => Self::Text,
        }
    }

    /// Reads what somebody typed.
    fn read(self, text: &str) -> Result<Value, &'static str> {
        let json = |expected| serde_json::from_str::<Value>(text.trim()).map_err(|_| expected);
        match self {
            Self::Text => Ok(Value::String(text.to_owned())),
            Self::Number => match json("7 or 2.50")? {
                number @ Value::Number(_) => Ok(number),
                _ => Err("7 or 2.50"),
            },
            Self::Boolean => match text {
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err("true or false"),
            },
            Self::Json => json("JSON"),
        }
    }
}

/// A value as it stands in a form.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => {
            serde_json::to_string_pretty(value).unwrap_or_default()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// The change that a form asks for, as a merge patch: what is other than it was shown.
fn patch(
    form: &Fields,
    shown: &Map<String, Value>,
    t: &Texts,
) -> Result<Map<String, Value>, String> {
    let mut patch = Map::new();
    for (name, typed) in form.iter() {
        let Some(field) = name.strip_prefix("value:") else { continue };
        let is_removed = form.get(&format!("remove:{field}")).is_some();
        if is_removed {
            patch.insert(field.to_owned(), Value::Null);
            continue;
        }
        let before = shown.get(field);
        // Browsers send lines that end in two characters.
        let typed = typed.replace("\r\n", "\n");
        let is_as_shown = before.is_some_and(|value| text_of(value).replace("\r\n", "\n") == typed);
        if is_as_shown || before.is_none() && typed.is_empty() {
            continue;
        }
        let kind = FieldKind::named(form.get(&format!("kind:{field}")));
        let value = kind
            .read(&typed)
            .map_err(|expected| say(t.value_is_wrong, &[field, &typed, expected]))?;
        patch.insert(field.to_owned(), value);
    }
    if let Some(field) = form.given("new-name") {
        let kind = FieldKind::named(form.get("new-kind"));
        let typed = form.get("new-value").unwrap_or_default().replace("\r\n", "\n");
        let value = kind
            .read(&typed)
            .map_err(|expected| say(t.value_is_wrong, &[field, &typed, expected]))?;
        patch.insert(field.to_owned(), value);
    }
    Ok(patch)
}

pub(super) async fn show(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(path): Path<(String, String)>,
    uri: Uri,
) -> Response {
    let name = Name::of(path, &uri);
    match name.read(&office).await {
        Ok(found) => {
            edit_page(&office, &viewer, &name, &found.answer.fields, &found.etag, None, None)
        }
        Err(refused) => layout::failed(&office, &viewer, Place::Records, &refused),
    }
}

pub(super) async fn save(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(path): Path<(String, String)>,
    uri: Uri,
    Write(form): Write<Fields>,
) -> Response {
    let name = Name::of(path, &uri);
    let found = match name.read(&office).await {
        Ok(found) => found,
        Err(refused) => return layout::failed(&office, &viewer, Place::Records, &refused),
    };
    let fields = &found.answer.fields;
    let again = |error: Refused| {
        edit_page(&office, &viewer, &name, fields, &found.etag, Some(&form), Some(error))
    };
    let etag = form.get("etag").unwrap_or_default();
    if etag != found.etag {
        let text = viewer.t.changed_meanwhile;
        return again(Refused::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", text));
    }
    let patch = match patch(&form, fields, viewer.t) {
        Ok(patch) => patch,
        Err(text) => return again(Refused::new(StatusCode::BAD_REQUEST, "bad_parameter", text)),
    };
    if patch.is_empty() {
        return Redirect::to(&name.path()).into_response();
    }
    let headers = [(header::IF_MATCH, etag)];
    match office.ask.json::<Value>(Method::PATCH, &name.api(""), &headers, &patch).await {
        Ok(_) => {
            let names: Vec<_> = patch.keys().cloned().collect();
            office.notices.done(&viewer, say(viewer.t.saved, &[&names.join(", ")]), None);
            Redirect::to(&name.path()).into_response()
        }
        Err(refused) => again(refused),
    }
}

/// The form of a record. `typed`: what somebody typed, where it was refused.
fn edit_page(
    office: &Office,
    viewer: &Viewer,
    name: &Name,
    fields: &Map<String, Value>,
    etag: &str,
    typed: Option<&Fields>,
    error: Option<Refused>,
) -> Response {
    let t = viewer.t;
    if !viewer.may_change() {
        return layout::refused(office, viewer, StatusCode::FORBIDDEN, t.viewers_change_nothing);
    }
    let inputs = fields.iter().map(|(field, value)| {
        let kind = FieldKind::of(value);
        let text = typed.and_then(|typed| typed.get(&format!("value:{field}"))).map(str::to_owned);
        Input { field, kind, text: text.unwrap_or_else(|| text_of(value)), is_new: false }
    });
    let inputs: Vec<_> = inputs.collect();
    let content = html! {
        p.crumbs { a href=(name.path()) { (shown::name(&name.id)) } }
        @if let Some(error) = &error { (layout::error(error)) }
        form method="post" action=(name.path_of("/edit")) {
            (layout::hidden(viewer, &[("etag", etag)]))
            @for input in &inputs { (input.show(t)) }
            (new_field(t, typed))
            div.actions {
                button.primary type="submit" { (t.save) }
                a href=(name.path()) { (t.cancel) }
            }
        }
    };
    let view = View {
        place: Place::Records,
        title: say(t.edit_of, &[&branchline_node::visible::one_line(&name.id)]),
        command: name.command("patch") + " '{\"FIELD\": VALUE}'",
        content,
    };
    layout::page_with(office, viewer, error.map_or(StatusCode::OK, |error| error.status), view)
}

struct Input<'a> {
    field: &'a str,
    kind: FieldKind,
    text: String,
    is_new: bool,
}

impl Input<'_> {
    fn show(&self, t: &Texts) -> Markup {
        let Self { field, kind, text, is_new } = self;
        let (name, id) = (format!("value:{field}"), format!("field-{field}"));
        if text.len() > VALUE_BYTES_MAX {
            return html! { p { (shown::name(field)) ": " span.none { (say(t.too_large_to_edit, &[&shown::bytes(text.len() as u64)])) } } };
        }
        let is_long = *kind == FieldKind::Json || text.contains('\n') || text.len() > 100;
        html! {
            div.fields {
                div.wide {
                    label for=(id) { (shown::name(field)) " · " (kind.title(t)) }
                    input type="hidden" name=(format!("kind:{field}")) value=(kind.as_str());
                    @if *kind == FieldKind::Boolean {
                        select id=(id) name=(name) {
                            @if *is_new { option value="" selected[text.is_empty()] { "–" } }
                            @for (value, title) in [("true", t.yes), ("false", t.no)] {
                                option value=(value) selected[text == value] { (title) }
                            }
                        }
                    } @else if is_long {
                        textarea id=(id) name=(name) rows="6" spellcheck="false" { "\n" (text) }
                    } @else {
                        input id=(id) name=(name) value=(text) inputmode=[(*kind == FieldKind::Number).then_some("decimal")] spellcheck="false";
                    }
                }
                @if !*is_new {
                    label.check { input type="checkbox" name=(format!("remove:{field}")) value="1"; (t.remove_field) }
                }
            }
        }
    }
}

/// A field that the record does not have yet.
fn new_field(t: &Texts, typed: Option<&Fields>) -> Markup {
    let text = |name: &str| typed.and_then(|typed| typed.get(name)).unwrap_or_default().to_owned();
    html! {
        details open[!text("new-name").is_empty()] {
            summary { (t.add_field) }
            div.fields {
                div { label for="new-name" { (t.field) } input #new-name name="new-name" value=(text("new-name")) spellcheck="false" autocapitalize="none"; }
                div {
                    label for="new-kind" { (t.kind) }
                    select #new-kind name="new-kind" {
                        @for kind in FieldKind::ALL { option value=(kind.as_str()) selected[text("new-kind") == kind.as_str()] { (kind.title(t)) } }
                    }
                }
                div.wide { label for="new-value" { (t.value) } input #new-value name="new-value" value=(text("new-value")) spellcheck="false"; }
            }
        }
    }
}

pub(super) async fn begin(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(collection): Path<String>,
    uri: Uri,
) -> Response {
    let space = Fields::of_query(&uri).given("space").map(str::to_owned);
    new_page(&office, &viewer, &collection, space.as_deref(), None, None).await
}

pub(super) async fn create(
    State(office): State<Arc<Office>>,
    viewer: Viewer,
    Path(collection): Path<String>,
    uri: Uri,
    Write(form): Write<Fields>,
) -> Response {
    let space = Fields::of_query(&uri).given("space").map(str::to_owned);
    let id = form.given("id").unwrap_or_default().to_owned();
    let name = Name { collection: collection.clone(), id, space: space.clone() };
    let error = match patch(&form, &Map::new(), viewer.t) {
        Err(text) => Refused::new(StatusCode::BAD_REQUEST, "bad_parameter", text),
        Ok(fields) => {
            // Not over one that is there.
            let headers = [(header::IF_NONE_MATCH, "*")];
            match office.ask.json::<Value>(Method::PUT, &name.api(""), &headers, &fields).await {
                Ok(_) => return Redirect::to(&name.path()).into_response(),
                Err(refused) => refused,
            }
        }
    };
    new_page(&office, &viewer, &collection, space.as_deref(), Some(&form), Some(error)).await
}

async fn new_page(
    office: &Office,
    viewer: &Viewer,
    collection: &str,
    space: Option<&str>,
    typed: Option<&Fields>,
    error: Option<Refused>,
) -> Response {
    let t = viewer.t;
    if !viewer.may_change() {
        return layout::refused(office, viewer, StatusCode::FORBIDDEN, t.viewers_change_nothing);
    }
    let schema = schema(office, collection, space).await;
    // What lies below others is written as a whole.
    let declared = schema.iter().filter(|(field, _)| !field.contains('.')).take(OFFERED_MAX);
    let inputs: Vec<_> = declared
        .map(|(field, spec)| {
            let text = typed.and_then(|typed| typed.get(&format!("value:{field}")));
            let text = text.unwrap_or_default().to_owned();
            Input { field, kind: FieldKind::declared(spec), text, is_new: true }
        })
        .collect();
    let id = typed.and_then(|typed| typed.get("id")).unwrap_or_default();
    let list = path_with(&format!("/records/{}", encoded(collection)), &[("space", space)]);
    let action = path_with(&format!("/records/{}/new", encoded(collection)), &[("space", space)]);
    let content = html! {
        p.crumbs { a href=(list) { (shown::name(collection)) } }
        @if let Some(error) = &error { (layout::error(error)) }
        form method="post" action=(action) {
            (layout::hidden(viewer, &[]))
            div.fields { div.wide { label for="id" { "id" } input #id name="id" value=(id) required maxlength="512" spellcheck="false" autocapitalize="none"; } }
            @for input in &inputs { (input.show(t)) }
            (new_field(t, typed))
            div.actions { button.primary type="submit" { (t.save) } a href=(list) { (t.cancel) } }
        }
    };
    let command =
        format!("branchline put {} ID '{{\"FIELD\": VALUE}}'", layout::quoted(collection));
    let view = View { place: Place::Records, title: t.new_record.to_owned(), command, content };
    layout::page_with(office, viewer, error.map_or(StatusCode::OK, |error| error.status), view)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::texts;

    fn patch_of(pairs: &[(&str, &str)], shown: Value) -> Result<Value, String> {
        let form = Fields::from_pairs(pairs);
        let Value::Object(shown) = shown else { return Err(String::new()) };
        patch(&form, &shown, texts::choose(Some("en"), &Default::default())).map(Value::Object)
    }

    #[test]
    fn a_form_changes_what_was_touched_and_nothing_else() {
        let shown = json!({ "name": "Tea", "price": 2.5, "note": "a\nb", "tags": ["x"], "old": 1 });
        let pairs = [
            ("value:name", "Tea"),
            ("value:price", "2.5"),
            ("kind:price", "number"),
            ("value:note", "a\r\nb"),
            ("value:tags", "[\n  \"x\",\n  \"y\"\n]"),
            ("kind:tags", "json"),
            ("value:old", "1"),
            ("kind:old", "number"),
            ("remove:old", "1"),
            ("new-name", "shelf"),
            ("new-kind", "number"),
            ("new-value", "7"),
        ];
        let expected = json!({ "tags": ["x", "y"], "old": null, "shelf": 7 });
        assert_eq!(patch_of(&pairs, shown).unwrap(), expected);
    }

    #[test]
    fn numbers_are_kept_by_their_digits_and_what_is_none_is_refused() {
        let digits = "12345678901234567890.12345678901234567890";
        let pairs = [("value:price", digits), ("kind:price", "number")];
        assert_eq!(patch_of(&pairs, json!({ "price": 1 })).unwrap()["price"].to_string(), digits);
        for typed in ["", "1,5", "1e", "\"1\"", "NaN", "0x1"] {
            let pairs = [("value:price", typed), ("kind:price", "number")];
            let error = patch_of(&pairs, json!({ "price": 1 })).unwrap_err();
            assert!(error.contains("price") && error.contains("2.50"), "{error}");
        }
    }
}
