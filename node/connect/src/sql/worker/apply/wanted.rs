//! What a record asks of its row: the record minus the row's view.

use branchline_crdt::query::Filter;
use branchline_crdt::record::{Version, View as RecordView};

use crate::sql::cell::Key;
use crate::sql::codec::Misfit;
use crate::sql::config::BridgeOnLeave;
use crate::sql::database::{DbError, Insert, Read, Update};
use crate::sql::mapping::{Address, Mapping};
use crate::sql::state::{Direction, Quarantined, View};
use crate::sql::worker::now_ms;
use crate::sql::worker::rows::{row_of, was_deleted};

/// What a record asks of its row.
#[derive(Clone, Debug)]
pub(in crate::sql::worker) struct Wanted {
    pub(in crate::sql::worker) id: String,
    pub(in crate::sql::worker) key: Key,
    pub(in crate::sql::worker) version: Version,
    pub(in crate::sql::worker) write: Write,
}

#[derive(Clone, Debug)]
pub(in crate::sql::worker) enum Write {
    Insert(Insert),
    Update(Update),
    Delete,
}

/// What a record asks of its row; `None`: nothing.
pub(in crate::sql::worker) fn judge(
    mapping: &Mapping,
    filter: Option<&Filter>,
    id: &str,
    view: Option<&View>,
    record: Option<&RecordView>,
) -> Result<Option<Wanted>, Vec<Misfit>> {
    let record = record.filter(|record| !record.heads.is_empty());
    let Some(record) = record else {
        // A row that stands for a record which is not there: a person has said that the collection holds.
        let gone = |view: &View| {
            let (id, key, version) = (id.to_owned(), view.key.clone(), Version::default());
            Wanted { id, key, version, write: Write::Delete }
        };
        return Ok(view.map(gone));
    };
    let is_in = filter.is_none_or(|filter| filter.matches(&record.fields));
    let wanted = |key: Key, write| {
        Some(Wanted { id: id.to_owned(), key, version: Version::of(record), write })
    };
    let is_gone = record.deleted || (!is_in && mapping.on_leave == BridgeOnLeave::Delete);
    let Some(view) = view else {
        if !is_in {
            return Ok(None);
        }
        if record.deleted {
            let insert = deleted_insert(mapping, id, record);
            return Ok(insert.and_then(|insert| wanted(insert.key.clone(), Write::Insert(insert))));
        }
        return match mapping.address(id).map_err(|misfit| vec![misfit])? {
            Address::Foreign { .. } => Ok(None),
            Address::Row(key) => {
                let insert = mapping.insert(&key, &record.fields)?;
                Ok(wanted(key, Write::Insert(insert)))
            }
        };
    };
    let key = &view.key;
    let was_gone = was_deleted(mapping, &view.cells);
    if is_gone {
        return Ok(match mapping.mark_deleted(key, true, now_ms()) {
            None => wanted(key.clone(), Write::Delete),
            Some(_) if was_gone => None,
            Some(mark) => {
                // What was edited last goes with it, as far as the columns can hold it.
                let update = mapping.update(key, &record.fields, &row_of(mapping, &view.cells));
                let mut update = update.ok().filter(|_| is_in).unwrap_or(Update {
                    key: key.clone(),
                    set: Vec::new(),
                    add: Vec::new(),
                });
                update.set.extend(mark.set);
                wanted(key.clone(), Write::Update(update))
            }
        });
    }
    if !is_in {
        return Ok(None);
    }
    let mut update = mapping.update(key, &record.fields, &row_of(mapping, &view.cells))?;
    if was_gone && let Some(back) = mapping.mark_deleted(key, false, now_ms()) {
        update.set.extend(back.set);
    }
    let is_empty = update.set.is_empty() && update.add.is_empty();
    Ok((!is_empty).then(|| wanted(key.clone(), Write::Update(update))).flatten())
}

/// The row of a record that was deleted before its row was written: tables that keep deleted rows, keep it as well. `None`:
/// this one does not, or cannot hold it, which is no loss.
fn deleted_insert(mapping: &Mapping, id: &str, record: &RecordView) -> Option<Insert> {
    let Address::Row(key) = mapping.address(id).ok()? else { return None };
    let mark = mapping.mark_deleted(&key, true, now_ms())?;
    let mut insert = mapping.insert(&key, &record.fields).ok()?;
    for (index, cell) in mark.set {
        *insert.row.get_mut(index)? = Some(cell);
    }
    Some(insert)
}

/// A row of a table that is only written is not as its view says: what the record says is written over it.
pub(in crate::sql::worker) fn rewritten(
    mapping: &Mapping,
    wanted: &Wanted,
    row: Option<&Read>,
) -> Wanted {
    let write = match (&wanted.write, row) {
        (Write::Insert(insert), Some(row)) => {
            let cells = insert.row.iter().cloned().enumerate();
            let set = cells.filter_map(|(index, cell)| {
                let cell = cell?;
                let is_key = mapping.bound.key.contains(&index);
                (!is_key && row.row.get(index) != Some(&cell)).then_some((index, cell))
            });
            Write::Update(Update { key: insert.key.clone(), set: set.collect(), add: Vec::new() })
        }
        (write, _) => write.clone(),
    };
    Wanted { write, ..wanted.clone() }
}

/// A record whose row the database refuses.
pub(in crate::sql::worker) fn refused(table: u32, id: String, error: &DbError) -> Quarantined {
    Quarantined {
        code: error.code.clone(),
        constraint: error.constraint.clone(),
        column: error.column.clone(),
        ..Quarantined::new(table, Direction::Apply, id, error.message.clone())
    }
}

/// Whether a row, as its view says, has all that its record asks for.
pub(in crate::sql::worker) fn agrees(
    mapping: &Mapping,
    view: &View,
    record: Option<&RecordView>,
) -> bool {
    let record = record.filter(|record| !record.heads.is_empty());
    let Some(record) = record else { return false };
    let is_deleted = was_deleted(mapping, &view.cells);
    if record.deleted || is_deleted {
        return record.deleted == is_deleted;
    }
    let update = mapping.update(&view.key, &record.fields, &row_of(mapping, &view.cells));
    update.is_ok_and(|update| update.set.is_empty() && update.add.is_empty())
}
