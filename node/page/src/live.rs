//! Pages that follow what happens: each has a stream of server-sent events, which says that something has changed and
//! nothing else. The page then asks for its view again, as it would by itself.
//!
//! How often a stream speaks depends on how many there are: what all of them cause is bounded. A stream that nobody takes
//! ends with its connection.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use branchline_node::handle::Handle;
use futures::stream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::office::Office;
use crate::sign_in::Viewer;

/// The path of the stream.
pub(crate) const PATH: &str = "/live";
/// Streams at the same time. Each holds a connection, of which this many leave some for views.
const STREAMS_MAX: usize = 256;
/// Those of one session among them: more tabs than somebody looks at. A browser closes those of hidden tabs.
const OF_SESSION_MAX: usize = 32;
/// How long what has just changed is waited for to be followed by more: a group of writes comes as several.
const GATHER: Duration = Duration::from_millis(60);
/// The pace of the only stream.
const PACE: Duration = Duration::from_millis(500);
/// How much slower it becomes for each stream that there is: so all together cause some forty views a second at most.
const PACE_OF_EACH: Duration = Duration::from_millis(25);
/// How often a stream speaks where nothing happens: times grow old, and a connection that is gone is noticed.
const QUIET: Duration = Duration::from_secs(15);

/// The streams there are.
pub(crate) struct Live {
    by_session: Mutex<BTreeMap<String, usize>>,
    grown: watch::Receiver<u64>,
    receipts: watch::Receiver<u64>,
    is_stopping: watch::Sender<bool>,
}

/// How far records, members and receipts have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Version {
    grown: u64,
    receipts: u64,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.grown, self.receipts)
    }
}

/// The place of one stream, given back when it is dropped.
struct Seat {
    office: Arc<Office>,
    session: String,
}

impl Live {
    pub(crate) fn new(handle: &Handle) -> Self {
        Self {
            by_session: Mutex::default(),
            grown: handle.grown(),
            receipts: handle.receipts(),
            is_stopping: watch::Sender::new(false),
        }
    }

    /// Ends all streams.
    pub(crate) fn stop(&self) {
        self.is_stopping.send_replace(true);
    }

    /// Lets new ones begin.
    pub(crate) fn start(&self) {
        self.is_stopping.send_replace(false);
    }

    /// What has happened so far: another one means that something may show otherwise.
    pub(crate) fn version(&self) -> Version {
        Version { grown: *self.grown.borrow(), receipts: *self.receipts.borrow() }
    }

    fn count(&self) -> usize {
        self.by_session.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    fn pace(&self) -> Duration {
        PACE + PACE_OF_EACH * u32::try_from(self.count()).unwrap_or(u32::MAX)
    }
}

impl Seat {
    fn take(office: &Arc<Office>, session: &str) -> Option<Self> {
        let mut by_session = office.live.by_session.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = by_session.values().sum();
        let of_session = by_session.get(session).copied().unwrap_or(0);
        if all >= STREAMS_MAX || of_session >= OF_SESSION_MAX {
            return None;
        }
        by_session.insert(session.to_owned(), of_session + 1);
        Some(Self { office: Arc::clone(office), session: session.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let by_session = &self.office.live.by_session;
        let mut by_session = by_session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_session.get_mut(&self.session) {
            *count -= 1;
            if *count == 0 {
                by_session.remove(&self.session);
            }
        }
    }
}

/// The path of the stream.
pub(crate) fn routes() -> Router<Arc<Office>> {
    Router::new().route(PATH, get(follow))
}

async fn follow(State(office): State<Arc<Office>>, viewer: Viewer, headers: HeaderMap) -> Response {
    let Some(seat) = Seat::take(&office, &viewer.secret) else {
        let text =
            "too many pages follow already: this one shows what is so when it is loaded again";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    let stream = Stream {
        grown: office.live.grown.clone(),
        receipts: office.live.receipts.clone(),
        stopping: office.live.is_stopping.subscribe(),
        headers,
        seat,
        number: 0,
        next: Instant::now(),
    };
    let body = Body::from_stream(stream::unfold(stream, Stream::next));
    ([(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")], body)
        .into_response()
}

struct Stream {
    grown: watch::Receiver<u64>,
    receipts: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// What showed who follows: a browser that is signed out meanwhile follows no more.
    headers: HeaderMap,
    seat: Seat,
    number: u64,
    next: Instant,
}

impl Stream {
    /// What the stream says next; `None`: it ends.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let office = Arc::clone(&self.seat.office);
        let said = if self.number == 0 {
            self.grown.mark_unchanged();
            self.receipts.mark_unchanged();
            // A page that was made of something older asks again: it may have changed before the stream began.
            format!("retry: 2000\nevent: begun\ndata: {}\n\n", office.live.version())
        } else {
            let has_changed = tokio::select! {
                _ = self.stopping.wait_for(|is_stopping| *is_stopping) => return None,
                has_changed = Self::change(&mut self.grown, &mut self.receipts) => has_changed?,
                () = sleep(QUIET) => false,
            };
            Viewer::of(&office, &self.headers)?;
            if has_changed {
                sleep(GATHER).await;
                sleep_until(self.next).await;
                self.grown.mark_unchanged();
                self.receipts.mark_unchanged();
                self.next = Instant::now() + office.live.pace();
            }
            let event = if has_changed { "changed" } else { "quiet" };
            format!("event: {event}\ndata: {}\n\n", self.number)
        };
        self.number += 1;
        Some((Ok(said.into()), self))
    }

    /// Waits until something has changed; `None`: the node is gone.
    async fn change(
        grown: &mut watch::Receiver<u64>,
        receipts: &mut watch::Receiver<u64>,
    ) -> Option<bool> {
        tokio::select! {
            grown = grown.changed() => grown.ok()?,
            receipts = receipts.changed() => receipts.ok()?,
        }
        Some(true)
    }
}
