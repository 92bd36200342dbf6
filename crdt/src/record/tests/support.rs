//! Offices with one record each, and Automerge's own reading to compare with.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::catch_unwind;

use automerge::{Automerge, Change};
use serde_json::{Map, Value as Json};

use crate::record::change::chunk;
use crate::record::saved::assert_as_decoded;
use crate::record::{
    ActorBytes, Begun, Document, Edit, EditError, FieldNames, NewRecord, RecordChange, Schema,
    Value, Verdict, Version, View, automerge_of, begin, load_automerge, save_automerge,
    view_of_automerge,
};

/// One change as its author's log carries it.
#[derive(Debug, Clone)]
pub(super) struct TestEntry {
    pub(super) actor: ActorBytes,
    pub(super) change: RecordChange,
}

/// One office's replica of one record: with its whole history, and with no more than what is live of it. Both must do
/// the same, or the latter must say that it needs the former.
#[derive(Debug, Clone)]
pub(super) struct Office {
    pub(super) actor: ActorBytes,
    pub(super) document: Document,
    pub(super) live: Document,
    pub(super) entries: Vec<TestEntry>,
    /// What it has been, from the beginning.
    pub(super) versions: Vec<Version>,
    pub(super) schema: Option<Schema>,
}

pub(super) fn actor(number: u8) -> ActorBytes {
    ActorBytes([number; 16])
}

impl Office {
    pub(super) fn new(number: u8) -> Self {
        Self {
            actor: actor(number),
            document: Document::empty(),
            live: reloaded(&Document::empty()),
            entries: Vec::new(),
            versions: vec![Version::default()],
            schema: None,
        }
    }

    pub(super) fn with_schema(number: u8, fields: &[(&str, &str)]) -> Self {
        let fields: BTreeMap<String, Value> = fields
            .iter()
            .map(|(path, spec)| ((*path).to_owned(), Value::Str((*spec).to_owned())))
            .collect();
        let mut office = Self::new(number);
        office.schema = Some(Schema::from_fields(&fields).unwrap());
        office
    }

    /// Edits, and says whether there was something to change.
    pub(super) fn try_edit(&mut self, edit: &Edit) -> Result<bool, EditError> {
        let time_ms = 1_000 + self.entries.len() as i64;
        if self.document.is_empty() {
            assert_begun_like_document(self.actor, time_ms, edit, self.schema.as_ref());
        }
        let edited = self.document.edit(self.actor, time_ms, edit, self.schema.as_ref());
        let also = self.live.edit(self.actor, time_ms, edit, self.schema.as_ref());
        assert_eq!(format!("{edited:?}"), format!("{also:?}"));
        self.reload();
        let Some(edited) = edited? else {
            return Ok(false);
        };
        self.entries.push(TestEntry { actor: self.actor, change: edited.change });
        Ok(true)
    }

    /// Whatever is not live is forgotten.
    fn reload(&mut self) {
        assert_eq!(self.live.save(), self.document.save());
        assert_eq!(self.live.summary(), self.document.summary());
        let saved = self.live.save();
        let view = self.document.view();
        assert_eq!(View::of_saved(&saved).unwrap(), view);
        assert_as_decoded(&saved);
        let all: BTreeSet<&str> = view.fields.keys().map(String::as_str).collect();
        let each = all.iter().map(|name| BTreeSet::from([*name]));
        for names in each.chain([BTreeSet::new(), all.clone()]) {
            let mut expected = view.live_fields().cloned();
            let _ = expected
                .as_mut()
                .map(|fields| fields.retain(|name, _| names.contains(name.as_str())));
            let names: FieldNames<'_> = names.into_iter().collect();
            let some = View::some_of_saved(&saved, &names).unwrap();
            assert_eq!(some.map(|some| some.to_fields()), expected);
        }
        self.live = reloaded(&self.live);
        assert_eq!(self.live.save(), self.document.save());
        self.versions.push(Version::of(&view));
    }

    /// Takes over a document to which its own changes were added.
    pub(super) fn take_over(&mut self, document: Document, changes: Vec<RecordChange>) {
        self.live = document.clone();
        self.document = document;
        self.reload();
        let actor = self.actor;
        self.entries.extend(changes.into_iter().map(|change| TestEntry { actor, change }));
    }

    /// The record as it was at a version.
    pub(super) fn seen(&self, version: &Version) -> Document {
        let reach = self.document.reach(version).unwrap();
        let mut seen = Document::empty();
        for entry in &self.entries {
            seen.extend_to(&reach, entry.actor.into(), &entry.change).unwrap();
        }
        assert!(seen.is_of(version));
        seen
    }

    /// Edits what was read at a version, and says whether there was something to change.
    pub(super) fn try_edit_on(
        &mut self,
        version: &Version,
        edit: &Edit,
    ) -> Result<bool, EditError> {
        let time_ms = 1_000 + self.entries.len() as i64;
        let (seen, before) = (self.seen(version), self.document.clone());
        let schema = self.schema.clone();
        let edited = self.document.edit_on(&seen, self.actor, time_ms, edit, schema.as_ref())?;
        let Some(edited) = edited else { return Ok(false) };
        let entry = TestEntry { actor: self.actor, change: edited.change };
        assert_eq!(edited.hash, entry.change.hash());
        // Anyone who holds only what is live judges it alike, or reads the history.
        if let Err(Verdict::NeedsHistory) = self.live.check(entry.actor, &entry.change) {
            self.live = before;
        }
        let checked = self.live.check(entry.actor, &entry.change).unwrap();
        self.live.apply(checked).unwrap();
        self.reload();
        self.entries.push(entry);
        Ok(true)
    }

    pub(super) fn merge_on(&mut self, version: &Version, json: Json) {
        assert!(self.try_edit_on(version, &merge(json)).unwrap());
        assert_like_automerge(self);
    }

    pub(super) fn version(&self) -> Version {
        Version::of(&self.view())
    }

    /// The verdict, which does not depend on whether the history is whole.
    pub(super) fn check(&self, entry: &TestEntry) -> Result<(), Verdict> {
        let verdict = self.document.check(entry.actor, &entry.change).map(|_| ());
        assert_first_is_like_document(entry);
        match self.live.check(entry.actor, &entry.change) {
            Err(Verdict::NeedsHistory) => {}
            also => assert_eq!(also.map(|_| ()), verdict),
        }
        verdict
    }

    pub(super) fn put(&mut self, json: Json) -> bool {
        self.try_edit(&Edit::Put(fields(json))).unwrap()
    }

    pub(super) fn merge(&mut self, json: Json) -> bool {
        self.try_edit(&merge(json)).unwrap()
    }

    pub(super) fn delete(&mut self) {
        assert!(self.try_edit(&Edit::Delete).unwrap());
    }

    /// Takes one entry in, as from a peer.
    pub(super) fn receive(&mut self, entry: &TestEntry) {
        let hash = entry.change.hash();
        if self.entries.iter().any(|known| known.change.hash() == hash) {
            self.check(entry).unwrap();
            return;
        }
        if let Err(Verdict::NeedsHistory) = self.live.check(entry.actor, &entry.change) {
            self.live = self.document.clone();
        }
        for document in [&mut self.document, &mut self.live] {
            let checked = document.check(entry.actor, &entry.change).unwrap();
            document.apply(checked).unwrap();
        }
        self.reload();
        self.entries.push(entry.clone());
    }

    /// Automerge's own document of the same changes.
    pub(super) fn automerge(&self) -> Automerge {
        automerge_of(self.entries.iter().map(|entry| &entry.change)).unwrap()
    }

    /// Takes in all that another office has.
    pub(super) fn pull(&mut self, other: &Self) {
        for entry in &other.entries {
            self.receive(entry);
        }
    }

    pub(super) fn view(&self) -> View {
        self.document.view()
    }

    pub(super) fn json(&self) -> Json {
        Value::Map(self.view().fields).to_json()
    }
}

/// Both offices pull from each other and must then agree.
pub(super) fn meet(a: &mut Office, b: &mut Office) {
    a.pull(b);
    b.pull(a);
    assert_eq!(a.view(), b.view());
    assert_like_automerge(a);
}

pub(super) fn fields(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(fields) => fields,
        other => panic!("{other} is no object"),
    }
}

pub(super) fn merge(json: Json) -> Edit {
    Edit::Merge { patch: fields(json), create: true }
}

fn reloaded(document: &Document) -> Document {
    Document::load(&document.save()).unwrap()
}

/// Asserts that what a change leaves as the first of a record is what a document makes of it, if that can be said.
pub(super) fn assert_first_is_like_document(TestEntry { actor, change }: &TestEntry) -> bool {
    let Ok(Some(first)) = change.parse(*actor).map(|parsed| NewRecord::of(&parsed)) else {
        return false;
    };
    let mut document = Document::empty();
    let checked = document.check(*actor, change).unwrap();
    document.apply(checked).unwrap();
    assert_eq!(first.saved, document.save());
    assert_eq!(Some(first.summary), document.summary());
    true
}

/// Asserts that the first edit of a record begins it as a document would.
fn assert_begun_like_document(
    actor: ActorBytes,
    time_ms: i64,
    edit: &Edit,
    schema: Option<&Schema>,
) {
    let mut document = Document::empty();
    let edited = document.edit(actor, time_ms, edit, schema);
    let begun = begin(actor, time_ms, edit, schema);
    let (begun, record) = match begun {
        Ok(Some((begun, record))) => (Ok(Some(begun)), Some(record)),
        Ok(None) => (Ok(None), None),
        Err(error) => (Err(error), None),
    };
    assert_eq!(format!("{begun:?}"), format!("{edited:?}"));
    match record {
        Some(Begun::New(first)) => {
            assert_eq!(first.saved, document.save());
            assert_eq!(Some(first.summary), document.summary());
        }
        Some(Begun::Document(begun)) => assert_eq!(begun.save(), document.save()),
        None => {}
    }
}

/// Whether Automerge reads the body of a change and writes it as it is. Its panics mean that it does not.
pub(super) fn is_automerge_canonical(body: &[u8]) -> bool {
    let chunk = chunk::whole(body);
    let written = catch_unwind(|| {
        let change = Change::try_from(chunk.as_slice()).ok()?;
        Some(Change::from(change.decode()).raw_bytes().to_vec())
    });
    written.is_ok_and(|written| written.as_ref() == Some(&chunk))
}

/// Asserts that the view is what Automerge itself reads, conflicts included, and that saving and loading changes nothing.
pub(super) fn assert_like_automerge(office: &Office) {
    let view = office.view();
    let last = office.entries.last();
    assert!(last.is_none_or(|entry| is_automerge_canonical(&entry.change.body)));
    assert_eq!(view, view_of_automerge(&office.automerge()).unwrap());
    assert_eq!(office.live.view(), view);
    let conflicted = !view.conflicts.is_empty();
    assert_eq!(office.document.summary().is_some_and(|summary| summary.conflicted), conflicted);
}

/// Asserts that Automerge reads the same in what it saves, which is what other programs get.
pub(super) fn assert_goes_out(office: &Office) {
    let saved = save_automerge(&office.automerge()).unwrap();
    let read = view_of_automerge(&load_automerge(&saved).unwrap()).unwrap();
    assert_eq!(office.view(), read);
}
