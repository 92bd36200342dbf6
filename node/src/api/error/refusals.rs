//! What the errors of the node come to in an answer: codes, and hints at what to do next.

use branchline_crdt::inspect::documents::DocumentError;
use branchline_crdt::query::{PageError, QueryError, SummaryError};
use branchline_crdt::record::{DocumentRefused, EditError, EventFault, NameError};
use branchline_crdt::replica::{InviteError, JoinError, WriteError};
use branchline_crdt::store::StoreError;

use super::{ApiError, Code, ErrorPlace, text_of};
use crate::events::{NotLoaded, NotRead};
use crate::extension::BackupRefused;
use crate::feed::FeedError;
use crate::handle::{
    NoNetwork, NoTicket, NotDecided, NotJoined, ReadError, SpaceNotFound, Stopped,
};
use crate::records::{DocumentNotMerged, NoDocument};

impl ApiError {
    fn role(message: String) -> Self {
        Self::new(Code::RoleMissing, message)
            .hint("`branchline members` shows who is an admin and can invite with another role")
    }

    /// Why one edit of one record was not done.
    pub(crate) fn of_write(error: &WriteError, collection: &str, id: &str) -> Self {
        match error {
            WriteError::NoNetwork => Self::no_network(),
            WriteError::Revoked { .. } => Self::of(Code::SiteRevoked, error)
                .hint("to write again, join again with another data folder: `branchline init`"),
            WriteError::UnknownSpace => Self::of(Code::SpaceNotFound, error),
            WriteError::OutOfSpace { .. } => Self::of(Code::SpaceClosed, error)
                .hint("a site comes back into a space only under another key: `branchline rotate`"),
            WriteError::Role { .. } => Self::role(text_of(error)),
            WriteError::Name(_) => Self::of(Code::BadName, error),
            WriteError::Edit(edit) => Self::of_edit(edit, error, collection, id),
            WriteError::Schema(_) => Self::of(Code::SchemaRefused, error),
            WriteError::TooLarge { .. } | WriteError::DocumentTooLarge { .. } => {
                Self::of(Code::TransactionTooLarge, error)
            }
            WriteError::Document(document) => Self::of_document(document),
            WriteError::Event { fault, .. } => Self::of_event(fault, error),
            WriteError::Origin { .. } => Self::of(Code::BadParameter, error),
            WriteError::OriginReused => Self::of(Code::IdempotencyKeyReused, error)
                .hint("give every request an Idempotency-Key of its own, and repeat one unchanged"),
            WriteError::InEdit { error, .. } => Self::of_write(error, collection, id),
            WriteError::Unexpected { found, .. } => {
                Self::of(Code::PreconditionFailed, error).current(found)
            }
            WriteError::UnknownVersion { .. } => Self::of(Code::PreconditionFailed, error),
            WriteError::Unreadable { reason, .. } => {
                Self::record_unreadable(collection, id, reason)
            }
            WriteError::Unwritable { .. } => Self::of(Code::Unwritable, error)
                .hint("free some disk space, or fix the disk, and try again"),
        }
    }

    /// Why a collection of events does not take something.
    fn of_event(fault: &EventFault, error: &WriteError) -> Self {
        match fault {
            EventFault::Exists | EventFault::Edited | EventFault::Deleted => {
                Self::of(Code::EventExists, error)
            }
            EventFault::Document => Self::of(Code::DocumentRefused, error),
            EventFault::Field { .. }
            | EventFault::Missing { .. }
            | EventFault::Name { .. }
            | EventFault::Id { .. }
            | EventFault::NotJson { .. }
            | EventFault::TooLarge { .. } => Self::of(Code::EditRefused, error)
                .hint("`branchline events store` takes data and metadata as JSON"),
        }
    }

    /// Why a document was not taken in.
    fn of_document(error: &DocumentRefused) -> Self {
        match error {
            DocumentRefused::Missing => Self::of(Code::RecordNotFound, error)
                .hint("`branchline merge-document --new`, or ?new=true, makes a new record of it"),
            DocumentRefused::Change { source: EditError::Unreadable(_), .. }
            | DocumentRefused::Forgotten { .. } => Self::of(Code::RecordUnreadable, error),
            DocumentRefused::TooManyOperations { .. } | DocumentRefused::TooManyGenesis { .. } => {
                Self::of(Code::TransactionTooLarge, error)
            }
            DocumentRefused::Exists
            | DocumentRefused::Stranger
            | DocumentRefused::OfSchema
            | DocumentRefused::Forked
            | DocumentRefused::NoEdits
            | DocumentRefused::Forged { .. }
            | DocumentRefused::Lacks { .. }
            | DocumentRefused::Doubled { .. }
            | DocumentRefused::Misfits { .. }
            | DocumentRefused::Broken { .. }
            | DocumentRefused::Change { .. } => Self::of(Code::DocumentRefused, error),
        }
    }

    fn of_edit(edit: &EditError, error: &WriteError, collection: &str, id: &str) -> Self {
        match edit {
            EditError::Missing => Self::record_not_found(collection, id),
            EditError::Deleted => Self::record_deleted(collection, id),
            EditError::Name { .. } => Self::of(Code::BadName, error),
            EditError::Schema(_) => Self::of(Code::SchemaRefused, error),
            EditError::TooManyOperations { .. }
            | EditError::TooManyGenesis { .. }
            | EditError::TooLarge { .. } => Self::of(Code::TransactionTooLarge, error),
            EditError::NotCounter { .. } => Self::of(Code::EditRefused, error).hint(
                "a schema makes a field a counter (`branchline schema apply FILE`), before it is first written",
            ),
            EditError::IntegerRange { .. } | EditError::Digits { .. } => {
                Self::of(Code::EditRefused, error).hint(
                    "declare the field as decimal, which keeps 38 digits (`branchline schema apply FILE`), or write the number as a string",
                )
            }
            EditError::Unreadable(reason) => {
                Self::record_unreadable(collection, id, &text_of(reason))
            }
            EditError::WrongKind { .. }
            | EditError::Form { .. }
            | EditError::FloatRange { .. }
            | EditError::CounterRemoved { .. }
            | EditError::Increment { .. }
            | EditError::IncrementRange { .. }
            | EditError::Required { .. }
            | EditError::TooDeep { .. }
            | EditError::Refused(_) => Self::of(Code::EditRefused, error),
        }
    }
}

impl From<NoDocument> for ApiError {
    fn from(error: NoDocument) -> Self {
        let error = match error {
            NoDocument::Document(error) => error,
            NoDocument::Read(error) => return error.into(),
        };
        match error {
            DocumentError::Store(error) => error.into(),
            DocumentError::Unreadable { collection, id, reason } => {
                Self::record_unreadable(&collection, &id, &reason)
            }
            error @ DocumentError::TooLarge { .. } => Self::of(Code::DocumentTooLarge, &error)
                .hint("its fields can be read; a new record with them begins a new history"),
            error @ DocumentError::Forked { .. } => Self::of(Code::DocumentRefused, &error),
            error @ (DocumentError::NoVersion { .. } | DocumentError::NotNamed(_)) => {
                Self::of(Code::BadParameter, &error)
                    .hint("`branchline history` lists the changes that are here")
            }
        }
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
        let place = ErrorPlace { parameter: part.to_string(), offset };
        Self::of(Code::BadQuery, &error).at(place)
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

impl From<NotRead> for ApiError {
    fn from(error: NotRead) -> Self {
        let error = match error {
            NotRead::Load(error) => error,
            NotRead::Feed(error) => return error.into(),
        };
        match error {
            NotLoaded::NoEvents { .. } => Self::of(Code::NoEvents, &error).hint(
                r#"an admin declares an empty collection as one of events: {"COLLECTION": {"events": true}} for `branchline schema apply`"#,
            ),
            NotLoaded::Building { .. } => Self::of(Code::IndexBuilding, &error)
                .hint("`branchline status` shows the progress; try again once it is done"),
            NotLoaded::Version(error) => FeedError::from(error).into(),
            NotLoaded::Store(error) => error.into(),
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
        Self::of(Code::StorageFailed, &error).hint(
            "`branchline verify` shows what is damaged, `branchline rebuild` rebuilds the tables",
        )
    }
}

impl From<DocumentNotMerged> for ApiError {
    fn from(error: DocumentNotMerged) -> Self {
        match error {
            DocumentNotMerged::Document(error) => Self::of(Code::DocumentRefused, &error),
            DocumentNotMerged::Write(error) => Self::of_write(&error, "", ""),
            DocumentNotMerged::Stopped(error) => error.into(),
        }
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

impl From<BackupRefused> for ApiError {
    fn from(error: BackupRefused) -> Self {
        Self::of(Code::StorageFailed, &error)
            .hint("copies need as much room on the disk as what is copied; look there first")
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
            NoTicket::Decision(error) => NotDecided::Decision(error).into(),
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
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_once() {
        let source = NameError::Empty { what: "field name" };
        let error = EditError::Name { path: "a.".to_owned(), source };
        let text = text_of(&WriteError::Edit(error));
        assert_eq!(text, "\"a.\" cannot be written: the field name is empty");
    }
}
