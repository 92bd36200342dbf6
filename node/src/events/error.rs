//! Why events are not stored, or not read.

use branchline_crdt::events::NotLoaded;

use crate::feed::FeedError;
use crate::records::NotWritten;

/// Why events were not stored. None of them is, unless the node stopped meanwhile: then they may have been stored, and
/// storing them again is safe.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// They cannot be written: [`WriteError::Event`](crate::records::WriteError::Event) in it says that the collection does
    /// not take one of them.
    #[error(transparent)]
    Written(#[from] NotWritten),
    /// The collection is none of events, or cannot be read.
    #[error(transparent)]
    Read(#[from] NotRead),
}

/// Why events cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum NotRead {
    /// The collection is none of events, or not those of this aggregate.
    #[error(transparent)]
    Load(#[from] NotLoaded),
    /// The version is none of this site, or the feed cannot be read now.
    #[error(transparent)]
    Feed(#[from] FeedError),
}
