//! Why a sink cannot go on as it is.

use branchline_node::feed::FeedError;
use branchline_node::handle::{ReadError, Stopped};
use branchline_node::records::NotWritten;

use super::survey::SurveyError;
use crate::jobs::board::JobError;
use crate::jobs::fault::Fault;
use crate::jobs::store::StoreError;
use crate::jobs::tenure::TenureError;

/// Why a sink cannot go on as it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SinkFailure {
    /// The sink's own file.
    #[error(transparent)]
    State(#[from] StoreError),
    /// The node has stopped, or cannot be read.
    #[error(transparent)]
    Node(#[from] ReadError),
    /// The feed cannot be read.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The node does not take what is known of the remote.
    #[error("the node does not take what the sink knows of the service: {0}")]
    Unwritten(#[from] NotWritten),
    /// Who runs the sink cannot be read, or not be settled.
    #[error(transparent)]
    Tenure(#[from] TenureError),
    /// The list of jobs.
    #[error(transparent)]
    Jobs(#[from] JobError),
    /// It cannot be counted what a changed configuration would push.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The remote does not do what it has to before anything is sent.
    #[error(transparent)]
    Remote(#[from] Fault),
    /// A person has to decide.
    #[error("{0}")]
    Rest(String),
    /// Another site runs the sink.
    #[error("{0}")]
    Superseded(String),
    /// This site is of no network yet.
    #[error("this site is of no network yet: objects are called by its network")]
    NoNetwork,
}

impl From<Stopped> for SinkFailure {
    fn from(stopped: Stopped) -> Self {
        Self::Node(stopped.into())
    }
}

impl SinkFailure {
    /// Whether the node is gone, so that there is nothing more to do.
    pub(super) fn is_end(&self) -> bool {
        matches!(
            self,
            Self::Node(ReadError::Stopped(_))
                | Self::Feed(FeedError::Read(ReadError::Stopped(_)))
                | Self::Unwritten(NotWritten::Stopped(_))
                | Self::Tenure(
                    TenureError::Read(ReadError::Stopped(_))
                        | TenureError::Write(NotWritten::Stopped(_))
                )
        )
    }
}
