//! How many log lines a site or a matter may cause: the first few of a minute are written, the rest are counted. Anyone who
//! misbehaves is named, and cannot fill the disk with it; nor can a disk that is damaged all over.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use branchline_crdt::ids::SiteId;

/// Lines about one subject in one period: enough to see what is the matter.
const LINES_MAX: u64 = 20;
/// Lines are counted again after this long.
const PERIOD: Duration = Duration::from_secs(60);
/// Subjects that are counted apart; a network has fewer members, and of strangers nothing is reported.
const SUBJECTS_MAX: usize = 1024;

/// What a log line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// What a site does or says.
    Site(SiteId),
    /// Whether this site is a member.
    Own,
    /// Who is in the network and in its spaces.
    Members,
    /// Sites that signed one number twice, which is not to be lost among what else they do.
    Forks,
    /// Entries damaged here, and their repair.
    Damage,
    /// Records that cannot be read here.
    Records,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site(site) => write!(f, "site {site}"),
            Self::Own => f.write_str("this site's membership"),
            Self::Forks => f.write_str("numbers signed twice"),
            Self::Members => f.write_str("members and spaces"),
            Self::Damage => f.write_str("damaged entries"),
            Self::Records => f.write_str("records that cannot be read"),
        }
    }
}

/// Lines caused by each subject in this period.
pub(crate) struct LogLimit {
    lines: BTreeMap<Subject, u64>,
    since: Instant,
}

impl LogLimit {
    pub(crate) fn new(now: Instant) -> Self {
        Self { lines: BTreeMap::new(), since: now }
    }

    /// Whether a line about this subject may be written; it is counted either way.
    pub(crate) fn admits(&mut self, subject: Subject) -> bool {
        if !self.lines.contains_key(&subject) && self.lines.len() >= SUBJECTS_MAX {
            return false;
        }
        let lines = self.lines.entry(subject).or_default();
        *lines = lines.saturating_add(1);
        *lines <= LINES_MAX
    }

    /// At the end of a period: the lines that were left out, by subject.
    pub(crate) fn left_out(&mut self, now: Instant) -> Vec<(Subject, u64)> {
        if now.duration_since(self.since) < PERIOD {
            return Vec::new();
        }
        self.since = now;
        let lines = std::mem::take(&mut self.lines).into_iter();
        lines
            .filter_map(|(subject, lines)| Some((subject, lines.checked_sub(LINES_MAX)?)))
            .filter(|(_, left)| *left > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_a_few_lines_and_a_number() {
        let [noisy, quiet] = [1, 2].map(|byte| Subject::Site(SiteId([byte; 32])));
        let start = Instant::now();
        let mut limit = LogLimit::new(start);
        for subject in [noisy, Subject::Members, Subject::Damage, Subject::Records] {
            let written = (0..10_000).filter(|_| limit.admits(subject)).count();
            assert_eq!(written as u64, LINES_MAX, "{subject}");
        }
        assert!(limit.admits(quiet), "one site's lines leave another's alone");
        assert_eq!(limit.left_out(start), []);
        let left_out = limit.left_out(start + PERIOD);
        assert_eq!(left_out.len(), 4);
        assert!(left_out.contains(&(noisy, 10_000 - LINES_MAX)), "{left_out:?}");
        assert!(limit.admits(noisy), "a new period begins");
        assert_eq!(limit.left_out(start + 2 * PERIOD), []);
    }
}
