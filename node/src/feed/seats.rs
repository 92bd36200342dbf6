//! Who reads the feed now, and how far the slowest is behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use branchline_crdt::feed::FeedPosition;

/// The places of all consumers.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<Mutex<TakenSeat>>);

#[derive(Default)]
struct TakenSeat {
    count: u64,
    places: BTreeMap<u64, Option<FeedPosition>>,
}

/// One consumer's; given back when it is dropped.
pub(super) struct Seat {
    seats: Seats,
    number: u64,
}

impl Seats {
    /// For a consumer that has seen everything up to a place.
    pub(super) fn take(&self, place: Option<FeedPosition>) -> Seat {
        let mut taken = self.taken();
        taken.count += 1;
        let number = taken.count;
        taken.places.insert(number, place);
        Seat { seats: self.clone(), number }
    }

    /// How many there are, and the place of the one that is furthest behind.
    pub(super) fn look(&self) -> (usize, Option<Option<FeedPosition>>) {
        let taken = self.taken();
        (taken.places.len(), taken.places.values().min().copied())
    }

    fn taken(&self) -> MutexGuard<'_, TakenSeat> {
        // A thread that panicked while holding the lock left the map whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The consumer has seen more.
    pub(super) fn move_to(&self, place: Option<FeedPosition>) {
        self.seats.taken().places.insert(self.number, place);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken().places.remove(&self.number);
    }
}
