//! What a bridge remembers, durably, in a SQLite file of its own in the node's data folder: nothing of it can be made
//! again from the database or the records, so it is part of backups, and a rebuild of the node leaves it alone.
//!
//! | table | what |
//! |---|---|
//! | `bridge` | one row: how it was installed, and how far it has come |
//! | `bridged_table` | the tables, how far each is loaded, and why one stopped |
//! | `view` | what the node knows each row to hold, and the version of the record that it stands for |
//! | `plan` | edits that are to be written, under a number; at most one |
//! | `last_batch` | what held before the last batch of writes, should the database not have committed it; at most one |
//! | `waiting` | records that the feed has reported and the table does not have yet |
//! | `quarantine` | rows and records that are set aside, with what refused them |
//! | `unacknowledged` | captured rows that the site which is to confirm them has not confirmed |
//!
//! **Exactly once.** Capture: the plan is made durable, written under its number as the transaction's origin, and replaced
//! by its views in one step; after a crash the same plan is written under the same number, which changes nothing where it
//! was written before. Apply: the batch's views become durable, together with those that they replace, before the
//! database commits the batch with its number; after a crash the number in the database tells which of them hold.

mod open;
mod progress;
mod quarantine;
mod tables;
mod unacknowledged;
mod views;
mod waiting;

pub use progress::{BeforeBatch, Progress, Steps};
pub use quarantine::{Direction, Quarantined};
pub use tables::{Phase, TableState};
pub use unacknowledged::{Lagging, Unacknowledged};
pub use views::{View, ViewChange};

use crate::jobs::store::Store;

/// Why the state cannot be used.
pub use crate::jobs::store::StoreError as StateError;

/// The durable state of one bridge.
pub struct BridgeState {
    store: Store,
}
