//! Entries of answers are prepared on other threads before the replica's thread sees them.

use std::sync::Arc;

use branchline_crdt::protocol::prepare::{Job, Prepared};
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tracing::error;

use super::Message;

/// Answers in preparation, and prepared ones that the replica has not taken in. One has some 5 MB in memory, and at the
/// worst 40.
const PREPARED_MAX: usize = 4;

/// Starts the preparation of jobs; what they come to is sent as messages, in the order of the jobs.
pub(crate) fn start(messages: mpsc::Sender<Message>) -> mpsc::UnboundedSender<Job> {
    // The replica bounds the jobs that wait, and must not wait for them itself.
    let (jobs, mut queue) = mpsc::unbounded_channel::<Job>();
    let room = Arc::new(Semaphore::new(PREPARED_MAX));
    let queue = stream::poll_fn(move |context| queue.poll_recv(context));
    let prepare = move |job: Job| {
        let room = Arc::clone(&room);
        async move {
            let room = room.acquire_owned().await.ok();
            let (from, id) = (job.from, job.id);
            let prepared = spawn_blocking(|| job.run()).await.unwrap_or_else(|error| {
                error!(%error, "the entries of an answer could not be prepared");
                Prepared::failed(from, id)
            });
            Message::Prepared(prepared, room)
        }
    };
    tokio::spawn(async move {
        let mut prepared = std::pin::pin!(queue.map(prepare).buffered(PREPARED_MAX));
        while let Some(message) = prepared.next().await {
            if messages.send(message).await.is_err() {
                return;
            }
        }
    });
    jobs
}
