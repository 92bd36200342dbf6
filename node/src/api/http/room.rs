//! Room for requests: for those at work, for their bodies, and for those that wait for something to happen.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::api::error::{ApiError, Code};

/// Requests that are worked on at once; others wait. Those whose bodies come slowly count too, and are ended soon; so do
/// those whose answers are not taken yet.
const AT_WORK_MAX: usize = 64;
/// Memory for the bodies of requests at work, in KiB: two of the largest, or more that are smaller. What a body means takes
/// up to twenty times its size in memory.
const BODIES_KIB_MAX: usize = 16 * 1024;
/// Bodies of up to this many KiB take none of it: all that can be at work are 4 MiB, and they need not wait for imports.
pub(crate) const BODY_KIB_FREE: usize = 64;
/// How long a request waits for room before it is refused.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests that wait for something to happen, and streams of events. They hold a connection each, of which this many
/// leave some for others.
const WAITING_MAX: usize = 192;
/// Those of one client among them, so that no client keeps all others out.
const WAITING_OF_CLIENT_MAX: usize = 128;

/// The room for all requests that come in by one door.
pub(crate) struct Rooms {
    at_work: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
    waiting: Mutex<BTreeMap<Client, usize>>,
}

/// Who sends a request, as far as can be known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    /// A process of this machine; `None`: the system does not say which.
    Process(Option<i32>),
    /// What calls itself so in `User-Agent`: at the port every client has the same token.
    Agent(String),
}

/// The room of one request. One that is not served over HTTP has all it wants.
#[derive(Clone)]
pub(crate) struct Room(Option<Arc<TakenRoom>>);

struct TakenRoom {
    rooms: Arc<Rooms>,
    client: Client,
    held: Mutex<HeldRoom>,
}

/// What a request holds until it is answered, or waits.
#[derive(Default)]
struct HeldRoom {
    at_work: Option<OwnedSemaphorePermit>,
    body: Option<OwnedSemaphorePermit>,
}

/// One that waits. Dropped when it waits no more.
pub(crate) struct Waiting {
    place: Option<(Arc<Rooms>, Client)>,
}

impl Rooms {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            at_work: Arc::new(Semaphore::new(AT_WORK_MAX)),
            bodies: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
            waiting: Mutex::default(),
        })
    }

    /// Waits for room to work. It is given back when the last clone of it is dropped.
    pub(crate) async fn take(self: &Arc<Self>, client: Client) -> Result<Room, ApiError> {
        let at_work = acquire(&self.at_work, 1).await?;
        let held = Mutex::new(HeldRoom { at_work: Some(at_work), body: None });
        Ok(Room(Some(Arc::new(TakenRoom { rooms: Arc::clone(self), client, held }))))
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Client, usize>> {
        // A thread that panicked while holding the lock left the map whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn acquire(room: &Arc<Semaphore>, permits: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    match timeout(PATIENCE, Arc::clone(room).acquire_many_owned(permits)).await {
        Ok(Ok(permit)) => Ok(permit),
        // The semaphore is never closed.
        Ok(Err(_)) | Err(_) => {
            let seconds = PATIENCE.as_secs();
            let message = format!("the node works on as much as it may, for {seconds} s now");
            Err(ApiError::new(Code::TooBusy, message).hint("send fewer requests at a time"))
        }
    }
}

impl Room {
    /// Waits for memory for a body of at most so many bytes, before it is read.
    pub(crate) async fn reserve(&self, bytes: usize) -> Result<(), ApiError> {
        let kib = bytes.div_ceil(1024);
        if let Some(taken) = &self.0
            && kib > BODY_KIB_FREE
        {
            let permit = acquire(&taken.rooms.bodies, kib.min(BODIES_KIB_MAX)).await?;
            taken.held().body = Some(permit);
        }
        Ok(())
    }

    /// Gives back what the body, now read, did not need.
    pub(crate) fn keep_only(&self, bytes: usize) {
        let Some(taken) = &self.0 else { return };
        let mut held = taken.held();
        if let Some(permit) = &mut held.body {
            let unused = permit.num_permits().saturating_sub(bytes.div_ceil(1024));
            drop(permit.split(unused));
        }
    }

    /// Takes a place among those who wait, beside the room for work.
    pub(crate) fn wait(&self) -> Result<Waiting, ApiError> {
        let Some(taken) = &self.0 else { return Ok(Waiting { place: None }) };
        let mut waiting = taken.rooms.waiting();
        let of_client = waiting.get(&taken.client).copied().unwrap_or(0);
        let message = if of_client >= WAITING_OF_CLIENT_MAX {
            let client = taken.client.name();
            format!("{client} has {of_client} requests waiting, no more are possible")
        } else if waiting.values().sum::<usize>() >= WAITING_MAX {
            format!("{WAITING_MAX} requests wait already, no more are possible")
        } else {
            *waiting.entry(taken.client.clone()).or_default() += 1;
            let place = Some((Arc::clone(&taken.rooms), taken.client.clone()));
            return Ok(Waiting { place });
        };
        Err(ApiError::new(Code::TooManyWaiting, message)
            .hint("end some that are no longer needed; a program with several clients can name each in User-Agent"))
    }

    /// Leaves the room for work to others: the request does nothing from now on but wait.
    pub(crate) fn leave(&self) {
        if let Some(taken) = &self.0 {
            *taken.held() = HeldRoom::default();
        }
    }

    /// Returns whether the request still counts as one at work.
    pub(crate) fn is_held(&self) -> bool {
        self.0.as_ref().is_some_and(|taken| taken.held().at_work.is_some())
    }
}

impl TakenRoom {
    fn held(&self) -> MutexGuard<'_, HeldRoom> {
        // A thread that panicked while holding the lock left the permits whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn name(&self) -> String {
        match self {
            Self::Process(Some(process)) => format!("process {process}"),
            Self::Process(None) => "this process".to_owned(),
            Self::Agent(agent) if agent.is_empty() => "a client without a User-Agent".to_owned(),
            Self::Agent(agent) => format!("the client {agent:?}"),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some((rooms, client)) = &self.place else { return };
        let mut waiting = rooms.waiting();
        if let Some(count) = waiting.get_mut(client) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(client);
            }
        }
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
    use futures::FutureExt;

    use super::*;

    fn agent(name: &str) -> Client {
        Client::Agent(name.to_owned())
    }

    #[tokio::test]
    async fn those_who_wait_leave_room_for_work_and_are_bounded_themselves() {
        let rooms = Rooms::new();
        let mut waiting = Vec::new();
        for number in 0..WAITING_MAX {
            let room = rooms.take(agent(["a", "b"][number % 2])).await.unwrap();
            waiting.push(room.wait().unwrap());
            room.leave();
            assert!(!room.is_held());
        }
        assert_eq!(rooms.at_work.available_permits(), AT_WORK_MAX);
        let room = rooms.take(agent("c")).await.unwrap();
        assert_eq!(room.wait().err().unwrap().code, Code::TooManyWaiting);
        waiting.pop();
        room.wait().unwrap();
        drop(room);
        assert_eq!(rooms.at_work.available_permits(), AT_WORK_MAX);
        waiting.clear();
        assert!(rooms.waiting().is_empty());
    }

    #[tokio::test]
    async fn one_client_leaves_places_for_others_to_wait() {
        let rooms = Rooms::new();
        let greedy = rooms.take(agent("greedy")).await.unwrap();
        let _waiting: Vec<_> = std::iter::from_fn(|| greedy.wait().ok()).collect();
        assert_eq!(greedy.wait().err().unwrap().code, Code::TooManyWaiting);
        let other = rooms.take(agent("other")).await.unwrap();
        let _others: Vec<_> = std::iter::from_fn(|| other.wait().ok()).collect();
        assert_eq!(_others.len(), WAITING_MAX - WAITING_OF_CLIENT_MAX);
    }

    #[tokio::test]
    async fn large_bodies_wait_for_memory_and_small_ones_do_not() {
        const LARGE: usize = 8 * 1024 * 1024;
        let rooms = Rooms::new();
        let mut large = Vec::new();
        for _ in 0..2 {
            let room = rooms.take(agent("import")).await.unwrap();
            room.reserve(LARGE).await.unwrap();
            large.push(room);
        }
        let small = rooms.take(agent("till")).await.unwrap();
        small.reserve(BODY_KIB_FREE * 1024).await.unwrap();
        let late = rooms.take(agent("import")).await.unwrap();
        let mut reserve = Box::pin(late.reserve(LARGE));
        assert!(reserve.as_mut().now_or_never().is_none());
        // What turned out to be smaller leaves the rest to others.
        large.iter().for_each(|room| room.keep_only(LARGE / 2));
        reserve.await.unwrap();
        drop((large, small, late));
        assert_eq!(rooms.bodies.available_permits(), BODIES_KIB_MAX);
        assert_eq!(rooms.at_work.available_permits(), AT_WORK_MAX);
    }
}
