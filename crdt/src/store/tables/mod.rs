//! The rows of a replica. All kinds but two follow from its journal alone: nothing that a clock showed or a peer said may be in
//! them, or a rebuild would make other rows. The two marked with a star are what other sites have said. A rebuild in a running
//! replica keeps receipts; whatever else empties the tables loses both kinds until they are said again.
//!
//! Keys begin with one byte that tells their kind:
//!
//! | byte | key after it | value | file |
//! |---|---|---|---|
//! | `a` | actor 16 | [`logs::ActorRow`]: whose Automerge actor it is | logs |
//! | `b` | space 16, author 40, seq 8 | a membership entry: a damaged journal must not make anybody a stranger, or a member again | logs |
//! | `c` | space 16, collection | [`records::CollectionRow`]: counts and digest | records |
//! | `d` | space 16, collection, 0, record id | [`records::RecordRow`]: what is live of a record, and where its last changes are | records |
//! | `e` | space 16, author 40, seq 8 | [`logs::EntryRow`]: where an entry is and what became of it | logs |
//! | `f` | space 16, author 40, entry 32 | the header and signature of an entry at which the author's log [forks](crate::log::fork) | logs |
//! | `g` | | the network's genesis document | logs |
//! | `h` | space 16, collection, 0, record id, number 4 | where [`records::CHANGES_IN_ROW`] of its changes are | records |
//! | `i` | space 16, collection, 0, field, 0, value, record id | empty: the record has that value | indexes |
//! | `j` | space 16, collection, 0, field | [`indexes::IndexRow`]: an index, and how far it is built | indexes |
//! | `k` | space 16, collection, 0, record id | [`records::AlteredRow`]: an event that was changed after it was written | records |
//! | `l` | space 16, author 40 | [`logs::LogRow`]: the tip of a log | logs |
//! | `m` | space 16, number 8, source | the entry (author 40, seq 8) in which a document's change was taken in | records |
//! | `n` | space 16, space 16, author 40 | seq 8: how far this site's entries have named a log | logs |
//! | `o` | space 16, site 32, number 8, source | the entry (author 40, seq 8) of the site that an origin is in | records |
//! | `p` | | what the tables were made by: [`FORMAT`] and the newest payload format that was applied | logs |
//! | `r` * | space 16, site 32 | the latest [`crate::log::receipt::Receipt`] of a site | logs |
//! | `s` | realm 32 | the [`crate::membership::SpaceDocument`] of a private space | logs |
//! | `t` * | realm 32 | site 32: the admin by whom this site was revoked, as another site has shown it | logs |
//! | `u` | space 16, collection, 0, record id | why a record cannot be read here | records |
//! | `v` | space 16, author 40, seq 8 | why an entry is void | logs |
//! | `w` | change 32 | empty: the change is in a void entry | logs |
//! | `x` | space 16, collection, 0, record id | empty: the record is not deleted and has conflicts | records |
//! | `y` | space 16, collection, 0, record id | empty: it is deleted, and somebody who did not know of that edited it | records |
//!
//! Numbers in keys are big endian, so that rows sort as the numbers do. Values are in [`crate::format::codec`] layout.
//! [`FORMAT`] changes whenever a row does; tables of another format are rebuilt from the journal.

pub mod indexes;
pub mod logs;
mod page;
pub mod records;

use std::ops::Bound;

use serde::de::DeserializeOwned;

use crate::format::codec;
use crate::store::{Row, StoreError};
pub use page::{PageLimits, RowPage};

/// Version of all key and value layouts.
pub const FORMAT: u32 = 13;

/// Reading rows, which needs no exclusive access: the half of a [`crate::store::Store`] that readers share.
pub trait ReadTables {
    /// The value of one row.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where they cannot be read: rebuild them.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Puts rows whose key begins with `prefix`, strictly after key `after`, ascending, into `page`, whose former rows are
    /// gone: for those who read many and keep none. An empty page is behind the last row; any other may have fewer rows than
    /// the limits allow.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where they cannot be read: rebuild them.
    fn scan_page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limits: PageLimits,
        page: &mut RowPage,
    ) -> Result<(), StoreError>;

    /// The same rows, at most `limit`: fewer only where there are no more.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where they cannot be read: rebuild them.
    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let mut page = RowPage::default();
        let limits = PageLimits { rows: limit, bytes: usize::MAX };
        self.scan_page(prefix, after, limits, &mut page)?;
        Ok(page.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect())
    }

    /// Rows whose key begins with `prefix`, strictly before key `before`, descending, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Tables`] where they cannot be read: rebuild them.
    fn scan_back(
        &self,
        prefix: &[u8],
        before: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;
}

/// Where a [`ReadTables::scan`] begins: never below `prefix`.
pub fn scan_from<'k>(prefix: &'k [u8], after: Option<&'k [u8]>) -> Bound<&'k [u8]> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        Some(_) | None => Bound::Included(prefix),
    }
}

/// Where a [`ReadTables::scan_back`] begins: never below `prefix`, nor behind the keys that begin with it.
pub fn scan_back_from(prefix: &[u8], before: Option<&[u8]>) -> Bound<Vec<u8>> {
    let from = match (before.map(<[u8]>::to_vec), behind(prefix)) {
        (Some(before), Some(end)) => Some(before.min(end)),
        (before, end) => before.or(end),
    };
    from.map_or(Bound::Unbounded, |from| Bound::Excluded(from.max(prefix.to_vec())))
}

/// The least key that is greater than all that begin with `prefix`; `None`: there is none.
pub fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

/// A row of a known kind. A row that does not decode means broken tables.
///
/// # Errors
/// [`StoreError::Tables`] where the tables cannot be read or the row does not decode; `what` names it.
pub fn row<T: DeserializeOwned>(
    tables: &(impl ReadTables + ?Sized),
    what: &'static str,
    key: &[u8],
) -> Result<Option<T>, StoreError> {
    tables.get(key)?.map(|value| decode_row(what, &value)).transpose()
}

/// The value of a row that was scanned.
///
/// # Errors
/// [`StoreError::Tables`] where the value does not decode; `what` names the row.
pub fn decode_row<T: DeserializeOwned>(what: &'static str, value: &[u8]) -> Result<T, StoreError> {
    codec::decode(what, value).map_err(|error| StoreError::Tables { reason: error.to_string() })
}

/// How many rows a walk over a table holds in memory at a time.
pub const SCAN_ROWS: usize = 1024;

/// Walks over all rows with `prefix` after `after`, until `visit` returns false.
///
/// # Errors
/// [`StoreError::Tables`] where the tables cannot be read, or as `visit` returns it.
pub fn walk(
    tables: &(impl ReadTables + ?Sized),
    prefix: &[u8],
    after: Option<&[u8]>,
    visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    walk_by(tables, SCAN_ROWS, prefix, after, visit)
}

/// A walk holds at most so many bytes of rows in memory at a time, and one row more.
const WALK_BYTES: usize = 1 << 20;
/// With how many rows a walk begins: it may need few of them.
const FIRST_ROWS: usize = 4;

/// As [`walk`], with at most `step` rows in memory at a time.
///
/// # Errors
/// [`StoreError::Tables`] where the tables cannot be read, or as `visit` returns it.
pub fn walk_by(
    tables: &(impl ReadTables + ?Sized),
    step: usize,
    prefix: &[u8],
    after: Option<&[u8]>,
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut last = after.map(<[u8]>::to_vec);
    let mut limits = PageLimits { rows: FIRST_ROWS.min(step), bytes: WALK_BYTES };
    let mut page = RowPage::default();
    loop {
        tables.scan_page(prefix, last.as_deref(), limits, &mut page)?;
        for (key, value) in page.iter() {
            if !visit(key, value)? {
                return Ok(());
            }
        }
        limits.rows = step.min(2 * limits.rows);
        match page.last_key() {
            Some(key) => last = Some(key.to_vec()),
            None => return Ok(()),
        }
    }
}
