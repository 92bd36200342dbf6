//! Writes what a run has found, all of it visible at once; a run too large for that in parts, its own record last.

use std::collections::BTreeMap;

use branchline_node::Handle;
use branchline_node::handle::ReadError;
use branchline_node::records::{
    Edit, LocalTransaction, NotWritten, RecordEdit, RecordKey, View, WriteError, read,
};
use serde_json::Value as Json;

use super::RefusedItem;
use super::compare::{self, Status, Version};
use super::history::{History, SourceCounts};
use super::runner::SourceFailure;
use super::spool::{Spool, SpooledRun};

/// Objects, ids and records looked at at a time.
const PAGE: u32 = 500;
/// About how many bytes of objects are looked at at a time: one has up to 1 MiB, and its record as many.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// About how many bytes of JSON one part has at the most: a transaction has up to 3 MiB, and fields their names.
const PART_BYTES: usize = 2 * 1024 * 1024;
/// The same of a run that has several, which shows in parts anyway: the memory that a write takes is many times its JSON.
const PART_BYTES_OF_MANY: usize = 512 * 1024;
/// Records of a part: a transaction has up to 16,384 changes.
const PART_RECORDS: usize = 8_000;

/// What a run writes to.
pub(super) struct Target<'a> {
    pub(super) node: &'a Handle,
    pub(super) collection: &'a str,
    pub(super) history: &'a History,
    /// The part of the active records that may become inactive without a person's word.
    pub(super) guard: f64,
}

/// The edits of a run, on their way.
struct ApplyParts<'a> {
    target: &'a Target<'a>,
    run: &'a SpooledRun,
    /// Ids, and fields as JSON: a fraction of what the edits take.
    edits: Vec<(String, String)>,
    bytes: usize,
    /// How many of them a part has at the most.
    bytes_max: usize,
    counts: SourceCounts,
    refused: Vec<RefusedItem>,
}

/// Writes what differs; returns what that was. `next_since`: from when on the next run asks.
pub(super) async fn apply(
    target: &Target<'_>,
    spool: &mut Spool,
    run: &SpooledRun,
    next_since: jiff::Timestamp,
    mut progress: impl FnMut(u64, u64),
) -> Result<SourceCounts, SourceFailure> {
    let (listed, gone) = spool.counts().await?;
    // Where an item could not even be named, it is not known what was not listed.
    let is_whole = run.is_full && !run.has_nameless;
    let version = Version { number: run.number, started: run.started };
    if is_whole {
        guard(target, spool, run, version, listed).await?;
    }
    let counts = SourceCounts {
        listed,
        pages: run.pages,
        duplicates: run.duplicates,
        refused: run.refused,
        ..SourceCounts::default()
    };
    let mut parts = ApplyParts {
        target,
        run,
        edits: Vec::new(),
        bytes: 0,
        bytes_max: PART_BYTES,
        counts,
        refused: Vec::new(),
    };
    let (mut after, mut done) = (String::new(), 0_u64);
    loop {
        let objects = spool.objects(&after, (PAGE, PAGE_BYTES)).await?;
        let Some(last) = objects.last() else { break };
        after.clone_from(&last.id);
        done = done.saturating_add(objects.len() as u64);
        let views = views(target, objects.iter().map(|object| object.id.clone())).await?;
        for object in &objects {
            let view = views.get(&object.id);
            if let Some(fields) = compare::of_object(object, view, version) {
                parts.counts.updated += 1;
                parts.add(object.id.clone(), fields).await?;
            } else if view.is_some_and(|view| version.has_changed(view)) {
                // A part that was written before the run was broken off.
                parts.counts.updated += 1;
            }
        }
        progress(done, listed.saturating_add(gone));
    }
    after.clear();
    loop {
        let page = spool.gone(&after, PAGE).await?;
        let Some((last, ..)) = page.last() else { break };
        after.clone_from(last);
        let views = views(target, page.iter().map(|(id, ..)| id.clone())).await?;
        for (id, was_gone_before, is_listed) in page {
            let Some(view) = views.get(&id).filter(|view| !view.deleted) else { continue };
            if Status::of(view) == Status::Deleted {
                parts.counts.deleted += u64::from(version.has_changed(view));
                continue;
            }
            if is_listed && was_gone_before {
                continue;
            }
            if is_listed && parts.revives(spool, &id, view).await? {
                continue;
            }
            parts.counts.deleted += 1;
            parts.add(id, compare::of_gone(Status::Deleted, version)).await?;
        }
    }
    if is_whole {
        let mut after = None;
        loop {
            let page = active(target, after, version).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let before = page.iter().filter(|(_, stand)| *stand == RecordStand::InactiveByThis);
            parts.counts.inactive += before.count() as u64;
            for id in unlisted(spool, &page).await? {
                parts.counts.inactive += 1;
                parts.add(id, compare::of_gone(Status::Inactive, version)).await?;
            }
        }
    }
    if run.is_dry {
        return Ok(parts.counts);
    }
    let counts = parts.end(next_since).await?;
    spool.add_refused(&counts.1, run.number).await?;
    Ok(counts.0)
}

/// Refuses a full run that would let too many records become inactive: most likely the provider listed too little.
async fn guard(
    target: &Target<'_>,
    spool: &mut Spool,
    run: &SpooledRun,
    version: Version,
    listed: u64,
) -> Result<(), SourceFailure> {
    let (mut active_count, mut gone) = (0_u64, 0_u64);
    let mut after = None;
    loop {
        let page = active(target, after, version).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        active_count +=
            page.iter().filter(|(_, stand)| *stand == RecordStand::Active).count() as u64;
        gone += unlisted(spool, &page).await?.len() as u64;
    }
    let most = active_count as f64 * target.guard;
    if gone as f64 > most && !run.is_accepted {
        return Err(SourceFailure::Refused(format!(
            "it listed {listed} objects, and {gone} of {active_count} active records would become inactive, more than \
             inactive_guard allows: if that is right, `branchline source run NAME --full --accept`"
        )));
    }
    Ok(())
}

/// The active ones among the records of a page that the run has not met in any way.
async fn unlisted(
    spool: &mut Spool,
    page: &[(String, RecordStand)],
) -> Result<Vec<String>, SourceFailure> {
    let active = page.iter().filter(|(_, stand)| *stand == RecordStand::Active);
    let ids: Vec<&str> = active.map(|(id, _)| id.as_str()).collect();
    let listed = spool.listed(&ids).await?;
    let is_unlisted = |id: &&str| {
        let met = listed.get(*id).copied().unwrap_or_default();
        !met.is_object && !met.is_gone && !met.is_refused
    };
    Ok(ids.iter().filter(|id| is_unlisted(id)).map(|id| (*id).to_owned()).collect())
}

/// How a record stands before the end of a full run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RecordStand {
    /// It is an active one of this source.
    Active,
    /// The run itself has let it become inactive, before it was broken off.
    InactiveByThis,
    /// Anything else.
    Other,
}

/// The records behind one, by id, and how each stands.
async fn active(
    target: &Target<'_>,
    after: Option<String>,
    version: Version,
) -> Result<Vec<(String, RecordStand)>, ReadError> {
    let collection = target.collection.to_owned();
    target
        .node
        .read(move |reader, space| {
            let mut page = Vec::new();
            read::each_of(reader, space, &collection, after.as_deref(), |id, view| {
                let is_of_source = view.fields.contains_key("external_id");
                let stand = match Status::of(&view) {
                    _ if view.deleted || !is_of_source => RecordStand::Other,
                    Status::Active => RecordStand::Active,
                    Status::Inactive if version.has_changed(&view) => RecordStand::InactiveByThis,
                    Status::Inactive | Status::Deleted => RecordStand::Other,
                };
                page.push((id, stand));
                Ok(page.len() < PAGE as usize)
            })?;
            Ok(page)
        })
        .await
}

/// Records by id, those that there are.
async fn views(
    target: &Target<'_>,
    ids: impl Iterator<Item = String>,
) -> Result<BTreeMap<String, View>, ReadError> {
    let collection = target.collection.to_owned();
    let ids: Vec<String> = ids.collect();
    target
        .node
        .read(move |reader, space| {
            let mut views = BTreeMap::new();
            for id in ids {
                let key = RecordKey { space, collection: collection.clone(), id };
                if let Some(view) = read::record(reader, &key)? {
                    views.insert(key.id, view);
                }
            }
            Ok(views)
        })
        .await
}

impl ApplyParts<'_> {
    /// Whether an object that is listed and said to be gone is later than its record: then it came back.
    async fn revives(
        &self,
        spool: &mut Spool,
        id: &str,
        view: &View,
    ) -> Result<bool, SourceFailure> {
        let objects = spool.object(id).await?;
        Ok(objects.is_some_and(|object| compare::is_later(&object, view)))
    }

    async fn add(
        &mut self,
        id: String,
        fields: serde_json::Map<String, Json>,
    ) -> Result<(), SourceFailure> {
        if self.run.is_dry {
            return Ok(());
        }
        let fields = Json::Object(fields).to_string();
        let bytes = fields.len();
        if self.bytes.saturating_add(bytes) > self.bytes_max || self.edits.len() >= PART_RECORDS {
            self.bytes_max = PART_BYTES_OF_MANY;
            let edits = std::mem::take(&mut self.edits);
            let parts = self.bytes.div_ceil(PART_BYTES_OF_MANY).max(1);
            for edits in edits.chunks(edits.len().div_ceil(parts).max(1)) {
                self.edits = edits.to_vec();
                self.flush(None).await?;
            }
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.edits.push((id, fields));
        Ok(())
    }

    /// Writes the last part with the run's own record.
    async fn end(
        mut self,
        next_since: jiff::Timestamp,
    ) -> Result<(SourceCounts, Vec<RefusedItem>), SourceFailure> {
        self.flush(Some(next_since)).await?;
        Ok((self.counts, self.refused))
    }

    async fn flush(&mut self, last: Option<jiff::Timestamp>) -> Result<(), SourceFailure> {
        let mut edits = std::mem::take(&mut self.edits);
        self.bytes = 0;
        let mut is_judged = false;
        // An item that the collection does not take is left out, and said: what is wrong with it is no reason against others.
        loop {
            let mut all = self.edits_of(&edits)?;
            if let Some(next_since) = last {
                let Target { history, .. } = self.target;
                let Json::Object(row) = history.completed(self.counts, next_since) else {
                    return Ok(());
                };
                let edit = Edit::Merge { patch: row, create: true };
                all.push(RecordEdit::new(history.collection(), history.id(self.run.number), edit));
            }
            if all.is_empty() {
                return Ok(());
            }
            let is_alone = all.len() == 1;
            let transaction = LocalTransaction { origin: None, edits: all };
            let result =
                self.target.node.write(vec![transaction]).await.map_err(NotWritten::from)?.pop();
            let error = match result {
                Some(Ok(_)) | None => return Ok(()),
                Some(Err(error)) => error,
            };
            match error {
                WriteError::InEdit { number, .. } if number < edits.len() && !is_judged => {
                    // Once for all of them: many may be refused, and a part is long.
                    edits = self.without_refused(edits).await?;
                    is_judged = true;
                }
                WriteError::InEdit { number, error } if number < edits.len() => {
                    self.refuse(edits.remove(number), &error);
                }
                WriteError::Edit(_) | WriteError::Schema(_) if is_alone && !edits.is_empty() => {
                    self.refuse(edits.remove(0), &error);
                }
                WriteError::TooLarge { .. } if edits.len() > 1 => {
                    // Rare: JSON said less than the change takes.
                    let rest = edits.split_off(edits.len() / 2);
                    self.edits = edits;
                    Box::pin(self.flush(None)).await?;
                    edits = rest;
                }
                error => return Err(NotWritten::from(error).into()),
            }
        }
    }

    /// Those of a part's items that the collection takes; the others are noted. Writes nothing.
    async fn without_refused(
        &mut self,
        edits: Vec<(String, String)>,
    ) -> Result<Vec<(String, String)>, SourceFailure> {
        let to_judge = self.edits_of(&edits)?.into_iter().map(|edit| {
            // No record has this name: so each transaction is refused whole, for its first edit or else for this one.
            let never = compare::edit(self.target.collection, "", serde_json::Map::new());
            LocalTransaction { origin: None, edits: vec![edit, never] }
        });
        let verdicts =
            self.target.node.write(to_judge.collect()).await.map_err(NotWritten::from)?;
        let mut taken = Vec::with_capacity(edits.len());
        for (edit, verdict) in edits.into_iter().zip(verdicts) {
            match verdict {
                Err(WriteError::InEdit { number: 0, error }) => self.refuse(edit, &error),
                Ok(_) | Err(_) => taken.push(edit),
            }
        }
        Ok(taken)
    }

    /// The edits of a part.
    fn edits_of(&self, edits: &[(String, String)]) -> Result<Vec<RecordEdit>, SourceFailure> {
        let edit = |(id, fields): &(String, String)| {
            // They were written by this run.
            let fields = serde_json::from_str(fields);
            let fields =
                fields.map_err(|error| SourceFailure::Refused(format!("object {id}: {error}")))?;
            Ok(compare::edit(self.target.collection, id, fields))
        };
        edits.iter().map(edit).collect()
    }

    fn refuse(&mut self, (id, _): (String, String), error: &WriteError) {
        self.counts.updated = self.counts.updated.saturating_sub(1);
        self.counts.refused += 1;
        self.refused.push(RefusedItem { id: Some(id), what: error.to_string() });
    }
}
