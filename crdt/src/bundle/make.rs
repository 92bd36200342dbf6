//! Making a bundle from what the tables and the journal hold, away from the replica.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use super::{
    ADMISSION, BundleHeader, Contents, ENTRIES, ENTRIES_BYTES, FILE, FORK, GENESIS, HEADER,
    RECEIPTS, RECEIPTS_KIND, SPACE,
};
use crate::format::codec;
use crate::format::container::{ChunkWriter, END};
use crate::ids::{Author, EntryHash, RealmId, SiteId, SpaceId};
use crate::inspect::holders::{self, Compared};
use crate::log::entry::{self, Entry};
use crate::log::frontier::Known;
use crate::log::receipt::Receipt;
use crate::membership::{Admission, Genesis, SpaceDocument};
use crate::protocol::{INVITATIONS_BYTES_MAX, Invitation, pack_entries};
use crate::store::changes::read_entry;
use crate::store::logs::Logs;
use crate::store::tables::logs::{self, EntryRow};
use crate::store::tables::row;
use crate::store::{Position, ReadStore, StoreError};

/// What the receiver of a bundle is taken to hold.
#[derive(Clone, Debug)]
pub enum Since {
    /// Nothing.
    Nothing,
    /// By space, what it has said of itself; of other spaces what its latest receipt says.
    Frontier(SiteId, BTreeMap<SpaceId, Vec<Known>>),
    /// What its latest receipt says; without one, nothing.
    Receipt(SiteId),
}

/// What a bundle begins with, as the replica of its maker says it.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The network.
    pub network: RealmId,
    /// The site that makes the bundle.
    pub maker: SiteId,
    /// How it takes up its ticket, if it is no member yet.
    pub admission: Option<Admission>,
    /// The private spaces that the bundle is to hold, besides the network's own.
    pub private: Vec<SpaceDocument>,
    /// When, in ms since 1970.
    pub time_ms: i64,
}

/// A bundle in the making: yields the bytes of the file, piece by piece.
pub struct Bundling<J> {
    journal: J,
    writer: ChunkWriter,
    parts: VecDeque<BundlePart>,
    /// Logs that are left out, from a number on.
    skipped: BTreeMap<(SpaceId, Author), u64>,
    contents: Contents,
    header: BundleHeader,
}

enum BundlePart {
    Bytes(Vec<u8>),
    Chunk(u8, Vec<u8>),
    Entries(SpaceId, BundleWalk),
    End,
}

/// What a bundle holds of the two spaces of a realm.
struct OfRoot {
    /// By space, what the receiver is taken to hold.
    reported: Vec<(SpaceId, Vec<Known>)>,
    membership: BundlePart,
    forks: Vec<BundlePart>,
    records: BundlePart,
    receipts: Vec<Receipt>,
}

/// The entries of one space that are yet to be written, in journal order.
struct BundleWalk {
    next: BinaryHeap<Reverse<(Position, Author, u64)>>,
    /// The last of each log.
    until: BTreeMap<Author, u64>,
}

impl<J: ReadStore> Bundling<J> {
    /// Begins a bundle of all that is held now and that its receiver lacks.
    ///
    /// # Errors
    /// [`StoreError`] where the tables cannot be read.
    pub fn new(journal: J, begin: Begin, since: &Since) -> Result<Self, StoreError> {
        let Begin { network, maker, admission, private, time_ms } = begin;
        let mut contents = Contents::default();
        let mut reported = Vec::new();
        let mut parts = VecDeque::new();
        let genesis: Option<Genesis> = row(&journal, "genesis document", logs::GENESIS)?;
        parts.extend(genesis.map(|genesis| BundlePart::Chunk(GENESIS, codec::encode(&genesis))));
        parts.extend(admission.map(|taken| BundlePart::Chunk(ADMISSION, codec::encode(&taken))));
        let of_network = OfRoot::read(&journal, network, since)?;
        of_network.add_to(&mut parts, &mut reported, &mut contents);
        for document in private {
            let realm = document.realm();
            let of_space = OfRoot::read(&journal, realm, since)?;
            let entries = pack_entries(&proof(&journal, realm.membership_space())?);
            let invitation = Invitation { document, entries };
            parts.push_back(BundlePart::Chunk(SPACE, codec::encode(&invitation)));
            of_space.add_to(&mut parts, &mut reported, &mut contents);
        }
        parts.push_back(BundlePart::End);
        let header = BundleHeader { network, maker, time_ms, since: reported };
        let (writer, start) = ChunkWriter::start(FILE);
        parts.push_front(BundlePart::Chunk(HEADER, codec::encode(&header)));
        parts.push_front(BundlePart::Bytes(start));
        let skipped = BTreeMap::new();
        Ok(Self { journal, writer, parts, skipped, contents, header })
    }

    /// What the bundle is.
    pub fn header(&self) -> &BundleHeader {
        &self.header
    }

    /// The next bytes of the file; `None`: it is whole.
    ///
    /// # Errors
    /// [`StoreError`] where the journal or the tables cannot be read: the bundle is of no use, and is to be made
    /// again.
    pub fn next_bytes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        while let Some(part) = self.parts.pop_front() {
            match part {
                BundlePart::Bytes(bytes) => return Ok(Some(bytes)),
                BundlePart::Chunk(kind, content) => {
                    return Ok(Some(self.writer.chunk(kind, &content)));
                }
                BundlePart::End => {
                    let content = codec::encode(&self.contents);
                    return Ok(Some(self.writer.chunk(END, &content)));
                }
                BundlePart::Entries(space, mut walk) => {
                    let entries = self.next_entries(space, &mut walk)?;
                    if !entries.is_empty() {
                        self.contents.entries += entries.len() as u64;
                        self.parts.push_front(BundlePart::Entries(space, walk));
                        return Ok(Some(self.writer.chunk(ENTRIES, &pack_entries(&entries))));
                    }
                }
            }
        }
        Ok(None)
    }

    fn next_entries(
        &mut self,
        space: SpaceId,
        walk: &mut BundleWalk,
    ) -> Result<Vec<Entry>, StoreError> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while bytes < ENTRIES_BYTES
            && let Some(Reverse((position, author, seq))) = walk.next.pop()
        {
            let until = walk.until.get(&author).copied().unwrap_or(seq);
            let read = match read_entry(&self.journal, position) {
                Ok(entry) if !self.builds_on_left_out(&entry.header) => Some(entry),
                Ok(_) | Err(StoreError::Damaged { .. }) => None,
                Err(error) => return Err(error),
            };
            let Some(entry) = read else {
                self.skipped.insert((space, author), seq);
                self.contents.skipped += until + 1 - seq;
                continue;
            };
            bytes += entry.bytes().len();
            entries.push(entry);
            if seq < until {
                walk.next.extend(place_of(&self.journal, space, author, seq + 1)?.map(Reverse));
            }
        }
        Ok(entries)
    }

    fn builds_on_left_out(&self, header: &entry::Header) -> bool {
        if self.skipped.is_empty() {
            return false;
        }
        let membership = header.realm.membership_space();
        let own = header.past.iter().map(|tip| (header.space, tip));
        let mut past = own.chain(header.membership_past.iter().map(|tip| (membership, tip)));
        past.any(|(space, tip)| {
            self.skipped.get(&(space, tip.author)).is_some_and(|seq| *seq <= tip.seq)
        })
    }
}

impl OfRoot {
    fn read(journal: &impl ReadStore, realm: RealmId, since: &Since) -> Result<Self, StoreError> {
        let (mut reported, mut forks) = (Vec::new(), Vec::new());
        let mut entries = |space| -> Result<BundlePart, StoreError> {
            let logs = Logs::load(journal, space)?;
            let known = known(journal, space, &logs, since)?;
            let walk = BundleWalk::new(journal, space, &logs, &known)?;
            let fork = |fork| BundlePart::Chunk(FORK, codec::encode(&(space, fork)));
            forks.extend(logs.forks.proofs().map(fork));
            if !known.is_empty() {
                reported.push((space, known));
            }
            Ok(BundlePart::Entries(space, walk))
        };
        // The members are read last, so that those are among them who wrote what is read before.
        let records = entries(realm.main_space())?;
        let membership = entries(realm.membership_space())?;
        let receipts = holders::receipts(journal, realm.main_space())?.into_values().collect();
        Ok(Self { reported, membership, forks, records, receipts })
    }

    fn add_to(
        self,
        parts: &mut VecDeque<BundlePart>,
        reported: &mut Vec<(SpaceId, Vec<Known>)>,
        contents: &mut Contents,
    ) {
        reported.extend(self.reported);
        contents.receipts += self.receipts.len() as u64;
        parts.push_back(self.membership);
        parts.extend(self.forks);
        parts.push_back(self.records);
        let some = self.receipts.chunks(RECEIPTS);
        parts.extend(some.map(|some| BundlePart::Chunk(RECEIPTS_KIND, codec::encode(&some))));
    }
}

/// The first membership entries of a space, which show who is in it.
fn proof(journal: &impl ReadStore, space: SpaceId) -> Result<Vec<Entry>, StoreError> {
    let logs = Logs::load(journal, space)?;
    let mut walk = BundleWalk::new(journal, space, &logs, &[])?;
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while let Some(Reverse((position, author, seq))) = walk.next.pop() {
        let entry = match read_entry(journal, position) {
            Ok(entry) => entry,
            // What builds on it is of no use either.
            Err(StoreError::Damaged { .. }) => break,
            Err(error) => return Err(error),
        };
        bytes += entry.bytes().len();
        if bytes > INVITATIONS_BYTES_MAX {
            break;
        }
        entries.push(entry);
        walk.next.extend(place_of(journal, space, author, seq + 1)?.map(Reverse));
    }
    Ok(entries)
}

impl BundleWalk {
    fn new(
        journal: &impl ReadStore,
        space: SpaceId,
        logs: &Logs,
        known: &[Known],
    ) -> Result<Self, StoreError> {
        let mut lacking = logs.lacking(known, None);
        for item in known {
            // The receiver holds another branch of this log: from its first entry on it will find the fork.
            if hash_of(journal, space, logs, item)?.is_some_and(|hash| !item.names(&hash)) {
                lacking.insert(item.author, logs.forks.first(&item.author));
            }
        }
        let mut next = BinaryHeap::new();
        for (author, seq) in lacking {
            next.extend(place_of(journal, space, author, seq)?.map(Reverse));
        }
        let until = logs.rows().iter().map(|(author, row)| (*author, row.seq)).collect();
        Ok(Self { next, until })
    }
}

/// What the receiver is taken to hold of a space, no further than this site itself holds it: nothing here builds on the
/// rest.
fn known(
    journal: &impl ReadStore,
    space: SpaceId,
    logs: &Logs,
    since: &Since,
) -> Result<Vec<Known>, StoreError> {
    let reported = match since {
        Since::Nothing => Vec::new(),
        Since::Frontier(site, spaces) => match spaces.get(&space) {
            Some(known) => known.clone(),
            None => received(journal, space, logs, site)?,
        },
        Since::Receipt(site) => received(journal, space, logs, site)?,
    };
    let mut held = Vec::new();
    for item in reported {
        match logs.rows().get(&item.author) {
            Some(row) if row.seq < item.seq => {
                held.push(Known { seq: row.seq, check: row.hash.short(), ..item });
            }
            Some(_) => held.push(item),
            // Of a log that is unknown here, the incarnations before it may be known.
            None => {
                let former = item.predecessors.iter().find_map(|former| {
                    let author = Author { incarnation: former.incarnation, ..item.author };
                    let row = logs.rows().get(&author)?;
                    Some((author, former.seq.min(row.seq)))
                });
                if let Some((author, seq)) = former {
                    let item = Known { author, seq, check: [0; 8], predecessors: Vec::new() };
                    let hash = hash_of(journal, space, logs, &item)?;
                    held.push(Known { check: hash.map_or([0; 8], |hash| hash.short()), ..item });
                }
            }
        }
    }
    Ok(held)
}

/// What a site holds of a space by its latest receipt.
fn received(
    journal: &impl ReadStore,
    space: SpaceId,
    logs: &Logs,
    site: &SiteId,
) -> Result<Vec<Known>, StoreError> {
    let receipts = holders::receipts(journal, space)?;
    let listed = receipts.get(site).map(|receipt| Compared::new(logs).known(receipt));
    let mut reported = Vec::new();
    for item in listed.unwrap_or_default() {
        let hash = hash_of(journal, space, logs, &item)?;
        reported.push(Known { check: hash.map_or([0; 8], |hash| hash.short()), ..item });
    }
    Ok(reported)
}

/// The hash of an entry that is held here.
fn hash_of(
    journal: &impl ReadStore,
    space: SpaceId,
    logs: &Logs,
    item: &Known,
) -> Result<Option<EntryHash>, StoreError> {
    match logs.rows().get(&item.author) {
        Some(log) if log.seq == item.seq => Ok(Some(log.hash)),
        Some(_) | None => {
            let key = logs::entry(space, item.author, item.seq);
            let row: Option<EntryRow> = row(journal, "entry row", &key)?;
            Ok(row.map(|row| row.hash))
        }
    }
}

fn place_of(
    journal: &impl ReadStore,
    space: SpaceId,
    author: Author,
    seq: u64,
) -> Result<Option<(Position, Author, u64)>, StoreError> {
    let row: Option<EntryRow> = row(journal, "entry row", &logs::entry(space, author, seq))?;
    Ok(row.map(|row| (row.position(), author, seq)))
}
