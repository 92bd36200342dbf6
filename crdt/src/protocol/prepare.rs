//! What can be done with entries from others before anything is known of them: unpacking, hashes, signatures, reading
//! payloads and changes. It needs no state, so the caller may do it on any thread; the replica then judges what it takes
//! others to judge: membership, chain, past, and each change in the light of its record.
//!
//! Nothing here is a verdict. What a bad signature covers is not read at all, and what means too much is left unread,
//! for the replica to find out in its own order.

use crate::ids::{Author, SiteId};
use crate::log::entry::{Body, Entry, MalformedBody, Origin, PAYLOAD_FORMAT, RecordWrite, limits};
use crate::protocol::{UnpackEntriesError, unpack_entries};
use crate::record::{ChangeActor, Fault, NewRecord, ParsedChange, RecordChange};

/// Operations that are read of one answer, 200 to 800 bytes each in memory: those of an answer of the usual size. A
/// change of 64 bytes may mean 60,000.
const READ_OPERATIONS_MAX: usize = limits::OPERATIONS_MAX / 4;

/// The packed entries of an answer, to be prepared for the replica that asked for them.
#[derive(Debug)]
pub struct Job {
    /// Who answered.
    pub from: SiteId,
    /// The request that was answered.
    pub id: u64,
    pub(crate) packed: Vec<u8>,
}

/// What a [`Job`] came to.
#[derive(Debug)]
pub struct Prepared {
    /// Who answered.
    pub from: SiteId,
    /// The request that was answered.
    pub id: u64,
    /// The entries, or why there are none.
    pub(crate) entries: Result<Vec<PreparedEntry>, NotPrepared>,
}

/// Why entries cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPrepared {
    /// They cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackEntriesError),
    /// This program failed over them.
    #[error("this program failed while reading the entries; please report this")]
    Failed,
}

/// An entry with what was found out about it.
#[derive(Debug)]
pub(crate) struct PreparedEntry {
    pub(crate) entry: Entry,
    /// `None`: not looked at yet.
    is_signed: Option<bool>,
    /// `None`: not read yet.
    content: Option<Result<Content, MalformedBody>>,
}

/// What a payload says.
#[derive(Debug)]
pub(crate) enum Content {
    /// Of records: the origins of its transactions, and the changes of all of them in order.
    Records { origins: Vec<Origin>, changes: Vec<ReadChange> },
    /// Of members.
    Membership,
}

/// One change, and how it reads.
#[derive(Debug)]
pub(crate) struct ReadChange {
    pub(crate) write: RecordWrite,
    /// `None`: not read yet.
    reading: Option<Reading>,
}

/// How a change reads.
#[derive(Debug)]
pub(crate) enum Reading {
    /// What it leaves if its record has no changes yet, which is likely. Otherwise it is read again.
    New(NewRecord),
    /// Anything else.
    Parsed(Result<ParsedChange, Fault>),
}

impl Reading {
    pub(crate) fn of(change: &RecordChange, author: ChangeActor) -> Self {
        let parsed = change.parse(author);
        // The first change in a branch is no first one as its author meant it.
        let as_new = parsed.as_ref().ok().filter(|_| !author.is_of_branch);
        match as_new.and_then(NewRecord::of) {
            Some(first) => Self::New(first),
            None => Self::Parsed(parsed),
        }
    }

    /// The number of its operations; `None`: it is bad.
    fn operations(&self) -> Option<usize> {
        match self {
            Self::New(first) => Some(first.operations),
            Self::Parsed(parsed) => parsed.as_ref().map(ParsedChange::operations).ok(),
        }
    }
}

impl Job {
    /// For the packed entries of a bundle, which nobody was asked for: what it comes to goes to
    /// [`crate::Replica::merge`].
    pub(crate) fn of_bundle(packed: Vec<u8>) -> Self {
        Self { from: SiteId([0; 32]), id: 0, packed }
    }

    /// Does it.
    pub fn run(self) -> Prepared {
        let Self { from, id, packed } = self;
        let mut budget = READ_OPERATIONS_MAX;
        let prepare = |entry| PreparedEntry::new(entry, &mut budget);
        let entries = unpack_entries(&packed).map(|all| all.into_iter().map(prepare).collect());
        Prepared { from, id, entries: entries.map_err(NotPrepared::from) }
    }
}

impl Prepared {
    /// The same in pieces of one entry each, so that each has its turn.
    #[must_use]
    pub fn split(self) -> Vec<Self> {
        let Self { from, id, entries } = self;
        match entries {
            Ok(entries) => {
                entries.into_iter().map(|it| Self { from, id, entries: Ok(vec![it]) }).collect()
            }
            Err(error) => vec![Self { from, id, entries: Err(error) }],
        }
    }

    /// In place of what a job did not come to.
    pub fn failed(from: SiteId, id: u64) -> Self {
        Self { from, id, entries: Err(NotPrepared::Failed) }
    }
}

impl PreparedEntry {
    /// Checks the signature and, if it is good, reads the payload and as many changes as there is `budget` for operations.
    fn new(entry: Entry, budget: &mut usize) -> Self {
        let mut prepared = Self::unread(entry);
        let is_signed = prepared.entry.is_signed();
        prepared.is_signed = Some(is_signed);
        if is_signed && prepared.entry.header.payload.format <= PAYLOAD_FORMAT {
            let mut content = read(&prepared.entry);
            if let Ok(Content::Records { changes, .. }) = &mut content {
                parse(changes, prepared.entry.actor(), budget);
            }
            prepared.content = Some(content);
        }
        prepared
    }

    /// Knows the log that it is in. How changes read in a branch is found out when they are taken in.
    pub(crate) fn put_in(&mut self, log: Author) {
        self.entry.log = log;
        if log != self.entry.header.author {
            self.changes_mut().iter_mut().for_each(|change| change.reading = None);
        }
    }

    /// Leaves everything until it is asked for.
    pub(crate) fn unread(entry: Entry) -> Self {
        Self { entry, is_signed: None, content: None }
    }

    /// The same, and remembers it.
    pub(crate) fn check_signature(&mut self) -> bool {
        let is_signed = self.is_signed();
        self.is_signed = Some(is_signed);
        is_signed
    }

    /// Whether the author's site signed the header.
    pub(crate) fn is_signed(&self) -> bool {
        self.is_signed.unwrap_or_else(|| self.entry.is_signed())
    }

    /// The records that it changes, by collection and id, one for each change; none if it was not read.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, &str)> {
        self.changes().iter().map(ReadChange::address)
    }

    /// The changes of records; none if it was not read.
    pub(crate) fn changes(&self) -> &[ReadChange] {
        match &self.content {
            Some(Ok(Content::Records { changes, .. })) => changes,
            Some(Ok(Content::Membership) | Err(_)) | None => &[],
        }
    }

    /// The same, to look at them beforehand.
    pub(crate) fn changes_mut(&mut self) -> &mut [ReadChange] {
        match &mut self.content {
            Some(Ok(Content::Records { changes, .. })) => changes,
            Some(Ok(Content::Membership) | Err(_)) | None => &mut [],
        }
    }

    /// The entry and its content. Call only where the payload is of a known format.
    pub(crate) fn read(self) -> (Entry, Result<Content, MalformedBody>) {
        let Self { entry, content, .. } = self;
        let content = content.unwrap_or_else(|| read(&entry));
        (entry, content)
    }
}

fn read(entry: &Entry) -> Result<Content, MalformedBody> {
    let transactions = match entry.body()? {
        Body::Transactions(transactions) => transactions,
        Body::Membership(_) => return Ok(Content::Membership),
    };
    let (mut origins, mut changes) = (Vec::new(), Vec::new());
    for transaction in transactions {
        origins.extend(transaction.origin);
        let unread = |write| ReadChange { write, reading: None };
        changes.extend(transaction.changes.into_iter().map(unread));
    }
    Ok(Content::Records { origins, changes })
}

/// Parses changes until one is bad, for then the entry is, or there is no `budget` for their operations.
fn parse(changes: &mut [ReadChange], author: ChangeActor, budget: &mut usize) {
    for change in changes {
        if *budget == 0 {
            return;
        }
        let reading = Reading::of(&change.write.change, author);
        let operations = reading.operations();
        change.reading = Some(reading);
        let Some(operations) = operations else { return };
        *budget = budget.saturating_sub(operations);
    }
}

impl ReadChange {
    /// The record that it changes, by collection and id.
    pub(crate) fn address(&self) -> (&str, &str) {
        (&self.write.collection, &self.write.id)
    }

    /// The change, and how it reads as far as that is known.
    pub(crate) fn read(self) -> (RecordWrite, Option<Reading>) {
        let Self { write, reading } = self;
        (write, reading)
    }

    /// Whether it is likely to be the first of its record.
    pub(crate) fn is_first(&self) -> bool {
        matches!(self.reading, Some(Reading::New(_)))
    }

    /// The change as it reads whatever the record.
    pub(crate) fn parsed(&mut self, author: ChangeActor) -> &Result<ParsedChange, Fault> {
        if !matches!(self.reading, Some(Reading::Parsed(_))) {
            self.reading = Some(Reading::Parsed(self.write.change.parse(author)));
        }
        match &self.reading {
            Some(Reading::Parsed(parsed)) => parsed,
            Some(Reading::New(_)) | None => unreachable!("it was parsed above"),
        }
    }

    /// The same, which is then not kept.
    pub(crate) fn take_parsed(&mut self, author: ChangeActor) -> Result<ParsedChange, Fault> {
        match self.reading.take() {
            Some(Reading::Parsed(parsed)) => parsed,
            Some(Reading::New(_)) | None => self.write.change.parse(author),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::{EntryHash, Incarnation, RealmId, SiteKey};
    use crate::log::entry::{Draft, Transaction};
    use crate::protocol::pack_entries;
    use crate::record::{ActorBytes, Document, Edit};

    const OPERATIONS: usize = 3;

    /// An entry of three changes, said to be by the site of one key and signed with another.
    fn entry(by: u8, signed_by: u8) -> Entry {
        let key = SiteKey::from_seed([signed_by; 32]);
        let site = SiteKey::from_seed([by; 32]).site();
        let author = Author { site, incarnation: Incarnation([1; 8]) };
        let write = |number: usize| {
            let serde_json::Value::Object(fields) = json!({"a": number, "b": 2, "c": 3}) else {
                panic!("an object");
            };
            let actor = ActorBytes(author.actor());
            let edited = Document::empty().edit(actor, 0, &Edit::Put(fields), None);
            let change = edited.unwrap().unwrap().change;
            RecordWrite { collection: "c".to_owned(), id: number.to_string(), change }
        };
        let origin = Some(Origin { source: "till".to_owned(), number: 7 });
        let transaction = Transaction { origin, changes: (0..3).map(write).collect() };
        let realm = RealmId([1; 32]);
        let draft = Draft {
            realm,
            space: realm.main_space(),
            author,
            seq: 1,
            previous: EntryHash::NONE,
            past: Vec::new(),
            membership_past: Vec::new(),
            time_ms: 0,
        };
        draft.sign(&Body::Transactions(vec![transaction]), &key)
    }

    fn parsed(prepared: &PreparedEntry) -> Option<usize> {
        match &prepared.content {
            Some(Ok(Content::Records { changes, .. })) => {
                Some(changes.iter().filter(|change| change.reading.is_some()).count())
            }
            Some(Ok(Content::Membership) | Err(_)) | None => None,
        }
    }

    #[test]
    fn what_a_bad_signature_covers_is_not_read() {
        let packed = pack_entries([&entry(1, 1), &entry(2, 1)]);
        let from = SiteKey::from_seed([9; 32]).site();
        let prepared = Job { from, id: 1, packed }.run().entries.unwrap();
        assert_eq!((prepared[0].is_signed(), parsed(&prepared[0])), (true, Some(3)));
        assert_eq!((prepared[1].is_signed(), parsed(&prepared[1])), (false, None));
    }

    #[test]
    fn what_there_is_no_room_for_is_read_when_it_is_asked_for() {
        for (operations, count) in [(0, 0), (1, 1), (OPERATIONS, 1), (OPERATIONS + 1, 2), (99, 3)] {
            let mut budget = operations;
            let prepared = PreparedEntry::new(entry(1, 1), &mut budget);
            assert_eq!(parsed(&prepared), Some(count));
            let (entry, content) = prepared.read();
            let actor = entry.actor();
            let Ok(Content::Records { origins, changes }) = content else { panic!("records") };
            assert_eq!(origins.len(), 1);
            for change in changes {
                let (write, reading) = change.read();
                let reading = reading.unwrap_or_else(|| Reading::of(&write.change, actor));
                assert_eq!(reading.operations(), Some(OPERATIONS));
            }
        }
    }
}
