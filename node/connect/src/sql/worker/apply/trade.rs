//! Rows that trade values which are unique: row by row the database refuses each, since another one still has its value.
//!
//! Which rows do so shows from what they hold (their views, which their locks have proven) and what they are to hold. All
//! of them give up their values first, within the same write, and then take those that they are to have.

use std::collections::{BTreeMap, BTreeSet};

use super::wanted::{Wanted, Write};
use crate::sql::cell::{Cell, Key};
use crate::sql::database::{DbError, DbErrorClass, Update};
use crate::sql::mapping::Mapping;
use crate::sql::shape::{Bound, ColumnType};
use crate::sql::state::View;
use crate::sql::worker::{BridgeFailure, BridgeWorker};

/// What PostgreSQL, MariaDB and SQLite say where a value that is unique is another row's.
const TAKEN: [&str; 3] = ["23505", "1062", "2067"];

/// A row that the database refuses, and why.
type RefusedRow = (Wanted, DbError);

impl BridgeWorker {
    /// Writes those of the refused rows that trade unique values among themselves. Returns them, and the others.
    pub(super) async fn trade(
        &mut self,
        mapping: &Mapping,
        refused: Vec<RefusedRow>,
        views: &BTreeMap<Key, View>,
    ) -> Result<(Vec<Wanted>, Vec<RefusedRow>), BridgeFailure> {
        let bound = &mapping.bound;
        let traders = traders(bound, &refused, views);
        if traders.is_empty() {
            return Ok((Vec::new(), refused));
        }
        let is_trader = |(row, _): &RefusedRow| traders.contains_key(&row.key);
        let (trading, mut others): (Vec<RefusedRow>, Vec<RefusedRow>) =
            refused.into_iter().partition(is_trader);
        let give_up: Vec<Update> = traders.into_values().collect();
        let rows: Vec<Wanted> = trading.iter().map(|(row, _)| row.clone()).collect();
        self.database.savepoint().await?;
        let mut traded = self.database.update(bound, &give_up).await;
        if traded.is_ok() {
            traded = self.write_part_of(bound, &rows).await.map(drop);
        }
        match traded {
            Ok(()) => Ok((rows, others)),
            Err(error) if error.class == DbErrorClass::Row => {
                self.database.undo().await?;
                others.extend(trading);
                Ok((Vec::new(), others))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// The rows that wait for each other, and what makes each of them give up its values.
fn traders(
    bound: &Bound,
    refused: &[RefusedRow],
    views: &BTreeMap<Key, View>,
) -> BTreeMap<Key, Update> {
    let mut trading: BTreeMap<Key, Update> = BTreeMap::new();
    for columns in unique_columns(bound) {
        let changes = refused.iter().filter_map(|(row, error)| {
            let Write::Update(update) = &row.write else { return None };
            let is_taken = TAKEN.contains(&error.code.as_str());
            let changed = update.set.iter().any(|(index, _)| columns.contains(index));
            let view = views.get(&row.key).filter(|_| is_taken && changed)?;
            let held = columns.iter().map(|index| held(bound, view, *index)).collect();
            let wanted = columns.iter().map(|index| {
                let set = update.set.iter().find(|(to, _)| to == index);
                set.map_or_else(|| held_cell(bound, view, *index), |(_, cell)| cell.clone())
            });
            Some((&row.key, (held, wanted.map(text).collect())))
        });
        let mut changes: BTreeMap<&Key, (Vec<String>, Vec<String>)> = changes.collect();
        // Who waits for a row that keeps its value is refused, and so is anyone who waits for that one; and who holds what
        // nobody waits for stands behind others that trade, and has its turn afterwards.
        loop {
            let (held, wanted): (BTreeSet<_>, BTreeSet<_>) = changes.values().cloned().unzip();
            let before = changes.len();
            changes.retain(|_, (holds, wants)| held.contains(wants) && wanted.contains(holds));
            if changes.len() == before {
                break;
            }
        }
        for (number, key) in changes.into_keys().enumerate() {
            let Some(given) = given_up(bound, &columns, number) else { break };
            let empty = || Update { key: key.clone(), set: Vec::new(), add: Vec::new() };
            let update = trading.entry(key.clone()).or_insert_with(empty);
            if update.set.iter().all(|(index, _)| *index != given.0) {
                update.set.push(given);
            }
        }
    }
    trading
}

/// The columns of each unique index, by number; of those only that the bridge writes.
fn unique_columns(bound: &Bound) -> Vec<Vec<usize>> {
    let number = |name: &String| bound.columns.iter().position(|column| column.name == *name);
    let plain = bound.unique.iter().filter(|index| index.is_plain);
    plain.filter_map(|index| index.columns.iter().map(number).collect()).collect()
}

fn held_cell(bound: &Bound, view: &View, index: usize) -> Cell {
    let name = bound.columns.get(index).map(|column| &column.name);
    name.and_then(|name| view.cells.get(name.as_str())).cloned().unwrap_or(Cell::Null)
}

fn held(bound: &Bound, view: &View, index: usize) -> String {
    text(held_cell(bound, view, index))
}

/// A cell for comparing: a database may hand a number out as one or as text.
fn text(cell: Cell) -> String {
    match cell {
        Cell::Null => String::new(),
        Cell::Integer(number) => number.to_string(),
        Cell::Real(number) => number.to_string(),
        Cell::Text(text) => text,
        Cell::Bytes(bytes) => crate::sql::cell::hex_of(&bytes),
    }
}

/// What a row holds in one of these columns until it has what it is to have: NULL, or where that is not allowed a text that
/// nobody else writes. `None`: no such value is known, and the rows are set aside as others are.
fn given_up(bound: &Bound, columns: &[usize], number: usize) -> Option<(usize, Cell)> {
    let may_give = columns.iter().filter(|index| !bound.key.contains(index));
    let shapes = may_give.filter_map(|index| Some((*index, bound.columns.get(*index)?)));
    let shapes: Vec<_> = shapes.filter(|(_, shape)| !shape.is_generated).collect();
    if let Some((index, _)) = shapes.iter().find(|(_, shape)| shape.is_nullable) {
        return Some((*index, Cell::Null));
    }
    let is_text = |shape: &ColumnType| matches!(shape, ColumnType::Text { .. });
    let (index, _) = shapes.iter().find(|(_, shape)| is_text(&shape.kind))?;
    Some((*index, Cell::Text(format!("~{number}"))))
}
