//! How many log lines a site may cause: the first few of a minute are written, the rest are counted. Whoever misbehaves
//! is named, and cannot fill the disk with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use branchline_crdt::ids::SiteId;

/// Lines about one site in one period: enough to see what is the matter.
const LINES_MAX: u64 = 20;
/// Lines are counted anew after this long.
const PERIOD: Duration = Duration::from_secs(60);
/// Sites that are counted apart; a network has fewer members, and of strangers nothing is told.
const SITES_MAX: usize = 1024;

/// Lines caused by each site in this period.
pub(crate) struct LogLimit {
    lines: BTreeMap<SiteId, u64>,
    since: Instant,
}

impl LogLimit {
    pub(crate) fn new(now: Instant) -> Self {
        Self { lines: BTreeMap::new(), since: now }
    }

    /// Whether a line about this site may be written; it is counted either way.
    pub(crate) fn admits(&mut self, site: SiteId) -> bool {
        if !self.lines.contains_key(&site) && self.lines.len() >= SITES_MAX {
            return false;
        }
        let lines = self.lines.entry(site).or_default();
        *lines = lines.saturating_add(1);
        *lines <= LINES_MAX
    }

    /// At the end of a period: the lines that were left out, by site.
    pub(crate) fn left_out(&mut self, now: Instant) -> Vec<(SiteId, u64)> {
        if now.duration_since(self.since) < PERIOD {
            return Vec::new();
        }
        self.since = now;
        let lines = std::mem::take(&mut self.lines).into_iter();
        lines
            .filter_map(|(site, lines)| Some((site, lines.checked_sub(LINES_MAX)?)))
            .filter(|(_, left)| *left > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_few_lines_and_a_number() {
        let (noisy, quiet) = (SiteId([1; 32]), SiteId([2; 32]));
        let start = Instant::now();
        let mut limit = LogLimit::new(start);
        let written = (0..10_000).filter(|_| limit.admits(noisy)).count();
        assert_eq!(written as u64, LINES_MAX);
        assert!(limit.admits(quiet), "one site's lines leave another's alone");
        assert_eq!(limit.left_out(start), []);
        assert_eq!(limit.left_out(start + PERIOD), [(noisy, 10_000 - LINES_MAX)]);
        assert!(limit.admits(noisy), "a new period begins");
        assert_eq!(limit.left_out(start + 2 * PERIOD), []);
    }
}
