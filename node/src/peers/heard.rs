//! Since when other sites are silent, by this site's clock.
//!
//! Within a run a clock counts that nobody sets; over restarts the wall clock of this machine. The others' clocks, which
//! may be wrong by years, only help where a receipt was fetched from a third site: then how far a clock was off when its
//! site was last heard at once tells how old the receipt is, at most as old as what was heard before.
//!
//! Kept in a JSON file: `{"version":1,"sites":[{"site":"12D3…","heard":1767225600000,"receipt":1767225600000,
//! "clock_ahead":-12}]}`, times in ms. Losing it costs nothing but that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::{HeardReceipt, Now};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::saver::Saver;

const VERSION: u32 = 1;
/// Largest file that is read: some 100 bytes for each of 100,000 sites.
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// When each other site was last heard.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    sites: BTreeMap<SiteId, HeardMoment>,
    /// What a crash takes of it lets a site count as silent for longer.
    saver: Saver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HeardMoment {
    /// By the clock that nobody sets; what was before the start is negative.
    at_ms: i64,
    /// How far the site's clock is ahead of that one.
    ahead_ms: Option<i64>,
    /// When its latest receipt came here or, where it was fetched later, had been issued.
    receipt_ms: Option<i64>,
}

/// When a site was heard, in ms since 1970 as this machine's clock shows them now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardAt {
    /// When anything last came from it.
    pub any_ms: i64,
    /// When it last said what it holds.
    pub receipt_ms: Option<i64>,
}

#[derive(Serialize, Deserialize)]
struct HeardFile {
    version: u32,
    sites: Vec<HeardEntry>,
}

#[derive(Serialize, Deserialize)]
struct HeardEntry {
    site: String,
    heard: i64,
    receipt: Option<i64>,
    clock_ahead: Option<i64>,
}

fn monotonic(now: Now) -> i64 {
    i64::try_from(now.monotonic_ms).unwrap_or(i64::MAX)
}

impl Heard {
    /// Reads the file. One that makes no sense is as none.
    pub(crate) fn load(path: &Path, now: Now) -> Self {
        let is_small = std::fs::metadata(path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX);
        let Some(bytes) = is_small.then(|| std::fs::read(path).ok()).flatten() else {
            return Self::default();
        };
        match serde_json::from_slice::<HeardFile>(&bytes) {
            Ok(file) if file.version == VERSION => Self::from_file(file, now),
            Ok(_) | Err(_) => {
                warn!(path = %path.display(), "when other sites were heard cannot be read; it counts from now on");
                Self::default()
            }
        }
    }

    fn from_file(file: HeardFile, now: Now) -> Self {
        let to_monotonic = monotonic(now).saturating_sub(now.wall_ms);
        let moment = |entry: HeardEntry| {
            let site = SiteId::from_peer_id(&entry.site.parse().ok()?)?;
            // Anyone who was heard later than now was heard while this machine's clock was wrong.
            let past = |wall_ms: i64| wall_ms.min(now.wall_ms).saturating_add(to_monotonic);
            let ahead_ms = entry.clock_ahead.map(|ahead| ahead.saturating_sub(to_monotonic));
            let (at_ms, receipt_ms) = (past(entry.heard), entry.receipt.map(past));
            Some((site, HeardMoment { at_ms, ahead_ms, receipt_ms }))
        };
        Self { sites: file.sites.into_iter().filter_map(moment).collect(), ..Self::default() }
    }

    /// Something came from a site itself.
    pub(crate) fn note(&mut self, site: SiteId, now: Now) {
        let at_ms = monotonic(now);
        let new = HeardMoment { at_ms, ahead_ms: None, receipt_ms: None };
        let moment = self.sites.entry(site).or_insert(new);
        moment.at_ms = at_ms;
        self.saver.note_change();
    }

    /// A receipt of a site came.
    pub(crate) fn note_receipt(&mut self, site: SiteId, receipt: HeardReceipt, now: Now) {
        let now_ms = monotonic(now);
        let ahead_ms = receipt.time_ms.saturating_sub(now_ms);
        let receipt_ms = Some(now_ms);
        let fresh = HeardMoment { at_ms: now_ms, ahead_ms: Some(ahead_ms), receipt_ms };
        let known = self.sites.get(&site).filter(|_| !receipt.is_live);
        let moment = known.map_or(fresh, |known| {
            let reported = known.ahead_ms.map(|ahead| receipt.time_ms.saturating_sub(ahead));
            let reported = reported.unwrap_or(known.at_ms).min(now_ms);
            let receipt_ms = Some(known.receipt_ms.map_or(reported, |last| last.max(reported)));
            HeardMoment { at_ms: reported.max(known.at_ms), ahead_ms: known.ahead_ms, receipt_ms }
        });
        self.sites.insert(site, moment);
        self.saver.note_change();
    }

    /// When each site was last heard.
    pub(crate) fn moments(&self, now: Now) -> BTreeMap<SiteId, HeardAt> {
        let to_wall = now.wall_ms.saturating_sub(monotonic(now));
        let wall = |at_ms: i64| at_ms.saturating_add(to_wall);
        let at = |moment: &HeardMoment| HeardAt {
            any_ms: wall(moment.at_ms),
            receipt_ms: moment.receipt_ms.map(wall),
        };
        self.sites.iter().map(|(site, moment)| (*site, at(moment))).collect()
    }

    /// Whether it is time to save.
    pub(crate) fn is_due(&self, now: Now) -> bool {
        self.saver.is_due(now)
    }

    /// Saves what has changed, and waits for that.
    pub(crate) fn close(mut self, path: PathBuf, members: &BTreeSet<SiteId>, now: Now) {
        self.saver.wait();
        self.save(path, members, now);
        self.saver.wait();
    }

    /// Saves what has changed, away from this thread. `members`: of whom.
    pub(crate) fn save(&mut self, path: PathBuf, members: &BTreeSet<SiteId>, now: Now) {
        if !self.saver.begin(now) {
            return;
        }
        self.sites.retain(|site, _| members.contains(site));
        self.saver.write(path, self.to_bytes(now));
    }

    fn to_bytes(&self, now: Now) -> std::io::Result<Vec<u8>> {
        let to_wall = now.wall_ms.saturating_sub(monotonic(now));
        let entry = |(site, moment): (&SiteId, &HeardMoment)| HeardEntry {
            site: site.to_string(),
            heard: moment.at_ms.saturating_add(to_wall),
            receipt: moment.receipt_ms.map(|at| at.saturating_add(to_wall)),
            clock_ahead: moment.ahead_ms.map(|ahead| ahead.saturating_sub(to_wall)),
        };
        let file = HeardFile { version: VERSION, sites: self.sites.iter().map(entry).collect() };
        serde_json::to_vec(&file).map_err(std::io::Error::other)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use branchline_crdt::ids::SiteKey;

    use super::*;

    const DAY_MS: i64 = 86_400_000;
    const START_MS: i64 = 1_700_000_000_000;

    fn site(number: u8) -> SiteId {
        SiteKey::from_seed([number; 32]).site()
    }

    /// So long after the start of a node whose clock is right.
    fn after(ms: u64) -> Now {
        Now { wall_ms: START_MS + i64::try_from(ms).unwrap(), monotonic_ms: ms }
    }

    fn receipt(time_ms: i64, is_live: bool) -> HeardReceipt {
        HeardReceipt { time_ms, is_live }
    }

    fn silent_ms(heard: &Heard, now: Now) -> i64 {
        now.wall_ms - heard.moments(now)[&site(1)].any_ms
    }

    #[test]
    fn a_site_is_as_silent_as_this_clock_says_whatever_its_own_does() {
        for its_clock in [START_MS, 0, -DAY_MS * 365, START_MS + 9000 * DAY_MS, i64::MAX, i64::MIN]
        {
            let mut heard = Heard::default();
            heard.note_receipt(site(1), receipt(its_clock, true), after(1_000));
            assert_eq!(silent_ms(&heard, after(1_000)), 0);
            assert_eq!(silent_ms(&heard, after(61_000)), 60_000);
            heard.note(site(1), after(70_000));
            assert_eq!(silent_ms(&heard, after(71_000)), 1_000);
            let receipt_ms = heard.moments(after(71_000))[&site(1)].receipt_ms;
            assert_eq!(receipt_ms, Some(START_MS + 1_000));
        }
    }

    #[test]
    fn a_clock_that_is_set_meanwhile_makes_nobody_silent_or_heard() {
        let mut heard = Heard::default();
        heard.note(site(1), after(1_000));
        for wall_ms in [0, START_MS, START_MS + 4000 * DAY_MS] {
            assert_eq!(silent_ms(&heard, Now { wall_ms, monotonic_ms: 6_000 }), 5_000);
        }
    }

    #[test]
    fn silence_goes_on_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heard.json");
        let mut heard = Heard::default();
        heard.note_receipt(site(1), receipt(START_MS - DAY_MS, true), after(2_000));
        heard.note(site(2), after(2_000));
        heard.close(path.clone(), &BTreeSet::from([site(1)]), after(3_000));
        // The machine was off for a day; the clock that nobody sets starts over.
        let again = |ms: u64| Now { wall_ms: START_MS + DAY_MS + ms as i64, monotonic_ms: ms };
        let mut heard = Heard::load(&path, again(500));
        assert_eq!(silent_ms(&heard, again(1_000)), DAY_MS - 1_000);
        assert_eq!(heard.moments(again(1_000)).len(), 1, "who is no member is left out");
        // What a third site has of it is an hour younger.
        heard.note_receipt(site(1), receipt(START_MS - DAY_MS + 3_600_000, false), again(1_000));
        assert_eq!(silent_ms(&heard, again(1_000)), DAY_MS - 3_600_000 - 1_000);
        let earlier = Now { wall_ms: 0, monotonic_ms: 1_000 };
        let heard = Heard::load(&path, earlier);
        assert_eq!(silent_ms(&heard, earlier), 0, "heard while this clock was wrong");
        std::fs::write(&path, "{").unwrap();
        assert!(Heard::load(&path, earlier).moments(earlier).is_empty());
    }

    #[test]
    fn an_old_receipt_from_a_third_site_is_no_sign_of_life() {
        let mut heard = Heard::default();
        // Of whom nothing was ever known, silence begins when it is.
        heard.note_receipt(site(1), receipt(5, false), after(1_000));
        assert_eq!(silent_ms(&heard, after(4_000)), 3_000);
        // Its clock is years behind, and says that this was two seconds later.
        heard.note_receipt(site(1), receipt(2_005, false), after(60_000));
        assert_eq!(silent_ms(&heard, after(60_000)), 57_000);
        // A clock that was set meanwhile makes it neither more silent than known, nor heard after now.
        heard.note_receipt(site(1), receipt(-DAY_MS, false), after(61_000));
        assert_eq!(silent_ms(&heard, after(61_000)), 58_000);
        heard.note_receipt(site(1), receipt(START_MS * 2, false), after(62_000));
        assert_eq!(silent_ms(&heard, after(62_000)), 0);
    }
}
