//! Places for connections at the port: those that have shown the token keep theirs, the others take none from them.
//!
//! Any user of the machine can connect to the port. A connection is a stranger's until a request on it carries the token;
//! strangers have few places, and where there is none left the one who came first goes. So a program that holds the token
//! gets in as soon as it has sent its request, however many others connect and say nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::api::error::{ApiError, Code};

/// Connections that have shown the token. Enough for a browser and some scripts.
const KNOWN_MAX: usize = 256;
/// Connections that have shown the token and wait for a place among them.
const QUEUED_MAX: usize = 128;
/// Connections that have not shown the token.
const STRANGERS_MAX: usize = 128;
/// How long a stranger stays, no matter who else comes: a busy node must have come to read what it sent.
const GRACE: Duration = Duration::from_millis(100);

/// All places.
pub(crate) struct Places {
    strangers: Mutex<Strangers>,
    known: Arc<Semaphore>,
    queue: Semaphore,
}

#[derive(Default)]
struct Strangers {
    count: u64,
    /// In the order in which they came.
    here: VecDeque<NewConnection>,
}

struct NewConnection {
    number: u64,
    came: Instant,
    sent_away: oneshot::Sender<()>,
}

/// One connection's place; given back when it is dropped.
pub(crate) struct Visit {
    places: Arc<Places>,
    number: u64,
    /// Whether the token was shown.
    is_known: AtomicBool,
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Places {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            strangers: Mutex::default(),
            known: Arc::new(Semaphore::new(KNOWN_MAX)),
            queue: Semaphore::new(QUEUED_MAX),
        })
    }

    /// Waits until a stranger may come in, sending another one away if need be.
    pub(crate) async fn make_room(&self) {
        loop {
            let stays_until = {
                let mut strangers = self.strangers();
                if strangers.here.len() < STRANGERS_MAX {
                    return;
                }
                let Some(first) = strangers.here.front() else { return };
                let stays_until = first.came + GRACE;
                if stays_until <= Instant::now() {
                    if let Some(first) = strangers.here.pop_front() {
                        // Where it has ended just now, so much the better.
                        let _ = first.sent_away.send(());
                    }
                    return;
                }
                stays_until
            };
            sleep_until(stays_until).await;
        }
    }

    /// Takes a stranger in. The future resolves when it has to go.
    pub(crate) fn enter(self: &Arc<Self>) -> (Arc<Visit>, impl Future<Output = ()> + use<>) {
        let (sent_away, reported) = oneshot::channel();
        let mut strangers = self.strangers();
        strangers.count += 1;
        let number = strangers.count;
        strangers.here.push_back(NewConnection { number, came: Instant::now(), sent_away });
        drop(strangers);
        let visit = Arc::new(Visit {
            places: Arc::clone(self),
            number,
            is_known: AtomicBool::new(false),
            place: Mutex::default(),
        });
        let visitor = Arc::clone(&visit);
        let must_go = async move {
            if reported.await.is_err() || visitor.is_known.load(Ordering::Relaxed) {
                // It showed the token, perhaps at the last moment.
                std::future::pending::<()>().await;
            }
        };
        (visit, must_go)
    }

    fn strangers(&self) -> MutexGuard<'_, Strangers> {
        // A thread that panicked while holding the lock left the queue whole.
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// Gives the connection a place among those that have shown the token, once there is one.
    pub(crate) async fn let_in(&self) -> Result<(), ApiError> {
        if self.is_known.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.leave();
        let place = match Arc::clone(&self.places.known).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let _queued = self.places.queue.try_acquire().map_err(|_| busy())?;
                // The semaphore is never closed.
                Arc::clone(&self.places.known).acquire_owned().await.map_err(|_| busy())?
            }
        };
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
        Ok(())
    }

    /// Is no stranger any more.
    fn leave(&self) {
        self.places.strangers().here.retain(|stranger| stranger.number != self.number);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.leave();
    }
}

fn busy() -> ApiError {
    let message = format!("{KNOWN_MAX} connections are open and {QUEUED_MAX} wait already");
    ApiError::new(Code::TooBusy, message).hint("use connections again, or fewer at a time")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn strangers_take_no_place_from_those_who_show_the_token() {
        let places = Places::new();
        let known: Vec<_> = (0..KNOWN_MAX).map(|_| places.enter().0).collect();
        for visit in &known {
            visit.let_in().await.unwrap();
        }
        let came = Instant::now();
        let mut strangers: VecDeque<_> = (0..STRANGERS_MAX).map(|_| places.enter()).collect();
        // One more waits for a moment, then the first goes.
        places.make_room().await;
        assert!(came.elapsed() >= GRACE);
        let (_, must_go) = strangers.pop_front().unwrap();
        must_go.now_or_never().unwrap();
        assert!(strangers.pop_front().unwrap().1.now_or_never().is_none());
        // Who shows the token waits for those who have, and for no stranger.
        let (visit, must_go) = places.enter();
        let mut let_in = Box::pin(visit.let_in());
        assert!(let_in.as_mut().now_or_never().is_none());
        drop(known);
        let_in.await.unwrap();
        assert!(must_go.now_or_never().is_none());
    }

    #[tokio::test]
    async fn who_shows_the_token_at_the_last_moment_stays() {
        let places = Places::new();
        let (visit, must_go) = places.enter();
        let _others: Vec<_> = (1..STRANGERS_MAX).map(|_| places.enter()).collect();
        places.make_room().await;
        visit.let_in().await.unwrap();
        assert!(must_go.now_or_never().is_none());
    }
}
