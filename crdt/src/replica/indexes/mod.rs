//! Declared indexes: rows that follow the record rows in the same batch, built in steps while the site works.
//!
//! - `round`: the rows of an index that is being built, in their order.
//!
//! Which collections are of events is known here too: of an event the indexes follow what is shown. Where a collection
//! that has records becomes one of events, as sites can declare and write apart from each other, its indexes are
//! rebuilt, and on the way the events that were changed before are given the rows of such events.

mod round;

use std::collections::{BTreeMap, BTreeSet};

use super::batch::rows::marks_of_event;
use super::status::IndexStatus;
use crate::events::Firsts;
use crate::format::codec;
use crate::ids::SpaceId;

use crate::record::{self, Field, SCHEMA_COLLECTION, Schema, View};
use crate::store::read;
use crate::store::tables::indexes::{self, IndexRow, IndexState};
use crate::store::tables::records::{self, RecordKey, RecordRow};
use crate::store::tables::{ReadTables, decode_row, walk};
use crate::store::{RowWrite, Store, StoreError};
use round::Round;

/// Records that one tick looks at for an index, and rows that it adds or removes: about 2 ms, which writers wait.
const STEP_ROWS: usize = 500;

/// How an index follows a record: what follows [`indexes::entries`] in the keys of its rows.
pub(in crate::replica) struct Move {
    field: Field,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

/// The indexes of all collections, as the tables have them.
#[derive(Default)]
pub(in crate::replica) struct Indexes {
    spaces: BTreeMap<SpaceId, BTreeMap<String, Vec<(Field, IndexState)>>>,
    /// The collections of events.
    events: BTreeMap<SpaceId, BTreeSet<String>>,
    /// Those that were of events until the group that is being shown.
    ended: Vec<(SpaceId, String)>,
    /// What is in memory of the one that is being built.
    round: Option<Round>,
}

impl Indexes {
    /// Reads them.
    pub(in crate::replica) fn load(tables: &impl ReadTables) -> Result<Self, StoreError> {
        let mut found = Self::default();
        walk(tables, indexes::ALL, None, |key, value| {
            let row: IndexRow = decode_row("index row", value)?;
            if let Some((space, collection, path)) = indexes::index_of_key(key) {
                let field = Field { kind: row.kind(), path };
                found.of_mut(space, &collection).push((field, row.state));
            }
            Ok(true)
        })?;
        found.load_events(tables)?;
        Ok(found)
    }

    /// Reads which collections are of events.
    fn load_events(&mut self, tables: &impl ReadTables) -> Result<(), StoreError> {
        let mut spaces = Vec::new();
        walk(tables, records::ALL_COLLECTIONS, None, |key, _| {
            let is_schemas = records::collection_of_key(key).as_deref() == Some(SCHEMA_COLLECTION);
            spaces.extend(records::space_of_key(key).filter(|_| is_schemas));
            Ok(true)
        })?;
        for space in spaces {
            read::each_of(tables, space, SCHEMA_COLLECTION, None, |collection, view| {
                if Schema::of(&view).is_some_and(|schema| schema.is_of_events()) {
                    self.events.entry(space).or_default().insert(collection);
                }
                Ok(true)
            })?;
        }
        Ok(())
    }

    /// Whether a record is an event.
    pub(in crate::replica) fn is_of_events(&self, key: &RecordKey) -> bool {
        self.events.get(&key.space).is_some_and(|events| events.contains(&key.collection))
    }

    /// Takes the collections that were of events until now.
    pub(in crate::replica) fn take_ended(&mut self) -> Vec<(SpaceId, String)> {
        std::mem::take(&mut self.ended)
    }

    fn of(&self, space: SpaceId, collection: &str) -> &[(Field, IndexState)] {
        let found = self.spaces.get(&space).and_then(|collections| collections.get(collection));
        found.map_or(&[], Vec::as_slice)
    }

    fn of_mut(&mut self, space: SpaceId, collection: &str) -> &mut Vec<(Field, IndexState)> {
        self.spaces.entry(space).or_default().entry(collection.to_owned()).or_default()
    }

    /// Whether a change of the record means something to an index.
    pub(in crate::replica) fn concerns(&self, key: &RecordKey) -> bool {
        key.collection == SCHEMA_COLLECTION || !self.of(key.space, &key.collection).is_empty()
    }

    /// How the indexes follow a record; those of another collection are declared by it if it is a schema.
    pub(in crate::replica) fn follow(
        &mut self,
        key: &RecordKey,
        before: Option<&View>,
        after: &View,
        rows: &mut Vec<RowWrite>,
    ) -> Vec<Move> {
        if key.collection == SCHEMA_COLLECTION {
            self.declare(key.space, &key.id, Schema::of(after).as_ref(), rows);
        }
        self.moves(key, before, after)
    }

    /// How the indexes follow a record as long as no schema changes.
    pub(in crate::replica) fn moves(
        &self,
        key: &RecordKey,
        before: Option<&View>,
        after: &View,
    ) -> Vec<Move> {
        let known = self.of(key.space, &key.collection).iter();
        let kept = known.filter(|(_, state)| *state != IndexState::Dropping);
        let moves = kept.map(|(field, _)| {
            let rest = |fields| indexes::entry_rest(field, &key.id, fields);
            let before = before.and_then(View::live_fields).map(rest);
            Move { field: field.clone(), before, after: after.live_fields().map(rest) }
        });
        moves.filter(|it| it.before != it.after).collect()
    }

    /// The rows of moves.
    pub(in crate::replica) fn make(
        &mut self,
        key: &RecordKey,
        moves: Vec<Move>,
        rows: &mut Vec<RowWrite>,
    ) {
        let RecordKey { space, collection, .. } = key;
        for Move { field, before, after } in moves {
            let round = self.round.as_mut().filter(|round| round.is_of(*space, collection, &field));
            if let (Some(round), Some(before)) = (round, &before) {
                round.remove(before);
            }
            let prefix = indexes::entries(*space, collection, &field.path);
            rows.extend(before.map(|rest| ([&prefix, &rest[..]].concat(), None)));
            rows.extend(after.map(|rest| ([&prefix, &rest[..]].concat(), Some(Vec::new()))));
        }
    }

    /// Follows a change of a collection's schema: `None` where it has none any more.
    fn declare(
        &mut self,
        space: SpaceId,
        collection: &str,
        schema: Option<&Schema>,
        rows: &mut Vec<RowWrite>,
    ) {
        let declared: Vec<Field> = schema.map(record::indexed_fields).unwrap_or_default();
        // It may be of one that is dropped.
        self.round = None;
        let is_of_events = schema.is_some_and(Schema::is_of_events);
        let events = self.events.entry(space).or_default();
        let is_changed = if is_of_events {
            events.insert(collection.to_owned())
        } else {
            events.remove(collection)
        };
        if is_changed && !is_of_events {
            self.ended.push((space, collection.to_owned()));
        }
        let known = self.of_mut(space, collection);
        for (field, state) in known.iter_mut() {
            let is_kept = declared.contains(field) && !is_changed;
            if !is_kept && *state != IndexState::Dropping {
                *state = IndexState::Dropping;
                rows.push(index_row(space, collection, field, state));
            }
        }
        for field in declared {
            // One that is being removed is declared again once it is gone.
            if known.iter().all(|(known, _)| known.path != field.path) {
                let state = IndexState::Building { after: None, records: 0 };
                rows.push(index_row(space, collection, &field, &state));
                known.push((field, state));
            }
        }
    }

    /// The first that is not as it should be.
    fn pending(&self) -> Option<(SpaceId, String, Field, IndexState)> {
        let (space, collection, (field, state)) =
            self.all().find(|(_, _, (_, state))| *state != IndexState::Ready)?;
        Some((space, collection.to_owned(), field.clone(), state.clone()))
    }

    /// All of them.
    fn all(&self) -> impl Iterator<Item = (SpaceId, &str, &(Field, IndexState))> {
        self.spaces.iter().flat_map(|(space, collections)| {
            collections.iter().flat_map(move |(collection, indexes)| {
                indexes.iter().map(move |index| (*space, collection.as_str(), index))
            })
        })
    }

    /// How far each is built.
    pub(in crate::replica) fn status(&self) -> Vec<IndexStatus> {
        self.all()
            .map(|(_, collection, (field, state))| {
                let (state, records_built) = match state {
                    IndexState::Building { records, .. } => ("building", *records),
                    IndexState::Ready => ("ready", 0),
                    IndexState::Dropping => ("dropping", 0),
                };
                IndexStatus {
                    collection: collection.to_owned(),
                    field: field.path.clone(),
                    state: state.to_owned(),
                    records_built,
                }
            })
            .collect()
    }
}

fn index_row(space: SpaceId, collection: &str, field: &Field, state: &IndexState) -> RowWrite {
    let row = IndexRow::new(field, state.clone());
    (indexes::index(space, collection, &field.path), Some(codec::encode(&row)))
}

impl Indexes {
    /// Whether there is more to do at once.
    pub(in crate::replica) fn is_building(&self, store: &impl Store) -> bool {
        self.pending().is_some() && !store.is_behind()
    }

    /// One step towards indexes that are as they are declared.
    pub(in crate::replica) fn build(&mut self, store: &mut impl Store) -> Result<(), StoreError> {
        if store.is_behind() {
            return Ok(());
        }
        let Some((space, collection, field, state)) = self.pending() else {
            return Ok(());
        };
        match state {
            IndexState::Building { after, records } => {
                self.add_to(store, space, &collection, &field, after, records)
            }
            IndexState::Dropping => self.drop_from(store, space, &collection, &field),
            IndexState::Ready => Ok(()),
        }
    }

    fn add_to(
        &mut self,
        store: &mut impl Store,
        space: SpaceId,
        collection: &str,
        field: &Field,
        after: Option<Vec<u8>>,
        records: u64,
    ) -> Result<(), StoreError> {
        let round = self.round.take().filter(|it| it.is_of(space, collection, field));
        let events = self.events.get(&space);
        let is_of_events = events.is_some_and(|events| events.contains(collection));
        let new = || Round::new(space, collection, field, after, is_of_events);
        let mut round = round.unwrap_or_else(new);
        let is_gathered = round.gather(store, STEP_ROWS)?;
        let changed = round.take_changed();
        if !changed.is_empty() {
            show_as_events(store, space, collection, field, changed)?;
        }
        if !is_gathered {
            self.round = Some(round);
            return Ok(());
        }
        let prefix = indexes::entries(space, collection, &field.path);
        let taken = round.take_first(STEP_ROWS);
        let records = records + taken.len() as u64;
        let row = |rest: Vec<u8>| ([&prefix, &rest[..]].concat(), Some(Vec::new()));
        let mut rows: Vec<RowWrite> = taken.into_iter().map(row).collect();
        let state = if round.is_over() && round.is_last() {
            IndexState::Ready
        } else {
            IndexState::Building { after: round.after().cloned(), records }
        };
        rows.push(index_row(space, collection, field, &state));
        store.apply(rows, None)?;
        for (known, known_state) in self.of_mut(space, collection) {
            if known == field {
                *known_state = state.clone();
            }
        }
        self.round = (!round.is_over()).then_some(round);
        Ok(())
    }

    fn drop_from(
        &mut self,
        store: &mut impl Store,
        space: SpaceId,
        collection: &str,
        field: &Field,
    ) -> Result<(), StoreError> {
        let prefix = indexes::entries(space, collection, &field.path);
        let found = store.scan(&prefix, None, STEP_ROWS)?;
        let is_last = found.len() < STEP_ROWS;
        let mut rows: Vec<RowWrite> = found.into_iter().map(|(key, _)| (key, None)).collect();
        if is_last {
            rows.push((indexes::index(space, collection, &field.path), None));
            self.of_mut(space, collection).retain(|(known, _)| known != field);
            let schema = read::schema(store, space, collection)?;
            self.declare(space, collection, schema.as_ref(), &mut rows);
        }
        store.apply(rows, None)
    }
}

/// Gives events that were changed before their collection became one of events the rows of such events, and the row
/// of the index that is being built.
fn show_as_events(
    store: &mut impl Store,
    space: SpaceId,
    collection: &str,
    field: &Field,
    ids: Vec<String>,
) -> Result<(), StoreError> {
    let mut rows: Vec<RowWrite> = Vec::new();
    let mut totals = read::collection(store, space, collection)?;
    for id in ids {
        let key = RecordKey { space, collection: collection.to_owned(), id };
        let Some(stored) = store.get(&key.record())? else { continue };
        let stored = RecordRow::decode(&stored)?;
        let event = match Firsts::stored(store, &key, Some(&stored)) {
            Ok(event) => event,
            // It is shown as it is until the journal is mended and the tables are rebuilt.
            Err(StoreError::Damaged { .. }) => continue,
            Err(error) => return Err(error),
        };
        let was_deleted = stored.view()?.deleted;
        let first = event.saved();
        let row = RecordRow { first: first.as_deref(), ..stored };
        let view = row.view()?;
        totals.move_one(was_deleted, view.deleted);
        let entry = |fields| indexes::entry(space, collection, field, &key.id, fields);
        rows.extend(view.live_fields().map(entry).map(|entry| (entry, Some(Vec::new()))));
        rows.push((key.record(), Some(row.encode())));
        rows.extend(marks_of_event(&key, &event));
    }
    rows.push((records::collection(space, collection), Some(codec::encode(&totals))));
    store.apply(rows, None)
}
