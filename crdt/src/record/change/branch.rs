//! Changes of a log that forks, as they count.
//!
//! Where somebody signs two entries under one number, both of them stand, and so do the changes in them. But these say to
//! be of one actor, and may have the same numbers and the same operation ids. So each change behind the fork counts as of an
//! actor of its own, made of its hash ([`ChangeActor::counted`](super::operation::ChangeActor::counted)), and what others say of its operations means that one:
//!
//! - A change's own operations are of that actor, and its number is 1. A change that is in two branches is one change.
//! - An operation that a change names under the signed actor is the one among the change's ancestors that it can mean.
//!   A writer that did not know of the fork had one branch among the ancestors, in which a number is there once; one that
//!   knew named the operation as it counts.
//!
//! So what is read depends on the change and its ancestors alone, like the verdict, and an honest change always finds
//! what it means.

use std::collections::BTreeSet;

use super::ParsedChange;
use super::operation::{ActorBytes, Key, ObjectId, OpId, RecordOperation};
use crate::record::history::{Clock, History, Object, Slot};

/// A change as it counts. The history is whole if it has changes of branches, or the change is of one.
pub(crate) fn resolve(history: &History, mut parsed: ParsedChange) -> ParsedChange {
    let actor = parsed.actor;
    if !actor.is_of_branch && history.branches.is_empty() {
        return parsed;
    }
    let names = Names { history, ancestors: history.clock(&parsed.change.deps) };
    let change = &mut parsed.change;
    if actor.is_of_branch {
        let counted = actor.counted(&change.hash);
        let own = |id: &mut OpId| {
            if id.actor == actor.signed && id.counter >= change.start_op {
                id.actor = counted;
            }
        };
        for operation in &mut change.operations {
            each_id(operation, own);
        }
        (change.actor, change.seq) = (counted, 1);
    }
    let start_op = change.start_op;
    for operation in &mut change.operations {
        names.resolve(operation, start_op);
    }
    parsed
}

/// Whether a change is of one of these actors, or names an operation of one.
pub(crate) fn mentions(parsed: &ParsedChange, actors: &BTreeSet<ActorBytes>) -> bool {
    let is_one = |id: &OpId| actors.contains(&id.actor);
    let change = &parsed.change;
    actors.contains(&change.actor)
        || change.operations.iter().any(|operation| {
            matches!(&operation.object, ObjectId::Made(id) if is_one(id))
                || matches!(&operation.key, Key::Element(id) if is_one(id))
                || operation.preds.iter().any(is_one)
        })
}

fn each_id(operation: &mut RecordOperation, mut change: impl FnMut(&mut OpId)) {
    change(&mut operation.id);
    if let ObjectId::Made(id) = &mut operation.object {
        change(id);
    }
    if let Key::Element(id) = &mut operation.key {
        change(id);
    }
    operation.preds.iter_mut().for_each(change);
}

/// What the names of operations mean to a change with these ancestors.
struct Names<'a> {
    history: &'a History,
    ancestors: Clock,
}

impl Names<'_> {
    /// Gives the operations that one names, all but the change's own, the names that they have here.
    fn resolve(&self, operation: &mut RecordOperation, start_op: u64) {
        if let ObjectId::Made(id) = &mut operation.object
            && id.counter < start_op
        {
            let is_object = |id: OpId| self.history.object(ObjectId::Made(id)).is_some();
            *id = self.meant(*id, is_object);
        }
        let object = operation.object;
        if let Key::Element(id) = &mut operation.key
            && id.counter < start_op
        {
            *id = self.meant(*id, |id| match self.history.object(object) {
                Some(Object::Sequence(elements)) => elements.contains(id),
                Some(Object::Map(_)) | None => false,
            });
        }
        // An order that is wrong as it was signed stays wrong.
        let is_sorted = operation.preds.is_sorted_by(|a, b| a < b);
        let mut meant: Vec<OpId> = Vec::with_capacity(operation.preds.len());
        let named: Vec<OpId> = operation.preds.clone();
        for pred in &named {
            let is_free = |id: OpId| id == *pred || !(named.contains(&id) || meant.contains(&id));
            let is_meant = |id: OpId| is_free(id) && self.is_live_at(id, operation);
            let id = if pred.counter < start_op { self.meant(*pred, is_meant) } else { *pred };
            meant.push(id);
        }
        if is_sorted {
            meant.sort_unstable();
        }
        operation.preds = meant;
    }

    /// The operation that is meant by a name: by the very name, or else that of a change in a branch by the same actor, if
    /// there is such a one; the name itself where there is none.
    fn meant(&self, named: OpId, is_such: impl Fn(OpId) -> bool) -> OpId {
        let is_meant = |id: &OpId| {
            self.ancestors.get(&id.actor).is_some_and(|max| id.counter <= *max)
                && self.history.value(*id).is_some()
                && is_such(*id)
        };
        if is_meant(&named) {
            return named;
        }
        let branches = self.history.branches.get(&named.actor).into_iter().flatten();
        let mut ids = branches.map(|actor| OpId { actor: *actor, ..named });
        ids.find(is_meant).unwrap_or(named)
    }

    /// Whether a value is live for the change, in the place where an operation acts.
    fn is_live_at(&self, id: OpId, operation: &RecordOperation) -> bool {
        let Some(stored) = self.history.value(id) else { return false };
        let is_place = match (&stored.slot, &operation.key) {
            (Slot::Field(a), Key::Field(b)) => a == b,
            (Slot::Element(a), Key::Element(b)) => a == b,
            (Slot::Field(_) | Slot::Element(_), _) => false,
        };
        stored.object == operation.object
            && is_place
            && !self.history.is_removed(id, &self.ancestors)
    }
}
