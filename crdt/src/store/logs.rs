//! The logs of one space, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crate::ids::{Author, Incarnation, SiteId, SpaceId};
use crate::log::entry::Tip;
use crate::log::fork::Forks;
use crate::log::frontier::{self, Frontier, Known, PREDECESSORS_TOLD_MAX, Parts, Predecessor};
use crate::log::receipt::RECEIPT_LOGS_MAX;
use crate::store::StoreError;
use crate::store::tables::logs::{self, EntryRow, LogRow};
use crate::store::tables::{ReadTables, decode_row, row, walk};

/// The logs of one space, in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    /// Tips.
    rows: BTreeMap<Author, LogRow>,
    /// The logs that no later incarnation implies, each with its turn in `changed`: a site that starts every day has one of
    /// them, and thousands of others.
    heads: BTreeMap<Author, u64>,
    /// The ends of logs that are named as predecessors.
    implied: BTreeSet<(Author, u64)>,
    /// The heads in the order in which they last went on.
    changed: BTreeMap<u64, Author>,
    /// The last turn.
    turn: u64,
    /// The frontier's digest, once it was asked for.
    digest: OnceLock<[u8; 16]>,
    /// How far the logs of this and the membership space are in the past of this site's own entries in this space.
    pub(crate) named: BTreeMap<(SpaceId, Author), u64>,
    /// By space, the last turn of its logs by which all of them were named.
    pub(crate) named_all: BTreeMap<SpaceId, u64>,
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
            loaded.note(author, decode_row("log row", value)?);
            Ok(true)
        })?;
        walk(tables, &logs::all_named(space), None, |key, value| {
            let log = logs::named_of_key(key).ok_or_else(broken)?;
            loaded.named.insert(log, decode_row("row of named logs", value)?);
            Ok(true)
        })?;
        loaded.forks = logs::load_forks(tables, &logs::forks(space))?;
        loaded.order_heads(tables, space)?;
        Ok(loaded)
    }

    /// Puts the heads in the order in which they last went on, where there are so many that it matters.
    fn order_heads(&mut self, tables: &impl ReadTables, space: SpaceId) -> Result<(), StoreError> {
        if self.heads.len() <= RECEIPT_LOGS_MAX {
            return Ok(());
        }
        let mut placed = Vec::with_capacity(self.heads.len());
        for author in self.heads.keys() {
            let Some(log) = self.rows.get(author) else { continue };
            let entry: Option<EntryRow> =
                row(tables, "entry row", &logs::entry(space, *author, log.seq))?;
            placed.push((entry.map(|entry| entry.position), *author));
        }
        placed.sort_unstable();
        self.changed = (1..).zip(placed.into_iter().map(|(_, author)| author)).collect();
        self.turn = self.changed.len() as u64;
        self.heads = self.changed.iter().map(|(turn, author)| (*author, *turn)).collect();
        Ok(())
    }

    /// The tips, by author.
    pub(crate) fn rows(&self) -> &BTreeMap<Author, LogRow> {
        &self.rows
    }

    /// The logs that are held of a site.
    pub(crate) fn of_site(&self, site: SiteId) -> impl Iterator<Item = Author> + '_ {
        let author = |byte| Author { site, incarnation: Incarnation([byte; 8]) };
        self.rows.range(author(0)..=author(u8::MAX)).map(|(log, _)| *log)
    }

    /// A log begins, or goes on.
    pub(crate) fn note(&mut self, author: Author, row: LogRow) {
        self.digest.take();
        if let Some(former) = row.predecessor
            && self.implied.insert((former.author, former.seq))
            && self.rows.get(&former.author).is_some_and(|row| row.seq == former.seq)
            && let Some(turn) = self.heads.remove(&former.author)
        {
            self.changed.remove(&turn);
        }
        if let Some(turn) = self.heads.remove(&author) {
            self.changed.remove(&turn);
        }
        if !self.implied.contains(&(author, row.seq)) {
            self.turn += 1;
            self.heads.insert(author, self.turn);
            self.changed.insert(self.turn, author);
        }
        self.rows.insert(author, row);
    }

    /// What is held: every tip that is not implied by a later incarnation's.
    pub(crate) fn frontier(&self) -> Frontier {
        Frontier::new(self.tips())
    }

    fn tips(&self) -> impl Iterator<Item = Tip> {
        self.heads.keys().filter_map(|author| Some(tip(*author, self.rows.get(author)?)))
    }

    /// The digest of [`Logs::frontier`].
    pub(crate) fn frontier_digest(&self) -> [u8; 16] {
        *self.digest.get_or_init(|| frontier::digest_of(self.heads.len(), self.tips()))
    }

    /// How many logs the frontier has.
    pub(crate) fn head_count(&self) -> usize {
        self.heads.len()
    }

    /// The tips of the frontier, those of logs that went on last first.
    pub(crate) fn latest(&self) -> impl Iterator<Item = Tip> {
        let authors = self.changed.values().rev();
        authors.filter_map(|author| Some(tip(*author, self.rows.get(author)?)))
    }

    /// 16 bytes that two replicas have in common if they hold the same entries and proofs of forks.
    pub(crate) fn digest(&self) -> [u8; 16] {
        let mut digest = self.frontier_digest();
        for hash in self.forks.entries() {
            for (byte, other) in digest.iter_mut().zip(hash.0) {
                *byte ^= other;
            }
        }
        digest
    }

    /// The last turn.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }

    /// The tips that are not in the past of the entries yet of whom `own` is the author, by author. `staged`: logs of a group
    /// under way; `since`: a turn by which all were named; `named`: how far a log is named.
    pub(crate) fn unnamed(
        &self,
        own: Author,
        staged: &BTreeMap<Author, LogRow>,
        since: u64,
        named: impl Fn(&Author) -> u64,
    ) -> Vec<Tip> {
        let changed = self.changed.range(since + 1..).map(|(_, author)| author);
        let candidates: BTreeSet<&Author> = changed.chain(staged.keys()).collect();
        let formers = staged.values().filter_map(|row| row.predecessor);
        let implied: BTreeSet<_> = formers.map(|tip| (tip.author, tip.seq)).collect();
        // What does not show here cannot have been built upon, so only applied entries are named: sites that run
        // this same version can then apply what is written here.
        let unnamed = |author: &&Author| {
            let row = staged.get(author).or_else(|| self.rows.get(author))?;
            let end = (**author, row.seq);
            let is_implied = implied.contains(&end) || self.implied.contains(&end);
            let is_new = **author != own && !is_implied && row.applied > named(author);
            let tip = Tip { author: **author, seq: row.applied, hash: row.applied_hash };
            is_new.then_some(tip)
        };
        candidates.iter().filter_map(unnamed).collect()
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
        let reported = |tip: &Tip| parts.is_none_or(|parts| parts.have(&tip.author));
        self.frontier().tips().filter(reported).map(known).collect()
    }

    /// For each log that a site with this frontier lacks entries of: the number of the first that it lacks. `parts`: the
    /// parts of the frontier that are meant, where the others are the same here.
    ///
    /// A listed log implies its predecessors, as it tells them itself or as they are known here.
    pub(crate) fn lacking(&self, known: &[Known], parts: Option<&Parts>) -> BTreeMap<Author, u64> {
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
        if let Some(parts) = parts {
            for tip in self.frontier().tips().filter(|tip| !parts.have(&tip.author)) {
                self.imply(&mut implied, tip.author, tip.seq);
            }
        }
        let lacks = |(author, row): (&Author, &LogRow)| {
            if parts.is_some_and(|parts| !parts.have(author)) {
                return None;
            }
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
    use crate::format::codec;
    use crate::ids::{EntryHash, Incarnation, SiteId};
    use crate::log::entry;
    use crate::log::frontier::{KNOWN_BYTES_MAX, fitting};

    fn author(site: u8, life: u8) -> Author {
        Author { site: SiteId([site; 32]), incarnation: Incarnation([life; 8]) }
    }

    /// Author, tip, and the predecessor's author and tip.
    type Row = (Author, u64, Option<(Author, u64)>);

    fn logs(rows: &[Row]) -> Logs {
        let hash = EntryHash([1; 32]);
        let mut logs = Logs::default();
        for (author, seq, before) in rows {
            let predecessor = before.map(|(author, seq)| Tip { author, seq, hash });
            let applied_hash = hash;
            let row = LogRow { seq: *seq, hash, applied: *seq, applied_hash, predecessor };
            logs.note(*author, row);
        }
        logs
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
        assert!(full.lacking(&full.known(None), None).is_empty());

        let behind = logs(&chain[..1]);
        let lacking = full.lacking(&behind.known(None), None);
        assert_eq!(lacking, BTreeMap::from([(author(1, 3), 1), (author(1, 7), 1)]));
        // The one behind knows nothing of the newest incarnations, but is given what came before them.
        assert!(behind.lacking(&full.known(None), None).is_empty());
    }

    #[test]
    fn a_restored_backup_and_the_others_each_send_what_the_other_lacks() {
        let others = logs(&[(author(1, 1), 9, None), (author(1, 2), 4, Some((author(1, 1), 9)))]);
        let restored = logs(&[(author(1, 1), 5, None), (author(1, 3), 1, Some((author(1, 1), 5)))]);
        let lacking = others.lacking(&restored.known(None), None);
        assert_eq!(lacking, BTreeMap::from([(author(1, 1), 6), (author(1, 2), 1)]));
        assert_eq!(
            restored.lacking(&others.known(None), None),
            BTreeMap::from([(author(1, 3), 1)])
        );
    }

    #[test]
    fn a_predecessor_that_went_on_is_listed_again() {
        let cloned = logs(&[(author(1, 9), 6, None), (author(1, 3), 2, Some((author(1, 9), 5)))]);
        assert_eq!(cloned.frontier().tips().count(), 2);
        let other = logs(&[(author(1, 9), 5, None), (author(1, 3), 2, Some((author(1, 9), 5)))]);
        let lacking = cloned.lacking(&other.known(None), None);
        assert_eq!(lacking, BTreeMap::from([(author(1, 9), 6)]));
    }

    #[test]
    fn what_is_listed_is_the_same_in_whatever_order_logs_come() {
        let rows = [
            (author(1, 9), 5, None),
            (author(1, 3), 2, Some((author(1, 9), 5))),
            (author(1, 4), 2, Some((author(1, 9), 3))),
            (author(1, 7), 1, Some((author(1, 3), 2))),
            (author(2, 1), 4, None),
        ];
        let listed = |logs: &Logs| logs.frontier().tips().map(|tip| tip.author).collect::<Vec<_>>();
        let full = logs(&rows);
        assert_eq!(listed(&full), [author(1, 4), author(1, 7), author(2, 1)]);
        for turn in 0..rows.len() {
            let mut turned = rows;
            turned.rotate_left(turn);
            assert_eq!(full.digest(), logs(&turned).digest());
            turned.reverse();
            assert_eq!(full.digest(), logs(&turned).digest());
        }
    }

    #[test]
    fn what_went_on_since_all_was_named_is_named_and_nothing_else_is_looked_at() {
        let mut held = logs(&[(author(1, 1), 5, None), (author(2, 1), 3, None)]);
        let named = |author: &Author| if author.site.0[0] == 1 { 5 } else { 0 };
        let unnamed = |logs: &Logs, since| {
            let tips = logs.unnamed(author(9, 9), &BTreeMap::new(), since, named);
            tips.iter().map(|tip| tip.author).collect::<Vec<_>>()
        };
        assert_eq!(unnamed(&held, 0), [author(2, 1)]);
        let turn = held.turn();
        assert!(unnamed(&held, turn).is_empty());
        held.note(author(3, 1), held.rows()[&author(2, 1)]);
        assert_eq!(unnamed(&held, turn), [author(3, 1)]);
        // A group under way ends one of them and begins another.
        let hash = EntryHash([1; 32]);
        let predecessor = Some(Tip { author: author(3, 1), seq: 3, hash });
        let row = LogRow { seq: 1, hash, applied: 1, applied_hash: hash, predecessor };
        let staged = BTreeMap::from([(author(3, 2), row)]);
        let tips = held.unnamed(author(9, 9), &staged, turn, named);
        assert_eq!(tips.iter().map(|tip| tip.author).collect::<Vec<_>>(), [author(3, 2)]);
    }

    #[test]
    fn an_honest_network_that_starts_every_day_for_ten_years_stays_inside() {
        const DAYS: u16 = 3_650;
        const SITES: u16 = 1_000;
        let hash = EntryHash([1; 32]);
        let life = |site: u16, day: u16| {
            let (mut key, mut incarnation) = ([7; 32], [0; 8]);
            key[..2].copy_from_slice(&site.to_be_bytes());
            incarnation[..2].copy_from_slice(&(day ^ 0x5555).to_be_bytes());
            Author { site: SiteId(key), incarnation: Incarnation(incarnation) }
        };
        let mut logs = Logs::default();
        // All days of some sites; of the others what comes last, which is all that a frontier lists.
        for site in 0..SITES {
            let first = if site % 100 == 0 { 0 } else { DAYS - 6 };
            for day in first..DAYS {
                let before =
                    (day > first).then(|| Tip { author: life(site, day - 1), seq: 1, hash });
                let (seq, applied) = (1, 1);
                let row = LogRow { seq, hash, applied, applied_hash: hash, predecessor: before };
                logs.note(life(site, day), row);
            }
        }
        assert_eq!(logs.frontier().tips().count(), usize::from(SITES));
        let (known, is_whole) = fitting(logs.known(None));
        assert!(is_whole && known.len() == usize::from(SITES));
        assert!(codec::encode(&known).len() < KNOWN_BYTES_MAX / 2);
        assert!(logs.lacking(&known, None).is_empty());
        let of_all = logs.unnamed(life(1, 0), &BTreeMap::new(), 0, |_| 0);
        assert!(of_all.len() <= entry::limits::PAST_TIPS_MAX);
    }
}
