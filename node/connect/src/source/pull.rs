//! Reads all that a run asks for into the spool, page by page. Nothing is written to the records yet.

use branchline_node::records::check_record_id;
use tokio::sync::watch;
use tokio::time::sleep;

use super::runner::{SourceFailure, SourceReport};
use super::spool::{Spool, SpoolPhase, SpooledRun};
use super::{Ask, Object, RefusedItem, Source};
use crate::jobs::board::{JobState, Jobs};
use crate::jobs::fault::{Class, Fault};
use crate::jobs::retry::RetryConfig;

/// Longest data of an object: a value of a record is no longer.
const DATA_BYTES_MAX: usize = 1 << 20;

/// What a run needs while it reads.
pub(super) struct Pull<'a> {
    pub(super) source: &'a mut dyn Source,
    pub(super) spool: &'a mut Spool,
    pub(super) jobs: &'a Jobs,
    /// Where failed requests are counted.
    pub(super) report: &'a watch::Sender<SourceReport>,
    pub(super) retry: &'a RetryConfig,
    /// Most pages.
    pub(super) pages_max: u64,
}

impl Pull<'_> {
    /// Reads on from where the run is, to the end of both lists.
    pub(super) async fn read(&mut self, run: &mut SpooledRun) -> Result<(), SourceFailure> {
        while run.phase != SpoolPhase::Applying {
            if self.jobs.is_cancelled(run.job) {
                return Err(SourceFailure::Cancelled);
            }
            if run.pages >= self.pages_max {
                return Err(SourceFailure::Refused(format!(
                    "{} pages were read and there is a next one still: does the provider's list end? pages_max allows more",
                    run.pages
                )));
            }
            match run.phase {
                SpoolPhase::Objects => self.read_objects(run).await?,
                SpoolPhase::Deletions => self.read_deletions(run).await?,
                SpoolPhase::Applying => {}
            }
        }
        Ok(())
    }

    async fn read_objects(&mut self, run: &mut SpooledRun) -> Result<(), SourceFailure> {
        let ask = Ask { since: run.since, place: run.place.clone() };
        let page = loop {
            match self.source.page(&ask).await {
                Ok(page) => break page,
                Err(fault) => self.wait(run, fault).await?,
            }
        };
        if run.provider_started.is_none() {
            run.provider_started = page.provider_time;
        }
        let next = self.unless_circle(run, page.next).await?;
        let (objects, mut refused) = judged(page.objects);
        refused.extend(page.refused);
        run.pages += 1;
        run.refused += refused.len() as u64;
        run.has_nameless |= refused.iter().any(|item| item.id.is_none());
        (run.phase, run.place) = match next {
            Some(next) => (SpoolPhase::Objects, Some(next)),
            None => (SpoolPhase::Deletions, None),
        };
        self.spool.add_refused(&refused, run.number).await?;
        run.objects += objects.len() as u64;
        run.duplicates += self.spool.add_objects(&objects, run).await?;
        self.goes_on(run).await
    }

    async fn read_deletions(&mut self, run: &mut SpooledRun) -> Result<(), SourceFailure> {
        let ask = Ask { since: run.since, place: run.place.clone() };
        let page = loop {
            match self.source.deleted(&ask).await {
                Ok(page) => break page,
                Err(fault) => self.wait(run, fault).await?,
            }
        };
        let next = self.unless_circle(run, page.next).await?;
        run.pages += 1;
        (run.phase, run.place) = match next {
            Some(next) => (SpoolPhase::Deletions, Some(next)),
            None => (SpoolPhase::Applying, None),
        };
        self.spool.add_gone(&page.ids, run).await?;
        self.goes_on(run).await
    }

    /// The place of the next page, which no page of this list may have had before.
    async fn unless_circle(
        &mut self,
        run: &SpooledRun,
        next: Option<String>,
    ) -> Result<Option<String>, SourceFailure> {
        let Some(next) = next else { return Ok(None) };
        if !self.spool.knows_place(run.phase, &next).await? {
            Ok(Some(next))
        } else {
            Err(SourceFailure::Refused(format!(
                "after {} pages the provider names a page that was read before as the next: its paging goes in a circle",
                run.pages + 1
            )))
        }
    }

    async fn goes_on(&mut self, run: &mut SpooledRun) -> Result<(), SourceFailure> {
        self.jobs.progress(run.job, run.objects, None);
        if std::mem::take(&mut run.tries) > 0 {
            self.jobs.set(run.job, JobState::Running, "").await?;
        }
        Ok(())
    }

    /// Waits before the next try, or gives up.
    async fn wait(&mut self, run: &mut SpooledRun, fault: Fault) -> Result<(), SourceFailure> {
        run.tries = run.tries.saturating_add(1);
        self.report.send_modify(|report| report.faults.count(fault.class));
        if fault.class != Class::Transient || run.tries >= self.retry.attempts {
            return Err(SourceFailure::Fault { fault, tries: run.tries });
        }
        let pause = self.retry.pause(run.tries, fault.retry_after);
        let note = format!(
            "try {} of {} in {} s: {fault}",
            run.tries + 1,
            self.retry.attempts,
            pause.as_secs()
        );
        tracing::warn!(run = run.number, %fault, "the provider cannot be asked; trying again");
        self.jobs.set(run.job, JobState::BackingOff, &note).await?;
        self.report.send_modify(|report| report.retries = report.retries.saturating_add(1));
        let mut changes = self.jobs.changes();
        let deadline = sleep(pause);
        tokio::pin!(deadline);
        while !self.jobs.is_cancelled(run.job) {
            tokio::select! {
                () = &mut deadline => return Ok(()),
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
        Err(SourceFailure::Cancelled)
    }
}

/// The objects that can be kept, and what is wrong with the others.
fn judged(objects: Vec<Object>) -> (Vec<Object>, Vec<RefusedItem>) {
    let mut refused = Vec::new();
    let mut kept = Vec::with_capacity(objects.len());
    for object in objects {
        match wrong_with(&object) {
            None => kept.push(object),
            Some(item) => refused.push(item),
        }
    }
    (kept, refused)
}

fn wrong_with(object: &Object) -> Option<RefusedItem> {
    let Object { id, data, .. } = object;
    if let Err(error) = check_record_id(id) {
        return Some(RefusedItem { id: None, what: error.to_string() });
    }
    let named = |what: String| Some(RefusedItem { id: Some(id.clone()), what });
    if data.len() > DATA_BYTES_MAX {
        return named(format!("{} bytes of JSON, expected at most {DATA_BYTES_MAX}", data.len()));
    }
    let read = serde_json::from_str::<serde::de::IgnoredAny>(data);
    read.err().and_then(|error| named(format!("its data is not JSON: {error}")))
}
