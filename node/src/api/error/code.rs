//! The table of all codes that say why a request was not done.

use axum::http::StatusCode;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};

/// What belongs to a code.
struct Row {
    text: &'static str,
    status: StatusCode,
    is_retryable: bool,
    meaning: &'static str,
}

/// Each row: meaning, name, text, status, and `retryable` where the same request may succeed later.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $name:ident = $text:literal, $status:ident $(, $retryable:ident)?;)+) => {
        /// Why a request was not done. Programs decide by it; [`Code::as_str`] never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        text: $text,
                        status: StatusCode::$status,
                        is_retryable: codes!(@is $($retryable)?),
                        meaning: concat!($($meaning),+),
                    },)+
                }
            }
        }
    };
    (@is) => { false };
    (@is retryable) => { true };
}

codes! {
    /// The bearer token is missing or wrong.
    Unauthorized = "unauthorized", UNAUTHORIZED;
    /// The `Host` header does not name this machine's loopback.
    WrongHost = "wrong_host", MISDIRECTED_REQUEST;
    /// A browser sends the request on behalf of another site.
    WrongOrigin = "wrong_origin", FORBIDDEN;
    /// No such path, or nothing of that name.
    NotFound = "not_found", NOT_FOUND;
    /// The path does not know the method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// The body's content type or encoding is not one that the path takes.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE;
    /// What arrived is not HTTP/1.1.
    BadRequest = "bad_request", BAD_REQUEST;
    /// Path and query are longer than they may be.
    UriTooLong = "uri_too_long", URI_TOO_LONG;
    /// The head is larger, or has more headers, than it may.
    HeadTooLarge = "head_too_large", REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// The body is larger than the path takes.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE;
    /// The body could not be read to its end.
    BodyUnreadable = "body_unreadable", BAD_REQUEST;
    /// The body is not the JSON that the path takes.
    BadJson = "bad_json", BAD_REQUEST;
    /// A parameter of the path or the query is wrong.
    BadParameter = "bad_parameter", BAD_REQUEST;
    /// A filter, an order or the fields of a summary cannot be read, or do not fit the schema.
    BadQuery = "bad_query", BAD_REQUEST;
    /// The query would take more work than one request may be.
    QueryTooLarge = "query_too_large", UNPROCESSABLE_ENTITY;
    /// Collection, record id or field cannot bear the name.
    BadName = "bad_name", BAD_REQUEST;
    /// No other site has the name that the request waits for.
    UnknownSite = "unknown_site", UNPROCESSABLE_ENTITY;
    /// The cursor is none that this site gave out, or one of another query.
    BadCursor = "bad_cursor", BAD_REQUEST;
    /// The journal does not hold the cursor's place any more.
    CursorGone = "cursor_gone", GONE;
    /// As many requests wait for something to happen as may.
    TooManyWaiting = "too_many_waiting", SERVICE_UNAVAILABLE, retryable;
    /// As many requests are worked on as may, and have been for a while.
    TooBusy = "too_busy", SERVICE_UNAVAILABLE, retryable;
    /// The record does not exist or is deleted.
    RecordNotFound = "record_not_found", NOT_FOUND;
    /// The collection has no schema.
    SchemaNotFound = "schema_not_found", NOT_FOUND;
    /// The edit does not fit the record or its schema.
    EditRefused = "edit_refused", UNPROCESSABLE_ENTITY;
    /// Another event has the id, or an event was to be changed or deleted.
    EventExists = "event_exists", CONFLICT;
    /// The collection is not one of events.
    NoEvents = "no_events", CONFLICT;
    /// The index that leads to the events is being built.
    IndexBuilding = "index_building", SERVICE_UNAVAILABLE, retryable;
    /// What was to be taken in is no Automerge document, or one that does not fit the record.
    DocumentRefused = "document_refused", UNPROCESSABLE_ENTITY;
    /// The record is not of the version that the request expects.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED;
    /// Something else was asked under the idempotency key.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY;
    /// What was to be a schema is none, or contradicts the one in use.
    SchemaRefused = "schema_refused", UNPROCESSABLE_ENTITY;
    /// The transaction does not fit one entry.
    TransactionTooLarge = "transaction_too_large", PAYLOAD_TOO_LARGE;
    /// The site's role does not allow it.
    RoleMissing = "role_missing", FORBIDDEN;
    /// The site was revoked: it takes no writes.
    SiteRevoked = "site_revoked", FORBIDDEN;
    /// No such space is held here.
    SpaceNotFound = "space_not_found", NOT_FOUND;
    /// Several spaces bear the name.
    SpaceAmbiguous = "space_ambiguous", CONFLICT;
    /// The site is in the space no more: it takes no writes there.
    SpaceClosed = "space_closed", FORBIDDEN;
    /// No such member.
    MemberNotFound = "member_not_found", NOT_FOUND;
    /// The decision of a member cannot be made by this site, or not at all.
    DecisionRefused = "decision_refused", CONFLICT;
    /// The site belongs to no network.
    NoNetwork = "no_network", CONFLICT, retryable;
    /// No address is known to put into a ticket.
    NoAddress = "no_address", CONFLICT, retryable;
    /// The text is no ticket.
    BadTicket = "bad_ticket", BAD_REQUEST;
    /// No such ticket is open.
    TicketNotFound = "ticket_not_found", NOT_FOUND;
    /// The ticket cannot be used at this site.
    TicketRefused = "ticket_refused", CONFLICT;
    /// The bytes are no bundle, or damaged.
    BadBundle = "bad_bundle", BAD_REQUEST;
    /// The bundle begins behind entries that this site lacks.
    BundleGap = "bundle_gap", CONFLICT;
    /// The bundle cannot be merged at this site: it is another network's, or a later program's.
    BundleRefused = "bundle_refused", CONFLICT;
    /// The record cannot be read at this site.
    RecordUnreadable = "record_unreadable", INTERNAL_SERVER_ERROR;
    /// The record has more history than an Automerge document is made of.
    DocumentTooLarge = "document_too_large", UNPROCESSABLE_ENTITY;
    /// The journal could not be written; nothing changed.
    Unwritable = "unwritable", SERVICE_UNAVAILABLE, retryable;
    /// The configuration is wrong; the one before stays in use.
    ConfigurationRefused = "configuration_refused", UNPROCESSABLE_ENTITY;
    /// It cannot be done as things are.
    Conflict = "conflict", CONFLICT;
    /// What the request needs besides the node does not answer, for example a database.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, retryable;
    /// The storage failed.
    StorageFailed = "storage_failed", INTERNAL_SERVER_ERROR, retryable;
    /// The node refuses writes, or does not work: `/readyz` says so.
    NotReady = "not_ready", SERVICE_UNAVAILABLE, retryable;
    /// The node stops, or has failed.
    Stopped = "stopped", SERVICE_UNAVAILABLE, retryable;
    /// It took too long; a write may still be carried out.
    TimedOut = "timed_out", GATEWAY_TIMEOUT, retryable;
    /// The program is wrong.
    Internal = "internal", INTERNAL_SERVER_ERROR;
}

impl Code {
    /// The code as it stands in an answer.
    pub fn as_str(self) -> &'static str {
        self.row().text
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        self.row().status
    }

    /// Whether the same request may succeed later. Such answers carry `Retry-After`.
    pub fn is_retryable(self) -> bool {
        self.row().is_retryable
    }
}

/// The codes' texts, with the table in words.
pub(crate) fn schema() -> RefOr<Schema> {
    let mut table = "| code | status | may succeed later | why |\n|---|---|---|---|".to_owned();
    for code in Code::ALL {
        let Row { text, status, is_retryable, meaning } = code.row();
        let (status, meaning) = (status.as_u16(), meaning.trim());
        let later = if is_retryable { "yes" } else { "" };
        table.push_str(&format!("\n| `{text}` | {status} | {later} | {meaning} |"));
    }
    let texts = Code::ALL.iter().map(|code| code.as_str());
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(texts))
        .description(Some(table))
        .into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_has_a_text_of_its_own_and_an_error_status() {
        let texts: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            let status = code.status();
            assert!(status.is_client_error() || status.is_server_error(), "{code:?}");
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(code.as_str().chars().all(plain), "{code:?}");
        }
    }
}
