//! What must be found in the end: every write with its answer.

use std::collections::{BTreeMap, BTreeSet};

use crate::trace::RecordName;
use crate::workload::{MARKS, Planned};
use crate::world::{SiteIndex, World};

/// What the writer was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is durable.
    Acknowledged,
    /// It was not written, and must not show.
    Refused,
    /// Nothing, or that the disk did not take it: it may be there or not, but wholly.
    Unknown,
}

/// One write.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where.
    pub office: SiteIndex,
    /// Its number among all writes, from 1.
    pub number: u64,
    /// What was planned.
    pub planned: Planned,
    /// What the writer was answered.
    pub reported: Reply,
    /// No disk that held it is left as it was: it may be lost.
    pub excused: bool,
}

/// All writes, with their answers.
#[derive(Default)]
pub struct Oracle {
    writes: BTreeMap<String, Write>,
    prices: BTreeMap<RecordName, BTreeSet<i64>>,
}

impl Oracle {
    /// Takes a write with its answer.
    pub fn wrote(&mut self, office: SiteIndex, planned: Planned, reported: Reply) {
        if reported != Reply::Refused {
            for (record, price) in &planned.prices {
                self.prices.entry(record.clone()).or_default().insert(*price);
            }
        }
        let number = self.count() + 1;
        let write = Write { office, number, planned, reported, excused: false };
        self.writes.insert(write.planned.mark.clone(), write);
    }

    /// Number of writes.
    pub fn count(&self) -> u64 {
        self.writes.len() as u64
    }

    /// All writes, by mark.
    pub fn writes(&self) -> impl Iterator<Item = &Write> {
        self.writes.values()
    }

    /// Whether someone wrote this price to this record.
    pub fn is_price(&self, record: &RecordName, price: i64) -> bool {
        self.prices.get(record).is_some_and(|prices| prices.contains(&price))
    }

    /// The records whose prices were written.
    pub fn priced(&self) -> impl Iterator<Item = &RecordName> {
        self.prices.keys()
    }

    /// An office's disk is damaged, or replaced by another: what only that disk held may be lost.
    pub fn excuse(&mut self, office: SiteIndex, world: &World) {
        let others: Vec<_> = (0..world.office_count()).filter(|other| *other != office).collect();
        for write in self.writes.values_mut() {
            let mark = &write.planned.mark;
            let shows = |other: &SiteIndex| world.view(*other, MARKS, mark).is_some();
            if write.reported != Reply::Refused && !write.excused {
                write.excused = !others.iter().any(shows);
            }
        }
    }
}
