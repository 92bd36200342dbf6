//! What the task of a sink does, whatever it sends: it works until something fails, and rests or waits before the next try.

use std::future::Future;
use std::time::Duration;

use branchline_node::Handle;
use branchline_node::feed::{Consumer, FeedPage};
use serde_json::json;
use tokio::sync::mpsc;

use super::failure::SinkFailure;
use super::worker::{PAUSED, SinkAnswer, SinkCommand, SinkRequest};
use crate::jobs::feed::PAGE;
use crate::jobs::store::StoreError;
use crate::jobs::tenure::Tenure;

/// Pause after the first failure of the sink itself; each further one is twice as long.
pub(super) const RETRY: Duration = Duration::from_millis(200);
/// The longest pause between two tries.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);
/// A sink looks after itself so often, whatever happens.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pages of the feed that a run waits for: writers may be faster than a sink reads.
const CATCH_UP_MAX: usize = 10_000;

/// A sink at work.
pub(super) trait Task: Send + Sized {
    /// The sink's name.
    fn name(&self) -> &str;

    /// What people ask of it.
    fn commands(&mut self) -> &mut mpsc::Receiver<SinkRequest>;

    /// Why it rests; `None`: it does not.
    fn paused(&mut self) -> &mut Option<String>;

    /// Keeps that it rests.
    fn keep(&mut self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Sees that this site runs the sink, and goes round until something fails. Returns where the sink is over. `pause`:
    /// becomes the shortest one as soon as it works.
    fn work(
        &mut self,
        pause: &mut Duration,
    ) -> impl Future<Output = Result<(), SinkFailure>> + Send;

    /// Carries a command out.
    fn answer_to(&mut self, command: SinkCommand) -> impl Future<Output = SinkAnswer> + Send;

    /// Lets it rest, as somebody asks.
    fn pause(&mut self) -> impl Future<Output = SinkAnswer> + Send {
        async move {
            if self.paused().is_none() {
                *self.paused() = Some(PAUSED.to_owned());
                self.keep().await?;
            }
            Ok(json!({ "paused": true }))
        }
    }

    /// Says how it is, and why it does not work.
    fn report_on(&mut self, failure: Option<&SinkFailure>) -> impl Future<Output = ()> + Send;

    /// Lets what is under way come to its end.
    fn let_go(&mut self) -> impl Future<Output = ()> + Send;

    /// The feed that it follows; `None`: it follows none now.
    fn feed(&mut self) -> Option<&mut Consumer>;

    /// Makes dirty what a page of the feed says.
    fn take_page(&mut self, page: FeedPage)
    -> impl Future<Output = Result<(), SinkFailure>> + Send;

    /// Reads what has been written until now.
    fn catch_up(&mut self) -> impl Future<Output = Result<(), SinkFailure>> + Send {
        async move {
            for _ in 0..CATCH_UP_MAX {
                let Some(feed) = self.feed() else { break };
                let page = feed.page(PAGE).await?;
                let is_end = page.is_end;
                self.take_page(page).await?;
                if is_end {
                    break;
                }
            }
            Ok(())
        }
    }

    /// Closes its file.
    fn close(self) -> impl Future<Output = ()> + Send;

    /// Carries a command out, and answers who has asked.
    fn obey(&mut self, request: SinkRequest) -> impl Future<Output = ()> + Send {
        async move {
            let answer = self.answer_to(request.command).await;
            // Anyone who asked may be gone.
            let _ = request.reply.send(answer);
        }
    }

    /// Where a failure is the remote's alone: how long that is left alone.
    fn backs_off(&mut self, failure: &SinkFailure) -> Option<Duration> {
        let _ = failure;
        None
    }
}

/// Works until the node stops or nobody can ask the sink for anything any more.
pub(super) async fn run(mut task: impl Task) {
    let mut pause = RETRY;
    loop {
        let failure = match task.work(&mut pause).await {
            Ok(()) => break,
            Err(failure) => failure,
        };
        task.let_go().await;
        if failure.is_end() {
            break;
        }
        tracing::warn!(sink = task.name(), error = %failure, "the sink pauses");
        let left = task.backs_off(&failure);
        let is_over = match (failure, left) {
            (SinkFailure::Rest(reason), _) => rest(&mut task, reason).await,
            (_, Some(left)) => {
                task.report_on(None).await;
                wait(&mut task, left).await
            }
            (failure, None) => {
                task.report_on(Some(&failure)).await;
                let is_over = wait(&mut task, pause).await;
                pause = (pause * 2).min(RETRY_MAX);
                is_over
            }
        };
        if is_over {
            break;
        }
    }
    task.let_go().await;
    task.close().await;
}

/// Rests until a person lets the sink go on; returns whether it is over.
async fn rest(task: &mut impl Task, reason: String) -> bool {
    if task.paused().as_ref() != Some(&reason) {
        *task.paused() = Some(reason);
        if let Err(error) = task.keep().await {
            tracing::warn!(sink = task.name(), %error, "that the sink rests was not kept");
        }
    }
    while task.paused().is_some() {
        task.report_on(None).await;
        let Some(request) = task.commands().recv().await else { return true };
        task.obey(request).await;
    }
    false
}

/// Waits before the next try, unless a person asks for something; returns whether the sink is over.
async fn wait(task: &mut impl Task, pause: Duration) -> bool {
    match tokio::time::timeout(pause, task.commands().recv()).await {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(request)) => {
            task.obey(request).await;
            false
        }
    }
}

/// Refuses to work where another site runs the sink.
pub(super) async fn require_tenure(
    node: &Handle,
    name: &str,
    tenure: &Tenure,
) -> Result<(), SinkFailure> {
    if tenure.is_of(node) {
        return Ok(());
    }
    let site = tenure.site_name(node).await?;
    Err(SinkFailure::Superseded(format!(
        "{site} runs this sink since {}; `branchline sink takeover {name}` takes it over to this site",
        tenure.since
    )))
}

pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
