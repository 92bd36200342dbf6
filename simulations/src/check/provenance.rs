//! Invariant 7: every visible value traces to a valid signature by a site allowed to write it.
//!
//! Shown without the replica's word: every entry of a journal carries its author's signature, its author is a member
//! that may write, a fresh replica that is given these entries and nothing else, in another causal order, shows the
//! same records, and every price was written by someone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use branchline_crdt::Replica;
use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, Incarnation, SiteId, SiteKey, SpaceId};
use branchline_crdt::log::entry::{Entry, Tip};
use branchline_crdt::membership::Role;
use branchline_crdt::protocol::Gossip;
use branchline_crdt::record::{Value, View};
use branchline_crdt::replica::{Identity, Input, Now, Opening, Output, Validation};
use branchline_crdt::store::frame::Frame;
use branchline_crdt::store::read;
use branchline_crdt::store::tables::records::RecordKey;
use branchline_crdt::store::tables::{ReadTables, logs};
use branchline_crdt::store::{ReadJournal, Store, StoreError};
use rand::RngExt;
use rand::rngs::SmallRng;

use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::store::{OfficeDisk, SimulatedStore};
use crate::world::{SiteIndex, random};

/// Offices whose journals are read: in step they hold the same entries, in orders of their own.
const OFFICES_READ_MAX: usize = 2;
/// Journal bytes read at a time.
const SCAN_BYTES: usize = 4 * 1024 * 1024;

/// Reads journals as a stranger would who has nothing but the genesis document.
pub struct Provenance;

impl Check for Provenance {
    fn finish(&mut self, scene: &Scene<'_>, report: &mut Report) {
        let mut draw = random::concern(scene.seed, "provenance", &[]);
        let mut offices: Vec<_> = scene.groups.iter().flatten().copied().collect();
        for _ in 0..OFFICES_READ_MAX.min(offices.len()) {
            let index = draw.random_range(0..offices.len());
            let office = offices.swap_remove(index);
            if scene.world.damaged_count(office) == 0 {
                read_journal(office, &mut draw, scene, report);
            }
        }
        for office in scene.groups.iter().flatten() {
            prices_were_written(*office, scene, report);
        }
    }
}

fn read_journal(office: SiteIndex, draw: &mut SmallRng, scene: &Scene<'_>, report: &mut Report) {
    let Some(replica) = scene.world.replica(office) else { return };
    let name = Some(scene.world.name(office));
    let Ok((others, entries)) = frames(replica.store()) else {
        report
            .expect(Invariant::Provenance, false, name, || "the journal cannot be read".to_owned());
        return;
    };
    for entry in &entries {
        let header = &entry.header;
        report.expect(Invariant::Provenance, entry.is_signed(), name, || {
            format!(
                "entry {} of {:?} does not carry its author's signature",
                header.seq, header.author
            )
        });
        let may = replica.realms().members().is_some_and(|members| {
            // In the membership space it is held to be judged, whether or not it counts.
            if header.space == header.realm.membership_space() {
                return members.ever(&header.author.site).is_some();
            }
            let mut names = logs_of(replica.store(), entry).into_iter();
            names.any(|log| members.allowed(header.space, log, header.seq) >= Some(Role::Writer))
        });
        report.expect(Invariant::Provenance, may, name, || {
            format!("entry {} is held, though {:?} may not write it", header.seq, header.author)
        });
    }
    let format = scene.world.payload_format(office);
    match fresh(&others, shuffled(entries, draw), format) {
        Ok(fresh) => compare(office, &fresh, scene, report),
        Err(error) => report.expect(Invariant::Provenance, false, name, || {
            format!("a fresh replica cannot be made from the journal: {error}")
        }),
    }
}

/// The names by which a decision may speak of the log that an entry is in: a branch by its own, or by the author's where
/// who decided did not know of the fork.
pub(super) fn logs_of(tables: &impl ReadTables, entry: &Entry) -> [Author; 2] {
    let signed = entry.header.author;
    [signed, logs::log_of(tables, &entry.header, &entry.hash).unwrap_or(signed)]
}

/// A journal's frames: those that are no entries, and the entries.
pub(super) type Frames = (Vec<Vec<u8>>, Vec<Arc<Entry>>);

pub(super) fn frames(store: &SimulatedStore) -> Result<Frames, StoreError> {
    let (mut others, mut entries, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.scan_journal(after, SCAN_BYTES)?;
        let Some((last, _)) = page.last() else { return Ok((others, entries)) };
        after = Some(*last);
        for (_, frame) in page {
            match Frame::entry_in(&frame) {
                Some(entry) => entries.push(Arc::new(entry)),
                None => others.push(frame),
            }
        }
    }
}

/// The same entries in another order in which each still follows what it names.
fn shuffled(entries: Vec<Arc<Entry>>, draw: &mut SmallRng) -> Vec<Arc<Entry>> {
    let mut order = Vec::with_capacity(entries.len());
    let mut given = BTreeSet::new();
    let mut waiting: BTreeMap<(SpaceId, Author), Vec<Arc<Entry>>> = BTreeMap::new();
    for entry in entries.into_iter().rev() {
        waiting.entry((entry.header.space, entry.header.author)).or_default().push(entry);
    }
    // Logs in an order drawn again each round; from each, some of what is ready.
    loop {
        let mut logs: Vec<_> = waiting.keys().copied().collect();
        let before = order.len();
        while !logs.is_empty() {
            let log = logs.swap_remove(draw.random_range(0..logs.len()));
            let Some(entries) = waiting.get_mut(&log) else { continue };
            while let Some(entry) = entries.pop_if(|entry| is_ready(entry, &given)) {
                given.insert((log.0, log.1.site, entry.hash));
                order.push(entry);
                if draw.random_range(0..3) == 0 {
                    break;
                }
            }
        }
        if order.len() == before {
            // What is left builds on what is damaged: in the order of the journal, as it was accepted.
            order.extend(waiting.into_values().flat_map(|entries| entries.into_iter().rev()));
            return order;
        }
    }
}

/// Whether all is given that an entry follows. By hashes: a branch may have been named by another name.
fn is_ready(entry: &Entry, given: &BTreeSet<(SpaceId, SiteId, EntryHash)>) -> bool {
    let header = &entry.header;
    let membership = header.realm.membership_space();
    let names = |space, tip: &Tip| given.contains(&(space, tip.author.site, tip.hash));
    (header.seq == 1 || given.contains(&(header.space, header.author.site, header.previous)))
        && header.past.iter().all(|tip| names(header.space, tip))
        && header.membership_past.iter().all(|tip| names(membership, tip))
}

/// A replica that knows the genesis document and proofs of forks, and is given these entries.
fn fresh(
    others: &[Vec<u8>],
    entries: Vec<Arc<Entry>>,
    payload_format: u8,
) -> Result<Replica<SimulatedStore>, StoreError> {
    let unusable = |(_, error): (OfficeDisk, _)| {
        let error: branchline_node::storage::journal::JournalOpenError = error;
        StoreError::Tables { reason: error.to_string() }
    };
    let mut store = OfficeDisk::default().open().map_err(unusable)?;
    let others: Vec<_> = others.iter().map(Vec::as_slice).collect();
    store.append(&others)?;
    let key = SiteKey::from_seed([0xa5; 32]);
    let from = key.site();
    let (name, incarnation) = ("reader".to_owned(), Incarnation([0xa5; 8]));
    let identity = Identity { key, name, incarnation, seed: 0 };
    let now = Now { wall_ms: 0, monotonic_ms: 0 };
    let opening = Opening { payload_format, ..Opening::with(None) };
    let mut replica = Replica::open(store, identity, opening, now, &mut |_| ())?;
    // An entry whose author's admission comes later in this order is dropped, as from a peer, and offered again.
    let mut left = entries;
    loop {
        let before = left.len();
        let mut refused = Vec::new();
        for entry in left {
            let data = codec::encode(&Gossip::Entry(entry.bytes().to_vec()));
            replica.handle(Input::Gossip { from, token: 0, data }, now)?;
            replica.commit()?;
            let mut is_taken = false;
            while let Some(output) = replica.output() {
                is_taken |= matches!(output, Output::Validate { verdict: Validation::Accept, .. });
            }
            if !is_taken {
                refused.push(entry);
            }
        }
        left = refused;
        if left.is_empty() || left.len() == before {
            return Ok(replica);
        }
    }
}

fn compare(
    office: SiteIndex,
    fresh: &Replica<SimulatedStore>,
    scene: &Scene<'_>,
    report: &mut Report,
) {
    let name = Some(scene.world.name(office));
    let Some(network) = fresh.realms().network() else { return };
    let space = network.main_space();
    let expected = views(fresh.store(), space);
    let found =
        scene.world.read(office, |store, space| Ok(views(store, space))).unwrap_or_default();
    for key in expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key))) {
        let (found, expected) = (found.get(key), expected.get(key));
        report.expect(Invariant::Provenance, found == expected, name, || {
            let RecordKey { collection, id, .. } = key;
            let shown = |view: Option<&View>| view.map(|view| format!("{:?}", view.fields));
            format!(
                "{collection}/{id} shows {:?}, its signed changes come to {:?}",
                shown(found),
                shown(expected)
            )
        });
    }
}

/// All views of a space.
fn views(store: &impl ReadTables, space: SpaceId) -> BTreeMap<RecordKey, View> {
    let mut views = BTreeMap::new();
    // A row that cannot be read is missed in the comparison.
    let _ = read::each_record(store, space, |key, view| {
        views.insert(key, view);
    });
    views
}

fn prices_were_written(office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
    for record in scene.oracle.priced() {
        let view = scene.world.view(office, &record.collection, &record.id);
        let Some(Value::Int(price)) = view.and_then(|mut view| view.fields.remove("price")) else {
            continue;
        };
        let name = Some(scene.world.name(office));
        report.expect(Invariant::Provenance, scene.oracle.is_price(record, price), name, || {
            format!("{record} shows the price {price}, which nobody wrote")
        });
    }
}
