//! What people write: the edits of a scenario, with what is needed to know later whether they are all there.
//!
//! Every transaction also writes a record of its own in the collection [`MARKS`]: wherever the mark shows, all of
//! the transaction must, and nowhere else. Half of the deletions go to records in [`GONE`], which nobody brings back.

use std::collections::BTreeMap;

use branchline_crdt::record::{Edit, Value, View};
use branchline_crdt::replica::RecordEdit;
use rand::RngExt;
use rand::rngs::SmallRng;
use serde_json::{Map, Value as Json, json};

use crate::scenario::{CollectionWork, Scenario};
use crate::trace::RecordName;
use crate::world::{SiteIndex, World, random};

/// The collection of the marks.
pub const MARKS: &str = "simulated-writes";
/// The collection of the records that stay deleted.
pub const GONE: &str = "simulated-deletions";

/// One transaction that someone is about to write.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The id of its mark.
    pub mark: String,
    /// The edits, the mark's last.
    pub edits: Vec<RecordEdit>,
    /// What it does, in short.
    pub what: String,
    /// What it adds to which counters.
    pub increments: Vec<(RecordName, i64)>,
    /// The prices that it sets.
    pub prices: Vec<(RecordName, i64)>,
    /// The record of [`GONE`] that it deletes.
    pub deletes: Option<String>,
}

impl Planned {
    /// The records that it touches, without the mark.
    pub fn records(&self) -> Vec<RecordName> {
        let others = self.edits.iter().filter(|edit| edit.collection != MARKS);
        others
            .map(|edit| RecordName { collection: edit.collection.clone(), id: edit.id.clone() })
            .collect()
    }
}

/// What people write at each office.
pub struct OfficeWork {
    collections: Vec<CollectionWork>,
    random: BTreeMap<SiteIndex, SmallRng>,
    seed: u64,
    pause_ms_mean: f64,
    count: u64,
    /// Records of [`GONE`] that were begun.
    gone: Vec<String>,
}

impl OfficeWork {
    /// The workload of a scenario.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let work = &scenario.workload;
        Self {
            collections: work.collections.clone(),
            random: BTreeMap::new(),
            seed,
            pause_ms_mean: 3_600_000.0 / f64::from(work.writes_per_hour.max(1)),
            count: 0,
            gone: Vec::new(),
        }
    }

    /// The schemas that the first office declares.
    pub fn schemas(&self) -> Vec<RecordEdit> {
        let fields =
            json!({"price": "integer", "stock": "counter", "note": "text", "tags": "list"});
        let schema = |work: &CollectionWork| {
            RecordEdit::new("_schema", &work.name, Edit::Put(object(fields.clone())))
        };
        self.collections.iter().map(schema).collect()
    }

    /// Names of the collections that hold counters.
    pub fn collections(&self) -> impl Iterator<Item = &str> {
        self.collections.iter().map(|work| work.name.as_str())
    }

    fn draw(&mut self, office: SiteIndex) -> &mut SmallRng {
        let seed = self.seed;
        self.random
            .entry(office)
            .or_insert_with(|| random::concern(seed, "workload", &[office as u64]))
    }

    /// How long after one write the next one comes at an office, in ms: by chance, as people come into a shop.
    pub fn pause_ms(&mut self, office: SiteIndex) -> u64 {
        let mean = self.pause_ms_mean;
        let chance: f64 = self.draw(office).random();
        ((-(1.0 - chance).ln() * mean) as u64).max(1)
    }

    /// What someone at this office writes now, by what is shown there.
    pub fn plan(&mut self, office: SiteIndex, world: &World) -> Option<Planned> {
        self.count += 1;
        let number = self.count;
        let mark = format!("{}-{number}", world.name(office));
        let mut planned = Planned {
            mark: mark.clone(),
            edits: Vec::new(),
            what: String::new(),
            increments: Vec::new(),
            prices: Vec::new(),
            deletes: None,
        };
        let index = self.below(office, self.collections.len() as u64) as usize;
        let work = self.collections.get(index)?.clone();
        let record = self.pick_record(office, &work);
        let view = world.view(office, &record.collection, &record.id);
        let mut kind = self.below(office, work.mix.sum());
        let mut is = |weight: u32| {
            let chosen = kind < u64::from(weight);
            kind = kind.wrapping_sub(u64::from(weight));
            chosen
        };
        if is(work.mix.registers) {
            set_price(&mut planned, &record, number);
        } else if is(work.mix.counters) {
            let amount = self.below(office, 19) as i64 - 9;
            planned.add(&record, json!({"stock": {"$inc": amount}}), format!("stock {amount:+}"));
            planned.increments.push((record, amount));
        } else if is(work.mix.text) {
            let note = self.edited_note(office, view.as_ref(), number);
            planned.add(&record, json!({"note": note}), "note".to_owned());
        } else if is(work.mix.lists) {
            planned.add(&record, json!({"tags": [number, "fresh"]}), "tags".to_owned());
        } else if is(work.mix.deletes) {
            match self.below(office, 2) {
                0 => self.plan_for_good(office, world, &mut planned),
                _ => delete_or_revive(&mut planned, &record, view.as_ref()),
            }
        } else {
            let to = {
                let index = self.below(office, self.collections.len() as u64) as usize;
                let other = self.collections.get(index)?.clone();
                self.pick_record(office, &other)
            };
            self.plan_transfer(office, &mut planned, record, to, number);
        }
        let edit = Edit::Put(object(json!({"number": number})));
        planned.edits.push(RecordEdit::new(MARKS, mark, edit));
        Some(planned)
    }

    fn below(&mut self, office: SiteIndex, end: u64) -> u64 {
        if end == 0 { 0 } else { self.draw(office).random_range(0..end) }
    }

    fn pick_record(&mut self, office: SiteIndex, work: &CollectionWork) -> RecordName {
        let is_hot = self.below(office, 1_000_000) < u64::from(work.hot_ppm);
        let number = self.below(office, u64::from(work.records));
        let number = if is_hot { 0 } else { number };
        RecordName { collection: work.name.clone(), id: format!("{}-{number}", work.name) }
    }

    fn edited_note(&mut self, office: SiteIndex, view: Option<&View>, number: u64) -> String {
        let note = match view.and_then(|view| view.fields.get("note")) {
            Some(Value::Text(note) | Value::Str(note)) => note.clone(),
            Some(_) | None => String::new(),
        };
        // A note stays a note: it is started over when it has grown long.
        let mut words: Vec<_> = note.split(' ').filter(|word| !word.is_empty()).collect();
        words.truncate(40);
        let word = number.to_string();
        let at = self.below(office, words.len() as u64 + 1) as usize;
        words.insert(at, &word);
        words.join(" ")
    }

    /// Moves stock from one record to another, and sets a price: the sum over all records stays.
    fn plan_transfer(
        &mut self,
        office: SiteIndex,
        planned: &mut Planned,
        from: RecordName,
        to: RecordName,
        number: u64,
    ) {
        let amount = self.below(office, 9) as i64 + 1;
        planned.add(&from, json!({"stock": {"$inc": -amount}}), format!("{amount} from {from}"));
        planned.add(&to, json!({"stock": {"$inc": amount}}), format!("to {to}"));
        set_price(planned, &to, number);
        planned.increments.push((from, -amount));
        planned.increments.push((to, amount));
    }

    /// Begins a record, edits one that shows, or deletes one for good.
    fn plan_for_good(&mut self, office: SiteIndex, world: &World, planned: &mut Planned) {
        let known = self.gone.len() as u64;
        let chosen = self.below(office, known * 2 + 1);
        let id = self.gone.get(chosen as usize / 2).cloned();
        let collection = GONE.to_owned();
        let shown = id.as_ref().and_then(|id| world.view(office, GONE, id));
        match (id, shown.map(|view| view.deleted)) {
            (Some(id), Some(false)) if chosen.is_multiple_of(2) => {
                planned.what = format!("delete {GONE}/{id} for good");
                planned.deletes = Some(id.clone());
                planned.edits.push(RecordEdit::new(collection, id, Edit::Delete));
            }
            (Some(id), Some(false)) => {
                planned.what = format!("edit {GONE}/{id}");
                let patch = object(json!({"edited": planned.mark}));
                let edit = Edit::Merge { patch, create: false };
                planned.edits.push(RecordEdit::new(collection, id, edit));
            }
            (Some(_) | None, _) => {
                let id = planned.mark.clone();
                planned.what = format!("begin {GONE}/{id}");
                self.gone.push(id.clone());
                let edit = Edit::Put(object(json!({"begun": true})));
                planned.edits.push(RecordEdit::new(collection, id, edit));
            }
        }
    }
}

impl Planned {
    fn add(&mut self, record: &RecordName, patch: Json, what: String) {
        if !self.what.is_empty() {
            self.what.push_str(", ");
        }
        self.what.push_str(&what);
        let RecordName { collection, id } = record.clone();
        let edit = Edit::Merge { patch: object(patch), create: true };
        self.edits.push(RecordEdit::new(collection, id, edit));
    }
}

fn set_price(planned: &mut Planned, record: &RecordName, number: u64) {
    let price = i64::try_from(number).unwrap_or(i64::MAX);
    planned.add(record, json!({"price": price}), format!("price {price}"));
    planned.prices.push((record.clone(), price));
}

fn delete_or_revive(planned: &mut Planned, record: &RecordName, view: Option<&View>) {
    let RecordName { collection, id } = record.clone();
    let (edit, what) = match view.map(|view| view.deleted) {
        Some(true) => (Edit::Undelete, "bring back"),
        Some(false) | None => (Edit::Delete, "delete"),
    };
    planned.what = format!("{what} {record}");
    planned.edits.push(RecordEdit::new(collection, id, edit));
}

fn object(value: Json) -> Map<String, Json> {
    match value {
        Json::Object(map) => map,
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            Map::new()
        }
    }
}
