//! Drives that forget: what a process changes below a folder is recorded ([`shim`], [`recording`]), played to a model
//! of a drive ([`drive`]), and the folder is made again as a crash at any moment could have left it. [`warehouse`]
//! writes what can be checked afterwards.

pub mod drive;
pub mod recording;
pub mod shim;
pub mod warehouse;

/// SplitMix64: a fixed sequence for each seed.
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}
