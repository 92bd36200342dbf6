//! Room for requests: for those at work, and for those that wait for something to happen.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{ApiError, Code};

/// Requests that are worked on at once; others wait. Each may hold a body and an answer of 8 MiB, and some 50 MiB of
/// what they mean. Those whose bodies come slowly count too, and are ended soon.
const AT_WORK_MAX: usize = 64;
/// Requests that wait for something to happen, and streams of events. They hold a connection each, of which this many
/// leave some for others.
const WAITING_MAX: usize = 192;

/// The room for all requests.
pub(super) struct Rooms {
    at_work: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// The room of one request. One that is not served over HTTP has all it wants.
#[derive(Clone)]
pub(crate) struct Room(Option<Taken>);

#[derive(Clone)]
struct Taken {
    at_work: Arc<Mutex<Option<OwnedSemaphorePermit>>>,
    waiting: Arc<Semaphore>,
}

/// One that waits. Dropped when it waits no more.
pub(crate) struct Waiting {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Rooms {
    pub(super) fn new() -> Self {
        let semaphore = |room| Arc::new(Semaphore::new(room));
        Self { at_work: semaphore(AT_WORK_MAX), waiting: semaphore(WAITING_MAX) }
    }

    /// Waits for room to work. It is given back when the last clone of it is dropped.
    pub(super) async fn take(&self) -> Room {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.at_work).acquire_owned().await.ok();
        let at_work = Arc::new(Mutex::new(permit));
        Room(Some(Taken { at_work, waiting: Arc::clone(&self.waiting) }))
    }
}

impl Room {
    /// Leaves the room for work to others and takes some for waiting.
    pub(crate) fn wait(&self) -> Result<Waiting, ApiError> {
        let Some(taken) = &self.0 else { return Ok(Waiting { _permit: None }) };
        let permit = Arc::clone(&taken.waiting).try_acquire_owned().map_err(|_| {
            let message = format!("{WAITING_MAX} requests wait already, no more are possible");
            ApiError::new(Code::TooManyWaiting, message)
        })?;
        // A thread that panicked while holding the lock left the permit whole.
        taken.at_work.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Waiting { _permit: Some(permit) })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Room {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or(Self(None)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_leave_room_for_work_and_are_bounded_themselves() {
        let rooms = Rooms::new();
        let mut waiting = Vec::new();
        for _ in 0..WAITING_MAX {
            let room = rooms.take().await;
            waiting.push(room.wait().unwrap());
        }
        assert_eq!(rooms.at_work.available_permits(), AT_WORK_MAX);
        let room = rooms.take().await;
        assert_eq!(room.wait().err().unwrap().code, Code::TooManyWaiting);
        waiting.pop();
        room.wait().unwrap();
        let working = rooms.take().await;
        assert_eq!(rooms.at_work.available_permits(), AT_WORK_MAX - 1);
        drop(working);
        assert_eq!(rooms.at_work.available_permits(), AT_WORK_MAX);
    }
}
