//! What is to happen, in order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::{Message, SiteIndex};

/// Something that is to happen.
#[derive(Debug)]
pub(super) enum WorldEvent {
    /// A message arrives.
    Deliver { number: u64, from: SiteIndex, to: SiteIndex, session: u64, message: Arc<Message> },
    /// A site is informed that time passed. Only the tick that was planned last counts.
    Tick { office: SiteIndex },
    /// The ends of a link notice what has become of it; unless more has happened to it since.
    Notice { a: SiteIndex, b: SiteIndex, session: u64 },
    /// An office looks for a member where it was.
    Search { office: SiteIndex, peer: SiteIndex, session: u64 },
    /// A request was not answered in time.
    TimedOut { office: SiteIndex, peer: SiteIndex, id: u64, start: u32 },
}

struct PlannedEvent {
    at_ms: u64,
    /// Order of planning: what is planned first happens first.
    number: u64,
    event: WorldEvent,
}

impl PartialEq for PlannedEvent {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PlannedEvent {}

impl PartialOrd for PlannedEvent {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PlannedEvent {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

/// What is to happen, in order of time.
#[derive(Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<PlannedEvent>>,
    count: u64,
}

impl Events {
    pub(super) fn plan(&mut self, at_ms: u64, event: WorldEvent) {
        self.count += 1;
        self.heap.push(Reverse(PlannedEvent { at_ms, number: self.count, event }));
    }

    /// The next event that happens before `end_ms` or then.
    pub(super) fn next(&mut self, end_ms: u64) -> Option<(u64, WorldEvent)> {
        if self.heap.peek().is_none_or(|Reverse(next)| next.at_ms > end_ms) {
            return None;
        }
        self.heap.pop().map(|Reverse(next)| (next.at_ms, next.event))
    }

    /// The next event, if it is a message for this office that arrives at this very time.
    pub(super) fn next_for(&mut self, office: SiteIndex, at_ms: u64) -> Option<WorldEvent> {
        let Reverse(next) = self.heap.peek()?;
        match next.event {
            WorldEvent::Deliver { to, .. } if to == office && next.at_ms == at_ms => {
                self.heap.pop().map(|Reverse(next)| next.event)
            }
            WorldEvent::Deliver { .. }
            | WorldEvent::Tick { .. }
            | WorldEvent::Notice { .. }
            | WorldEvent::Search { .. }
            | WorldEvent::TimedOut { .. } => None,
        }
    }

    /// Events that wait.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}
