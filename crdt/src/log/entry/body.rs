//! What an entry's payload holds: changes of records in transactions, or operations on the membership.

use serde::{Deserialize, Serialize};

use super::limits;
use crate::format::codec::DecodeError;
use crate::format::pack::UnpackError;
use crate::membership::Operation;
use crate::record::{InitialChange, RecordChange};

/// An unpacked payload of format 1. The order of variants is part of the format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Changes to records; the only kind in an ordinary space.
    Transactions(Vec<Transaction>),
    /// Changes to membership; the only kind in the membership space.
    Membership(Vec<Operation>),
}

impl Body {
    /// About how many bytes it takes encoded.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Transactions(transactions) => {
                transactions.iter().map(Transaction::bytes_max).sum()
            }
            Self::Membership(operations) => size_of_val(&operations[..]),
        }
    }

    /// Says which limit it breaks.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let count = match self {
            Self::Transactions(transactions) => {
                if transactions.iter().any(|transaction| transaction.changes.is_empty()) {
                    return Err("a transaction has at least one change");
                }
                let origins =
                    transactions.iter().filter_map(|transaction| transaction.origin.as_ref());
                if origins.into_iter().any(|o| o.source.len() > limits::ORIGIN_SOURCE_BYTES_MAX) {
                    return Err("the name of an origin's source is too long");
                }
                transactions.iter().map(|transaction| transaction.changes.len()).sum()
            }
            Self::Membership(operations) => operations.len(),
        };
        if count > limits::CHANGES_MAX {
            return Err("it has too many changes");
        }
        Ok(())
    }
}

/// Changes that become visible together or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// Recognises a repeat.
    pub origin: Option<Origin>,
    /// In the order in which they were made.
    pub changes: Vec<RecordWrite>,
}

impl Transaction {
    /// At least as many bytes as it takes encoded, a few more for each number.
    pub fn bytes_max(&self) -> usize {
        const NUMBER_BYTES_MAX: usize = 9;
        let text = |text: &String| NUMBER_BYTES_MAX + text.len();
        let genesis = |genesis: &InitialChange| {
            2 * NUMBER_BYTES_MAX + genesis.path.iter().map(text).sum::<usize>()
        };
        let change = |write: &RecordWrite| {
            let RecordChange { genesis: all, body } = &write.change;
            let genesis: usize = all.iter().map(genesis).sum();
            text(&write.collection) + text(&write.id) + genesis + 2 * NUMBER_BYTES_MAX + body.len()
        };
        let origin = self.origin.as_ref().map_or(0, |origin| text(&origin.source));
        3 * NUMBER_BYTES_MAX + origin + self.changes.iter().map(change).sum::<usize>()
    }
}

/// One change and the record that it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordWrite {
    /// Collection of the record.
    pub collection: String,
    /// Id of the record within the collection.
    pub id: String,
    /// The change.
    pub change: RecordChange,
}

/// An idempotency token: a site writes the same origin once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// Who numbers, at most [`limits::ORIGIN_SOURCE_BYTES_MAX`] bytes. Where it has a `#`, what follows tells what
    /// was asked, and asking something else under the same number is refused.
    pub source: String,
    /// The number.
    pub number: u64,
}

/// What the sources of origins begin with under which changes of documents are taken in.
const DOCUMENT_SOURCE: &str = "document:";

impl Origin {
    /// Under which a change of a document that another program edited is taken in. `hash`: of the record and the change.
    pub(crate) fn of_document(hash: &str) -> Self {
        Self { source: format!("{DOCUMENT_SOURCE}{hash}"), number: 0 }
    }

    /// Whether it is such a one, under which a change is taken in once by all sites together.
    pub fn is_of_document(&self) -> bool {
        self.source.starts_with(DOCUMENT_SOURCE)
    }

    /// Of a source that asks under keys (`KEY#REQUEST`), what stands before the request, `#` included: under one
    /// number it is followed by one request only.
    pub(crate) fn key(&self) -> Option<Self> {
        let (key, _) = self.source.split_once('#')?;
        Some(Self { source: format!("{key}#"), number: self.number })
    }
}

/// Why a payload is not one of the format: the author's fault, the entry is void.
#[derive(Debug, thiserror::Error)]
pub enum MalformedBody {
    /// It does not unpack.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// It does not decode.
    #[error(transparent)]
    Layout(#[from] DecodeError),
    /// It breaks a limit.
    #[error("the payload is wrong: {reason}")]
    Limit {
        /// Which limit.
        reason: &'static str,
    },
}
