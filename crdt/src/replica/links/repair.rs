//! Damaged journal frames: the entries that lay in them are asked of the peers and put back into their places.
//!
//! An entry is lost where the tables show it and its frame is damaged. It is known by its hash, so any site that
//! holds it can give it back. Until then neither it nor what builds on it is served, and the receipt does not claim it. Where
//! the tables were rebuilt from the damaged journal nothing is lost in this sense: the frontier then ends before
//! the hole, and the regular pull brings the entry as a new one.
//!
//! Who the members are must not hang on a peer that may be reached only by a member: membership entries are put back from
//! the tables, which hold them too, as are the documents that realms begin with and the proofs of forks.
//!
//! An own entry that no other site holds is gone: it stays visible here, and is not announced. A rebuild goes
//! on without it, under a new incarnation.

use std::collections::{BTreeMap, BTreeSet};

use super::Links;
use crate::format::codec;
use crate::ids::{Author, EntryHash, SiteId, SpaceId};
use crate::log::entry::{Entry, Header, Tip};
use crate::protocol::{ANSWER_BYTES_MAX, Outcome, PULL_BYTES, Pull, pack_entries, unpack_entries};
use crate::replica::Notice;
use crate::replica::context::Context;
use crate::replica::outbox::Outbox;
use crate::replica::realms::Realms;
use crate::store::changes::read_entry;
use crate::store::frame::Frame;
use crate::store::tables::logs::{self, EntryRow};
use crate::store::tables::{decode_row, walk};
use crate::store::{Position, Store, StoreError};

/// Entries that one pull asks back; the next pull asks for more.
pub(in crate::replica) const LOST_ASKED_MAX: usize = 64;
/// How often the journal has what a realm began with: see [`Batch`](crate::replica::batch::Batch).
const COPIES: usize = 2;
/// Journal bytes read at a time.
const SCAN_BYTES: usize = 4 * 1024 * 1024;

/// The entries that the tables show and whose frames are damaged; none, as a rule.
#[derive(Debug, Default)]
pub(in crate::replica) struct Losses {
    /// The damage that this was made from.
    damaged: Vec<Position>,
    /// The first [`LOST_ASKED_MAX`], in journal order.
    entries: BTreeMap<Position, Lost>,
    /// All, by log: how many, and the number of the first.
    logs: BTreeMap<(SpaceId, Author), (u64, u64)>,
}

/// Damaged stretches of the journal: where each begins, and where the next sound frame is.
type Holes = BTreeMap<Position, Option<Position>>;

#[derive(Clone, Copy, Debug)]
struct Lost {
    space: SpaceId,
    author: Author,
    seq: u64,
    hash: EntryHash,
}

impl Losses {
    /// How many entries are lost.
    pub(in crate::replica) fn count(&self) -> u64 {
        self.logs.values().map(|(count, _)| count).sum()
    }

    /// The number of a log's first lost entry.
    pub(in crate::replica) fn first(&self, space: SpaceId, author: Author) -> Option<u64> {
        self.logs.get(&(space, author)).map(|(_, first)| *first)
    }

    /// What to ask back of a space.
    pub(in crate::replica) fn of_space(&self, space: SpaceId) -> Vec<(Author, u64)> {
        let lost = self.entries.values().filter(|lost| lost.space == space);
        lost.map(|lost| (lost.author, lost.seq)).collect()
    }

    fn add(&mut self, position: Position, lost: Lost) {
        let (count, first) = self.logs.entry((lost.space, lost.author)).or_insert((0, lost.seq));
        *count += 1;
        *first = lost.seq.min(*first);
        self.entries.insert(position, lost);
        if self.entries.len() > LOST_ASKED_MAX {
            self.entries.pop_last();
        }
    }

    /// Finds those of all spaces.
    fn find(
        store: &impl Store,
        realms: &Realms,
        holes: &Holes,
        claimed: &mut BTreeSet<Position>,
    ) -> Result<Self, StoreError> {
        let mut found = Self::default();
        if !holes.is_empty() {
            for space in realms.spaces() {
                found.find_in(store, space, holes, claimed)?;
            }
        }
        Ok(found)
    }

    /// Puts back those that the tables hold too. Says whether there were any.
    fn put_back(&self, store: &mut impl Store) -> Result<bool, StoreError> {
        let mut is_any = false;
        for (at, Lost { space, author, seq, .. }) in &self.entries {
            let Some(kept) = store.get(&logs::membership_entry(*space, *author, *seq))? else {
                continue;
            };
            // What cannot be written now is asked of the peers, as others are.
            is_any |= store.repair(*at, &Frame::Entry(&kept).bytes()).is_ok();
        }
        Ok(is_any)
    }

    /// Finds those of a space.
    fn find_in(
        &mut self,
        store: &impl Store,
        space: SpaceId,
        holes: &Holes,
        claimed: &mut BTreeSet<Position>,
    ) -> Result<(), StoreError> {
        walk(store, &logs::entries_of_space(space), None, |key, value| {
            let EntryRow { position, hash, status: _ } = decode_row("entry row", value)?;
            let position = Position(position);
            let hole = holes.range(..=position).next_back();
            let inside = hole.is_some_and(|(_, end)| end.is_none_or(|end| position < end));
            if let (true, Some((author, seq))) = (inside, logs::entry_of_key(key)) {
                self.add(position, Lost { space, author, seq, hash });
                claimed.insert(position);
            }
            Ok(true)
        })
    }
}

/// The logs that an answer leaves out, each from a number on: a lost entry, or one that builds on it.
pub(in crate::replica) struct Withheld<'a> {
    losses: &'a Losses,
    space: SpaceId,
    logs: BTreeMap<Author, u64>,
}

impl<'a> Withheld<'a> {
    pub(in crate::replica) fn new(losses: &'a Losses, space: SpaceId) -> Self {
        Self { losses, space, logs: BTreeMap::new() }
    }

    /// Leaves a log out from an entry on.
    pub(in crate::replica) fn add(&mut self, author: Author, seq: u64) {
        self.logs.insert(author, seq);
    }

    /// Whether an entry builds on one that is left out; then its log is left out from here on. Asked of entries in
    /// journal order.
    pub(in crate::replica) fn builds_on(&mut self, entry: &Entry) -> bool {
        if self.losses.logs.is_empty() && self.logs.is_empty() {
            return false;
        }
        let builds_on = self.is_named(&entry.header);
        if builds_on {
            self.add(entry.log, entry.header.seq);
        }
        builds_on
    }

    fn is_named(&self, header: &Header) -> bool {
        let membership = header.realm.membership_space();
        let lost = |space, tip: &Tip| {
            let first = self.losses.first(space, tip.author);
            first.is_some_and(|first| first <= tip.seq)
        };
        let left_out = |tip: &Tip| self.logs.get(&tip.author).is_some_and(|seq| *seq <= tip.seq);
        header.past.iter().any(|tip| lost(self.space, tip) || left_out(tip))
            || header.membership_past.iter().any(|tip| lost(membership, tip))
    }
}

impl<S: Store> Context<'_, S> {
    /// Serves entries that another site has lost.
    pub(in crate::replica) fn lost_entries(
        &self,
        pull: &Pull,
        lost: &[(Author, u64)],
    ) -> Result<Outcome, StoreError> {
        let budget = ANSWER_BYTES_MAX.min(PULL_BYTES as usize);
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for (author, seq) in lost.iter().take(LOST_ASKED_MAX) {
            let Some(row) = self.entry_row(pull.space, *author, *seq)? else { continue };
            let Some(entry) = self.sound_entry(row.position())? else { continue };
            bytes += entry.bytes().len();
            if !entries.is_empty() && bytes > budget {
                break;
            }
            entries.push(entry);
        }
        Ok(Outcome::Entries { packed: pack_entries(&entries), until: Vec::new(), at: None })
    }

    /// A membership entry as the tables have it.
    pub(in crate::replica) fn kept_entry(
        &self,
        space: SpaceId,
        author: Author,
        seq: u64,
    ) -> Result<Option<Entry>, StoreError> {
        let kept = self.store.get(&logs::membership_entry(space, author, seq))?;
        Ok(kept.and_then(|bytes| Entry::decode(&bytes).ok()))
    }

    /// A durable entry; `None` where its bytes are damaged, or are no entry.
    pub(in crate::replica) fn sound_entry(
        &self,
        at: Position,
    ) -> Result<Option<Entry>, StoreError> {
        match read_entry(self.store, at) {
            Ok(entry) => Ok(Some(entry)),
            Err(StoreError::Damaged { .. } | StoreError::Newer { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Links {
    /// Whether the damage is not the one that was known.
    pub(in crate::replica) fn has_new_damage(&self, store: &impl Store) -> bool {
        store.damaged() != self.losses.damaged
    }

    /// The tables are rebuilt: what was lost is to be found out again.
    pub(in crate::replica) fn forget_losses(&mut self) {
        self.losses = Losses::default();
    }

    /// Finds out what is lost, where there is new damage.
    pub(in crate::replica) fn find_losses(
        &mut self,
        store: &mut impl Store,
        realms: &Realms,
        out: &mut Outbox,
    ) -> Result<(), StoreError> {
        if !self.has_new_damage(store) {
            return Ok(());
        }
        let mut before = None;
        let (mut found, holes, claimed) = loop {
            let (holes, mut claimed) = (holes(store)?, BTreeSet::new());
            let found = Losses::find(store, realms, &holes, &mut claimed)?;
            // There may be more than are found at a time. It ends even where what is put back stays damaged.
            if before.as_ref() == Some(&holes) || !found.put_back(store)? {
                break (found, holes, claimed);
            }
            before = Some(holes);
        };
        if holes.keys().any(|hole| !claimed.contains(hole)) {
            let unclaimed = holes.keys().filter(|hole| !claimed.contains(hole));
            keep_founding(store, realms, unclaimed)?;
        }
        found.damaged = store.damaged();
        for ((space, author), (_, seq)) in &found.logs {
            if self.losses.first(*space, *author) != Some(*seq) {
                out.notice(Notice::EntryLost { author: *author, seq: *seq });
            }
        }
        self.losses = found;
        Ok(())
    }

    /// Puts entries that a peer gave back into their places.
    pub(in crate::replica) fn take_lost(
        &mut self,
        store: &mut impl Store,
        realms: &Realms,
        out: &mut Outbox,
        from: SiteId,
        packed: &[u8],
    ) -> Result<(), StoreError> {
        let entries = match unpack_entries(packed) {
            Ok(entries) => entries,
            Err(error) => {
                out.notice(Notice::Refused { from, reason: error.to_string() });
                return Ok(());
            }
        };
        for entry in entries {
            // The hash is over header and signature, and the header names the payload's: no other bytes have it.
            let place = self.losses.entries.iter().find(|(_, lost)| lost.hash == entry.hash);
            let Some((at, lost)) = place.map(|(at, lost)| (*at, *lost)) else { continue };
            match store.repair(at, &Frame::Entry(entry.bytes()).bytes()) {
                Ok(()) => {
                    let Lost { author, seq, .. } = lost;
                    out.notice(Notice::EntryRepaired { author, seq, from });
                }
                // Nothing is worse than before; the next pull asks again.
                Err(StoreError::Unwritable { .. } | StoreError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.find_losses(store, realms, out)
    }
}

/// Each damaged stretch with the place of the next sound frame.
fn holes(store: &impl Store) -> Result<Holes, StoreError> {
    let mut holes = Holes::new();
    for from in store.damaged() {
        let next = store.scan_journal(Some(from), 1)?;
        holes.insert(from, next.first().map(|(position, _)| *position));
    }
    Ok(holes)
}

/// The tables hold the genesis document and the proofs of forks too: where the journal has lost one, it goes back into
/// the holes that no entry lay in, or else to the journal's end.
fn keep_founding<'a>(
    store: &mut impl Store,
    realms: &Realms,
    holes: impl Iterator<Item = &'a Position> + Clone,
) -> Result<(), StoreError> {
    // How often the journal is to have each.
    let mut missing: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let documents = realms.private().map(|(document, _)| document);
    let founding = Frame::founding(realms.genesis(), documents);
    missing.extend(founding.into_iter().map(|frame| (frame, COPIES)));
    let forks = realms.all_logs().flat_map(|(_, logs)| logs.forks.proofs());
    missing.extend(forks.map(|fork| (Frame::Fork(&codec::encode(&fork)).bytes(), 1)));
    let mut after = None;
    loop {
        let frames = store.scan_journal(after, SCAN_BYTES)?;
        let Some((last, _)) = frames.last() else { break };
        after = Some(*last);
        for (_, found) in &frames {
            if let Some(count) = missing.get_mut(found) {
                *count = count.saturating_sub(1);
            }
        }
    }
    for (frame, count) in missing {
        for _ in 0..count {
            if !holes.clone().any(|at| store.repair(*at, &frame).is_ok()) {
                match store.append(&[&frame]) {
                    // The tables keep it; the next start tries again.
                    Ok(_) | Err(StoreError::Unwritable { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, RealmId, SiteKey};
    use crate::log::entry::{Body, Draft};

    const REALM: RealmId = RealmId([7; 32]);

    fn author(number: u8) -> Author {
        let site = SiteKey::from_seed([number; 32]).site();
        Author { site, incarnation: Incarnation([number; 8]) }
    }

    fn space() -> SpaceId {
        REALM.main_space()
    }

    fn lost(number: u8, seq: u64) -> Lost {
        Lost { space: space(), author: author(number), seq, hash: EntryHash([number; 32]) }
    }

    /// An entry that names others.
    fn entry(by: u8, past: &[(u8, u64)], membership_past: &[(u8, u64)]) -> Entry {
        let tips = |tips: &[(u8, u64)]| {
            let tip = |(number, seq): &(u8, u64)| Tip {
                author: author(*number),
                seq: *seq,
                hash: EntryHash([0; 32]),
            };
            tips.iter().map(tip).collect()
        };
        let draft = Draft {
            realm: REALM,
            space: space(),
            author: author(by),
            seq: 5,
            previous: EntryHash::NONE,
            past: tips(past),
            membership_past: tips(membership_past),
            time_ms: 0,
        };
        draft.sign(&Body::Transactions(Vec::new()), &SiteKey::from_seed([by; 32]))
    }

    #[test]
    fn of_each_log_the_first_lost_entry_is_known_and_how_many_there_are() {
        let mut losses = Losses::default();
        for (at, (number, seq)) in [(1, 9), (1, 4), (2, 1)].into_iter().enumerate() {
            losses.add(Position(at as u64), lost(number, seq));
        }
        assert_eq!(losses.count(), 3);
        assert_eq!(losses.first(space(), author(1)), Some(4));
        assert_eq!(losses.first(space(), author(3)), None);
        assert_eq!(losses.first(REALM.membership_space(), author(1)), None);
    }

    #[test]
    fn so_many_are_asked_back_at_once_the_first_in_the_journal_first() {
        let mut losses = Losses::default();
        for seq in (1..=2 * LOST_ASKED_MAX as u64).rev() {
            losses.add(Position(seq), lost(1, seq));
        }
        let asked = losses.of_space(space());
        assert_eq!(asked.len(), LOST_ASKED_MAX);
        assert_eq!((asked[0].1, asked[LOST_ASKED_MAX - 1].1), (1, LOST_ASKED_MAX as u64));
        assert_eq!(losses.count(), 2 * LOST_ASKED_MAX as u64);
    }

    #[test]
    fn what_builds_on_a_lost_entry_is_left_out_and_so_is_what_builds_on_that() {
        let mut losses = Losses::default();
        losses.add(Position(1), lost(1, 4));
        let mut withheld = Withheld::new(&losses, space());
        assert!(!withheld.builds_on(&entry(2, &[(1, 3)], &[])));
        assert!(withheld.builds_on(&entry(2, &[(1, 4)], &[])));
        assert!(withheld.builds_on(&entry(3, &[(2, 5)], &[])));
        assert!(!withheld.builds_on(&entry(4, &[(2, 4)], &[])));
    }

    #[test]
    fn a_lost_entry_of_members_holds_back_the_records_that_name_it() {
        let mut losses = Losses::default();
        let of_members = Lost { space: REALM.membership_space(), ..lost(1, 4) };
        losses.add(Position(1), of_members);
        let mut withheld = Withheld::new(&losses, space());
        assert!(!withheld.builds_on(&entry(2, &[(1, 4)], &[])));
        assert!(withheld.builds_on(&entry(2, &[], &[(1, 4)])));
    }

    #[test]
    fn nothing_is_left_out_where_nothing_is_lost() {
        let losses = Losses::default();
        let mut withheld = Withheld::new(&losses, space());
        assert!(!withheld.builds_on(&entry(2, &[(1, 4)], &[(1, 1)])));
        withheld.add(author(1), 4);
        assert!(withheld.builds_on(&entry(2, &[(1, 4)], &[])));
    }
}
