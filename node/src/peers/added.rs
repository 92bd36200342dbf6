//! How much each site adds to what is held here: that shows who fills the disk.
//!
//! Kept in a JSON file: `{"version":1,"since":1767225600000,"day":20454,"sites":[{"site":"12D3…","entries":9,"bytes":4096,
//! "entries_today":2,"bytes_today":800}]}`. Losing it costs nothing but that; it then counts from now on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{Now, Taken};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::saver::Saver;

const VERSION: u32 = 1;
const DAY_MS: i64 = 86_400_000;
/// Sites that are counted; what further ones add is not. Only members and former ones add anything.
const SITES_MAX: usize = 10_000;
/// Largest file that is read: some 150 bytes for each of them.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What each site has added.
#[derive(Debug, Default)]
pub(crate) struct Added {
    sites: BTreeMap<SiteId, AddedBySite>,
    /// Since when it is counted, in ms since 1970.
    since_ms: i64,
    /// Of which day the sites' counts of a day are, in days since 1970.
    day: i64,
    saver: Saver,
}

/// What one site has added: entries that it wrote, and their bytes in the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddedBySite {
    /// Since it is counted.
    pub in_all: Taken,
    /// Today: the day of UTC by this machine's clock.
    pub today: Taken,
}

/// What each site has added, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddedSeen {
    /// By the site that wrote the entries.
    pub sites: BTreeMap<SiteId, AddedBySite>,
    /// Since when it is counted, in ms since 1970 by this machine's clock.
    pub since_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct AddedFile {
    version: u32,
    since: i64,
    day: i64,
    sites: Vec<AddedEntry>,
}

#[derive(Serialize, Deserialize)]
struct AddedEntry {
    site: String,
    entries: u64,
    bytes: u64,
    entries_today: u64,
    bytes_today: u64,
}

fn add(to: &mut Taken, taken: Taken) {
    to.entries = to.entries.saturating_add(taken.entries);
    to.bytes = to.bytes.saturating_add(taken.bytes);
}

fn day_of(now: Now) -> i64 {
    now.wall_ms.div_euclid(DAY_MS)
}

impl AddedBySite {
    /// Adds what the same site has added under another key.
    pub(crate) fn and(mut self, other: Self) -> Self {
        add(&mut self.in_all, other.in_all);
        add(&mut self.today, other.today);
        self
    }
}

impl Added {
    /// Reads the file. One that makes no sense is as none.
    pub(crate) fn load(path: &Path, now: Now) -> Self {
        let new = Self { since_ms: now.wall_ms, day: day_of(now), ..Self::default() };
        let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX);
        let Some(bytes) = is_small.then(|| std::fs::read(path).ok()).flatten() else {
            return new;
        };
        match serde_json::from_slice::<AddedFile>(&bytes) {
            Ok(file) if file.version == VERSION => Self::from_file(file),
            Ok(_) | Err(_) => {
                warn!(path = %path.display(), "what each site has added cannot be read; it counts from now on");
                new
            }
        }
    }

    fn from_file(file: AddedFile) -> Self {
        let entry = |entry: AddedEntry| {
            let site = SiteId::from_peer_id(&entry.site.parse().ok()?)?;
            let in_all = Taken { entries: entry.entries, bytes: entry.bytes };
            let today = Taken { entries: entry.entries_today, bytes: entry.bytes_today };
            Some((site, AddedBySite { in_all, today }))
        };
        let sites = file.sites.into_iter().filter_map(entry).take(SITES_MAX).collect();
        Self { sites, since_ms: file.since, day: file.day, saver: Saver::default() }
    }

    /// Entries of these sites came to be held.
    pub(crate) fn note(&mut self, taken: BTreeMap<SiteId, Taken>, now: Now) {
        if taken.is_empty() {
            return;
        }
        self.begin_day(now);
        for (site, taken) in taken {
            if self.sites.len() < SITES_MAX || self.sites.contains_key(&site) {
                let added = self.sites.entry(site).or_default();
                add(&mut added.in_all, taken);
                add(&mut added.today, taken);
            }
        }
        self.saver.note_change();
    }

    /// What each site has added until now.
    pub(crate) fn seen(&self, now: Now) -> AddedSeen {
        let mut sites = self.sites.clone();
        if day_of(now) != self.day {
            sites.values_mut().for_each(|added| added.today = Taken::default());
        }
        AddedSeen { sites, since_ms: self.since_ms }
    }

    fn begin_day(&mut self, now: Now) {
        let today = day_of(now);
        if std::mem::replace(&mut self.day, today) != today {
            self.sites.values_mut().for_each(|added| added.today = Taken::default());
        }
    }

    /// Whether it is time to save.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        self.saver.is_due(now)
    }

    /// Saves what has changed, away from this thread.
    pub(crate) fn save(&mut self, path: PathBuf, now: Now) {
        if self.saver.begin(now) {
            self.saver.write(path, self.to_bytes());
        }
    }

    /// Saves what has changed, and waits for that.
    pub(crate) fn close(mut self, path: PathBuf, now: Now) {
        self.saver.wait();
        self.save(path, now);
        self.saver.wait();
    }

    fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let entry = |(site, added): (&SiteId, &AddedBySite)| AddedEntry {
            site: site.to_string(),
            entries: added.in_all.entries,
            bytes: added.in_all.bytes,
            entries_today: added.today.entries,
            bytes_today: added.today.bytes,
        };
        let sites = self.sites.iter().map(entry).collect();
        let file = AddedFile { version: VERSION, since: self.since_ms, day: self.day, sites };
        serde_json::to_vec(&file).map_err(std::io::Error::other)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use branchline_crdt::ids::SiteKey;

    use super::*;

    fn site(number: u8) -> SiteId {
        SiteKey::from_seed([number; 32]).site()
    }

    fn at(wall_ms: i64) -> Now {
        Now { wall_ms, monotonic_ms: 0 }
    }

    fn taken(entries: u64, bytes: u64) -> Taken {
        Taken { entries, bytes }
    }

    fn note(added: &mut Added, number: u8, entries: u64, bytes: u64, wall_ms: i64) {
        added.note(BTreeMap::from([(site(number), taken(entries, bytes))]), at(wall_ms));
    }

    #[test]
    fn what_a_site_adds_counts_today_and_in_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("added.json");
        let mut added = Added::load(&path, at(5));
        note(&mut added, 1, 2, 100, DAY_MS - 1);
        note(&mut added, 2, 1, 10, DAY_MS - 1);
        note(&mut added, 1, 1, 50, DAY_MS);
        let seen = added.seen(at(DAY_MS));
        let of_first = AddedBySite { in_all: taken(3, 150), today: taken(1, 50) };
        assert_eq!(seen.sites[&site(1)], of_first);
        assert_eq!(seen.sites[&site(2)].today, Taken::default());
        added.close(path.clone(), at(DAY_MS));

        let added = Added::load(&path, at(DAY_MS + 9));
        assert_eq!(added.seen(at(DAY_MS + 9)).sites[&site(1)], of_first, "over restarts too");
        assert_eq!(added.seen(at(DAY_MS + 9)).since_ms, 5);
        let next_day = added.seen(at(2 * DAY_MS)).sites[&site(1)];
        assert_eq!((next_day.in_all, next_day.today), (taken(3, 150), Taken::default()));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(
            Added::load(&path, at(7)).seen(at(7)),
            AddedSeen { since_ms: 7, ..AddedSeen::default() }
        );
    }

    #[test]
    fn sites_without_number_take_no_memory_without_end() {
        let mut added = Added::load(Path::new("none"), at(0));
        for number in 0..SITES_MAX as u64 + 5 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            added.note(BTreeMap::from([(SiteId(bytes), taken(1, 1))]), at(0));
        }
        assert_eq!(added.seen(at(0)).sites.len(), SITES_MAX);
    }
}
