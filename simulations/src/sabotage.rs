//! Things done to a run so that one invariant does not hold: the proof that its checker can fail.

use branchline_crdt::format::codec;
use branchline_crdt::ids::{EntryHash, SiteId, SpaceId};
use branchline_crdt::log::entry::Entry;
use branchline_crdt::protocol::{Answer, Gossip, Outcome, pack_entries, unpack_entries};
use branchline_crdt::record::{ActorBytes, Document, Edit};
use branchline_crdt::store::frame::Frame;
use branchline_crdt::store::tables::logs::{self, EntryRow, EntryStatus};
use branchline_crdt::store::tables::records::{self, CollectionRow, RecordRow};
use branchline_crdt::store::tables::{ReadTables, SCAN_ROWS, decode_row};
use branchline_crdt::store::{ReadJournal, Store};

use crate::store::SimulatedStore;
use crate::world::{Message, SiteIndex, Tamper, World};

/// What is done to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// In the end, one office's digest of a collection is another.
    AlterDigest,
    /// The links to one office swallow all entries of another, for ever.
    SwallowLog,
    /// A crash takes an office back to before its latest acknowledged write.
    ForgetAcknowledged,
    /// An office's journal has the frames of each commit in reverse.
    SwapFrames,
    /// In the end, an office holds something else in the place of a branch's entry.
    LoseBranch,
    /// A record that nobody brings back is brought back, and nobody is informed.
    Resurrect,
    /// In the end, a value is changed in one office's tables.
    AlterValue,
    /// In the end, a member's journal holds what a revoked site wrote later.
    KeepRevoked,
    /// In the end, the feed of an office leaves an entry out that shows there.
    LeaveOut,
    /// An entry is sent to a stranger.
    Leak,
    /// An office is informed of a hundred peers that are no members.
    FloodPeers,
    /// People write only while their wall clock is right.
    FollowWallClock,
}

/// Links to `victim` that swallow the entries which `swallows`.
fn filter(victim: SiteIndex, swallows: impl Fn(&Entry) -> bool + 'static) -> Tamper {
    Box::new(move |_, to, message| {
        if to != victim {
            return true;
        }
        match message {
            Message::Gossip { data, .. } => match codec::decode::<Gossip>("gossip message", data) {
                Ok(gossip) => !gossip.entries().is_ok_and(|entries| entries.iter().any(&swallows)),
                Err(_) => true,
            },
            Message::Response { body, .. } => {
                if let Ok(mut answer) = codec::decode::<Answer>("answer to a pull", body) {
                    if let Outcome::Entries { packed, .. } = &mut answer.outcome {
                        let entries = unpack_entries(packed).unwrap_or_default();
                        *packed = pack_entries(entries.iter().filter(|entry| !swallows(entry)));
                    }
                    *body = codec::encode(&answer);
                }
                true
            }
            Message::Request { .. }
            | Message::Unsupported { .. }
            | Message::Introduction { .. }
            | Message::IntroductionAnswer { .. } => true,
        }
    })
}

/// Links to `victim` that swallow all that a site writes in the main space.
pub fn swallow_log(victim: SiteIndex, site: SiteId) -> Tamper {
    filter(victim, move |entry| {
        let header = &entry.header;
        header.author.site == site && header.space == header.realm.main_space()
    })
}

/// Says of the first entry of a branch that an office holds another one there.
pub fn lose_branch(world: &mut World, office: SiteIndex) {
    let rows = world
        .read(office, |store, space| store.scan(&logs::entries_of_space(space), None, SCAN_ROWS));
    let is_of_branch = |key: &[u8]| {
        logs::entry_of_key(key).is_some_and(|(author, _)| author.incarnation.is_of_branch())
    };
    let first = rows.unwrap_or_default().into_iter().find(|(key, _)| is_of_branch(key));
    if let Some((key, value)) = first
        && let Ok(row) = decode_row::<EntryRow>("entry row", &value)
        && let Some(store) = world.store_mut(office)
    {
        let lost = EntryRow { hash: EntryHash([0; 32]), ..row };
        store.alter_row(key, codec::encode(&lost));
    }
}

/// Gives a collection of an office another digest.
pub fn alter_digest(world: &mut World, office: SiteIndex) {
    alter_first(world, office, records::collections, |value| {
        let mut row: CollectionRow = decode_row("collection row", value).ok()?;
        row.digest.add(&[1; 32]);
        Some(codec::encode(&row))
    });
}

/// Gives a record of an office another field, which nobody signed.
pub fn alter_value(world: &mut World, office: SiteIndex) {
    alter_first(world, office, records::records_of_space, |value| {
        let RecordRow { changes, live, first } = RecordRow::decode(value).ok()?;
        let mut document = Document::load(live).ok()?;
        let patch = serde_json::Map::from_iter([("unsigned".to_owned(), 1.into())]);
        let edit = Edit::Merge { patch, create: true };
        document.edit(ActorBytes([9; 16]), 0, &edit, None).ok()??;
        Some(codec::encode(&RecordRow { changes, live: &document.save(), first }))
    });
}

/// Says of an entry that shows at an office that it has no effects there.
pub fn leave_out(world: &mut World, office: SiteIndex) {
    alter_first(world, office, logs::entries_of_space, |value| {
        let row: EntryRow = decode_row("entry row", value).ok()?;
        Some(codec::encode(&EntryRow { status: EntryStatus::Void, ..row }))
    });
}

/// Puts the last entry of each revoked site into an office's journal.
pub fn keep_revoked(world: &mut World, office: SiteIndex) {
    let Some(members) = world.replica(office).and_then(|replica| replica.realms().members()) else {
        return;
    };
    let out = |other: &SiteIndex| members.revoked().contains_key(&world.site_id(*other));
    let revoked: Vec<_> = (0..world.office_count()).filter(out).collect();
    for other in revoked {
        let site = world.site_id(other);
        let read = |store: &SimulatedStore, space| {
            let frames = store.scan_journal(None, usize::MAX)?;
            let own = |frame: &Vec<u8>| {
                let header = Frame::entry_in(frame).map(|entry| entry.header);
                header.is_some_and(|header| header.space == space && header.author.site == site)
            };
            Ok(frames.into_iter().map(|(_, frame)| frame).rfind(own))
        };
        if let Some(frame) = world.read(other, read).flatten()
            && let Some(store) = world.store_mut(office)
        {
            store.append(&[&frame]).ok();
        }
    }
}

/// Alters the first row that begins with the space's prefix.
fn alter_first(
    world: &mut World,
    office: SiteIndex,
    prefix: impl Fn(SpaceId) -> Vec<u8>,
    alter: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let rows = world.read(office, |store, space| store.scan(&prefix(space), None, 1));
    let first = rows.unwrap_or_default().into_iter().next();
    if let Some((key, value)) = first
        && let Some(value) = alter(&value)
        && let Some(store) = world.store_mut(office)
    {
        store.alter_row(key, value);
    }
}
