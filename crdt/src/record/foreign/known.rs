//! Where the values of a document are in the record.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::change::genesis::InitialChange;
use super::super::change::operation::{ActorBytes, ObjectId, OpId, Shape};
use super::super::history::{History, Slot};
use super::read::{ForeignDocument, ForeignId, ForeignObject};
use super::texts::Text;

/// Operations of the change that is being translated have no counters yet: they are counted from here, where no real
/// counter is.
const UNSETTLED: u64 = 1 << 62;

/// A map, list or text of the record.
#[derive(Debug)]
pub(super) struct DocumentPlace {
    pub(super) shape: Shape,
    /// The names from the record down to it; `[]` for an element.
    pub(super) path: Vec<String>,
    /// Whether no list lies between, so that a schema can speak of what is in it.
    pub(super) is_field: bool,
    /// Whether all sites share it: the record, and maps that a genesis made.
    pub(super) is_shared: bool,
}

impl DocumentPlace {
    pub(super) fn path_of(&self, name: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        path
    }

    fn below(&self, slot: &Slot, shape: Shape, is_shared: bool) -> Self {
        match slot {
            Slot::Field(name) => {
                Self { shape, path: self.path_of(name), is_field: self.is_field, is_shared }
            }
            Slot::Element(_) => {
                Self { shape, path: self.path_of("[]"), is_field: false, is_shared }
            }
        }
    }
}

/// Where the values of a document are in the record, as far as they were not made there.
#[derive(Debug, Default)]
pub(super) struct KnownDocument {
    /// What foreign operations that write a value became.
    own: BTreeMap<ForeignId, OpId>,
    /// Elements that were removed here and written there: the ones that stand for them, in the order in which they were
    /// made or found.
    elements: BTreeMap<ForeignId, Vec<OpId>>,
    /// Texts that stand for values.
    pub(super) texts: BTreeMap<ForeignId, Text>,
    /// What operations that became nothing of their own are, because all sites share it.
    pub(super) genesis: BTreeMap<OpId, InitialChange>,
    /// In which object each foreign object lies.
    pub(super) parents: BTreeMap<ForeignId, ForeignObject>,
    /// What each change of the document is here; nothing for one that came to nothing.
    pub(super) hashes: BTreeMap<[u8; 32], Vec<[u8; 32]>>,
    places: BTreeMap<ObjectId, Rc<DocumentPlace>>,
    unsettled: Vec<Unsettled>,
}

#[derive(Debug)]
enum Unsettled {
    Own(ForeignId),
    Element(ForeignId),
    Place(OpId),
    Text(ForeignId),
}

/// An operation of the change that is being translated.
pub(super) fn unsettled(index: usize, actor: ActorBytes) -> OpId {
    OpId { counter: UNSETTLED + index as u64, actor }
}

/// Which operation of the change that is being translated it is.
pub(super) fn unsettled_index(id: OpId) -> Option<usize> {
    id.counter.checked_sub(UNSETTLED).map(|index| index as usize)
}

/// The same operation, once the change is known to begin at `start_op`.
pub(super) fn settled(id: OpId, start_op: u64) -> OpId {
    match id.counter.checked_sub(UNSETTLED) {
        Some(index) => OpId { counter: start_op + index, ..id },
        None => id,
    }
}

impl KnownDocument {
    /// What a foreign operation became. A site's is what it is.
    pub(super) fn own(&self, foreign: &ForeignDocument, id: ForeignId) -> Option<OpId> {
        let is = || Some(OpId { counter: id.counter, actor: foreign.site_actor(id.actor)? });
        self.own.get(&id).copied().or_else(is)
    }

    /// The element that stands for a foreign one, for a change that may name those for which `is_seen` holds.
    pub(super) fn element(
        &self,
        foreign: &ForeignDocument,
        id: ForeignId,
        is_seen: impl Fn(OpId) -> bool,
    ) -> Option<OpId> {
        let mut instead = self.elements.get(&id).into_iter().flatten().copied();
        instead.rfind(|id| is_seen(*id)).or_else(|| self.own(foreign, id))
    }

    /// Notes what a foreign operation became. `false`: there was one of this id.
    pub(super) fn note(&mut self, id: ForeignId, own: OpId) -> bool {
        self.unsettled.push(Unsettled::Own(id));
        self.own.insert(id, own).is_none()
    }

    /// As [`KnownDocument::note`], of one that turned out to be another.
    pub(super) fn note_instead(&mut self, id: ForeignId, own: OpId) {
        self.note(id, own);
    }

    pub(super) fn note_element(&mut self, id: ForeignId, own: OpId) {
        self.unsettled.push(Unsettled::Element(id));
        self.elements.entry(id).or_default().push(own);
    }

    /// Notes that a text that stands for a value was made, or is written to by the change.
    pub(super) fn note_text(&mut self, id: ForeignId) {
        self.unsettled.push(Unsettled::Text(id));
    }

    pub(super) fn note_place(&mut self, object: OpId, place: DocumentPlace) {
        self.unsettled.push(Unsettled::Place(object));
        self.places.insert(ObjectId::Made(object), Rc::new(place));
    }

    /// The change that was translated begins at `start_op`.
    pub(super) fn settle(&mut self, start_op: u64) {
        let settle = |id: &mut OpId| *id = settled(*id, start_op);
        for unsettled in std::mem::take(&mut self.unsettled) {
            match unsettled {
                Unsettled::Own(id) => self.own.get_mut(&id).map(settle),
                Unsettled::Element(id) => {
                    self.elements.get_mut(&id).map(|ids| ids.iter_mut().for_each(settle))
                }
                Unsettled::Place(id) => {
                    let place = self.places.remove(&ObjectId::Made(id));
                    let id = ObjectId::Made(settled(id, start_op));
                    place.map(|place| drop(self.places.insert(id, place)))
                }
                Unsettled::Text(id) => {
                    self.texts.get_mut(&id).map(|text| text.settle(|id| settled(id, start_op)))
                }
            };
        }
    }

    /// An object of the record. `None`: there is none.
    pub(super) fn place(
        &mut self,
        history: &History,
        object: ObjectId,
    ) -> Option<Rc<DocumentPlace>> {
        if let Some(place) = self.places.get(&object) {
            return Some(Rc::clone(place));
        }
        let place = match object {
            ObjectId::Root => DocumentPlace {
                shape: Shape::Map,
                path: Vec::new(),
                is_field: true,
                is_shared: true,
            },
            ObjectId::Made(id) => {
                let stored = history.value(id)?;
                let shape = stored.content.shape()?;
                let around = self.place(history, stored.object)?;
                around.below(&stored.slot, shape, history.is_of_genesis(id))
            }
        };
        let place = Rc::new(place);
        self.places.insert(object, Rc::clone(&place));
        Some(place)
    }
}
