//! What a record adds to the diagnostics of its collection, in one walk over all live values, shown or not, in an order
//! that depends on nothing but them.

use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use super::change::leb128::{write_signed, write_unsigned};
use super::change::operation::{ActorBytes, ObjectId, OpId, Shape};
use super::history::hidden;
use super::history::live::Live;
use super::history::{History, HistoryContent, Object};
use super::limits::DELETED_FIELD;
use super::value::Value;
use super::view::{elements, is_conflict, is_deleted, piece};

/// Separates these digests from every other use of the hash.
const CONTEXT: &str = "branchline 2026 record digest";
/// The digest's input is hashed whenever this much of it has come together, in bytes.
const HASHED_AT_BYTES: usize = 16 * 1024;

/// A field and its one value.
pub(super) type PlainField<'a> = (&'a str, OpId, &'a Value);

/// A record in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSummary {
    /// See [`super::View::deleted`].
    pub deleted: bool,
    /// Whether the view has conflicts.
    pub conflicted: bool,
    /// Whether it is deleted, and somebody who did not know of that has edited it.
    pub hides_edits: bool,
    /// A hash of the heads and of everything that is live: it differs wherever two views could.
    pub digest: [u8; 32],
}

/// Derived once: it costs as much as a short record.
static KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(CONTEXT));

/// Sums a record up that has this one change, which gives each of these fields its one value.
pub(super) fn of_first(hash: &[u8; 32], fields: &[PlainField<'_>]) -> RecordSummary {
    let mut digest = SummaryDigest::new();
    digest.bytes(hash);
    for (name, id, value) in fields {
        digest.field(name);
        digest.value(*id);
        digest.register(value);
    }
    digest.tag(b'.');
    RecordSummary { deleted: false, conflicted: false, hides_edits: false, digest: digest.finish() }
}

/// Sums a record up.
pub(crate) fn summary(history: &History) -> RecordSummary {
    let mut walk = SummaryWalk { history, conflicted: false, digest: SummaryDigest::new() };
    for head in history.heads() {
        walk.digest.bytes(head);
    }
    walk.map(ObjectId::Root, true);
    RecordSummary {
        deleted: is_deleted(history),
        conflicted: walk.conflicted,
        hides_edits: hidden::hides_edits(history),
        digest: walk.digest.finish(),
    }
}

struct SummaryWalk<'a> {
    history: &'a History,
    conflicted: bool,
    digest: SummaryDigest,
}

impl SummaryWalk<'_> {
    fn map(&mut self, object: ObjectId, is_shown: bool) {
        let history = self.history;
        let Some(Object::Map(fields)) = history.object(object) else { return };
        for (name, live) in fields.iter().filter(|(_, live)| !live.is_empty()) {
            self.digest.field(name);
            let is_deletion = object == ObjectId::Root && name == DELETED_FIELD;
            self.conflicted |= is_shown && !is_deletion && is_conflict(history, live);
            self.values(live, is_shown);
        }
        self.digest.tag(b'.');
    }

    fn list(&mut self, object: ObjectId, is_shown: bool) {
        for (id, live) in elements(self.history, object) {
            self.digest.tag(b'e');
            self.digest.id(id);
            self.conflicted |= is_shown && is_conflict(self.history, live);
            self.values(live, is_shown);
        }
        self.digest.tag(b'.');
    }

    fn text(&mut self, object: ObjectId) {
        for (id, live) in elements(self.history, object) {
            self.digest.tag(b'e');
            self.digest.id(id);
            self.digest.bytes(piece(self.history, live).as_bytes());
        }
        self.digest.tag(b'.');
    }

    /// The values of one field or element.
    fn values(&mut self, live: &Live, is_shown: bool) {
        for id in live.iter() {
            self.value(id, is_shown && live.shown() == Some(id));
        }
    }

    fn value(&mut self, id: OpId, is_shown: bool) {
        self.digest.value(id);
        match self.history.value(id).map(|stored| &stored.content) {
            None => {}
            Some(HistoryContent::Register(value)) => self.digest.register(value),
            Some(HistoryContent::Counter(sum)) => {
                self.digest.tag(b'c');
                self.digest.raw(&sum.to_le_bytes());
            }
            Some(HistoryContent::Object(Shape::Map)) => {
                self.digest.tag(b'M');
                self.map(ObjectId::Made(id), is_shown);
            }
            Some(HistoryContent::Object(Shape::List)) => {
                self.digest.tag(b'L');
                self.list(ObjectId::Made(id), is_shown);
            }
            Some(HistoryContent::Object(Shape::Text)) => {
                self.digest.tag(b'T');
                self.text(ObjectId::Made(id));
            }
        }
    }
}

/// BLAKE3 over an encoding in which every part ends where it must, so that different walks are
/// different bytes. Numbers are short, since each 64 bytes are a step of the hash.
struct SummaryDigest {
    hasher: Hasher,
    buffer: Vec<u8>,
    /// Of the operation that was reported last: mostly the next one's too.
    actor: Option<ActorBytes>,
}

impl SummaryDigest {
    fn new() -> Self {
        Self {
            hasher: Hasher::new_from_context_key(&KEY),
            buffer: Vec::with_capacity(512),
            actor: None,
        }
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= HASHED_AT_BYTES {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }

    fn tag(&mut self, tag: u8) {
        self.raw(&[tag]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        write_unsigned(&mut self.buffer, bytes.len() as u64);
        self.raw(bytes);
    }

    fn field(&mut self, name: &str) {
        self.tag(b'f');
        self.bytes(name.as_bytes());
    }

    fn value(&mut self, id: OpId) {
        self.tag(b'v');
        self.id(id);
    }

    fn id(&mut self, id: OpId) {
        if self.actor.replace(id.actor) != Some(id.actor) {
            self.tag(b'a');
            self.raw(&id.actor.0);
        }
        self.tag(b'i');
        write_unsigned(&mut self.buffer, id.counter);
    }

    fn register(&mut self, value: &Value) {
        match value {
            // Objects are never registers.
            Value::Null | Value::List(_) | Value::Map(_) => self.tag(b'n'),
            Value::Bool(b) => self.raw(&[b'b', u8::from(*b)]),
            Value::Int(n) | Value::Counter(n) => {
                self.tag(b'i');
                write_signed(&mut self.buffer, *n);
            }
            Value::Float(n) => {
                self.tag(b'd');
                self.raw(&n.to_bits().to_le_bytes());
            }
            Value::Str(s) | Value::Text(s) => {
                self.tag(b's');
                self.bytes(s.as_bytes());
            }
            Value::Bytes(b) => {
                self.tag(b'x');
                self.bytes(b);
            }
            Value::Timestamp(ms) => {
                self.tag(b't');
                write_signed(&mut self.buffer, *ms);
            }
        }
    }

    fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.buffer);
        self.hasher.finalize().into()
    }
}
