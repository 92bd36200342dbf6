//! What the API answers when it cannot do what was asked: one shape, one table of codes.

use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use branchline_crdt::query::{PageError, QueryError, SummaryError};
use branchline_crdt::record::{EditError, NameError, Version, View};
use branchline_crdt::replica::{InviteError, JoinError, WriteError};
use branchline_crdt::store::StoreError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::page;

use crate::handle::{NoNetwork, NoTicket, NotJoined, ReadError, SpaceNotFound, Stopped};

/// Why a request was not done. Programs decide by it; [`Code::as_str`] never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The bearer token is missing or wrong.
    Unauthorized,
    /// The `Host` header does not name this machine's loopback.
    WrongHost,
    /// A browser sends the request on behalf of another site.
    WrongOrigin,
    /// No such path.
    NotFound,
    /// The path does not know the method.
    MethodNotAllowed,
    /// The body's content type is not one that the path takes.
    UnsupportedMediaType,
    /// The body is larger than the path takes.
    BodyTooLarge,
    /// The body could not be read to its end.
    BodyUnreadable,
    /// The body is not the JSON that the path takes.
    BadJson,
    /// A parameter of the path or the query is wrong.
    BadParameter,
    /// A filter, an order or the fields of a summary cannot be read, or do not fit the schema.
    BadQuery,
    /// The query would take more work than one request may be.
    QueryTooLarge,
    /// Collection, record id or field cannot bear the name.
    BadName,
    /// No other site has the name that the request waits for.
    UnknownSite,
    /// The cursor is none that this site gave out, or one of another query.
    BadCursor,
    /// The journal does not hold the cursor's place any more.
    CursorGone,
    /// As many requests wait for something to happen as may.
    TooManyWaiting,
    /// The record does not exist or is deleted.
    RecordNotFound,
    /// The collection has no schema.
    SchemaNotFound,
    /// The edit does not fit the record or its schema.
    EditRefused,
    /// The record is not of the version that the request expects.
    PreconditionFailed,
    /// Something else was asked under the idempotency key.
    IdempotencyKeyReused,
    /// What was to be a schema is none, or contradicts the one in use.
    SchemaRefused,
    /// The transaction does not fit one entry.
    TransactionTooLarge,
    /// The site's role does not allow it.
    RoleMissing,
    /// The site was revoked: it takes no writes.
    SiteRevoked,
    /// No such space is held here.
    SpaceNotFound,
    /// Several spaces bear the name.
    SpaceAmbiguous,
    /// The site is in the space no more: it takes no writes there.
    SpaceClosed,
    /// No such member.
    MemberNotFound,
    /// The decision of a member cannot be made by this site, or not at all.
    DecisionRefused,
    /// The site belongs to no network.
    NoNetwork,
    /// No address is known to put into a ticket.
    NoAddress,
    /// The text is no ticket.
    BadTicket,
    /// The ticket cannot be used at this site.
    TicketRefused,
    /// The bytes are no bundle, or damaged.
    BadBundle,
    /// The bundle begins behind entries that this site lacks.
    BundleGap,
    /// The bundle cannot be merged at this site: it is another network's, or a later program's.
    BundleRefused,
    /// The record cannot be read at this site.
    RecordUnreadable,
    /// The journal could not be written; nothing changed.
    Unwritable,
    /// The storage failed.
    StorageFailed,
    /// The node stops, or has failed.
    Stopped,
    /// It took too long; a write may still be carried out.
    TimedOut,
    /// The program is wrong.
    Internal,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 44] = [
        Self::Unauthorized,
        Self::WrongHost,
        Self::WrongOrigin,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::BodyTooLarge,
        Self::BodyUnreadable,
        Self::BadJson,
        Self::BadParameter,
        Self::BadQuery,
        Self::QueryTooLarge,
        Self::BadName,
        Self::UnknownSite,
        Self::BadCursor,
        Self::CursorGone,
        Self::TooManyWaiting,
        Self::RecordNotFound,
        Self::SchemaNotFound,
        Self::EditRefused,
        Self::PreconditionFailed,
        Self::IdempotencyKeyReused,
        Self::SchemaRefused,
        Self::TransactionTooLarge,
        Self::RoleMissing,
        Self::SiteRevoked,
        Self::SpaceNotFound,
        Self::SpaceAmbiguous,
        Self::SpaceClosed,
        Self::MemberNotFound,
        Self::DecisionRefused,
        Self::NoNetwork,
        Self::NoAddress,
        Self::BadTicket,
        Self::TicketRefused,
        Self::BadBundle,
        Self::BundleGap,
        Self::BundleRefused,
        Self::RecordUnreadable,
        Self::Unwritable,
        Self::StorageFailed,
        Self::Stopped,
        Self::TimedOut,
        Self::Internal,
    ];

    /// The code's text, the HTTP status, and whether the same request may succeed later.
    const fn row(self) -> (&'static str, StatusCode, bool) {
        match self {
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, false),
            Self::WrongHost => ("wrong_host", StatusCode::MISDIRECTED_REQUEST, false),
            Self::WrongOrigin => ("wrong_origin", StatusCode::FORBIDDEN, false),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND, false),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, false),
            Self::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, false)
            }
            Self::BodyTooLarge => ("body_too_large", StatusCode::PAYLOAD_TOO_LARGE, false),
            Self::BodyUnreadable => ("body_unreadable", StatusCode::BAD_REQUEST, false),
            Self::BadJson => ("bad_json", StatusCode::BAD_REQUEST, false),
            Self::BadParameter => ("bad_parameter", StatusCode::BAD_REQUEST, false),
            Self::BadQuery => ("bad_query", StatusCode::BAD_REQUEST, false),
            Self::QueryTooLarge => ("query_too_large", StatusCode::UNPROCESSABLE_ENTITY, false),
            Self::BadName => ("bad_name", StatusCode::BAD_REQUEST, false),
            Self::UnknownSite => ("unknown_site", StatusCode::UNPROCESSABLE_ENTITY, false),
            Self::BadCursor => ("bad_cursor", StatusCode::BAD_REQUEST, false),
            Self::CursorGone => ("cursor_gone", StatusCode::GONE, false),
            Self::TooManyWaiting => ("too_many_waiting", StatusCode::SERVICE_UNAVAILABLE, true),
            Self::RecordNotFound => ("record_not_found", StatusCode::NOT_FOUND, false),
            Self::SchemaNotFound => ("schema_not_found", StatusCode::NOT_FOUND, false),
            Self::EditRefused => ("edit_refused", StatusCode::UNPROCESSABLE_ENTITY, false),
            Self::PreconditionFailed => {
                ("precondition_failed", StatusCode::PRECONDITION_FAILED, false)
            }
            Self::IdempotencyKeyReused => {
                ("idempotency_key_reused", StatusCode::UNPROCESSABLE_ENTITY, false)
            }
            Self::SchemaRefused => ("schema_refused", StatusCode::UNPROCESSABLE_ENTITY, false),
            Self::TransactionTooLarge => {
                ("transaction_too_large", StatusCode::PAYLOAD_TOO_LARGE, false)
            }
            Self::RoleMissing => ("role_missing", StatusCode::FORBIDDEN, false),
            Self::SiteRevoked => ("site_revoked", StatusCode::FORBIDDEN, false),
            Self::SpaceNotFound => ("space_not_found", StatusCode::NOT_FOUND, false),
            Self::SpaceAmbiguous => ("space_ambiguous", StatusCode::CONFLICT, false),
            Self::SpaceClosed => ("space_closed", StatusCode::FORBIDDEN, false),
            Self::MemberNotFound => ("member_not_found", StatusCode::NOT_FOUND, false),
            Self::DecisionRefused => ("decision_refused", StatusCode::CONFLICT, false),
            Self::NoNetwork => ("no_network", StatusCode::CONFLICT, true),
            Self::NoAddress => ("no_address", StatusCode::CONFLICT, true),
            Self::BadTicket => ("bad_ticket", StatusCode::BAD_REQUEST, false),
            Self::TicketRefused => ("ticket_refused", StatusCode::CONFLICT, false),
            Self::BadBundle => ("bad_bundle", StatusCode::BAD_REQUEST, false),
            Self::BundleGap => ("bundle_gap", StatusCode::CONFLICT, false),
            Self::BundleRefused => ("bundle_refused", StatusCode::CONFLICT, false),
            Self::RecordUnreadable => {
                ("record_unreadable", StatusCode::INTERNAL_SERVER_ERROR, false)
            }
            Self::Unwritable => ("unwritable", StatusCode::SERVICE_UNAVAILABLE, true),
            Self::StorageFailed => ("storage_failed", StatusCode::INTERNAL_SERVER_ERROR, true),
            Self::Stopped => ("stopped", StatusCode::SERVICE_UNAVAILABLE, true),
            Self::TimedOut => ("timed_out", StatusCode::GATEWAY_TIMEOUT, true),
            Self::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, false),
        }
    }

    /// The code as it stands in an answer.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// Whether the same request may succeed later. Such answers carry `Retry-After`.
    pub fn is_retryable(self) -> bool {
        self.row().2
    }
}

/// The body of every answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// One of [`Code`].
    pub code: String,
    /// What was found and what was expected, for a person.
    pub message: String,
    /// What to do next, for a person.
    pub hint: Option<String>,
    /// Where it went wrong, if that is within a parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<ErrorPlace>,
    /// The record as it is, where it is not what the request expects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Box<CurrentAnswer>>,
}

/// A place within a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorPlace {
    /// The parameter's name.
    pub parameter: String,
    /// How many bytes of its value stand before the place.
    pub offset: usize,
}

/// A record as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentAnswer {
    /// Its ETag; `None`: nobody has written it.
    pub etag: Option<String>,
    /// Its fields.
    pub fields: Map<String, Value>,
    /// Whether it is deleted.
    pub deleted: bool,
}

impl CurrentAnswer {
    fn of(view: &View) -> Self {
        let etag = (!view.heads.is_empty()).then(|| format!("\"{}\"", Version::of(view)));
        Self { etag, fields: page::fields(view.clone()), deleted: view.deleted }
    }
}

/// A request that cannot be done.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    message: String,
    hint: Option<String>,
    at: Option<ErrorPlace>,
    current: Option<Box<CurrentAnswer>>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, at: None, current: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Says first what it is about.
    pub(crate) fn about(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    /// With the error's own text and that of its sources.
    pub(crate) fn of(code: Code, error: &dyn Error) -> Self {
        Self::new(code, text_of(error))
    }

    pub(crate) fn record_not_found(collection: &str, id: &str) -> Self {
        Self::new(
            Code::RecordNotFound,
            format!("record {collection}/{id} does not exist or is deleted"),
        )
        .hint(format!("`branchline list {collection}` shows the records that there are"))
    }

    pub(crate) fn record_unreadable(collection: &str, id: &str, reason: &str) -> Self {
        Self::new(
            Code::RecordUnreadable,
            format!("record {collection}/{id} cannot be read at this site: {reason}"),
        )
        .hint("`branchline rebuild` makes all records anew from the journal")
    }

    pub(crate) fn no_network() -> Self {
        Self::new(Code::NoNetwork, "this site belongs to no network yet").hint(
            "join one with `branchline join TICKET`, or found one with `branchline init --name NAME --found` in another data folder",
        )
    }

    fn role(message: String) -> Self {
        Self::new(Code::RoleMissing, message)
            .hint("`branchline members` shows who is an admin and can invite with another role")
    }

    /// Why one edit of one record was not done.
    pub(crate) fn of_write(error: &WriteError, collection: &str, id: &str) -> Self {
        match error {
            WriteError::NoNetwork => Self::no_network(),
            WriteError::Revoked { .. } => Self::of(Code::SiteRevoked, error)
                .hint("to write again, join anew with another data folder: `branchline init`"),
            WriteError::UnknownSpace => Self::of(Code::SpaceNotFound, error),
            WriteError::OutOfSpace { .. } => Self::of(Code::SpaceClosed, error)
                .hint("a site comes back into a space only under another key: `branchline rotate`"),
            WriteError::Role { .. } => Self::role(text_of(error)),
            WriteError::Name(_) => Self::of(Code::BadName, error),
            WriteError::Edit(edit) => Self::of_edit(edit, error, collection, id),
            WriteError::Schema(_) => Self::of(Code::SchemaRefused, error),
            WriteError::TooLarge { .. } => Self::of(Code::TransactionTooLarge, error),
            WriteError::Origin { .. } => Self::of(Code::BadParameter, error),
            WriteError::OriginReused => Self::of(Code::IdempotencyKeyReused, error)
                .hint("give every request an Idempotency-Key of its own, and repeat one unchanged"),
            WriteError::InEdit { error, .. } => Self::of_write(error, collection, id),
            WriteError::Unexpected { found, .. } => Self {
                current: Some(Box::new(CurrentAnswer::of(found))),
                ..Self::of(Code::PreconditionFailed, error)
            },
            WriteError::Unreadable { reason, .. } => {
                Self::record_unreadable(collection, id, reason)
            }
            WriteError::Unwritable { .. } => Self::of(Code::Unwritable, error)
                .hint("make room on the disk, or mend it, and try again"),
        }
    }

    fn of_edit(edit: &EditError, error: &WriteError, collection: &str, id: &str) -> Self {
        match edit {
            EditError::Missing => Self::record_not_found(collection, id),
            EditError::Name { .. } => Self::of(Code::BadName, error),
            EditError::Schema(_) => Self::of(Code::SchemaRefused, error),
            EditError::TooManyOperations { .. }
            | EditError::TooManyGenesis { .. }
            | EditError::TooLarge { .. } => Self::of(Code::TransactionTooLarge, error),
            EditError::NotCounter { .. } => Self::of(Code::EditRefused, error).hint(
                "a schema makes a field a counter (`branchline schema apply FILE`), before it is first written",
            ),
            EditError::Unreadable(reason) => {
                Self::record_unreadable(collection, id, &text_of(reason))
            }
            EditError::WrongKind { .. }
            | EditError::Form { .. }
            | EditError::IntegerRange { .. }
            | EditError::CounterRemoved { .. }
            | EditError::Increment { .. }
            | EditError::IncrementRange { .. }
            | EditError::Required { .. }
            | EditError::TooDeep { .. }
            | EditError::Refused(_) => Self::of(Code::EditRefused, error),
        }
    }

    pub(crate) fn detail(&self) -> ErrorDetail {
        ErrorDetail {
            code: self.code.as_str().to_owned(),
            message: self.message.clone(),
            hint: self.hint.clone(),
            at: self.at.clone(),
            current: self.current.clone(),
        }
    }
}

/// An error's text, followed by those of its sources that it does not repeat itself.
pub(crate) fn text_of(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(ErrorBody { error: self.detail() });
        let mut response = (self.code.status(), body).into_response();
        let headers = response.headers_mut();
        if self.code.is_retryable() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.code == Code::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::of(Code::BadName, &error)
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let QueryError { part, offset, .. } = error;
        let at = ErrorPlace { parameter: part.to_string(), offset };
        Self { at: Some(at), ..Self::of(Code::BadQuery, &error) }
    }
}

impl From<PageError> for ApiError {
    fn from(error: PageError) -> Self {
        match error {
            PageError::Query(error) => error.into(),
            PageError::Cursor(error) => Self::of(Code::BadCursor, &error),
            PageError::TooMany { .. } => Self::of(Code::QueryTooLarge, &error).hint(
                "leave the order away, or ask for fewer records with a filter on an indexed field",
            ),
            PageError::Store(error) => error.into(),
        }
    }
}

impl From<SummaryError> for ApiError {
    fn from(error: SummaryError) -> Self {
        match error {
            SummaryError::TooMany { .. } | SummaryError::TooManyGroups { .. } => {
                Self::of(Code::QueryTooLarge, &error).hint(
                    "group by fields with fewer values, or ask for fewer records with a filter",
                )
            }
            SummaryError::Store(error) => error.into(),
        }
    }
}

impl From<NoNetwork> for ApiError {
    fn from(NoNetwork: NoNetwork) -> Self {
        Self::no_network()
    }
}

impl From<SpaceNotFound> for ApiError {
    fn from(error: SpaceNotFound) -> Self {
        match error {
            SpaceNotFound::Unknown { .. } => Self::of(Code::SpaceNotFound, &error)
                .hint("`branchline space list` shows the spaces that this site is in"),
            SpaceNotFound::Ambiguous { .. } => Self::of(Code::SpaceAmbiguous, &error),
        }
    }
}

impl From<Stopped> for ApiError {
    fn from(error: Stopped) -> Self {
        Self::of(Code::Stopped, &error).hint("start the node again with `branchline run`")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::of(Code::StorageFailed, &error)
            .hint("`branchline verify` tells what is damaged, `branchline rebuild` mends tables")
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoNetwork(_) => Self::no_network(),
            ReadError::Store(error) => error.into(),
            ReadError::Stopped(error) => error.into(),
        }
    }
}

impl From<NoTicket> for ApiError {
    fn from(error: NoTicket) -> Self {
        match error {
            NoTicket::Invite(InviteError::NoMember) => Self::no_network(),
            NoTicket::Invite(error @ InviteError::Role { .. }) => Self::role(text_of(&error)),
            NoTicket::NoAddress => Self::new(
                Code::NoAddress,
                "no address of this site is known to put into the ticket",
            )
            .hint("start the node with `branchline run` first, or give --address MULTIADDR"),
            NoTicket::NoRandomness => Self::of(Code::Internal, &error),
            NoTicket::Stopped(error) => error.into(),
        }
    }
}

impl From<NotJoined> for ApiError {
    fn from(error: NotJoined) -> Self {
        match error {
            NotJoined::Join(error @ JoinError::OtherNetwork { .. }) => {
                Self::of(Code::TicketRefused, &error)
            }
            NotJoined::Join(JoinError::Expired) => {
                Self::new(Code::TicketRefused, "the ticket has expired")
                    .hint("ask an admin for a new one, made with `branchline invite`")
            }
            NotJoined::Join(error @ JoinError::Member) => {
                Self::of(Code::TicketRefused, &error).hint("`branchline status` shows the network")
            }
            NotJoined::Site(error) => Self::of(Code::Unwritable, &error),
            NotJoined::Stopped(error) => error.into(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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

    #[test]
    fn sources_are_told_once() {
        let source = NameError::Empty { what: "field name" };
        let error = EditError::Name { path: "a.".to_owned(), source };
        let text = text_of(&WriteError::Edit(error));
        assert_eq!(text, "\"a.\" cannot be written: the field name is empty");
    }

    #[test]
    fn what_may_succeed_later_says_so() {
        let response = ApiError::new(Code::Stopped, "x").into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        let response = ApiError::new(Code::BadJson, "x").into_response();
        assert!(response.headers().get(header::RETRY_AFTER).is_none());
    }
}
