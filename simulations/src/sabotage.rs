//! Things done to a run so that one invariant does not hold: the proof that its checker can fail.

use std::collections::BTreeSet;

use branchline_crdt::codec;
use branchline_crdt::entry::Entry;
use branchline_crdt::ids::{EntryHash, SiteId, SpaceId};
use branchline_crdt::protocol::{Answer, Gossip, Outcome, pack_entries, unpack_entries};
use branchline_crdt::record::{Value, View};
use branchline_crdt::tables::records::{self, CollectionRow};
use branchline_crdt::tables::{ReadTables, decode_row};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::hostile::Dropped;
use crate::world::{Message, Office, Tamper, World};

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
    /// The links to one office swallow what would tell it of an equivocation.
    HideForks,
    /// A record that nobody brings back is brought back, and nobody is told.
    Resurrect,
    /// In the end, a value is changed in one office's tables.
    AlterValue,
    /// An entry is sent to a stranger.
    Leak,
    /// An office is told of a hundred peers that are no members.
    FloodPeers,
    /// People write only while their wall clock is right.
    FollowWallClock,
}

/// Links to `victim` that swallow the entries which `swallows`, and with `forks` the proofs of forks too.
fn filter(victim: Office, forks: bool, swallows: impl Fn(&Entry) -> bool + 'static) -> Tamper {
    let passes = move |bytes: &Vec<u8>| !Entry::decode(bytes).is_ok_and(|entry| swallows(&entry));
    Box::new(move |_, to, message| {
        if to != victim {
            return true;
        }
        match message {
            Message::Gossip { data, .. } => match codec::decode("gossip message", data) {
                Ok(Gossip::Entry(bytes)) => passes(&bytes),
                Ok(Gossip::Announce { .. } | Gossip::Receipt(_)) | Err(_) => true,
            },
            Message::Response { body, .. } => {
                if let Ok(mut answer) = codec::decode::<Answer>("answer to a pull", body) {
                    if let Outcome::Entries { packed, .. } = &mut answer.outcome {
                        let mut entries = unpack_entries(packed).unwrap_or_default();
                        entries.retain(&passes);
                        *packed = pack_entries(&entries);
                    }
                    if forks {
                        answer.forks.clear();
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
pub fn swallow_log(victim: Office, site: SiteId) -> Tamper {
    filter(victim, false, move |entry| {
        let header = &entry.header;
        header.author.site == site && header.space == header.network.main_space()
    })
}

/// Links to `victim` that swallow proofs of forks, and the entries that were dropped.
pub fn hide_forks(victim: Office, dropped: Dropped) -> Tamper {
    let is_dropped = move |hash: &EntryHash| -> bool {
        let dropped: &BTreeSet<EntryHash> = &dropped.borrow();
        dropped.contains(hash)
    };
    filter(victim, true, move |entry| is_dropped(&entry.hash))
}

/// Gives a collection of an office another digest.
pub fn alter_digest(world: &mut World, office: Office) {
    let Some((key, mut row)) = first_row::<CollectionRow>(world, office, records::collections)
    else {
        return;
    };
    row.digest.add(&[1; 32]);
    alter(world, office, key, &row);
}

/// Gives a record of an office another field.
pub fn alter_value(world: &mut World, office: Office) {
    let Some((key, mut view)) = first_row::<View>(world, office, records::views_of_space) else {
        return;
    };
    view.fields.insert("unsigned".to_owned(), Value::Int(1));
    alter(world, office, key, &view);
}

fn first_row<T: DeserializeOwned>(
    world: &World,
    office: Office,
    prefix: impl Fn(SpaceId) -> Vec<u8>,
) -> Option<(Vec<u8>, T)> {
    let rows = world.read(office, |store, space| store.scan(&prefix(space), None, 1))?;
    let (key, value) = rows.into_iter().next()?;
    Some((key, decode_row("row to alter", &value).ok()?))
}

fn alter(world: &mut World, office: Office, key: Vec<u8>, row: &impl Serialize) {
    if let Some(store) = world.store_mut(office) {
        store.alter_row(key, codec::encode(row));
    }
}
