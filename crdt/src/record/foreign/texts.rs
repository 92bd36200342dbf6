//! Texts that stand for values: some programs know no other strings than texts that are edited in place, and a field that
//! the schema declares as a string, a number or a time is replaced as a whole. What such a text is when a change is done
//! is what the change puts.

use std::collections::{BTreeMap, BTreeSet};

use smol_str::SmolStr;

use super::super::change::operation::{ActorBytes, ObjectId, OpId};
use super::super::history::sequence::Sequence;
use super::fault::Misfit;
use super::read::ForeignId;

/// A text of the document that stands for a field's value.
#[derive(Debug)]
pub(super) struct Text {
    /// The map that the field is in, and its name.
    pub(super) object: ObjectId,
    pub(super) name: SmolStr,
    /// What was done to it, each with the number of the change among the document's.
    edits: Vec<(usize, TextEdit)>,
    /// What was put for it, by the numbers of the changes.
    puts: Vec<(usize, OpId)>,
    /// The changes that replaced it, or removed it.
    replaced_by: Vec<usize>,
    /// Why it does not fit as it was left.
    pub(super) misfit: Option<Misfit>,
}

#[derive(Debug)]
enum TextEdit {
    Insert { id: ForeignId, after: Option<ForeignId>, piece: SmolStr },
    Remove(Vec<ForeignId>),
}

impl Text {
    pub(super) fn new(object: ObjectId, name: SmolStr) -> Self {
        let (edits, puts, replaced_by) = (Vec::new(), Vec::new(), Vec::new());
        Self { object, name, edits, puts, replaced_by, misfit: None }
    }

    pub(super) fn insert(
        &mut self,
        change: usize,
        id: ForeignId,
        after: Option<ForeignId>,
        piece: SmolStr,
    ) {
        self.edits.push((change, TextEdit::Insert { id, after, piece }));
    }

    pub(super) fn remove(&mut self, change: usize, elements: Vec<ForeignId>) {
        self.edits.push((change, TextEdit::Remove(elements)));
    }

    pub(super) fn note_put(&mut self, change: usize, id: OpId) {
        self.puts.push((change, id));
    }

    pub(super) fn note_replaced(&mut self, change: usize) {
        self.replaced_by.push(change);
    }

    pub(super) fn settle(&mut self, settle: impl Fn(OpId) -> OpId) {
        if let ObjectId::Made(id) = &mut self.object {
            *id = settle(*id);
        }
        if let Some((_, id)) = self.puts.last_mut() {
            *id = settle(*id);
        }
    }

    /// Whether one who has seen these changes sees it.
    pub(super) fn is_live(&self, seen: &BTreeSet<usize>) -> bool {
        !self.replaced_by.iter().any(|change| seen.contains(change))
    }

    /// Whether it was never replaced.
    pub(super) fn is_left(&self) -> bool {
        self.replaced_by.is_empty()
    }

    /// What was put for it by these changes.
    pub(super) fn puts<'a>(&'a self, seen: &'a BTreeSet<usize>) -> impl Iterator<Item = OpId> + 'a {
        self.puts.iter().filter(|(change, _)| seen.contains(change)).map(|(_, id)| *id)
    }

    /// How it reads to one who has seen these changes. `None`: a piece stands behind one that is not there.
    pub(super) fn read(&self, seen: &BTreeSet<usize>) -> Option<String> {
        let mut sequence = Sequence::default();
        let mut pieces = BTreeMap::new();
        for (_, edit) in self.edits.iter().filter(|(change, _)| seen.contains(change)) {
            match edit {
                TextEdit::Insert { id, after, piece } => {
                    let id = ranked(*id);
                    sequence.insert(id, after.map(ranked))?.insert(id);
                    pieces.insert(id, piece);
                }
                TextEdit::Remove(ids) => {
                    for id in ids {
                        sequence.live_mut(ranked(*id))?.remove(ranked(*id));
                    }
                }
            }
        }
        let pieces = sequence.visible().filter_map(|(id, _)| pieces.get(&id));
        Some(pieces.map(|piece| piece.as_str()).collect())
    }
}

/// An id that stands where the foreign one does among those of a document, whose actors are sorted.
fn ranked(id: ForeignId) -> OpId {
    let mut actor = [0; 16];
    actor[..4].copy_from_slice(&id.actor.to_be_bytes());
    OpId { counter: id.counter, actor: ActorBytes(actor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_reads_as_those_who_saw_its_changes_read_it() {
        let id = |counter, actor| ForeignId { counter, actor };
        let mut text = Text::new(ObjectId::Root, "name".into());
        text.insert(0, id(2, 0), None, "t".into());
        text.insert(0, id(3, 0), Some(id(2, 0)), "o".into());
        text.insert(1, id(4, 1), Some(id(3, 0)), "y".into());
        text.remove(2, vec![id(3, 0)]);
        text.insert(2, id(5, 0), Some(id(3, 0)), "ea".into());
        let read = |seen: &[usize]| text.read(&seen.iter().copied().collect());
        assert_eq!(read(&[0]).as_deref(), Some("to"));
        assert_eq!(read(&[0, 1]).as_deref(), Some("toy"));
        assert_eq!(read(&[0, 2]).as_deref(), Some("tea"));
        assert_eq!(read(&[0, 1, 2]).as_deref(), Some("teay"));
        assert_eq!(read(&[1]), None);
    }
}
