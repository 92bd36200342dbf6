//! Links that sign somebody in, each once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::secret::{self, SecretHash};

/// How long a link waits for a browser.
pub(crate) const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Links that wait at the same time; the oldest makes room.
const LINKS_MAX: usize = 16;

/// The links that have not served yet.
#[derive(Default)]
pub(crate) struct Links(Mutex<VecDeque<(SecretHash, Instant)>>);

impl Links {
    /// The secret of a new link; `None`: the machine gives no random bytes.
    pub(crate) fn make(&self, now: Instant) -> Option<String> {
        let secret = secret::new()?;
        let kept = secret::kept(&secret)?;
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|(_, made)| now.duration_since(*made) < LIFETIME);
        if links.len() >= LINKS_MAX {
            links.pop_front();
        }
        links.push_back((kept, now));
        Some(secret)
    }

    /// Says whether a link serves now. It does not any more.
    pub(crate) fn take(&self, secret: &str, now: Instant) -> bool {
        let Some(kept) = secret::kept(secret) else { return false };
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = links.iter().position(|(link, _)| *link == kept) else { return false };
        links.remove(at).is_some_and(|(_, made)| now.duration_since(made) < LIFETIME)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_serves_once_and_for_a_while() {
        let (links, now) = (Links::default(), Instant::now());
        let link = links.make(now).unwrap();
        assert!(!links.take("", now) && !links.take(&link.to_lowercase(), now));
        assert!(links.take(&link, now + LIFETIME - Duration::from_secs(1)));
        assert!(!links.take(&link, now));
        let late = links.make(now).unwrap();
        assert!(!links.take(&late, now + LIFETIME));
        assert!(!links.take(&late, now));
    }

    #[test]
    fn of_too_many_links_the_latest_serve() {
        let (links, now) = (Links::default(), Instant::now());
        let made: Vec<_> = (0..=LINKS_MAX).map(|_| links.make(now).unwrap()).collect();
        assert!(!links.take(&made[0], now));
        assert!(made[1..].iter().all(|link| links.take(link, now)));
    }
}
