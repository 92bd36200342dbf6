//! What values the parameters of requests may have, as the API's description says it: patterns, lengths and ranges. One
//! name means one thing, wherever it stands.

use branchline_crdt::membership::SITE_NAME_BYTES_MAX;
use branchline_crdt::query::TEXT_BYTES_MAX;
use branchline_crdt::record::{COLLECTION_BYTES_MAX, EVENT_NAME_BYTES_MAX, RECORD_ID_BYTES_MAX};
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};

use super::extract::CURSOR_CHARS_MAX;
use super::page::LOOKED_AT_MAX;
use crate::api::{PAGE_RECORDS, PAGE_RECORDS_MAX};

/// Most entries that a request can ask to have read: more than any journal holds.
pub(crate) const READ_MAX: usize = 1_000_000_000;

/// Longest idempotency key.
pub(crate) const KEY_BYTES_MAX: usize = 255;

const COLLECTION: &str = "^(_schema|[a-z][a-z0-9_-]*)$";
const ANY: &str = "^";
const NO_CONTROL_CHARACTERS: &str = r"^[^\u0000-\u001f\u007f-\u009f]+$";
/// A word of some letters, or an id: a peer's, or in hex.
const SPACE: &str = "^[a-z0-9][a-z0-9_-]*$";
/// `"3f2a"`, `"3f2a", W/"77"`, or `*`.
const ENTITY_TAGS: &str = r#"^(\*|\s*(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*\s*)$"#;
/// `30s`, `500ms`, `1.5s`; longer forms are read too.
const TIME: &str = r"^[0-9]+(\.[0-9]+)?(s|ms)$";
const WAIT_FOR: &str = "^(received:[0-9]+|site:.+)$";
const SINCE: &str = "^(start|now|c1[A-Za-z0-9_-]+)$";
const FEED_CURSOR: &str = "^c1[A-Za-z0-9_-]+$";
/// A hash or the beginning of it, or an entry.
const CHANGE: &str = "^([0-9a-f]+|[0-9A-Fa-f]{4,16}/[0-9]+)$";
/// A version, which is hashes with `-` between them, or a [`CHANGE`].
const VERSION: &str = "^([0-9a-f]+(-[0-9a-f]{64})*|[0-9A-Fa-f]{4,16}/[0-9]+)$";
const ENTRY: &str = "^(_network/)?[0-9A-Fa-f]{4,16}/[0-9]+$";
/// A place in a list, or an entry.
const BEFORE: &str = "^([0-9]+|(_network/)?[0-9A-Fa-f]{4,16}/[0-9]+)$";
const ENTRY_CHARS_MAX: usize = 46;
/// Longest name, and longest id of a site or space.
const NAME_CHARS_MAX: usize = SITE_NAME_BYTES_MAX;
/// Longest cursor of the feed.
const FEED_CURSOR_CHARS_MAX: usize = 1026;
/// Longest list of versions that is of use.
const TAGS_CHARS_MAX: usize = 8 * 1024;
const TIME_CHARS_MAX: usize = 16;

/// Says of all parameters of an operation what they may be.
pub(crate) fn add_bounds(operation: &mut Operation, is_read: bool) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let Some(schema) = schema(parameter, is_read) {
            parameter.schema = Some(schema.into());
        }
    }
}

/// `None`: the parameter says all that there is to say of it, or is not known here.
fn schema(parameter: &Parameter, is_read: bool) -> Option<Object> {
    let schema = match parameter.name.as_str() {
        "collection" => text(COLLECTION, COLLECTION_BYTES_MAX),
        "id" => text(NO_CONTROL_CHARACTERS, RECORD_ID_BYTES_MAX),
        "aggregate_id" => text(ANY, EVENT_NAME_BYTES_MAX),
        "space" => text(SPACE, NAME_CHARS_MAX),
        "site" | "ticket" => text(NO_CONTROL_CHARACTERS, NAME_CHARS_MAX),
        "limit" => number(1, PAGE_RECORDS_MAX as u64).default(Some(PAGE_RECORDS.into())),
        "read_max" => number(1, READ_MAX as u64),
        "records_max" => number(1, LOOKED_AT_MAX as u64),
        "before" => text(BEFORE, ENTRY_CHARS_MAX),
        "entry" => text(ENTRY, ENTRY_CHARS_MAX),
        "after" => text(NO_CONTROL_CHARACTERS, CURSOR_CHARS_MAX),
        "where" | "order" | "by" | "sum" | "avg" | "min" | "max" => {
            ObjectBuilder::new().schema_type(Type::String).max_length(Some(TEXT_BYTES_MAX))
        }
        "since" => text(SINCE, FEED_CURSOR_CHARS_MAX),
        "Last-Event-ID" => text(FEED_CURSOR, FEED_CURSOR_CHARS_MAX),
        "wait" if is_read => text(TIME, TIME_CHARS_MAX),
        "wait" => text(WAIT_FOR, NAME_CHARS_MAX + "received:".len()),
        "timeout" => text(TIME, TIME_CHARS_MAX),
        "from" | "to" => text(CHANGE, 64),
        "at" => text(VERSION, TAGS_CHARS_MAX),
        "If-Match" => text(ENTITY_TAGS, TAGS_CHARS_MAX),
        "If-None-Match" if is_read => text(ENTITY_TAGS, TAGS_CHARS_MAX),
        "If-None-Match" => ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["*"])),
        "Idempotency-Key" => {
            let any = ObjectBuilder::new().schema_type(Type::String);
            any.min_length(Some(1)).max_length(Some(KEY_BYTES_MAX))
        }
        _ => return None,
    };
    Some(schema.build())
}

fn text(pattern: &str, chars_max: usize) -> ObjectBuilder {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    text.min_length(Some(1)).max_length(Some(chars_max))
}

fn number(least: u64, greatest: u64) -> ObjectBuilder {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let number = number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    number.minimum(Some(least)).maximum(Some(greatest))
}
