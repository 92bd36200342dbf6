//! How often somebody may try a password: counted by name, and by the address that the tries come from.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong passwords of one name within [`WINDOW`]. More than somebody mistypes, far less than guessing takes.
const OF_NAME_MAX: u32 = 10;
/// Wrong passwords from one address: several people may sit behind it.
const OF_ADDRESS_MAX: u32 = 30;
/// How long wrong ones count.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Names and addresses that are counted. Beyond them the oldest are forgotten.
const COUNTED_MAX: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Name(String),
    Address(IpAddr),
}

/// The wrong passwords of late.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<BTreeMap<Key, (u32, Instant)>>);

impl Attempts {
    /// Counts a try before it is looked at, so that many at the same time count too. `Err`: how long to wait.
    pub(crate) fn begin(&self, name: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.retain(|_, (_, since)| now.duration_since(*since) < WINDOW);
        let keys =
            [(Key::Name(name.to_owned()), OF_NAME_MAX), (Key::Address(address), OF_ADDRESS_MAX)];
        for (key, most) in &keys {
            if let Some((_, since)) = counted.get(key).filter(|(count, _)| count >= most) {
                return Err(WINDOW.saturating_sub(now.duration_since(*since)));
            }
        }
        for (key, _) in keys {
            counted.entry(key).or_insert((0, now)).0 += 1;
        }
        while counted.len() > COUNTED_MAX {
            let oldest = counted.iter().min_by_key(|(_, (_, since))| *since);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            counted.remove(&oldest);
        }
        Ok(())
    }

    /// The password was right: what was tried before counts no more.
    pub(crate) fn succeed(&self, name: &str, address: IpAddr) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.remove(&Key::Name(name.to_owned()));
        counted.remove(&Key::Address(address));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_limited_by_name_and_by_address_for_a_while() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        for number in 0..OF_NAME_MAX {
            attempts.begin("ana", address(number as u8), now).unwrap();
        }
        assert!(attempts.begin("ana", address(200), now).is_err());
        attempts.begin("ana", address(200), now + WINDOW).unwrap();
        for number in 0..OF_ADDRESS_MAX {
            attempts.begin(&format!("user{number}"), address(201), now).unwrap();
        }
        assert!(attempts.begin("ben", address(201), now).is_err());
        attempts.succeed("user1", address(201));
        attempts.begin("ben", address(201), now).unwrap();
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..COUNTED_MAX as u32 {
            let address = IpAddr::from(number.to_be_bytes());
            attempts.begin(&format!("user{number}"), address, now).unwrap();
        }
        assert!(attempts.0.lock().unwrap().len() <= COUNTED_MAX);
    }
}
