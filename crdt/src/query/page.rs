//! Pages of the records that a query gives.

use std::collections::BinaryHeap;

use super::by_index;
use super::error::QueryError;
use super::list::{PagePlace, Query};
use super::order::{QueryCursor, WrongCursor};
use super::source::Source;
use super::unlike::{Noted, Unlike};
use super::unseen::Unseen;
use crate::ids::SpaceId;
use crate::record::View;
use crate::store::StoreError;
use crate::store::tables::ReadTables;
use crate::store::tables::records::{RecordKey, ShownRow};

/// How much work one page may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Records on the page.
    pub records: usize,
    /// Bytes of the records on the page, about; the one that passes them is still on it.
    pub bytes: usize,
    /// Records that are looked at where the page can end early.
    pub scanned: usize,
    /// Records that are looked at where an order or a sum takes all of them.
    pub sorted: usize,
}

/// Some of the records that a query gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The records, by the order.
    pub records: Vec<(String, View)>,
    /// Where the next page begins; `None`: there is nothing behind this one.
    pub next: Option<QueryCursor>,
    /// Records that were looked at.
    pub scanned: usize,
    /// Whether the page ended because it had looked at enough records: more may come at once.
    pub truncated: bool,
    /// Fields of the filter that no schema declares, and that none of the records that were looked at has.
    pub unknown_fields: Vec<String>,
    /// Fields of the filter that hold values of another kind than they are compared with.
    pub unlike: Vec<Unlike>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The query names what is not there.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The cursor is of another query.
    #[error(transparent)]
    Cursor(#[from] WrongCursor),
    /// It would take more work than one request may be.
    #[error("more than {max} records would have to be sorted")]
    TooMany {
        /// How many are possible.
        max: usize,
    },
    /// The tables failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The records of a collection that a query gives, behind a cursor.
///
/// # Errors
/// [`PageError`].
pub fn page(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    query: &Query,
    after: Option<&QueryCursor>,
    bounds: Bounds,
) -> Result<Page, PageError> {
    if query.order.fields.is_empty() {
        Ok(by_id(tables, space, collection, query, after, bounds)?)
    } else {
        by_order(tables, space, collection, query, after, bounds)
    }
}

fn by_id(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    query: &Query,
    after: Option<&QueryCursor>,
    bounds: Bounds,
) -> Result<Page, StoreError> {
    let mut page = Page::empty();
    let mut bytes = 0;
    let mut last: Option<String> = None;
    let after = after.map(QueryCursor::id);
    let (names, mut noted) = (query.names(), query.noted());
    let source = Source::of(tables, space, collection, query.filter.as_ref())?;
    source.each(tables, space, collection, after, |id, row| {
        let is_full = page.records.len() >= bounds.records || bytes > bounds.bytes;
        let is_tired = page.scanned >= bounds.scanned;
        let found = query.find(&names, &row, &mut noted)?;
        if is_tired || (is_full && found.is_some()) {
            page.truncated = !is_full;
            page.next = last.take().map(|id| query.place(Vec::new(), id));
            return Ok(false);
        }
        page.scanned += 1;
        if let Some(view) = found {
            bytes += view.json_bytes();
            page.records.push((id.to_owned(), view));
        }
        let last = last.get_or_insert_default();
        last.clear();
        last.push_str(id);
        Ok(true)
    })?;
    (page.unknown_fields, page.unlike) = noted.end();
    Ok(page)
}

fn by_order(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    query: &Query,
    after: Option<&QueryCursor>,
    bounds: Bounds,
) -> Result<Page, PageError> {
    let mut page = Page::empty();
    let (names, mut noted) = (query.names(), query.noted());
    let by_index = by_index::places(tables, space, collection, query, after, bounds.records)?;
    let (places, has_more) = match by_index {
        Some(found) => found,
        None => {
            let (first, scanned) =
                places(tables, space, collection, query, after, bounds, &mut noted)?;
            page.scanned = scanned;
            first.into_sorted()
        }
    };
    let mut bytes = 0;
    let count = places.len();
    for (number, (key, id)) in places.into_iter().enumerate() {
        let record = RecordKey { space, collection: collection.to_owned(), id };
        // As it is now: it may have changed since it was looked at.
        let found = match tables.get(&record.record())? {
            Some(row) => query.find(&names, &ShownRow::read(&row)?, &mut noted)?,
            None => None,
        };
        let id = record.id;
        if let Some(view) = found {
            bytes += view.json_bytes();
            page.records.push((id.clone(), view));
        }
        let is_last = number + 1 == count;
        if (is_last && has_more) || (!is_last && bytes > bounds.bytes) {
            page.next = Some(query.place(key, id));
            break;
        }
    }
    (page.unknown_fields, page.unlike) = noted.end();
    Ok(page)
}

/// The first places behind a cursor, and how many records were looked at.
fn places(
    tables: &impl ReadTables,
    space: SpaceId,
    collection: &str,
    query: &Query,
    after: Option<&QueryCursor>,
    bounds: Bounds,
    noted: &mut Noted<'_>,
) -> Result<(First, usize), PageError> {
    let mut scanned = 0;
    let mut is_too_many = false;
    let mut first = First::new(bounds.records);
    let mut of_order = Unseen::of(query.order.fields.iter().map(|field| &field.field));
    let names = query.names();
    let mut key = Vec::new();
    let source = Source::of(tables, space, collection, query.filter.as_ref())?;
    source.each(tables, space, collection, None, |id, row| {
        is_too_many = scanned >= bounds.sorted;
        scanned += 1;
        let Some(fields) = row.fields(&names)? else { return Ok(!is_too_many) };
        noted.see(&fields);
        if query.matches(&fields) {
            of_order.see(&fields);
            query.order.key(&fields, &mut key);
            first.add_behind(after, &key, id);
        } else {
            noted.miss(&fields);
        }
        Ok(!is_too_many)
    })?;
    if is_too_many {
        return Err(PageError::TooMany { max: bounds.sorted });
    }
    query.order.require_known(&of_order)?;
    Ok((first, scanned))
}

impl Page {
    fn empty() -> Self {
        Self {
            records: Vec::new(),
            next: None,
            scanned: 0,
            truncated: false,
            unknown_fields: Vec::new(),
            unlike: Vec::new(),
        }
    }
}

/// The first places of an order.
struct First {
    /// The last of them on top.
    heap: BinaryHeap<PagePlace>,
    max: usize,
    has_more: bool,
}

impl First {
    fn new(max: usize) -> Self {
        Self { heap: BinaryHeap::new(), max, has_more: false }
    }

    fn add_behind(&mut self, after: Option<&QueryCursor>, key: &[u8], id: &str) {
        if after.is_some_and(|after| (after.key.as_slice(), after.id.as_str()) >= (key, id)) {
            return;
        }
        if self.heap.len() >= self.max {
            self.has_more = true;
            match self.heap.peek() {
                Some((last_key, last_id)) if (key, id) < (last_key, last_id) => {
                    self.heap.pop();
                }
                Some(_) | None => return,
            }
        }
        self.heap.push((key.to_vec(), id.to_owned()));
    }

    fn into_sorted(self) -> (Vec<PagePlace>, bool) {
        (self.heap.into_sorted_vec(), self.has_more)
    }
}
