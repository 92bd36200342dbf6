//! All changes of a document, taken into a record.

use std::collections::{BTreeMap, BTreeSet};

use super::super::change::chunk;
use super::super::change::fault::{Fault, Verdict};
use super::super::change::operation::{Action, ActorBytes, Key, ObjectId};
use super::super::change::{ParsedChange, RecordChange};
use super::super::document::Document;
use super::super::edit::EditError;
use super::super::edit::Edited;
use super::super::edit::finish::{Base, finish};
use super::super::history::{History, Presence};
use super::super::limits::{COUNTER_MAX, OPERATIONS_MAX};
use super::super::schema::Schema;
use super::super::schema::kind::Kind;
use super::super::value::Value;
use super::fault::{DocumentRefused, MISFITS_MAX, Misfit, MisfitReason};
use super::known::{KnownDocument, settled};
use super::read::{ForeignChange, ForeignDocument, ForeignId, ForeignObject};
use super::translation::{Making, New, Translation};

/// How a document is taken into a record.
pub struct Merge<'a> {
    /// The document.
    pub document: &'a ForeignDocument,
    /// As whom.
    pub actor: ActorBytes,
    /// When, in ms since 1970.
    pub time_ms: i64,
    /// What the fields are to be.
    pub schema: Option<&'a Schema>,
    /// Whether it shall become a new record.
    pub is_new: bool,
    /// Actors of sites.
    pub is_site: &'a dyn Fn(ActorBytes) -> bool,
    /// What became of changes that were taken in before, by their hashes in the document.
    pub taken: &'a BTreeMap<[u8; 32], RecordChange>,
}

/// Takes a document's changes in, and returns what was made of those that were new, with their hashes in the document.
/// The record must have its whole history. After an error it must be discarded.
///
/// # Errors
/// [`DocumentRefused`].
pub fn merge_document(
    record: &mut Document,
    request: &Merge<'_>,
) -> Result<Vec<([u8; 32], Edited)>, DocumentRefused> {
    let mut scene = Scene::new(record.history(), request);
    scene.check_known(record.history())?;
    let before = if record.is_empty() { BTreeSet::new() } else { missing(record, request.schema) };
    let taken = scene.take_all(record);
    scene.misfits.end(&scene.known)?;
    let taken = taken?;
    let news = missing(record, request.schema).into_iter().filter(|it| !before.contains(it));
    let mut misfits = Misfits::default();
    news.for_each(|(path, kind)| {
        misfits.add(Misfit { path, reason: MisfitReason::Required { kind } });
    });
    misfits.end(&KnownDocument::default())?;
    if record.is_empty() {
        return Err(DocumentRefused::NoEdits);
    }
    Ok(taken)
}

/// The required fields that a record lacks.
fn missing(record: &Document, schema: Option<&Schema>) -> BTreeSet<(String, Kind)> {
    let fields = record.view().fields;
    let mismatches = schema.into_iter().flat_map(|schema| schema.mismatches(&fields));
    let missing = mismatches.filter(|it| matches!(it.found, None | Some(Value::Null)));
    missing.map(|it| (it.path.to_owned(), it.expected)).collect()
}

/// What does not fit, each field once.
#[derive(Default)]
pub(super) struct Misfits {
    fields: BTreeMap<String, MisfitReason>,
    further: usize,
}

impl Misfits {
    pub(super) fn add(&mut self, Misfit { path, reason }: Misfit) {
        if let Some(known) = self.fields.get_mut(&path) {
            // What cannot be put right in the document counts more than what can.
            if matches!(reason, MisfitReason::CounterReplaced | MisfitReason::CounterRemoved) {
                *known = reason;
            }
        } else if self.fields.len() == MISFITS_MAX {
            self.further += 1;
        } else {
            self.fields.insert(path, reason);
        }
    }

    /// Refuses the document if there are any, those texts among them that stand for values and were left as they do not
    /// fit.
    fn end(&mut self, known: &KnownDocument) -> Result<(), DocumentRefused> {
        let left = known.texts.values().filter(|text| text.is_left());
        left.filter_map(|text| text.misfit.clone()).for_each(|misfit| self.add(misfit));
        if self.fields.is_empty() {
            return Ok(());
        }
        let fields = std::mem::take(&mut self.fields).into_iter();
        let fields = fields.map(|(path, reason)| Misfit { path, reason }).collect();
        Err(DocumentRefused::Misfits { fields, further: self.further })
    }
}

/// What a change of the document is to the record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FieldStanding {
    /// The record has it.
    Known,
    /// It was taken in before.
    Taken,
    New,
}

/// A document that is being taken in.
pub(super) struct Scene<'m> {
    pub(super) foreign: &'m ForeignDocument,
    pub(super) actor: ActorBytes,
    request: &'m Merge<'m>,
    pub(super) known: KnownDocument,
    pub(super) misfits: Misfits,
    /// The counter of the actor's last operation before.
    pub(super) end_op_before: u64,
    /// The hash of the actor's last change.
    own_tip: Option<[u8; 32]>,
    standings: Vec<FieldStanding>,
    numbers: BTreeMap<[u8; 32], usize>,
    /// Operations whose values later ones of the document replace.
    gone: BTreeSet<ForeignId>,
}

impl<'m> Scene<'m> {
    fn new(history: &History, request: &'m Merge<'m>) -> Self {
        let foreign = request.document;
        let standing = |change: &ForeignChange| match history.presence(&change.hash) {
            Presence::Here | Presence::Genesis => FieldStanding::Known,
            Presence::Absent | Presence::Unknown if request.taken.contains_key(&change.hash) => {
                FieldStanding::Taken
            }
            Presence::Absent | Presence::Unknown => FieldStanding::New,
        };
        let numbers = foreign.changes.iter().zip(0..).map(|(change, number)| (change.hash, number));
        let operations = foreign.changes.iter().flat_map(|change| &change.operations);
        let replacing = operations.filter(|operation| !operation.action.is_increment());
        Scene {
            foreign,
            actor: request.actor,
            request,
            known: KnownDocument::default(),
            misfits: Misfits::default(),
            end_op_before: history.tip(request.actor).map_or(0, |tip| tip.end_op),
            own_tip: history.tip_hash(request.actor),
            standings: foreign.changes.iter().map(standing).collect(),
            numbers: numbers.collect(),
            gone: replacing.flat_map(|operation| operation.preds.iter().copied()).collect(),
        }
    }

    /// Checks that the document is one of the record, or may become one, and that every change is whose it says.
    fn check_known(&self, history: &History) -> Result<(), DocumentRefused> {
        let is_here = |hash: &[u8; 32]| history.presence(hash) == Presence::Here;
        let changes = || self.foreign.changes.iter().zip(&self.standings);
        let mut new = changes().filter(|(_, standing)| **standing == FieldStanding::New);
        for (change, _) in new.clone() {
            let is_site = |actor: ActorBytes| {
                let is_of_record =
                    history.tip(actor).is_some() || history.is_of_genesis_actor(actor);
                is_of_record || (self.request.is_site)(actor)
            };
            if self.foreign.site_actor(change.actor).is_some_and(is_site) {
                let actor = self.foreign.actor(change.actor).to_vec();
                return Err(DocumentRefused::Forged { actor });
            }
            for dep in &change.deps {
                if !self.numbers.contains_key(dep) && history.presence(dep) == Presence::Absent {
                    return Err(DocumentRefused::Lacks { hash: *dep });
                }
            }
        }
        let shares = changes()
            .any(|(change, standing)| *standing == FieldStanding::Taken || is_here(&change.hash));
        let builds_here = self.foreign.changes.iter().flat_map(|it| &it.deps).any(is_here);
        match (history.is_empty(), self.request.is_new) {
            (true, false) => return Err(DocumentRefused::Missing),
            (true, true) if new.clone().next().is_none() => return Err(DocumentRefused::NoEdits),
            (true, true) => {}
            (false, _) if shares || builds_here => {}
            (false, true) => return Err(DocumentRefused::Exists),
            (false, false) => return Err(DocumentRefused::Stranger),
        }
        let doubled = self.request.taken.iter().map(|(foreign, own)| (foreign, own.hash()));
        let mut doubled = doubled.filter(|(foreign, own)| {
            self.numbers.contains_key(*foreign) && self.numbers.contains_key(own)
        });
        match (new.next(), doubled.next()) {
            (Some(_), Some((_, hash))) => Err(DocumentRefused::Doubled { hash }),
            (_, _) => Ok(()),
        }
    }

    fn take_all(
        &mut self,
        record: &mut Document,
    ) -> Result<Vec<([u8; 32], Edited)>, DocumentRefused> {
        let mut taken = Vec::new();
        let foreign = self.foreign;
        for (number, change) in foreign.changes.iter().enumerate() {
            match self.standings.get(number) {
                Some(FieldStanding::Known) | None => {
                    self.known.hashes.insert(change.hash, vec![change.hash]);
                }
                Some(FieldStanding::Taken) => self.find_again(record.history(), number, change)?,
                Some(FieldStanding::New) => {
                    if let Some(edited) = self.take(record, number, change)? {
                        taken.push((change.hash, edited));
                    }
                }
            }
        }
        Ok(taken)
    }

    /// Finds out again what became of a change that was taken in before.
    fn find_again(
        &mut self,
        history: &History,
        number: usize,
        change: &ForeignChange,
    ) -> Result<(), DocumentRefused> {
        let forgotten = || DocumentRefused::Forgotten { hash: change.hash };
        let own = self.request.taken.get(&change.hash).ok_or_else(forgotten)?;
        if history.presence(&own.hash()) != Presence::Here {
            return Err(forgotten());
        }
        let decoded = chunk::read(&own.body).map_err(|_| forgotten())?;
        let writes = |action: &Action| match action {
            Action::Put(_) | Action::Make(_) => true,
            Action::Increment(_) | Action::Delete => false,
        };
        let operations = decoded.operations.into_iter().filter(|it| writes(&it.action));
        let again = Making::Again(operations.rev().collect());
        Translation::new(self, history, number, change, again).run()?;
        self.known.settle(0);
        self.known.hashes.insert(change.hash, vec![decoded.hash]);
        Ok(())
    }

    fn take(
        &mut self,
        record: &mut Document,
        number: usize,
        change: &ForeignChange,
    ) -> Result<Option<Edited>, DocumentRefused> {
        let history = record.history();
        let mut builds_on: BTreeSet<[u8; 32]> = self.own_tip.into_iter().collect();
        let mut genesis = BTreeSet::new();
        for dep in &change.deps {
            for own in self.known.hashes.get(dep).map_or(std::slice::from_ref(dep), Vec::as_slice) {
                match history.genesis_of(own) {
                    Some(found) => drop(genesis.insert(found.clone())),
                    None => drop(builds_on.insert(*own)),
                }
            }
        }
        let (deps, clock) = history.base(&builds_on);
        genesis.retain(|genesis| !clock.contains_key(&genesis.actor()));
        let mut new = New::on(clock);
        new.genesis = genesis;
        let making = Translation::new(self, history, number, change, Making::New(new)).run()?;
        let Making::New(new) = making else { return Ok(None) };
        if new.operations.is_empty() {
            self.known.settle(0);
            self.known.hashes.insert(change.hash, deps);
            return Ok(None);
        }
        let refused = |source| DocumentRefused::Change { hash: change.hash, source };
        let (own, parsed) = self.build(history, change.hash, new, deps)?;
        let edited = record.take_edit(own, parsed).map_err(refused)?;
        self.own_tip = Some(edited.hash);
        self.known.hashes.insert(change.hash, vec![edited.hash]);
        Ok(Some(edited))
    }

    /// Gives the operations their ids and builds the change that becomes of the document's change of this hash.
    fn build(
        &mut self,
        history: &History,
        hash: [u8; 32],
        new: New,
        deps: Vec<[u8; 32]>,
    ) -> Result<(RecordChange, ParsedChange), DocumentRefused> {
        let New { clock, mut operations, genesis, .. } = new;
        if operations.len() > OPERATIONS_MAX {
            return Err(DocumentRefused::TooManyOperations { found: operations.len() });
        }
        let base = Base {
            deps: deps.into_iter().collect(),
            max_op: clock.values().copied().max().unwrap_or(0),
            seq: history.tip(self.actor).map_or(0, |tip| tip.seq),
        };
        let (actor, time_ms, known) = (self.actor, self.request.time_ms, &mut self.known);
        let built = finish(base, &genesis, actor, time_ms, |start_op| {
            for operation in &mut operations {
                operation.id = settled(operation.id, start_op);
                if let ObjectId::Made(id) = &mut operation.object {
                    *id = settled(*id, start_op);
                }
                if let Key::Element(id) = &mut operation.key {
                    *id = settled(*id, start_op);
                }
                operation.preds.iter_mut().for_each(|id| *id = settled(*id, start_op));
                operation.preds.sort_unstable();
            }
            known.settle(start_op);
            operations
        });
        let refused = |source| match source {
            EditError::TooManyGenesis { found } => DocumentRefused::TooManyGenesis { found },
            source => DocumentRefused::Change { hash, source },
        };
        let (change, parsed) = built.map_err(refused)?;
        let found = parsed.change.end_op();
        if found > COUNTER_MAX {
            let verdict = Verdict::Fault(Fault::Counter { found });
            return Err(refused(EditError::Refused(verdict)));
        }
        Ok((change, parsed))
    }

    /// The kind of the field at a path.
    pub(super) fn kind(&self, path: &[String]) -> Option<Kind> {
        self.request.schema.and_then(|schema| schema.kind(&path.join(".")))
    }

    /// Whether a value, or something around it, is replaced by a later operation of the document.
    pub(super) fn is_gone(&self, id: ForeignId, object: ForeignObject) -> bool {
        let mut around = object;
        let mut is_gone = self.gone.contains(&id);
        // Each object was made after the one around it.
        while let ForeignObject::Made(id) = around
            && !is_gone
        {
            is_gone = self.gone.contains(&id);
            around = self.known.parents.get(&id).copied().unwrap_or(ForeignObject::Root);
        }
        is_gone
    }

    /// The changes of the document that one of them has seen, and itself.
    pub(super) fn seen_by(&self, number: usize) -> BTreeSet<usize> {
        let mut seen = BTreeSet::from([number]);
        let mut pending = vec![number];
        while let Some(number) = pending.pop() {
            let change = self.foreign.changes.get(number);
            let deps = change.into_iter().flat_map(|change| &change.deps);
            for dep in deps.filter_map(|dep| self.numbers.get(dep)) {
                if self.standings.get(*dep) != Some(&FieldStanding::Known) && seen.insert(*dep) {
                    pending.push(*dep);
                }
            }
        }
        seen
    }
}
