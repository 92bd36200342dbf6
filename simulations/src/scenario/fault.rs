//! What can go wrong, and when.

use std::fmt;

use branchline_crdt::membership::Role;
use serde::{Deserialize, Serialize};

use super::{LinkQuality, Office};

/// The kinds of faults, by the names that scenario files use. Stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultName {
    /// See [`FaultKind::Split`].
    Split,
    /// See [`FaultKind::Isolate`].
    Isolate,
    /// See [`FaultKind::Cut`].
    Cut,
    /// See [`FaultKind::OneWay`].
    OneWay,
    /// See [`FaultKind::Degrade`].
    Degrade,
    /// See [`FaultKind::Stop`].
    Stop,
    /// See [`FaultKind::Crash`].
    Crash,
    /// See [`FaultKind::TornFrame`].
    TornFrame,
    /// See [`FaultKind::BitFlip`].
    BitFlip,
    /// See [`FaultKind::LostTables`].
    LostTables,
    /// See [`FaultKind::FullDisk`].
    FullDisk,
    /// See [`FaultKind::ShortRoom`].
    ShortRoom,
    /// See [`FaultKind::Restore`].
    Restore,
    /// See [`FaultKind::Clone`].
    Clone,
    /// See [`FaultKind::JoinLate`].
    JoinLate,
    /// See [`FaultKind::Clock`].
    Clock,
    /// See [`FaultKind::Byzantine`].
    Byzantine,
    /// See [`FaultKind::Revoke`].
    Revoke,
    /// See [`FaultKind::ChangeRole`].
    Role,
    /// See [`FaultKind::Rotate`].
    Rotate,
    /// See [`FaultKind::Upgrade`].
    Upgrade,
}

impl FaultName {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::Split,
        Self::Isolate,
        Self::Cut,
        Self::OneWay,
        Self::Degrade,
        Self::Stop,
        Self::Crash,
        Self::TornFrame,
        Self::BitFlip,
        Self::LostTables,
        Self::FullDisk,
        Self::ShortRoom,
        Self::Restore,
        Self::Clone,
        Self::JoinLate,
        Self::Clock,
        Self::Byzantine,
        Self::Revoke,
        Self::Role,
        Self::Rotate,
        Self::Upgrade,
    ];

    /// The name in scenario files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Isolate => "isolate",
            Self::Cut => "cut",
            Self::OneWay => "one-way",
            Self::Degrade => "degrade",
            Self::Stop => "stop",
            Self::Crash => "crash",
            Self::TornFrame => "torn-frame",
            Self::BitFlip => "bit-flip",
            Self::LostTables => "lost-tables",
            Self::FullDisk => "full-disk",
            Self::ShortRoom => "short-room",
            Self::Restore => "restore",
            Self::Clone => "clone",
            Self::JoinLate => "join-late",
            Self::Clock => "clock",
            Self::Byzantine => "byzantine",
            Self::Revoke => "revoke",
            Self::Role => "role",
            Self::Rotate => "rotate",
            Self::Upgrade => "upgrade",
        }
    }

    /// Whether it happens at once, so that it has no end.
    pub fn is_instant(self) -> bool {
        match self {
            Self::BitFlip
            | Self::LostTables
            | Self::Restore
            | Self::JoinLate
            | Self::Revoke
            | Self::Role
            | Self::Rotate
            | Self::Upgrade => true,
            Self::Split
            | Self::Isolate
            | Self::Cut
            | Self::OneWay
            | Self::Degrade
            | Self::Stop
            | Self::Crash
            | Self::TornFrame
            | Self::FullDisk
            | Self::ShortRoom
            | Self::Clone
            | Self::Clock
            | Self::Byzantine => false,
        }
    }
}

impl fmt::Display for FaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Every link between offices of different groups is cut. Offices in no group keep theirs.
    Split {
        /// The groups, two or more.
        groups: Vec<Vec<Office>>,
    },
    /// Each of these offices loses all its links; its people work on.
    Isolate {
        /// The offices.
        offices: Vec<Office>,
    },
    /// These links are cut.
    Cut {
        /// The links.
        links: Vec<(Office, Office)>,
    },
    /// Over each of these links nothing passes from the second office to the first.
    OneWay {
        /// The links, each from the office that is heard to the office that hears.
        links: Vec<(Office, Office)>,
    },
    /// These links are worse for a while.
    Degrade {
        /// The links.
        links: Vec<(Office, Office)>,
        /// Their quality meanwhile.
        quality: LinkQuality,
    },
    /// The nodes of these offices are switched off in an orderly way, and on again at the end. Nobody writes there meanwhile.
    Stop {
        /// The offices.
        offices: Vec<Office>,
    },
    /// The power fails: of what was not synced a random part is lost. The nodes start again at the end.
    Crash {
        /// The offices.
        offices: Vec<Office>,
    },
    /// As [`FaultKind::Crash`], in the middle of writing a frame of the journal: half of the frame is on the drive.
    TornFrame {
        /// The offices.
        offices: Vec<Office>,
    },
    /// Bits of the journal change on the drive while the node is off for a moment.
    BitFlip {
        /// The offices.
        offices: Vec<Office>,
        /// How many bits of each journal.
        bits: u32,
    },
    /// The tables are lost, not the journal; the node is off for a moment and rebuilds them.
    LostTables {
        /// The offices.
        offices: Vec<Office>,
    },
    /// The disks have no room left.
    FullDisk {
        /// The offices.
        offices: Vec<Office>,
    },
    /// The disks have too little room for what other offices write; own writes are taken.
    ShortRoom {
        /// The offices.
        offices: Vec<Office>,
    },
    /// The disks are replaced by copies of themselves from before; what came since is lost there.
    Restore {
        /// The offices.
        offices: Vec<Office>,
        /// How old the copies are, in ms.
        age_ms: u64,
    },
    /// Copies of the disks run as second nodes of the same sites until the end, then the copies are thrown away.
    Clone {
        /// The offices.
        offices: Vec<Office>,
    },
    /// These offices do not exist before; then they join the network.
    JoinLate {
        /// The offices.
        offices: Vec<Office>,
    },
    /// The wall clocks jump by an offset, and back at the end.
    Clock {
        /// The offices.
        offices: Vec<Office>,
        /// By how much, in ms.
        offset_ms: i64,
    },
    /// These members lie while the fault lasts.
    Byzantine {
        /// The offices.
        offices: Vec<Office>,
        /// What they do.
        acts: Vec<Act>,
    },
    /// An office decides that others are no members any more. Where it may not, nothing happens.
    Revoke {
        /// Who decides.
        by: Office,
        /// Of whom.
        offices: Vec<Office>,
    },
    /// An office decides what others may do. Where it may not, nothing happens.
    ChangeRole {
        /// Who decides.
        by: Office,
        /// Of whom.
        offices: Vec<Office>,
        /// What they may do.
        role: Role,
    },
    /// These offices go on under other keys, and so does each copy of their disks that runs, under a key of its own.
    Rotate {
        /// The offices.
        offices: Vec<Office>,
    },
    /// These offices run a later program from now on, which writes a payload format that the others only hand on. At
    /// the end of the scenario all run it.
    Upgrade {
        /// The offices.
        offices: Vec<Office>,
    },
}

impl FaultKind {
    /// Its kind without the particulars.
    pub fn name(&self) -> FaultName {
        match self {
            Self::Split { .. } => FaultName::Split,
            Self::Isolate { .. } => FaultName::Isolate,
            Self::Cut { .. } => FaultName::Cut,
            Self::OneWay { .. } => FaultName::OneWay,
            Self::Degrade { .. } => FaultName::Degrade,
            Self::Stop { .. } => FaultName::Stop,
            Self::Crash { .. } => FaultName::Crash,
            Self::TornFrame { .. } => FaultName::TornFrame,
            Self::BitFlip { .. } => FaultName::BitFlip,
            Self::LostTables { .. } => FaultName::LostTables,
            Self::FullDisk { .. } => FaultName::FullDisk,
            Self::ShortRoom { .. } => FaultName::ShortRoom,
            Self::Restore { .. } => FaultName::Restore,
            Self::Clone { .. } => FaultName::Clone,
            Self::JoinLate { .. } => FaultName::JoinLate,
            Self::Clock { .. } => FaultName::Clock,
            Self::Byzantine { .. } => FaultName::Byzantine,
            Self::Revoke { .. } => FaultName::Revoke,
            Self::ChangeRole { .. } => FaultName::Role,
            Self::Rotate { .. } => FaultName::Rotate,
            Self::Upgrade { .. } => FaultName::Upgrade,
        }
    }

    /// The offices that it hits, in order and without repetition.
    pub fn offices(&self) -> Vec<Office> {
        let mut offices = match self {
            Self::Split { groups } => groups.concat(),
            Self::Cut { links } | Self::OneWay { links } | Self::Degrade { links, .. } => {
                links.iter().flat_map(|(a, b)| [*a, *b]).collect()
            }
            Self::Isolate { offices }
            | Self::Stop { offices }
            | Self::Crash { offices }
            | Self::TornFrame { offices }
            | Self::BitFlip { offices, .. }
            | Self::LostTables { offices }
            | Self::FullDisk { offices }
            | Self::ShortRoom { offices }
            | Self::Restore { offices, .. }
            | Self::Clone { offices }
            | Self::JoinLate { offices }
            | Self::Clock { offices, .. }
            | Self::Byzantine { offices, .. }
            | Self::Revoke { offices, .. }
            | Self::Rotate { offices }
            | Self::Upgrade { offices }
            | Self::ChangeRole { offices, .. } => offices.clone(),
        };
        offices.sort_unstable();
        offices.dedup();
        offices
    }
}

/// What a lying member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Sends entries in the name of others.
    ForgedAuthor,
    /// Signs two entries under one number and tells one to some, the other to others.
    Equivocation,
    /// Signs entries whose changes are no sound changes.
    MalformedChanges,
    /// Sends small messages that grow large when they are unpacked.
    Bombs,
    /// Begins logs without number, each at another office.
    Incarnations,
    /// Decides of other members, whatever it may.
    Decisions,
}

impl Act {
    /// Every act.
    pub const ALL: [Self; 6] = [
        Self::ForgedAuthor,
        Self::Equivocation,
        Self::MalformedChanges,
        Self::Bombs,
        Self::Incarnations,
        Self::Decisions,
    ];
}

/// Something that goes wrong once or again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins first, in ms since the scenario began.
    pub at_ms: u64,
    /// How long it lasts each time, in ms; `None`: it happens at once, or lasts to the end of the scenario.
    pub for_ms: Option<u64>,
    /// From one beginning to the next, in ms; `None`: it happens once.
    pub every_ms: Option<u64>,
    /// What.
    pub kind: FaultKind,
}

/// Faults at random times, at random places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// When the first may begin, in ms since the scenario began.
    pub at_ms: u64,
    /// Longest time that one of them lasts, in ms.
    pub for_ms_max: u64,
    /// How many begin in a day, on average.
    pub per_day: u32,
    /// Of which kinds.
    pub kinds: Vec<FaultName>,
}

impl Mixture {
    /// The kinds that can happen anywhere and any time. What is decided of members, a liar, a late comer, a later program
    /// and too little room are named, not drawn.
    pub const KINDS: [FaultName; 14] = [
        FaultName::Split,
        FaultName::Isolate,
        FaultName::Cut,
        FaultName::OneWay,
        FaultName::Degrade,
        FaultName::Stop,
        FaultName::Crash,
        FaultName::TornFrame,
        FaultName::BitFlip,
        FaultName::LostTables,
        FaultName::FullDisk,
        FaultName::Restore,
        FaultName::Clone,
        FaultName::Clock,
    ];
}
