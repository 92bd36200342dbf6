//! What consumers read that are further behind than the ring: the journal, a stretch at a time, which is kept a while for
//! others that come by. Consumers that fell behind together read it once.

use std::collections::VecDeque;
use std::sync::Arc;

use branchline_crdt::feed::{FeedPosition, PageBounds};
use branchline_crdt::ids::SpaceId;

use super::stretch::Stretch;

/// How much is read at a time, whatever one consumer wants: the items of the largest page of the API.
pub(super) const STEP: PageBounds = PageBounds { items_max: 1000, bytes_max: 1024 * 1024 };
/// Bytes of values in all stretches, about: as many as in the ring. The one that was read last is kept in any case.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Stretches, which may have no values.
const COUNT_MAX: usize = 64;

/// Of what a stretch is: a space, and one collection or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Of {
    pub(super) space: SpaceId,
    pub(super) collection: Option<String>,
}

/// Stretches of the feed, the one that was used last at the end.
#[derive(Default)]
pub(super) struct Stretches {
    kept: VecDeque<(Of, Arc<Stretch>)>,
}

impl Stretches {
    /// One that holds what follows a place, if it is more than nothing.
    pub(super) fn find(&mut self, of: &Of, place: Option<FeedPosition>) -> Option<Arc<Stretch>> {
        let holds = |(kept, run): &(Of, Arc<Stretch>)| {
            kept == of && run.follows(place) && run.end().place() > place
        };
        let index = self.kept.iter().position(holds)?;
        let found = self.kept.remove(index)?;
        let run = Arc::clone(&found.1);
        self.kept.push_back(found);
        Some(run)
    }

    /// Keeps one, and forgets those that were not used for the longest time.
    pub(super) fn keep(&mut self, of: Of, run: Arc<Stretch>) {
        self.kept.push_back((of, run));
        let bytes = |kept: &VecDeque<(Of, Arc<Stretch>)>| -> usize {
            kept.iter().map(|(_, run)| run.bytes()).sum()
        };
        while self.kept.len() > COUNT_MAX || (self.kept.len() > 1 && bytes(&self.kept) > BYTES_MAX)
        {
            self.kept.pop_front();
        }
    }
}
