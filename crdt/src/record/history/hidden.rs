//! Edits that a deletion hides: of sites that did not know of it.

use super::live::Live;
use super::{Clock, History, Object};
use crate::record::change::operation::{ObjectId, OpId};
use crate::record::limits::DELETED_FIELD;
use crate::record::value::Value;
use crate::record::view::{self, Conflict, ConflictValue};

/// Values that are listed of one record.
const VALUES_MAX: usize = 1_000;

fn contains(clock: &Clock, id: OpId) -> bool {
    clock.get(&id.actor).is_some_and(|max| id.counter <= *max)
}

/// The deletions that stand.
fn deletions(history: &History) -> Vec<OpId> {
    let live = history.live(ObjectId::Root, DELETED_FIELD).iter();
    live.filter(|id| view::value(history, *id) == Value::Bool(true)).collect()
}

/// Whether a live value was written by a later change of the one who deleted the record, which revives what it knows to
/// be deleted: so it was made for a version without the deletion.
fn is_of_older(history: &History, deletion: OpId, id: OpId) -> bool {
    let is_later = |(start_op, _): (u64, i64)| start_op > deletion.counter;
    id.actor == deletion.actor && history.start_of(id).is_some_and(is_later)
}

/// Whether a record is deleted, and a head does not know of that, or there are values of someone who did not see it.
pub(in crate::record) fn hides_edits(history: &History) -> bool {
    let deletions = deletions(history);
    let knows = |clock: &Clock| deletions.iter().any(|id| contains(clock, *id));
    if deletions.is_empty() {
        return false;
    }
    if !history.heads.values().all(knows) {
        return true;
    }
    let goes_on = |id: &&OpId| history.tip(id.actor).is_some_and(|tip| tip.end_op > id.counter);
    let by_deleters: Vec<OpId> = deletions.iter().filter(goes_on).copied().collect();
    let is_hidden = |id: OpId| by_deleters.iter().any(|it| is_of_older(history, *it, id));
    let Some(Object::Map(fields)) = history.object(ObjectId::Root) else { return false };
    !by_deleters.is_empty()
        && fields
            .values()
            .flat_map(Live::iter)
            .any(|id| newest_in(history, id, &is_hidden).is_some())
}

/// What stands in a deleted record that nobody who deleted it knew: first the deletion, under `_deleted`, then the
/// fields. What was added to a counter is not among them: nothing tells it from what was there. Nothing where no edit is
/// hidden.
pub(in crate::record) fn hidden_edits(history: &History) -> Vec<Conflict> {
    if !hides_edits(history) {
        return Vec::new();
    }
    let deletions = deletions(history);
    let knowing = history.heads.values();
    let knowing: Vec<&Clock> =
        knowing.filter(|clock| deletions.iter().any(|id| contains(clock, *id))).collect();
    let is_hidden = |id: OpId| {
        !knowing.iter().any(|clock| contains(clock, id))
            || deletions.iter().any(|deletion| is_of_older(history, *deletion, id))
    };
    let reported = |id: OpId, of: OpId| ConflictValue {
        value: view::value(history, of),
        actor: id.actor.0,
        time_ms: history.time_ms(id),
    };
    let deleted = deletions.iter().rev().map(|id| reported(*id, *id)).collect();
    let mut found = vec![Conflict { path: DELETED_FIELD.to_owned(), values: deleted }];
    let Some(Object::Map(fields)) = history.object(ObjectId::Root) else { return found };
    for (name, live) in fields.iter().filter(|(name, _)| *name != DELETED_FIELD).take(VALUES_MAX) {
        // The newest operation in a value says whose edit of it is hidden.
        let newest = |of: OpId| Some((newest_in(history, of, &is_hidden)?, of));
        let hidden = live.iter().rev().filter_map(newest);
        let values: Vec<_> = hidden.map(|(id, of)| reported(id, of)).collect();
        if !values.is_empty() {
            found.push(Conflict { path: name.to_string(), values });
        }
    }
    found
}

/// The greatest hidden operation among a value and all that is in it.
fn newest_in(history: &History, id: OpId, is_hidden: &impl Fn(OpId) -> bool) -> Option<OpId> {
    let own = Some(id).filter(|id| is_hidden(*id));
    let below: Box<dyn Iterator<Item = OpId>> = match history.object(ObjectId::Made(id)) {
        Some(Object::Map(fields)) => Box::new(fields.values().flat_map(|live| live.iter())),
        Some(Object::Sequence(sequence)) => {
            Box::new(sequence.visible().flat_map(|(_, live)| live.iter()))
        }
        None => return own,
    };
    own.max(below.filter_map(|id| newest_in(history, id, is_hidden)).max())
}
