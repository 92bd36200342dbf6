//! The order of a list's or text's elements.
//!
//! An element stands after the one it was inserted after; of several inserted after the same, the
//! later stands first. This is the replicated growable array (Roh et al., "Replicated abstract
//! data types", 2011) with Automerge's operation ids as its timestamps, kept as a tree (Attiya et
//! al., "Specification and complexity of collaborative text editing", 2016), so that no insertion
//! has to pass over others.

use std::collections::{BTreeMap, BTreeSet};

use super::live::Live;
use crate::record::change::operation::OpId;

/// The elements of a list or text, removed ones included: others may be inserted after them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sequence {
    /// The live values of each element. A removed element has none.
    elements: BTreeMap<OpId, Live>,
    /// Each element behind the one that it was inserted after; none is the beginning.
    order: BTreeSet<(Option<OpId>, OpId)>,
}

impl Sequence {
    pub(crate) fn contains(&self, id: OpId) -> bool {
        self.elements.contains_key(&id)
    }

    pub(crate) fn live_mut(&mut self, id: OpId) -> Option<&mut Live> {
        self.elements.get_mut(&id)
    }

    /// Inserts an element after another, or at the beginning, and returns its live values. `None`
    /// if the other one is not here.
    pub(crate) fn insert(&mut self, id: OpId, after: Option<OpId>) -> Option<&mut Live> {
        if after.is_some_and(|after| !self.contains(after)) {
            return None;
        }
        self.order.insert((after, id));
        Some(self.elements.entry(id).or_default())
    }

    /// All elements, each with the one that it was inserted after and its live values.
    pub(crate) fn elements(&self) -> impl Iterator<Item = (OpId, Option<OpId>, &Live)> {
        self.order.iter().filter_map(|(after, id)| Some((*id, *after, self.elements.get(id)?)))
    }

    /// Puts back an element of [`Sequence::elements`], in any order.
    pub(crate) fn restore(&mut self, id: OpId, after: Option<OpId>, live: Live) {
        self.order.insert((after, id));
        self.elements.insert(id, live);
    }

    /// The elements that have values, in order, with their live values.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (OpId, &Live)> {
        let mut pending: Vec<OpId> = self.inserted_after(None).collect();
        std::iter::from_fn(move || {
            let id = pending.pop()?;
            pending.extend(self.inserted_after(Some(id)));
            self.elements.get(&id).map(|live| (id, live))
        })
        .filter(|(_, live)| !live.is_empty())
    }

    /// What was inserted directly after an element, earliest first.
    fn inserted_after(&self, after: Option<OpId>) -> impl Iterator<Item = OpId> {
        let range = (after, OpId::MIN)..=(after, OpId::MAX);
        self.order.range(range).map(|(_, id)| *id)
    }
}
