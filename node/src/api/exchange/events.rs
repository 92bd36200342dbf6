//! The feed as server-sent events.
//!
//! Each event has the consumer's cursor as its id, so that a client goes on where it was (`Last-Event-ID`). What is not
//! for it moves the cursor too: the heartbeat carries it.

use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use axum::body::Bytes;
use futures::Stream;
use futures::stream;
use tokio::time::Instant;

use super::changes::text_of;
use crate::api::error::{ApiError, ErrorBody};
use crate::api::http::room::Waiting;
use crate::feed::{Consumer, FeedError, FeedPage, PageBounds};
use crate::handle::ReadError;

/// What is sent at a time: little enough that a consumer that stalls holds little.
const BOUNDS: PageBounds = PageBounds { items_max: 512, bytes_max: 256 * 1024 };
/// How long nothing is sent at the most, so that both sides notice a connection that is gone.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// When a client whose connection broke comes again.
const RETRY_MS: u64 = 1000;
/// How long, and how often in a row, a failed read waits for the next try: tables that are rebuilt take a while.
const PAUSE: Duration = Duration::from_millis(500);
const FAILURES_MAX: u32 = 240;

/// Writes what is sent of a page.
pub(crate) type EventFrames = fn(&FeedPage) -> String;

/// One client's stream.
struct EventStream {
    consumer: Consumer,
    frames: EventFrames,
    failures: u32,
    /// Held while the stream lasts.
    _waiting: Option<Waiting>,
}

/// The events behind the consumer's place, without end. The stream ends with the node, and after an `error` event.
pub(crate) fn events(
    consumer: Consumer,
    frames: EventFrames,
    waiting: Option<Waiting>,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    // A consumer that begins now knows where that is, though nothing has happened yet.
    let first = format!("retry: {RETRY_MS}\nid: {}\n\n", consumer.cursor());
    let first = stream::once(async move { Ok(Bytes::from(first)) });
    let events = EventStream { consumer, frames, failures: 0, _waiting: waiting };
    let rest = stream::unfold(Some(events), async |events| {
        let mut events = events?;
        let (text, goes_on) = events.next().await?;
        Some((Ok(Bytes::from(text)), goes_on.then_some(events)))
    });
    futures::StreamExt::chain(first, rest)
}

impl EventStream {
    /// What is sent next, and whether more follows.
    async fn next(&mut self) -> Option<(String, bool)> {
        loop {
            let error = match self.consumer.next_page(BOUNDS, Instant::now() + HEARTBEAT).await {
                Ok(page) => {
                    self.failures = 0;
                    return Some(((self.frames)(&page), true));
                }
                Err(FeedError::Read(ReadError::Stopped(_))) => return None,
                Err(error) => error,
            };
            self.failures += 1;
            let may_pass = matches!(error, FeedError::Read(ReadError::Store(_)));
            if !may_pass || self.failures > FAILURES_MAX {
                let body = ErrorBody { error: ApiError::from(error).detail() };
                let body = serde_json::to_string(&body).unwrap_or_default();
                return Some((format!("event: error\ndata: {body}\n\n"), false));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// All that the feed tells, as events that are called `change`.
pub(crate) fn changes(page: &FeedPage) -> String {
    let mut text = String::new();
    for item in &page.items {
        push(&mut text, item.cursor_text(), "change", item.text(text_of));
    }
    if page.items.is_empty() {
        push_heartbeat(&mut text, page);
    }
    text
}

/// One event.
pub(crate) fn push(text: &mut String, id: &str, name: &str, data: &str) {
    // Writing to a string does not fail.
    let _ = write!(text, "id: {id}\nevent: {name}\ndata: {data}\n\n");
}

/// Says that the connection is there, and where the consumer is.
pub(crate) fn push_heartbeat(text: &mut String, page: &FeedPage) {
    let _ = write!(text, ": alive\nid: {}\n\n", page.cursor);
}
