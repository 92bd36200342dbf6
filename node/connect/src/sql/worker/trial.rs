//! What tests do to a bridge: mistakes that it is to make, so that a test proves that it would find them, and steps behind
//! which it stands still, to be killed there.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeMistake {
    /// Notes are deleted before what they say is durable.
    NotesFirst,
    /// Rows are written whether or not they are as their views say.
    Blindly,
    /// After a crash the last batch counts as not committed.
    NoIntent,
    /// After a crash a plan is thrown away, and its number used again.
    NoPlan,
}

/// What a test does to a bridge. The default does nothing.
#[derive(Clone, Debug, Default)]
pub struct BridgeTrial {
    mistake: Option<BridgeMistake>,
    /// Steps until it stands still; none where it is 0 or less.
    steps_left: Arc<AtomicI64>,
    stands: Arc<Notify>,
}

impl BridgeTrial {
    /// Lets a bridge make a mistake.
    #[must_use]
    pub fn of(mistake: Option<BridgeMistake>) -> Self {
        Self { mistake, ..Self::default() }
    }

    /// Lets it stand still after so many steps.
    pub fn stop_after(&self, steps: u32) {
        self.steps_left.store(steps.into(), Ordering::SeqCst);
    }

    /// Waits until it stands still.
    pub async fn stopped(&self) {
        self.stands.notified().await;
    }

    pub(super) fn makes(&self, mistake: BridgeMistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// One step is done.
    pub(super) async fn step(&self) {
        if self.steps_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.stands.notify_one();
            pending::<()>().await;
        }
    }
}
