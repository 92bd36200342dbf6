//! The machine's clock, which is for display and for what expires. Nothing is judged by it, but what it says is written
//! down, so one that cannot be right is refused at the start.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// The end of the year 9999: later moments have no RFC 3339 form.
const SECONDS_MAX: u64 = 253_402_300_799;
/// Certificates of QUIC, which each side makes for itself, are good from 1975 to 4095.
const CERTIFICATES_SECONDS: std::ops::Range<u64> = 157_766_400..67_090_204_800;

/// The clock says what cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this machine's clock says {found}, expected a time from 1970 to 9999: set the clock first"
)]
pub struct WrongClock {
    /// What it says.
    pub found: String,
}

/// Refuses a clock before 1970 or after 9999.
///
/// # Errors
/// [`WrongClock`] says what the clock shows: set it, and start again.
pub fn check() -> Result<(), WrongClock> {
    check_at(SystemTime::now())
}

/// What it says, in milliseconds since 1970; should it have been set to what cannot be since the start, the nearest that
/// can.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.min(Duration::from_secs(SECONDS_MAX)).as_millis()).unwrap_or(i64::MAX)
}

/// Says what a clock that is far off will cost a node with these addresses.
pub(crate) fn warn<'a>(mut addresses: impl Iterator<Item = &'a Multiaddr>) {
    let uses_quic = addresses.any(|address| address.iter().any(|part| part == Protocol::QuicV1));
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    if uses_quic && !CERTIFICATES_SECONDS.contains(&since.as_secs()) {
        let clock = text_of(now);
        tracing::warn!(
            clock,
            "links by QUIC fail until the clock is set, for certificates are good from 1975 to 4095; links by TCP work"
        );
    }
}

fn check_at(now: SystemTime) -> Result<(), WrongClock> {
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) if since.as_secs() <= SECONDS_MAX => Ok(()),
        Ok(_) | Err(_) => Err(WrongClock { found: text_of(now) }),
    }
}

fn text_of(moment: SystemTime) -> String {
    if let Ok(moment) = Timestamp::try_from(moment) {
        return format!("{moment:.0}");
    }
    match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => format!("{} s after 1970", since.as_secs()),
        Err(before) => format!("{} s before 1970", before.duration().as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_times_that_can_be_written_down_are_taken() {
        let after = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        for right in [0, 1, 1_800_000_000, SECONDS_MAX] {
            assert_eq!(check_at(after(right)), Ok(()), "{right}");
        }
        let before = UNIX_EPOCH - Duration::from_secs(1);
        for (wrong, expected) in [
            (before, "says 1969-12-31T23:59:59Z, expected a time from 1970 to 9999"),
            (after(SECONDS_MAX + 1), "says 253402300800 s after 1970"),
            (after(1 << 60), "s after 1970"),
        ] {
            let error = check_at(wrong).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
