//! Rows as records, and records as rows.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::{MappedColumn, Mapping};
use crate::sql::cell::{Cell, Key, Row};
use crate::sql::codec::{Misfit, shown};
use crate::sql::database::{Engine, Insert, Update};
use crate::sql::shape::ColumnType;
use crate::sql::value::{Fields, INCREMENT_MAX, Value};

/// What a misfit of an id names.
const RECORD_ID: &str = "record id";

/// A row as a record that begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordFields {
    /// The fields but counters, as the API takes them; null is a value.
    pub fields: Map<String, Json>,
    /// The counters, and what they begin with.
    pub counters: BTreeMap<String, i64>,
}

/// What was changed in a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Fields and their new values; null is a value.
    pub set: Map<String, Json>,
    /// Counters and what is added to them.
    pub add: BTreeMap<String, i64>,
}

impl Difference {
    /// Whether nothing was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty()
    }
}

/// Which row a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// The row of this key.
    Row(Key),
    /// None of this table: it is a record of another site, which the id names.
    Foreign {
        /// The site.
        site: String,
    },
}

impl Mapping {
    /// The id of the record of a row.
    ///
    /// # Errors
    /// [`Misfit`], where the id would be empty or too long, or a value of the key names no row.
    pub fn record_id(&self, key: &Key) -> Result<String, Misfit> {
        let mut values = Vec::with_capacity(key.0.len());
        for (index, text) in self.bound.key.iter().zip(&key.0) {
            if let Some(MappedColumn { codec, .. }) = self.columns.get(*index) {
                values.push(codec.id_text(&codec.key_cell(text)?)?);
            }
        }
        let id = self.template.id(&self.bound.site, &values);
        id.map_err(|error| id_misfit(&key.to_text(), &error.to_string()))
    }

    /// Which row the record of this id is.
    ///
    /// # Errors
    /// [`Misfit`], where the template gives no such id, or the key's columns cannot hold what it says.
    pub fn address(&self, id: &str) -> Result<Address, Misfit> {
        let parts = self.template.take_apart(id);
        let parts =
            parts.map_err(|_| id_misfit(id, &format!("an id of the form {}", self.template)))?;
        if let Some(site) = parts.site.filter(|site| *site != self.bound.site) {
            return Ok(Address::Foreign { site });
        }
        let mut key = Vec::with_capacity(parts.key.len());
        for (index, text) in self.bound.key.iter().zip(&parts.key) {
            let (Some(column), Some(shape)) =
                (self.columns.get(*index), self.bound.columns.get(*index))
            else {
                continue;
            };
            let text = column.codec.key_text(&column.codec.id_cell(text)?)?;
            if shape.is_numbered && self.engine == Engine::MariaDb && text == "0" {
                return Err(misfit(
                    &shape.name,
                    "0",
                    "a number from 1: MariaDB makes the next one of 0",
                ));
            }
            key.push(text);
        }
        Ok(Address::Row(Key(key)))
    }

    /// The key of a row.
    ///
    /// # Errors
    /// [`Misfit`], where a column of it is NULL.
    pub fn key_of(&self, row: &Row) -> Result<Key, Misfit> {
        let cells = self.bound.key.iter().filter_map(|index| {
            let column = self.columns.get(*index)?;
            Some(column.codec.key_text(row.get(*index).unwrap_or(&Cell::Null)))
        });
        cells.collect::<Result<_, _>>().map(Key)
    }

    /// A row as the fields of a record.
    ///
    /// # Errors
    /// All columns that the record cannot keep.
    pub fn fields_of(&self, row: &Row) -> Result<RecordFields, Vec<Misfit>> {
        let mut found = RecordFields::default();
        let mut misfits = Vec::new();
        for (index, column, field) in self.fields() {
            match column.codec.to_value(row.get(index).unwrap_or(&Cell::Null)) {
                Ok(Value::Counter(number)) => {
                    if number.unsigned_abs() > INCREMENT_MAX.unsigned_abs() {
                        misfits.push(too_much(field, number))
                    } else {
                        found.counters.insert(field.clone(), number);
                    }
                }
                Ok(value) => {
                    found.fields.insert(field.clone(), value.into_json());
                }
                Err(misfit) => misfits.push(misfit),
            }
        }
        for (field, text) in &self.constants {
            found.fields.insert(field.clone(), Json::String(text.clone()));
        }
        if misfits.is_empty() { Ok(found) } else { Err(misfits) }
    }

    /// What was changed in a row since its view. Cells that are as they were are not looked at.
    ///
    /// # Errors
    /// All changed columns that the record cannot keep.
    pub fn difference(&self, view: &Row, row: &Row) -> Result<Difference, Vec<Misfit>> {
        let mut difference = Difference::default();
        let mut misfits = Vec::new();
        for (index, column, field) in self.fields().filter(|(_, column, _)| !column.is_key) {
            let (old, new) = (view.get(index), row.get(index).unwrap_or(&Cell::Null));
            if old == Some(new) {
                continue;
            }
            let old = old.and_then(|old| column.codec.to_value(old).ok());
            match (old, column.codec.to_value(new)) {
                (_, Err(misfit)) => misfits.push(misfit),
                (Some(Value::Counter(old)), Ok(Value::Counter(new))) => match increment(old, new) {
                    Some(0) => {}
                    Some(by) => {
                        difference.add.insert(field.clone(), by);
                    }
                    None => misfits.push(too_much(field, new)),
                },
                (None, Ok(Value::Counter(_))) => misfits.push(misfit(
                    field,
                    "no number in the view",
                    "a number, from which the difference is taken: run bridge resync",
                )),
                (Some(old), Ok(new)) if column.codec.is_same(&old, &new) => {}
                (_, Ok(new)) => {
                    difference.set.insert(field.clone(), new.into_json());
                }
            }
        }
        if misfits.is_empty() { Ok(difference) } else { Err(misfits) }
    }

    /// A record as a row to insert. A field that the record does not have leaves its column to the default.
    ///
    /// # Errors
    /// All columns that cannot hold the record.
    pub fn insert(&self, key: &Key, fields: &Fields) -> Result<Insert, Vec<Misfit>> {
        let mut misfits = self.key_misfits(key, fields);
        let mut row: Vec<Option<Cell>> = vec![None; self.columns.len()];
        let keys = self.bound.key.iter().zip(&key.0);
        for (index, text) in keys {
            if let (Some(column), Some(cell)) = (self.columns.get(*index), row.get_mut(*index)) {
                match column.codec.key_cell(text) {
                    Ok(key) => *cell = Some(key),
                    Err(misfit) => misfits.push(misfit),
                }
            }
        }
        for (index, column, field) in self.fields().filter(|(_, column, _)| !column.is_key) {
            let (Some(shape), Some(cell)) = (self.bound.columns.get(index), row.get_mut(index))
            else {
                continue;
            };
            match fields.get(field) {
                None if !shape.has_default && !shape.is_nullable => misfits.push(misfit(
                    &shape.name,
                    "nothing",
                    "a value: the record has no such field, and the column no default",
                )),
                None => {}
                Some(value) => match column.codec.to_cell(value) {
                    Ok(found) => *cell = Some(found),
                    Err(misfit) => misfits.push(misfit),
                },
            }
        }
        if let Some(cell) = self.deleted.and_then(|index| row.get_mut(index)) {
            *cell = self.deleted_cell(false, 0);
        }
        if misfits.is_empty() { Ok(Insert { key: key.clone(), row }) } else { Err(misfits) }
    }

    /// What makes a row, as its view has it, hold a record; nothing to set and nothing to add where it does. A field that
    /// the record does not have leaves its column as it is.
    ///
    /// # Errors
    /// All columns that cannot hold the record.
    pub fn update(&self, key: &Key, fields: &Fields, view: &Row) -> Result<Update, Vec<Misfit>> {
        let mut misfits = self.key_misfits(key, fields);
        let mut update = Update { key: key.clone(), set: Vec::new(), add: Vec::new() };
        for (index, column, field) in self.fields().filter(|(_, column, _)| !column.is_key) {
            let Some(value) = fields.get(field) else { continue };
            let held = view.get(index).and_then(|cell| column.codec.to_value(cell).ok());
            if held.as_ref().is_some_and(|held| column.codec.is_same(value, held)) {
                continue;
            }
            match (held, value, column.codec.to_cell(value)) {
                (_, _, Err(misfit)) => misfits.push(misfit),
                (
                    Some(Value::Counter(held)),
                    Value::Counter(wanted) | Value::Int(wanted),
                    Ok(_),
                ) => match increment(held, *wanted) {
                    Some(0) => {}
                    Some(by) => update.add.push((index, by)),
                    None => misfits.push(too_much(field, *wanted)),
                },
                (_, _, Ok(cell)) => update.set.push((index, cell)),
            }
        }
        if misfits.is_empty() { Ok(update) } else { Err(misfits) }
    }

    /// Whether a row says that it is deleted.
    ///
    /// # Errors
    /// [`Misfit`], where the column holds neither a time nor true or false.
    pub fn is_deleted(&self, row: &Row) -> Result<bool, Misfit> {
        let Some(index) = self.deleted else { return Ok(false) };
        let Some(column) = self.columns.get(index) else { return Ok(false) };
        let value = column.codec.to_value(row.get(index).unwrap_or(&Cell::Null))?;
        Ok(!matches!(value, Value::Null | Value::Bool(false)))
    }

    /// Deletes a row by its column for that, or takes it back. `at_ms`: when, since 1970. `None`: the table has no such
    /// column.
    #[must_use]
    pub fn mark_deleted(&self, key: &Key, is_deleted: bool, at_ms: i64) -> Option<Update> {
        let cell = self.deleted_cell(is_deleted, at_ms)?;
        let set = vec![(self.deleted?, cell)];
        Some(Update { key: key.clone(), set, add: Vec::new() })
    }

    fn deleted_cell(&self, is_deleted: bool, at_ms: i64) -> Option<Cell> {
        let index = self.deleted?;
        if self.is_time(index) {
            return if is_deleted {
                self.columns.get(index)?.codec.now_cell(at_ms).ok()
            } else {
                Some(Cell::Null)
            };
        }
        self.columns.get(index)?.codec.to_cell(&Value::Bool(is_deleted)).ok()
    }

    fn is_time(&self, index: usize) -> bool {
        let kind = self.bound.columns.get(index).map(|column| &column.kind);
        matches!(kind, Some(ColumnType::DateTime { .. }))
    }

    /// The columns that are fields.
    fn fields(&self) -> impl Iterator<Item = (usize, &MappedColumn, &String)> {
        let columns = self.columns.iter().enumerate();
        columns.filter_map(|(index, column)| Some((index, column, column.field.as_ref()?)))
    }

    /// Where a record says something else of its key than its id does.
    fn key_misfits(&self, key: &Key, fields: &Fields) -> Vec<Misfit> {
        let differs = |(index, text): (&usize, &String)| {
            let column = self.columns.get(*index)?;
            let value = column.field.as_ref().and_then(|field| fields.get(field))?;
            let held = column.codec.to_cell(value).and_then(|cell| column.codec.key_text(&cell));
            match held {
                Ok(held) if held == *text => None,
                Ok(held) => Some(misfit(
                    self.bound.columns.get(*index).map_or(RECORD_ID, |shape| &shape.name),
                    &held,
                    &format!("{text:?}, as the record's id says"),
                )),
                Err(misfit) => Some(misfit),
            }
        };
        self.bound.key.iter().zip(&key.0).filter_map(differs).collect()
    }
}

fn increment(from: i64, to: i64) -> Option<i64> {
    to.checked_sub(from).filter(|by| by.unsigned_abs() <= INCREMENT_MAX.unsigned_abs())
}

fn too_much(field: &str, number: i64) -> Misfit {
    misfit(field, &number.to_string(), &format!("a counter's change of at most {INCREMENT_MAX}"))
}

fn id_misfit(found: &str, expected: &str) -> Misfit {
    misfit(RECORD_ID, &format!("{found:?}"), expected)
}

fn misfit(column: &str, found: &str, expected: &str) -> Misfit {
    Misfit { column: column.to_owned(), found: shown(found), expected: expected.to_owned() }
}
