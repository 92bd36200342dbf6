//! The live values of one field or element.

use std::collections::BTreeSet;

use crate::record::change::operation::OpId;

/// The live values of one field or element. There is mostly one: it costs no allocation. There
/// can be very many: a peer can write any number at once, and each is found in logarithmic time.
#[derive(Debug, Clone, Default)]
pub(crate) enum Live {
    #[default]
    None,
    One(OpId),
    Many(BTreeSet<OpId>),
}

impl Live {
    pub(crate) fn is_empty(&self) -> bool {
        self.shown().is_none()
    }

    /// The one that is shown: the greatest.
    pub(crate) fn shown(&self) -> Option<OpId> {
        match self {
            Self::None => None,
            Self::One(id) => Some(*id),
            Self::Many(ids) => ids.last().copied(),
        }
    }

    /// All of them, ascending.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = OpId> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(id) => (Some(*id), None),
            Self::Many(ids) => (None, Some(ids)),
        };
        one.into_iter().chain(many.into_iter().flatten().copied())
    }

    pub(crate) fn insert(&mut self, id: OpId) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(other) => *self = Self::Many(BTreeSet::from([*other, id])),
            Self::Many(ids) => {
                ids.insert(id);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: OpId) {
        match self {
            Self::None => {}
            Self::One(other) if *other == id => *self = Self::None,
            Self::One(_) => {}
            Self::Many(ids) => {
                ids.remove(&id);
                // One state has one form, whatever came before: it is stored as it is.
                if let (1, Some(last)) = (ids.len(), ids.first()) {
                    *self = Self::One(*last);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ActorBytes;

    #[test]
    fn what_is_left_has_one_form() {
        let id = |counter| OpId { counter, actor: ActorBytes([1; 16]) };
        let mut live = Live::None;
        for counter in 1..=3 {
            live.insert(id(counter));
        }
        live.remove(id(3));
        live.remove(id(1));
        assert!(matches!(live, Live::One(left) if left == id(2)));
        live.remove(id(2));
        assert!(matches!(live, Live::None));
    }
}
