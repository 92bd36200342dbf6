//! An office's wall clock.

/// The world begins on this day (2026-01-01), for display only.
pub const EPOCH_MS: i64 = 1_767_225_600_000;

/// A wall clock that may be wrong, run too fast, stand still or run backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    /// By how much it is ahead, in ms.
    pub offset_ms: i64,
    /// How much it gains, in parts of a million: 0 is right, -1,000,000 stands still, less runs backwards.
    pub drift_ppm: i64,
}

impl WallClock {
    /// A clock that is right.
    pub const RIGHT: Self = Self { offset_ms: 0, drift_ppm: 0 };

    /// What it shows at a time since the world began, in ms since 1970.
    pub fn shows(&self, time_ms: u64) -> i64 {
        let time_ms = i64::try_from(time_ms).unwrap_or(i64::MAX);
        let gained_ms = (i128::from(time_ms) * i128::from(self.drift_ppm) / 1_000_000) as i64;
        EPOCH_MS.saturating_add(time_ms).saturating_add(self.offset_ms).saturating_add(gained_ms)
    }
}
