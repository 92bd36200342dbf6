//! Rows of logs: tips, entries, actors, forks, receipts.

use serde::{Deserialize, Serialize};

use super::records::space_prefix;
use crate::format::codec;
use crate::ids::{Author, EntryHash, RealmId, SiteId, SpaceId};
use crate::log::entry::{Header, Tip};
use crate::log::fork::{ForkProof, Forks, SignedHeader};
use crate::store::tables::{ReadTables, decode_row, row, walk};
use crate::store::{Position, RowWrite, StoreError};

/// What is known of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// Number of its last entry here.
    pub seq: u64,
    /// Hash of that entry.
    pub hash: EntryHash,
    /// Number of the last entry whose effects show here; less than `seq` where a payload is too new to apply.
    pub applied: u64,
    /// Hash of that entry; [`EntryHash::NONE`] where there is none.
    pub applied_hash: EntryHash,
    /// The tip of the same site's former incarnation, as the log's first entry names it.
    pub predecessor: Option<Tip>,
}

/// Where an entry is and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRow {
    /// Its frame in the journal.
    pub position: u64,
    /// Its hash.
    pub hash: EntryHash,
    /// What became of it.
    pub status: EntryStatus,
}

impl EntryRow {
    /// Its frame in the journal.
    pub fn position(&self) -> Position {
        Position(self.position)
    }
}

/// What became of an entry that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryStatus {
    /// Its effects show.
    Applied,
    /// Its payload, or one in its past, is of a later format than this program knows.
    Held,
    /// The checker found a fault: it has no effects, at any site.
    Void,
}

/// Whose Automerge actor an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorRow {
    /// The author.
    pub author: Author,
}

/// What the tables were made by: [`FORMAT`](super::FORMAT), and the newest payload format that was applied.
pub type Versions = (u32, u8);

/// Key of the tables' [`Versions`].
pub const VERSIONS: &[u8] = b"p";

/// Key of the genesis document.
pub const GENESIS: &[u8] = b"g";

/// What the documents of private spaces begin with.
pub const SPACES: &[u8] = b"s";

/// Key of the document of a private space.
pub fn space(realm: RealmId) -> Vec<u8> {
    let mut key = SPACES.to_vec();
    key.extend_from_slice(&realm.0);
    key
}

/// Key of a [`LogRow`].
pub fn log(space: SpaceId, author: Author) -> Vec<u8> {
    author_key(b'l', space, author)
}

/// What the log rows of a space begin with.
pub fn logs(space: SpaceId) -> Vec<u8> {
    space_prefix(b'l', space)
}

/// Key of a header, with its signature, of an entry at which an author's log forks.
pub fn fork(space: SpaceId, author: Author, entry: &EntryHash) -> Vec<u8> {
    let mut key = author_key(b'f', space, author);
    key.extend_from_slice(&entry.0);
    key
}

/// What the fork rows of a site begin with.
pub fn forks_of(space: SpaceId, site: SiteId) -> Vec<u8> {
    let mut key = forks(space);
    key.extend_from_slice(&site.0);
    key
}

/// Key of the row that tells that a change is void: it is in an entry that is.
pub fn void_change(hash: &[u8; 32]) -> Vec<u8> {
    let mut key = vec![b'w'];
    key.extend_from_slice(hash);
    key
}

/// Key of the admin by whom this site was revoked, as another site has shown it.
pub fn revocation_notice(realm: RealmId) -> Vec<u8> {
    let mut key = vec![b't'];
    key.extend_from_slice(&realm.0);
    key
}

/// Key of the row that tells why an entry is void.
pub fn void_reason(space: SpaceId, author: Author, seq: u64) -> Vec<u8> {
    entry_key(b'v', space, author, seq)
}

/// What the fork rows of a space begin with.
pub fn forks(space: SpaceId) -> Vec<u8> {
    space_prefix(b'f', space)
}

/// The author in the key of a log, fork or entry row.
pub fn author_of_key(key: &[u8]) -> Option<Author> {
    Some(Author::from_bytes(key.get(17..57)?.try_into().ok()?))
}

/// Key of the bytes of a membership entry.
pub fn membership_entry(space: SpaceId, author: Author, seq: u64) -> Vec<u8> {
    entry_key(b'b', space, author, seq)
}

/// Key of an [`EntryRow`].
pub fn entry(space: SpaceId, author: Author, seq: u64) -> Vec<u8> {
    entry_key(b'e', space, author, seq)
}

/// What the entry rows of one log begin with.
pub fn entries(space: SpaceId, author: Author) -> Vec<u8> {
    author_key(b'e', space, author)
}

/// What the entry rows of a space begin with.
pub fn entries_of_space(space: SpaceId) -> Vec<u8> {
    space_prefix(b'e', space)
}

/// The author and the number in the key of an entry row.
pub fn entry_of_key(key: &[u8]) -> Option<(Author, u64)> {
    let seq = u64::from_be_bytes(key.get(57..65)?.try_into().ok()?);
    Some((author_of_key(key)?, seq))
}

/// Key of an [`ActorRow`].
pub fn actor(actor: &[u8; 16]) -> Vec<u8> {
    let mut key = vec![b'a'];
    key.extend_from_slice(actor);
    key
}

/// Key of the row that tells how far this site's entries in `space` have named a log of `of`.
pub fn named(space: SpaceId, of: SpaceId, author: Author) -> Vec<u8> {
    let mut key = space_prefix(b'n', space);
    key.extend_from_slice(&of.0);
    key.extend_from_slice(&author.to_bytes());
    key
}

/// What the rows of how far this site's entries in `space` have named logs begin with.
pub fn all_named(space: SpaceId) -> Vec<u8> {
    space_prefix(b'n', space)
}

/// The space and the author in the key of a row of named logs.
pub fn named_of_key(key: &[u8]) -> Option<(SpaceId, Author)> {
    let of = SpaceId(key.get(17..33)?.try_into().ok()?);
    Some((of, Author::from_bytes(key.get(33..73)?.try_into().ok()?)))
}

/// Key of a site's latest receipt.
pub fn receipt(space: SpaceId, site: SiteId) -> Vec<u8> {
    let mut key = space_prefix(b'r', space);
    key.extend_from_slice(&site.0);
    key
}

/// What the receipts of a space begin with.
pub fn receipts(space: SpaceId) -> Vec<u8> {
    space_prefix(b'r', space)
}

/// The rows of a proof.
pub(crate) fn fork_rows(proof: &ForkProof) -> [RowWrite; 2] {
    proof.headers().map(|(hash, signed)| {
        let (header, _) = signed;
        (fork(header.space, header.author, &hash), Some(codec::encode(signed)))
    })
}

/// Reads the forks whose rows begin with `prefix`.
pub(crate) fn load_forks(tables: &impl ReadTables, prefix: &[u8]) -> Result<Forks, StoreError> {
    let mut headers: Vec<SignedHeader> = Vec::new();
    walk(tables, prefix, None, |_, value| {
        headers.push(decode_row("fork row", value)?);
        Ok(true)
    })?;
    Ok(Forks::of_headers(headers))
}

/// The log that an entry of the journal is in: its author's, or a branch of that.
///
/// # Errors
/// [`StoreError`] where the tables cannot be read.
pub fn log_of(
    tables: &impl ReadTables,
    header: &Header,
    hash: &EntryHash,
) -> Result<Author, StoreError> {
    // So it is with nearly all, and costs the least.
    if is_in(tables, header.author, header, hash)? {
        return Ok(header.author);
    }
    let forks = load_forks(tables, &forks_of(header.space, header.author.site))?;
    log_among(tables, &forks, header, hash)
}

/// The same where the forks of the space are known.
pub(crate) fn log_among(
    tables: &impl ReadTables,
    forks: &Forks,
    header: &Header,
    hash: &EntryHash,
) -> Result<Author, StoreError> {
    let author = header.author;
    if forks.has(&author) {
        for log in forks.names(author) {
            if is_in(tables, log, header, hash)? {
                return Ok(log);
            }
        }
    }
    Ok(author)
}

/// Whether an entry is in a log.
fn is_in(
    tables: &impl ReadTables,
    log: Author,
    header: &Header,
    hash: &EntryHash,
) -> Result<bool, StoreError> {
    let key = entry(header.space, log, header.seq);
    let held: Option<EntryRow> = row(tables, "entry row", &key)?;
    Ok(held.is_some_and(|row| row.hash == *hash))
}

fn entry_key(kind: u8, space: SpaceId, author: Author, seq: u64) -> Vec<u8> {
    let mut key = author_key(kind, space, author);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

fn author_key(kind: u8, space: SpaceId, author: Author) -> Vec<u8> {
    let mut key = space_prefix(kind, space);
    key.extend_from_slice(&author.to_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;

    #[test]
    fn rows_of_a_log_sort_by_number_and_name_their_author() {
        let space = SpaceId([4; 16]);
        let author = Author { site: SiteId([5; 32]), incarnation: Incarnation([6; 8]) };
        assert!(entry(space, author, 255) < entry(space, author, 256));
        assert!(entry(space, author, 1).starts_with(&entries(space, author)));
        assert_eq!(author_of_key(&log(space, author)), Some(author));
        assert!(entry(space, author, 7).starts_with(&entries_of_space(space)));
        assert_eq!(entry_of_key(&entry(space, author, 7)), Some((author, 7)));
        let of = SpaceId([9; 16]);
        assert_eq!(named_of_key(&named(space, of, author)), Some((of, author)));
    }
}
