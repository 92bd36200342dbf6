//! The logs of one space, in memory.

use std::collections::BTreeMap;

use crate::ids::{Author, SpaceId};
use crate::log::entry::Tip;
use crate::log::fork::Forks;
use crate::log::frontier::{Frontier, Known, PREDECESSORS_TOLD_MAX, Parts, Predecessor};
use crate::store::StoreError;
use crate::store::tables::logs::{self, LogRow};
use crate::store::tables::{ReadTables, decode_row, walk};

/// The logs of one space, in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    /// Tips.
    pub(crate) rows: BTreeMap<Author, LogRow>,
    /// How far the logs of this and the membership space are in the past of this site's own entries in this space.
    pub(crate) named: BTreeMap<(SpaceId, Author), u64>,
    /// How far entries in this space that came since the start name those logs: anyone who names such an entry need not
    /// name them once more.
    pub(crate) covered: BTreeMap<(SpaceId, Author), u64>,
    /// Where logs fork.
    pub(crate) forks: Forks,
}

impl Logs {
    pub(crate) fn load(tables: &impl ReadTables, space: SpaceId) -> Result<Self, StoreError> {
        let broken = || StoreError::Tables { reason: "the key of a log row is broken".to_owned() };
        let mut loaded = Self::default();
        walk(tables, &logs::logs(space), None, |key, value| {
            let author = logs::author_of_key(key).ok_or_else(broken)?;
            loaded.rows.insert(author, decode_row("log row", value)?);
            Ok(true)
        })?;
        walk(tables, &logs::all_named(space), None, |key, value| {
            let log = logs::named_of_key(key).ok_or_else(broken)?;
            loaded.named.insert(log, decode_row("row of named logs", value)?);
            Ok(true)
        })?;
        loaded.forks = logs::load_forks(tables, &logs::forks(space))?;
        Ok(loaded)
    }

    /// What is held: every tip that is not implied by a later incarnation's.
    pub(crate) fn frontier(&self) -> Frontier {
        let predecessors = self.rows.values().filter_map(|row| row.predecessor);
        let implied: BTreeMap<Author, u64> =
            predecessors.map(|tip| (tip.author, tip.seq)).collect();
        let listed = |(author, row): &(&Author, &LogRow)| implied.get(author) != Some(&row.seq);
        Frontier::new(self.rows.iter().filter(listed).map(|(author, row)| tip(*author, row)))
    }

    /// 16 bytes that two replicas have in common if they hold the same entries and proofs of forks.
    pub(crate) fn digest(&self) -> [u8; 16] {
        let mut digest = self.frontier().digest();
        for hash in self.forks.entries() {
            for (byte, other) in digest.iter_mut().zip(hash.0) {
                *byte ^= other;
            }
        }
        digest
    }

    /// The tips of this space's logs that are not in the past of this site's entries in a space yet.
    pub(crate) fn unnamed(
        &self,
        own: Author,
        of: SpaceId,
        named: &BTreeMap<(SpaceId, Author), u64>,
    ) -> Vec<Tip> {
        // What does not show here cannot have been built upon, so only applied entries are named: sites that run
        // this same version can then apply what is written here.
        let applied = |tip: Tip| {
            let row = self.rows.get(&tip.author)?;
            Some(Tip { seq: row.applied, hash: row.applied_hash, ..tip })
        };
        let is_new = |tip: &Tip| {
            let before = named.get(&(of, tip.author)).copied().unwrap_or(0);
            tip.author != own && tip.seq > before
        };
        self.frontier().tips().filter_map(applied).filter(is_new).collect()
    }

    /// The frontier as it travels, or some parts of it.
    pub(crate) fn known(&self, parts: Option<&Parts>) -> Vec<Known> {
        let known = |tip: Tip| {
            let mut predecessors = Vec::new();
            let mut row = self.rows.get(&tip.author);
            while let Some(former) = row.and_then(|row| row.predecessor)
                && predecessors.len() < PREDECESSORS_TOLD_MAX
            {
                let Tip { author, seq, hash } = former;
                let (incarnation, check) = (author.incarnation, hash.short());
                predecessors.push(Predecessor { incarnation, seq, check });
                row = self.rows.get(&former.author);
            }
            Known { author: tip.author, seq: tip.seq, check: tip.hash.short(), predecessors }
        };
        let reported = |tip: &Tip| parts.is_none_or(|parts| parts.have(&tip.author.site));
        self.frontier().tips().filter(reported).map(known).collect()
    }

    /// For each log that a site with this frontier lacks entries of: the number of the first that it lacks.
    ///
    /// A listed log implies its predecessors, as it tells them itself or as they are known here.
    pub(crate) fn lacking(&self, known: &[Known]) -> BTreeMap<Author, u64> {
        let listed: BTreeMap<Author, u64> =
            known.iter().map(|item| (item.author, item.seq)).collect();
        let mut implied: BTreeMap<Author, u64> = BTreeMap::new();
        for item in known {
            for former in item.predecessors.iter().take(PREDECESSORS_TOLD_MAX) {
                let author = Author { incarnation: former.incarnation, ..item.author };
                self.imply(&mut implied, author, former.seq);
            }
            let row = self.rows.get(&item.author);
            if let Some(former) = row.and_then(|row| row.predecessor) {
                self.imply(&mut implied, former.author, former.seq);
            }
        }
        let lacks = |(author, row): (&Author, &LogRow)| {
            let held = listed.get(author).or_else(|| implied.get(author)).copied().unwrap_or(0);
            (row.seq > held).then_some((*author, self.forks.first(author).max(held + 1)))
        };
        self.rows.iter().filter_map(lacks).collect()
    }

    /// Notes that a log is held up to `seq`, and with it all that came before it.
    fn imply(&self, implied: &mut BTreeMap<Author, u64>, author: Author, seq: u64) {
        let (mut author, mut seq) = (author, seq);
        // A chain is as long as the site has had incarnations, and ends where it was walked before.
        while implied.get(&author).is_none_or(|known| *known < seq) {
            implied.insert(author, seq);
            match self.rows.get(&author).and_then(|row| row.predecessor) {
                Some(former) => (author, seq) = (former.author, former.seq),
                None => return,
            }
        }
    }
}

pub(crate) fn tip(author: Author, row: &LogRow) -> Tip {
    Tip { author, seq: row.seq, hash: row.hash }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{EntryHash, Incarnation, SiteId};

    fn author(site: u8, life: u8) -> Author {
        Author { site: SiteId([site; 32]), incarnation: Incarnation([life; 8]) }
    }

    /// Author, tip, and the predecessor's author and tip.
    type Row = (Author, u64, Option<(Author, u64)>);

    fn logs(rows: &[Row]) -> Logs {
        let hash = EntryHash([1; 32]);
        let row = |(author, seq, before): &Row| {
            let predecessor = before.map(|(author, seq)| Tip { author, seq, hash });
            let applied_hash = hash;
            (*author, LogRow { seq: *seq, hash, applied: *seq, applied_hash, predecessor })
        };
        Logs { rows: rows.iter().map(row).collect(), ..Logs::default() }
    }

    #[test]
    fn a_former_incarnation_is_implied_by_the_next() {
        let chain = [
            (author(1, 9), 5, None),
            (author(1, 3), 2, Some((author(1, 9), 5))),
            (author(1, 7), 1, Some((author(1, 3), 2))),
        ];
        let full = logs(&chain);
        let listed: Vec<_> = full.frontier().tips().map(|tip| tip.author).collect();
        assert_eq!(listed, [author(1, 7)]);
        assert!(full.lacking(&full.known(None)).is_empty());

        let behind = logs(&chain[..1]);
        let lacking = full.lacking(&behind.known(None));
        assert_eq!(lacking, BTreeMap::from([(author(1, 3), 1), (author(1, 7), 1)]));
        // The one behind knows nothing of the newest incarnations, but is given what came before them.
        assert!(behind.lacking(&full.known(None)).is_empty());
    }

    #[test]
    fn a_restored_backup_and_the_others_each_send_what_the_other_lacks() {
        let others = logs(&[(author(1, 1), 9, None), (author(1, 2), 4, Some((author(1, 1), 9)))]);
        let restored = logs(&[(author(1, 1), 5, None), (author(1, 3), 1, Some((author(1, 1), 5)))]);
        let lacking = others.lacking(&restored.known(None));
        assert_eq!(lacking, BTreeMap::from([(author(1, 1), 6), (author(1, 2), 1)]));
        assert_eq!(restored.lacking(&others.known(None)), BTreeMap::from([(author(1, 3), 1)]));
    }

    #[test]
    fn a_predecessor_that_went_on_is_listed_again() {
        let cloned = logs(&[(author(1, 9), 6, None), (author(1, 3), 2, Some((author(1, 9), 5)))]);
        assert_eq!(cloned.frontier().tips().count(), 2);
        let other = logs(&[(author(1, 9), 5, None), (author(1, 3), 2, Some((author(1, 9), 5)))]);
        let lacking = cloned.lacking(&other.known(None));
        assert_eq!(lacking, BTreeMap::from([(author(1, 9), 6)]));
    }
}
