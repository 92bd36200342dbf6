//! How many requests are under way at once: fewer while the remote is overloaded, and slowly more again.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many requests must go well, for each place there is, before there is one more: growth takes many times longer than
/// halving, so that a remote at its limit is found out seldom.
const CALM_PER_PLACE: usize = 8;

pub(super) struct Gate {
    places: Arc<Semaphore>,
    width: Arc<Mutex<Width>>,
}

struct Width {
    /// As many places as there may be.
    limit: usize,
    /// As many as there are.
    now: usize,
    /// Places in use that are not given back.
    owed: usize,
    /// Requests that went well since the last change.
    calm: usize,
}

/// A place among the requests under way.
pub(super) struct GatePlace {
    permit: Option<OwnedSemaphorePermit>,
    width: Arc<Mutex<Width>>,
}

impl Gate {
    pub(super) fn new(limit: usize) -> Self {
        let width = Width { limit, now: limit, owed: 0, calm: 0 };
        Self { places: Arc::new(Semaphore::new(limit)), width: Arc::new(Mutex::new(width)) }
    }

    pub(super) async fn enter(&self) -> GatePlace {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.places).acquire_owned().await.ok();
        GatePlace { permit, width: Arc::clone(&self.width) }
    }

    /// Half as many, and one at least.
    pub(super) fn narrow(&self) {
        let mut width = self.width.lock().unwrap_or_else(PoisonError::into_inner);
        let halved = (width.now / 2).max(1);
        self.set(&mut width, halved);
    }

    /// A request went well.
    pub(super) fn widen(&self) {
        let mut width = self.width.lock().unwrap_or_else(PoisonError::into_inner);
        width.calm += 1;
        if width.now < width.limit && width.calm >= width.now * CALM_PER_PLACE {
            let more = width.now + 1;
            self.set(&mut width, more);
        }
    }

    /// At most so many from now on.
    pub(super) fn limit(&self, limit: usize) {
        let mut width = self.width.lock().unwrap_or_else(PoisonError::into_inner);
        if width.limit != limit {
            width.limit = limit;
            self.set(&mut width, limit);
        }
    }

    /// As many as there are, and as there may be.
    pub(super) fn width(&self) -> (usize, usize) {
        let width = self.width.lock().unwrap_or_else(PoisonError::into_inner);
        (width.now, width.limit)
    }

    fn set(&self, width: &mut Width, now: usize) {
        width.calm = 0;
        if now < width.now {
            let fewer = width.now - now;
            width.owed += fewer - self.places.forget_permits(fewer);
        } else {
            let more = now - width.now;
            let kept = more.min(width.owed);
            width.owed -= kept;
            self.places.add_permits(more - kept);
        }
        width.now = now;
    }
}

impl Drop for GatePlace {
    fn drop(&mut self) {
        let mut width = self.width.lock().unwrap_or_else(PoisonError::into_inner);
        if width.owed > 0
            && let Some(permit) = self.permit.take()
        {
            width.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// As many as can enter at once.
    fn room(gate: &Gate) -> usize {
        let mut places = Vec::new();
        while let Some(place) = gate.enter().now_or_never() {
            places.push(place);
        }
        places.len()
    }

    #[test]
    fn an_overload_halves_and_calm_grows_back() {
        let gate = Gate::new(4);
        let held: Vec<GatePlace> = (0..4).map(|_| gate.enter().now_or_never().unwrap()).collect();
        gate.narrow();
        gate.narrow();
        gate.narrow();
        assert_eq!(gate.width(), (1, 4));
        drop(held);
        assert_eq!(room(&gate), 1);
        for _ in 0..8 {
            gate.widen();
        }
        assert_eq!((gate.width(), room(&gate)), ((2, 4), 2));
        for _ in 0..200 {
            gate.widen();
        }
        assert_eq!((gate.width(), room(&gate)), ((4, 4), 4));
    }

    #[test]
    fn a_limit_that_changes_while_places_are_taken_is_kept_in_the_end() {
        let gate = Gate::new(3);
        let held: Vec<GatePlace> = (0..3).map(|_| gate.enter().now_or_never().unwrap()).collect();
        gate.limit(1);
        gate.limit(2);
        drop(held);
        assert_eq!((gate.width(), room(&gate)), ((2, 2), 2));
        gate.limit(5);
        assert_eq!(room(&gate), 5);
    }
}
