//! What is to happen, in order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::{Message, Office};

/// Something that is to happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A message arrives.
    Deliver { number: u64, from: Office, to: Office, session: u64, message: Arc<Message> },
    /// A site is told that time passed. Only the tick that was planned last counts.
    Tick { office: Office },
    /// The ends of a link notice what has become of it; unless more has happened to it since.
    Notice { a: Office, b: Office, session: u64 },
    /// An office looks for a member where it was.
    Search { office: Office, peer: Office, session: u64 },
    /// A request was not answered in time.
    TimedOut { office: Office, peer: Office, id: u64, start: u32 },
}

struct Planned {
    at_ms: u64,
    /// Order of planning: what is planned first happens first.
    number: u64,
    event: Event,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_ms, self.number).cmp(&(other.at_ms, other.number))
    }
}

/// What is to happen, in order of time.
#[derive(Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<Planned>>,
    count: u64,
}

impl Events {
    pub(super) fn plan(&mut self, at_ms: u64, event: Event) {
        self.count += 1;
        self.heap.push(Reverse(Planned { at_ms, number: self.count, event }));
    }

    /// The next event that happens before `end_ms` or then.
    pub(super) fn next(&mut self, end_ms: u64) -> Option<(u64, Event)> {
        if self.heap.peek().is_none_or(|Reverse(next)| next.at_ms > end_ms) {
            return None;
        }
        self.heap.pop().map(|Reverse(next)| (next.at_ms, next.event))
    }

    /// The next event, if it is a message for this office that arrives at this very time.
    pub(super) fn next_for(&mut self, office: Office, at_ms: u64) -> Option<Event> {
        let Reverse(next) = self.heap.peek()?;
        match next.event {
            Event::Deliver { to, .. } if to == office && next.at_ms == at_ms => {
                self.heap.pop().map(|Reverse(next)| next.event)
            }
            Event::Deliver { .. }
            | Event::Tick { .. }
            | Event::Notice { .. }
            | Event::Search { .. }
            | Event::TimedOut { .. } => None,
        }
    }

    /// Events that wait.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}
