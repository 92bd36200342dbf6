//! Why a node does not do what a program asks of it.

use branchline_crdt::replica::{DecisionError, InviteError, JoinError};
use branchline_crdt::store::StoreError;

use crate::site::SiteError;

/// The node has stopped, or failed while it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", match reason {
    Some(reason) => format!("the node has failed: {reason}"),
    None => "the node has stopped".to_owned(),
})]
pub struct Stopped {
    /// Why, if it failed.
    pub reason: Option<String>,
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The site belongs to no network, so it has no records.
    #[error(transparent)]
    NoNetwork(#[from] NoNetwork),
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node stopped meanwhile.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The site belongs to no network.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("this site does not belong to a network yet: found one, or join one with a ticket")]
pub struct NoNetwork;

/// Why a space cannot be addressed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpaceNotFound {
    /// None is held here that is called so.
    #[error("this site holds no space {found:?}")]
    Unknown {
        /// What was given.
        found: String,
    },
    /// Several are.
    #[error("{} spaces are called {found:?}: name one by its id, {}", ids.len(), ids.join(" or "))]
    Ambiguous {
        /// What was given.
        found: String,
        /// Their ids.
        ids: Vec<String>,
    },
}

/// Why there is no ticket.
#[derive(Debug, thiserror::Error)]
pub enum NoTicket {
    /// The site may not invite.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// A ticket without an address leads nowhere.
    #[error(
        "no address of this site is known to put into the ticket: run the node first, or give --address"
    )]
    NoAddress,
    /// The ticket could not be made known.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// The machine gives no random bytes.
    #[error("this machine provides no random bytes for the ticket's secret")]
    NoRandomness,
    /// The node stopped meanwhile.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a ticket was not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotJoined {
    /// It cannot be used at this site.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// It could not be kept.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// The node stopped meanwhile.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a decision of a member was not made.
#[derive(Debug, thiserror::Error)]
pub enum NotDecided {
    /// It cannot be made at this site.
    #[error(transparent)]
    Decision(#[from] DecisionError),
    /// The node stopped meanwhile.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}
