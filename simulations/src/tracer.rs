//! From what happens in a world to the steps of a trace.

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::format::codec;
use branchline_crdt::ids::{Author, EntryHash, SiteId};
use branchline_crdt::log::entry::{Body, Entry};
use branchline_crdt::protocol::{Answer, Gossip, Outcome, Request, RequestKind, unpack_entries};
use branchline_crdt::store::tables::{self, logs};

use crate::trace::{EntryName, EntryStatus, Event, MessageKind, RecordName, Source};
use crate::world::{Message, Observation, SiteIndex, World};

/// Names what happens.
#[derive(Default)]
pub struct Tracer {
    names: BTreeMap<SiteId, String>,
    lives: BTreeMap<Author, u32>,
    lives_of: BTreeMap<SiteId, u32>,
    seen: BTreeSet<EntryHash>,
}

impl Tracer {
    /// Knows an office by its site; of a cloned one the first counts.
    pub fn meet(&mut self, site: SiteId, name: &str) {
        self.names.entry(site).or_insert_with(|| name.to_owned());
    }

    /// An entry's name.
    pub fn name(&self, entry: &Entry) -> EntryName {
        let author = entry.header.author;
        let site = self.names.get(&author.site).cloned();
        EntryName {
            author: site.unwrap_or_else(|| author.site.to_string()),
            life: self.lives.get(&author).copied().unwrap_or(0),
            seq: entry.header.seq,
            hash: entry.hash.to_string().chars().take(8).collect(),
        }
    }

    /// The steps that an observation makes.
    pub fn steps(&mut self, observation: &Observation, world: &World) -> Vec<Event> {
        let name = |office: &SiteIndex| world.name(*office).to_owned();
        match observation {
            Observation::Started { office, entries } => {
                let start = world.starts(*office);
                let mut events = vec![Event::Started { site: name(office), start }];
                for (_, entry) in entries {
                    self.hold(*office, entry, Source::Replay, world, &mut events);
                }
                events
            }
            Observation::Stopped { office, crashed, bytes_lost } => vec![Event::Stopped {
                site: name(office),
                crashed: *crashed,
                bytes_lost: *bytes_lost,
            }],
            Observation::Stored { office, from, entries } => {
                let mut events = Vec::new();
                for (_, entry) in entries {
                    let source = match from {
                        Some(from) => Source::Peer(name(from)),
                        None => Source::Own,
                    };
                    self.hold(*office, entry, source, world, &mut events);
                }
                events
            }
            Observation::Sent { number, from, to, message, .. } => vec![Event::Sent {
                message: *number,
                from: name(from),
                to: name(to),
                kind: kind(message),
                bytes: message.bytes().len() as u64,
                entries: entries(message).iter().map(|entry| self.name(entry)).collect(),
            }],
            Observation::Delivered { number } => vec![Event::Delivered { message: *number }],
            Observation::Lost { number, to } => {
                vec![Event::Lost { message: *number, reason: to.as_str().to_owned() }]
            }
            Observation::Notice { office, notice } => {
                vec![Event::Notice { site: name(office), what: format!("{notice:?}") }]
            }
            Observation::Failed { office, reason } => {
                vec![Event::Notice { site: name(office), what: reason.clone() }]
            }
            Observation::Rebuilt { office } => {
                let what = "the tables are rebuilt from the journal".to_owned();
                vec![Event::Notice { site: name(office), what }]
            }
            // Reported as the fault that it is part of.
            Observation::DiskChanged { .. } => Vec::new(),
        }
    }

    fn hold(
        &mut self,
        office: SiteIndex,
        entry: &Entry,
        from: Source,
        world: &World,
        events: &mut Vec<Event>,
    ) {
        let author = entry.header.author;
        if !self.lives.contains_key(&author) {
            let is_own = from == Source::Own && world.site_id(office) == author.site;
            let life = if is_own || from == Source::Replay {
                let life = self.lives_of.entry(author.site).or_default();
                *life += 1;
                *life
            } else {
                0
            };
            self.lives.insert(author, life);
        }
        let name = self.name(entry);
        if self.seen.insert(entry.hash) {
            events.push(Event::FirstSeen { entry: name.clone(), records: records(entry) });
        }
        let status = status(office, entry, world);
        events.push(Event::Held { site: world.name(office).to_owned(), entry: name, status, from });
    }
}

fn status(office: SiteIndex, entry: &Entry, world: &World) -> EntryStatus {
    let header = &entry.header;
    let row = world.replica(office).and_then(|replica| {
        let log = logs::log_of(replica.store(), header, &entry.hash).ok()?;
        let key = logs::entry(header.space, log, header.seq);
        tables::row::<logs::EntryRow>(replica.store(), "entry row", &key).ok().flatten()
    });
    match row.map(|row| row.status) {
        Some(logs::EntryStatus::Applied) => EntryStatus::Applied,
        Some(logs::EntryStatus::Void) => EntryStatus::Void,
        Some(logs::EntryStatus::Held) | None => EntryStatus::Held,
    }
}

/// The records that an entry touches.
pub fn records(entry: &Entry) -> Vec<RecordName> {
    let Ok(Body::Transactions(transactions)) = entry.body() else { return Vec::new() };
    let writes = transactions.into_iter().flat_map(|transaction| transaction.changes);
    writes.map(|write| RecordName { collection: write.collection, id: write.id }).collect()
}

/// What a message is. One that only notifies a member is what it says: it is no pull.
pub fn kind(message: &Message) -> MessageKind {
    match message {
        Message::Gossip { data, .. } => match codec::decode("gossip message", data) {
            Ok(gossip) => kind_of_gossip(&gossip),
            Err(_) => MessageKind::Gossip,
        },
        Message::Request { body, .. } => match RequestKind::of(body) {
            Ok(RequestKind::Notify) => match codec::decode("request", body) {
                Ok(Request::Notify(gossip)) => kind_of_gossip(&gossip),
                Ok(Request::Pull(_)) | Err(_) => MessageKind::Gossip,
            },
            Ok(RequestKind::Pull) | Err(_) => MessageKind::Pull,
        },
        Message::Response { .. } | Message::Unsupported { .. } => MessageKind::Answer,
        Message::Introduction { .. } => MessageKind::Introduction,
        Message::IntroductionAnswer { .. } => MessageKind::Welcome,
    }
}

fn kind_of_gossip(gossip: &Gossip) -> MessageKind {
    match gossip {
        Gossip::Receipt(_) => MessageKind::Receipt,
        Gossip::Entry(_) | Gossip::Entries(_) | Gossip::Announce { .. } | Gossip::Hint(_) => {
            MessageKind::Gossip
        }
    }
}

/// The entries in a message.
fn entries(message: &Message) -> Vec<Entry> {
    match message {
        Message::Gossip { data, .. } => match codec::decode::<Gossip>("gossip message", data) {
            Ok(gossip) => gossip.entries().unwrap_or_default(),
            Err(_) => Vec::new(),
        },
        Message::Request { body, .. } => match codec::decode("request", body) {
            Ok(Request::Notify(gossip)) => gossip.entries().unwrap_or_default(),
            Ok(Request::Pull(_)) | Err(_) => Vec::new(),
        },
        Message::Response { body, .. } => match codec::decode::<Answer>("answer to a pull", body) {
            Ok(Answer { outcome: Outcome::Entries { packed, .. }, .. }) => {
                unpack_entries(&packed).unwrap_or_default()
            }
            Ok(_) | Err(_) => Vec::new(),
        },
        Message::Unsupported { .. }
        | Message::Introduction { .. }
        | Message::IntroductionAnswer { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use branchline_crdt::ids::SpaceId;
    use branchline_crdt::protocol::{Have, PULL_BYTES, Pull};

    use super::*;

    #[test]
    fn who_is_notified_of_something_is_not_asked_for_anything() {
        let space = SpaceId([1; 16]);
        let pull = Pull {
            space,
            have: Have::Digest([0; 16]),
            receipts: [0; 8],
            shared: [0; 8],
            bytes_max: PULL_BYTES,
        };
        let of = |body: Vec<u8>| kind(&Message::Request { id: 1, body });
        let request = |request: Request| of(codec::encode(&request));
        assert_eq!(request(Request::Pull(pull)), MessageKind::Pull);
        assert_eq!(request(Request::Notify(Gossip::Hint(space))), MessageKind::Gossip);
        assert_eq!(request(Request::Notify(Gossip::Entry(vec![1]))), MessageKind::Gossip);
        assert_eq!(of(vec![1, 200]), MessageKind::Gossip, "a notification that cannot be read");
        assert_eq!(of(vec![200]), MessageKind::Pull, "no request");
    }
}
