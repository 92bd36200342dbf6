//! What can be taken back: how records were before somebody settled their conflicts here. KeptUndos in memory, for a while.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

/// What can be taken back at the same time, over all sessions; the oldest is forgotten.
const UNDOS_MAX: usize = 32;
/// Bytes of fields that are kept for all of it, about.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// How one record was, and as which version it was left.
#[derive(Clone, Debug)]
pub(crate) struct Before {
    pub(crate) collection: String,
    pub(crate) id: String,
    /// The record's ETag after the change: if it is another by now, nothing is taken back.
    pub(crate) etag: String,
    /// What the changed fields showed before.
    pub(crate) fields: Map<String, Value>,
}

/// One thing that can be taken back.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    /// The session that did it: no other takes it back.
    pub(crate) session: String,
    pub(crate) space: Option<String>,
    pub(crate) records: Vec<Before>,
}

/// All that can be taken back.
#[derive(Default)]
pub(crate) struct Undos(Mutex<KeptUndos>);

#[derive(Default)]
struct KeptUndos {
    count: u64,
    undos: VecDeque<Numbered>,
}

struct Numbered {
    number: u64,
    bytes: usize,
    undo: Undo,
}

impl Undos {
    /// Keeps it; returns its number. `None`: there is too much of it.
    pub(crate) fn keep(&self, undo: Undo) -> Option<u64> {
        let size_of = |before: &Before| {
            serde_json::to_string(&before.fields).map_or(0, |json| json.len()) + before.id.len()
        };
        let bytes: usize = undo.records.iter().map(size_of).sum();
        if bytes > BYTES_MAX || undo.records.is_empty() {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.count += 1;
        let number = kept.count;
        kept.undos.push_back(Numbered { number, bytes, undo });
        while kept.undos.len() > UNDOS_MAX
            || kept.undos.iter().map(|kept| kept.bytes).sum::<usize>() > BYTES_MAX
        {
            kept.undos.pop_front();
        }
        Some(number)
    }

    /// Takes one out, if this session has done it.
    pub(crate) fn take(&self, number: u64, session: &str) -> Option<Undo> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |kept: &Numbered| kept.number == number && kept.undo.session == session;
        let at = kept.undos.iter().position(is_meant)?;
        kept.undos.remove(at).map(|kept| kept.undo)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn undo(session: &str, bytes: usize) -> Undo {
        let fields = Map::from_iter([("a".to_owned(), Value::String("x".repeat(bytes)))]);
        let (collection, id, etag) = ("c".to_owned(), "1".to_owned(), "\"1\"".to_owned());
        let records = vec![Before { collection, id, etag, fields }];
        Undo { session: session.to_owned(), space: None, records }
    }

    #[test]
    fn what_a_session_did_it_takes_back_once_and_no_other_does() {
        let undos = Undos::default();
        let number = undos.keep(undo("one", 1)).unwrap();
        assert!(undos.take(number, "other").is_none());
        assert!(undos.take(number, "one").is_some());
        assert!(undos.take(number, "one").is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let undos = Undos::default();
        assert!(undos.keep(undo("one", BYTES_MAX + 1)).is_none());
        let first = undos.keep(undo("one", BYTES_MAX / 2)).unwrap();
        for _ in 0..3 {
            undos.keep(undo("one", BYTES_MAX / 2)).unwrap();
        }
        assert!(undos.take(first, "one").is_none());
        for _ in 0..2 * UNDOS_MAX {
            undos.keep(undo("one", 1)).unwrap();
        }
        assert!(undos.0.lock().unwrap().undos.len() <= UNDOS_MAX);
    }
}
