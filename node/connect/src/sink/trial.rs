//! What tests do to a sink: steps behind which it stands still, to be killed there, and mistakes that it is to make, so that
//! a test proves that it would find them.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkMistake {
    /// Nothing is written down before a create is sent.
    NothingPending,
    /// A create whose outcome is unknown is sent again under another key.
    OtherKey,
}

/// What a test does to a sink. The default does nothing.
#[derive(Clone, Debug, Default)]
pub struct SinkTrial {
    mistake: Option<SinkMistake>,
    /// Steps until it stands still; none where it is 0 or less.
    steps_left: Arc<AtomicI64>,
    stands: Arc<Notify>,
}

impl SinkTrial {
    /// Lets a sink make a mistake.
    #[must_use]
    pub fn of(mistake: Option<SinkMistake>) -> Self {
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

    pub(super) fn makes(&self, mistake: SinkMistake) -> bool {
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
