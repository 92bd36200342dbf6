//! What has to hold in every run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What Branchline promises, whatever happens. The numbers are those of `ARCHITECTURE.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// Equal frontiers mean equal digests.
    EqualDigests,
    /// After the faults every connected set of sites converges within a bounded number of sync rounds.
    Convergence,
    /// An acknowledged write survives any crash; an entry is applied wholly or not at all.
    Durability,
    /// Entries apply in causal order; a frontier never moves back within an incarnation.
    CausalOrder,
    /// Nobody honest signs two contents under one number; where somebody does, all know it and hold both in the end.
    OneContent,
    /// Nothing deleted comes back by itself.
    Deletion,
    /// Every visible value traces to a valid signature by a site allowed to write it.
    Provenance,
    /// Nothing reaches a non-member.
    Confinement,
    /// A feed cursor sees every change at least once, in order.
    Feed,
    /// Memory, queues, files and connections are bounded; one poison record blocks nothing else.
    Bounds,
    /// No verdict on an entry hangs on a wall clock.
    WallClock,
}

impl Invariant {
    /// Every invariant, in the order of `ARCHITECTURE.md`.
    pub const ALL: [Self; 11] = [
        Self::EqualDigests,
        Self::Convergence,
        Self::Durability,
        Self::CausalOrder,
        Self::OneContent,
        Self::Deletion,
        Self::Provenance,
        Self::Confinement,
        Self::Feed,
        Self::Bounds,
        Self::WallClock,
    ];

    /// Its number in `ARCHITECTURE.md`, from 1.
    pub fn number(self) -> usize {
        self as usize + 1
    }

    /// What it promises, in one plain sentence.
    pub fn promise(self) -> &'static str {
        match self {
            Self::EqualDigests => "offices that hold the same entries show the same records",
            Self::Convergence => "once the links are back, all offices come into step in time",
            Self::Durability => "an acknowledged write is never lost, and never half applied",
            Self::CausalOrder => "nothing shows before what it builds upon, and nothing goes back",
            Self::OneContent => "nobody can give two offices two stories",
            Self::Deletion => "nothing deleted comes back by itself",
            Self::Provenance => "every value was signed by an office allowed to write it",
            Self::Confinement => "nothing reaches a site outside the network",
            Self::Feed => "anyone who follows the changes misses none",
            Self::Bounds => "memory and queues stay bounded, and one bad record stops nothing else",
            Self::WallClock => "wrong clocks change nothing but the times shown",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {}", self.number(), self.promise())
    }
}
