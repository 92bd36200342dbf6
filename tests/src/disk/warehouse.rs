//! A site whose transactions can be checked: each moves stock from one shelf to another and sets that down in a record
//! of its own. What move `n` does follows from `n`, so that from the records alone it can be seen which moves a folder
//! has, whether it has each of them wholly, and what its shelves must say.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use branchline_crdt::Replica;
use branchline_crdt::ids::{Incarnation, SiteKey, SpaceId};
use branchline_crdt::inspect::verify::verify;
use branchline_crdt::membership::Genesis;
use branchline_crdt::record::{Edit, SCHEMA_COLLECTION, View};
use branchline_crdt::replica::{
    Identity, Input, LocalTransaction, Now, Opening, Output, RecordEdit,
};
use branchline_crdt::store::read;
use branchline_crdt::store::tables::ReadTables;
use branchline_crdt::store::{ReadJournal, Row, StoreError};
use branchline_node::storage::journal::JournalOptions;
use branchline_node::storage::tables::TablesOptions;
use branchline_node::storage::{OpenReport, Options, Storage};
use serde_json::{Map, Value, json};

use super::Random;
use crate::eventually;

/// Shelves of the warehouse.
const SHELVES: u32 = 4;
/// Every so often a move carries a note that takes several rows of the tables.
const LONG_NOTE_EVERY: u32 = 25;

/// A replica on a real folder, without a node around it.
pub struct Warehouse {
    replica: Replica<Storage>,
    /// Moves that the folder has.
    pub moves: u32,
    /// What opening found.
    pub report: OpenReport,
}

/// What is wrong with a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsound {
    /// Records are shown that were not written so.
    Shown(String),
    /// Nothing wrong is shown: reading fails, or verification tells.
    Reported(String),
}

/// Small segments and frequent flushes, so that a short run has many moments of every kind.
pub fn options() -> Options {
    Options {
        journal: JournalOptions { segment_bytes_max: 128 << 10, room_bytes: 16 << 10 },
        tables: TablesOptions {
            cache_bytes: 1 << 20,
            flush_every_ms: 5,
            generation_bytes: 64 << 10,
            ..TablesOptions::default()
        },
        disk_reserve_bytes: 0,
    }
}

fn key() -> SiteKey {
    SiteKey::from_seed([1; 32])
}

/// The document of the only network that warehouses belong to.
fn genesis() -> Genesis {
    Genesis { founders: vec![(key().site(), "warehouse".to_owned())], time_ms: 0, nonce: [2; 16] }
}

fn space() -> SpaceId {
    genesis().network().main_space()
}

impl Warehouse {
    /// Opens the folder and founds the network if that was not done yet.
    ///
    /// # Errors
    /// What the storage says: it does not open.
    pub fn open(folder: &Path, incarnation: u64) -> Result<Warehouse, String> {
        let text = |error: &dyn Error| error.to_string();
        let (storage, report) = Storage::open(folder, options()).map_err(|error| text(&error))?;
        let identity = Identity {
            key: key(),
            name: "warehouse".to_owned(),
            incarnation: Incarnation(incarnation.to_be_bytes()),
            seed: incarnation,
        };
        let now = Now { wall_ms: 0, monotonic_ms: 0 };
        let replica = Replica::open(storage, identity, Opening::with(None), now, &mut |_| {});
        let mut replica = replica.map_err(|error| text(&error))?;
        if replica.realms().network().is_none() {
            replica.found(genesis());
            replica.commit().map_err(|error| text(&error))?;
        }
        if read::schema(replica.store(), space(), "moves").map_err(|error| text(&error))?.is_none()
        {
            let transactions = vec![schemas()];
            let taken = replica.handle(Input::Write { id: 0, space: None, transactions }, now);
            taken.map_err(|error| text(&error))?;
            replica.commit().map_err(|error| text(&error))?;
            while replica.output().is_some() {}
        }
        let mut warehouse = Warehouse { replica, moves: 0, report };
        warehouse.moves = warehouse.list("moves")?.len() as u32;
        Ok(warehouse)
    }

    /// Makes the next `count` moves in one group; all or none are acknowledged.
    ///
    /// # Errors
    /// What the storage says: nothing was acknowledged.
    pub fn go_on(&mut self, count: u32) -> Result<(), String> {
        let text = |error: &dyn Error| error.to_string();
        let transactions = (self.moves..self.moves + count).map(transaction).collect();
        // What was written at one moment is made again at another: no row may hang on which.
        let now = Now { wall_ms: self.moves.into(), monotonic_ms: self.moves.into() };
        let taken = self.replica.handle(Input::Write { id: 1, space: None, transactions }, now);
        taken.map_err(|error| text(&error))?;
        self.replica.commit().map_err(|error| text(&error))?;
        while let Some(output) = self.replica.output() {
            if let Output::Written { results, .. } = output {
                results.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| text(&error))?;
                self.moves += count;
                return Ok(());
            }
        }
        Err("the write was not answered".to_owned())
    }

    /// Rebuilds the tables from the journal.
    ///
    /// # Errors
    /// [`StoreError`] where the journal cannot be read or the tables cannot be written.
    pub fn rebuild(&mut self) -> Result<(), StoreError> {
        self.replica.rebuild(&mut |_| {})
    }

    /// The storage.
    pub fn storage(&self) -> &Storage {
        self.replica.store()
    }

    /// Every row of the tables.
    pub fn rows(&self) -> Vec<Row> {
        self.storage().scan(b"", None, usize::MAX).expect("the rows are read")
    }

    /// Frames in the journal.
    pub fn frames(&self) -> usize {
        self.storage().scan_journal(None, usize::MAX).expect("the journal is read").len()
    }

    /// Whether everything that is stored is sound and whole: moves are there wholly and in order without a gap, the
    /// shelves say what follows from them, and journal, documents and views agree.
    ///
    /// # Errors
    /// [`Unsound`] says what is not as it should be.
    pub fn check(&self) -> Result<(), Unsound> {
        let reported = |error: &dyn Error| Unsound::Reported(error.to_string());
        let moves = self.list("moves").map_err(Unsound::Reported)?;
        for (number, (id, fields)) in moves.iter().enumerate() {
            let number = number as u32;
            if *id != move_id(number) {
                let reason = format!("{} is missing, {id} is there", move_id(number));
                return Err(Unsound::Shown(reason));
            }
            if *fields != Value::Object(move_fields(number)) {
                return Err(Unsound::Shown(format!("{id} is not what was written")));
            }
        }
        let mut expected = BTreeMap::new();
        for number in 0..moves.len() as u32 {
            for (shelf, change) in shelves_of(number) {
                *expected.entry(shelf).or_insert(0) += change;
            }
        }
        let shelves = self.list("shelves").map_err(Unsound::Reported)?.into_iter();
        let shelves: BTreeMap<_, _> = shelves
            .map(|(id, fields)| (id, fields["stock"].as_i64().unwrap_or(i64::MIN)))
            .collect();
        if shelves != expected {
            let reason = format!("the shelves hold {shelves:?}, the moves make {expected:?}");
            return Err(Unsound::Shown(reason));
        }
        let rows = self.storage().verify(&mut |_| {}).map_err(|error| reported(&error))?;
        if !rows.is_sound() {
            return Err(Unsound::Reported(format!("the storage is not sound: {rows:?}")));
        }
        let spaces = [genesis().network().membership_space(), space()];
        let report = verify(self.storage(), &spaces).map_err(|error| reported(&error))?;
        match report.is_sound() {
            true => Ok(()),
            false => {
                Err(Unsound::Reported(format!("the records are not sound: {:?}", report.faults)))
            }
        }
    }

    /// The records of a collection by id.
    fn list(&self, collection: &str) -> Result<Vec<(String, Value)>, String> {
        let found = read::list(self.storage(), space(), collection, None, usize::MAX);
        let found = found.map_err(|error| error.to_string())?.into_iter();
        let json = |(id, view): (String, View)| {
            let fields = view.fields.iter().map(|(name, value)| (name.clone(), value.to_json()));
            (id, Value::Object(fields.collect()))
        };
        Ok(found.map(json).collect())
    }
}

/// The rows that a fresh rebuild from the journal of `folder` makes; `scratch` is used for it.
pub fn rebuilt_rows(folder: &Path, scratch: &Path) -> Vec<Row> {
    fs::create_dir_all(scratch.join("journal")).expect("a folder");
    fs::copy(folder.join("format"), scratch.join("format")).expect("the format file is copied");
    for file in fs::read_dir(folder.join("journal")).expect("a journal") {
        let file = file.expect("a file");
        fs::copy(file.path(), scratch.join("journal").join(file.file_name())).expect("a copy");
    }
    let warehouse = Warehouse::open(scratch, u64::MAX).expect("a copy of the journal opens");
    let rows = warehouse.rows();
    drop(warehouse);
    // Sled's threads end a little later than its handle, and may still write.
    eventually("the scratch folder is removed", || fs::remove_dir_all(scratch).is_ok());
    rows
}

fn move_id(number: u32) -> String {
    format!("{number:06}")
}

/// The shelves that a move touches, and by how much.
fn shelves_of(number: u32) -> [(String, i64); 2] {
    let from = number % SHELVES;
    let to = (from + 1 + number / SHELVES % (SHELVES - 1)) % SHELVES;
    let quantity = i64::from(number % 7) + 1;
    [(format!("shelf-{from}"), -quantity), (format!("shelf-{to}"), quantity)]
}

fn move_fields(number: u32) -> Map<String, Value> {
    let mut random = Random(u64::from(number));
    // Random digits, which do not compress away.
    let words = if number % LONG_NOTE_EVERY == LONG_NOTE_EVERY - 1 { 8_000 } else { 100 };
    let note: String = (0..words).map(|_| format!("{:016x}", random.number())).collect();
    let [(from, _), (to, quantity)] = shelves_of(number);
    let fields = json!({ "from": from, "note": note, "quantity": quantity, "to": to });
    fields.as_object().cloned().expect("an object")
}

/// Schemas with an index of each collection.
fn schemas() -> LocalTransaction {
    let schema = |collection, fields: Value| {
        let fields = fields.as_object().cloned().expect("an object");
        RecordEdit::new(SCHEMA_COLLECTION, collection, Edit::Put(fields))
    };
    let shelves = schema("shelves", json!({ "stock": "counter indexed" }));
    let moves = schema("moves", json!({ "from": "string indexed", "note": "string indexed" }));
    LocalTransaction { origin: None, edits: vec![shelves, moves] }
}

fn transaction(number: u32) -> LocalTransaction {
    let stock = shelves_of(number).map(|(id, change)| {
        let patch = json!({ "stock": { "$inc": change } }).as_object().cloned().expect("an object");
        RecordEdit::new("shelves", id, Edit::Merge { patch, create: true })
    });
    let edit = Edit::Put(move_fields(number));
    let record = RecordEdit::new("moves", move_id(number), edit);
    LocalTransaction { origin: None, edits: stock.into_iter().chain([record]).collect() }
}
