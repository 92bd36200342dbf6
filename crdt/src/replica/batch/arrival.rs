//! An entry on its way into the group: what has to be done before it is taken in, and who waits for the verdict.

use super::Batch;
use super::accept::{Acceptance, EntrySource};
use super::succession::Succession;
use crate::ids::SiteId;
use crate::log::entry::{Body, Entry, Header, Tip};
use crate::log::fork::{ForkProof, SignedHeader};
use crate::membership::{Members, Operation, Role, Vouch};
use crate::protocol::prepare::PreparedEntry;
use crate::replica::context::Context;
use crate::replica::links::gossip::{HeardMessage, Reply};
use crate::replica::links::room::RoomLeft;
use crate::replica::outbox::Outbox;
use crate::replica::realms::introduction::Shown;
use crate::replica::realms::rounds::Round;
use crate::replica::task::{Decided, Task};
use crate::store::{Store, StoreError};

/// An entry that another site sent.
pub(in crate::replica) struct Arrival {
    entry: PreparedEntry,
    waiting: Waiting,
    /// The proof of a fork was looked for: what is judged now is final.
    is_proven: bool,
}

/// Who waits to hear how an entry was judged.
pub(in crate::replica) enum Waiting {
    /// The sender of a message, and its other entries.
    Message(HeardMessage),
    /// The answer whose entries are being taken in.
    Answer { from: SiteId, tip: Tip },
    /// The piece of a bundle, and the records that the entry changes.
    Bundle { maker: SiteId, records: Vec<[u8; 8]> },
    /// The other entries of a round.
    Members(Round),
    /// The other entries that a site shows.
    Shown(Shown),
}

impl Arrival {
    pub(in crate::replica) fn new(entry: PreparedEntry, waiting: Waiting) -> Self {
        Self { entry, waiting, is_proven: false }
    }

    /// The one who waits for it.
    #[cfg(test)]
    pub(in crate::replica) fn into_waiting(self) -> Waiting {
        self.waiting
    }

    fn source(&self) -> EntrySource {
        let is_gossip = |reply: &Reply| matches!(reply, Reply::Validate(_));
        let by_gossip = matches!(&self.waiting, Waiting::Message(heard) if is_gossip(&heard.reply));
        EntrySource::Peer { by_gossip }
    }

    /// Whether this entry, if its number is taken, may prove that its author signed two. Not so for membership entries that
    /// a site shows: a later pull brings them again and finds the fork.
    fn may_prove(&self) -> bool {
        !self.is_proven && !matches!(self.waiting, Waiting::Members(_) | Waiting::Shown(_))
    }

    fn concluded(self, acceptance: Acceptance) -> Vec<Task> {
        vec![Task::Conclude { waiting: self.waiting, acceptance, if_durable: false }]
    }

    /// It waits for what could not be written.
    fn put_off(self) -> Vec<Task> {
        self.concluded(Acceptance::NotReady)
    }
}

impl<S: Store> Context<'_, S> {
    /// The header of another entry behind the one that an entry follows. `None`: it is damaged; the next pull after its
    /// repair finds the fork again.
    fn entry_beside(&self, header: &Header) -> Result<Option<SignedHeader>, StoreError> {
        let Header { space, author, seq, previous, .. } = header;
        let Some(logs) = self.realms.logs(*space) else { return Ok(None) };
        if let Some((_, known)) = logs.forks.branches(*author, previous).next() {
            return Ok(Some(known.clone()));
        }
        for log in logs.forks.names(*author) {
            if let Some(row) = self.entry_row(*space, log, *seq)?
                && let Some(entry) = self.sound_entry(row.position())?
                && entry.header.previous == *previous
            {
                return Ok(Some((entry.header, entry.signature)));
            }
        }
        Ok(None)
    }
}

impl Waiting {
    /// The site at fault if the entry must not be here, where somebody reads that.
    pub(in crate::replica) fn sender(&self) -> Option<SiteId> {
        match self {
            Self::Message(HeardMessage { from, .. }) | Self::Answer { from, .. } => Some(*from),
            Self::Bundle { maker, .. } => Some(*maker),
            Self::Members(_) | Self::Shown(_) => None,
        }
    }
}

impl Batch {
    /// Judges an entry by its header, and takes it in unless something has to be done first, or there is no room for it.
    pub(in crate::replica) fn judge<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        room: RoomLeft,
        mut arrival: Arrival,
    ) -> Result<Vec<Task>, StoreError> {
        let entry = &arrival.entry.entry;
        if !room.takes(&entry.header) && !matches!(self.succession(cx, entry)?, Succession::Held) {
            return Ok(arrival.concluded(Acceptance::NoRoom));
        }
        if self.is_of_copy(cx, &arrival.entry)? {
            return Ok(vec![Task::Commit, Task::BeginLife, Task::Judge(arrival)]);
        }
        let source = arrival.source();
        match self.judge_header(cx, &mut arrival.entry, source)? {
            Some(Acceptance::Fork) if arrival.may_prove() => {
                return Ok(vec![Task::Commit, Task::Prove(arrival)]);
            }
            Some(acceptance) => return Ok(arrival.concluded(acceptance)),
            None => {}
        }
        let members = cx.realms.members_of(arrival.entry.entry.header.realm);
        if let Some(decided) = decisions(&arrival.entry.entry, cx.payload_format, members) {
            return Ok(vec![Task::Commit, Task::Vouch(arrival, decided)]);
        }
        let Arrival { entry, waiting, .. } = arrival;
        let acceptance = self.judge_past(cx, out, entry, source)?;
        Ok(vec![Task::Conclude { waiting, acceptance, if_durable: false }])
    }

    /// Looks for the proof that the author of an entry signed two under its number. The group has ended, so that the
    /// other one can be read. The entry is then judged again: it may be the one that stands.
    pub(in crate::replica) fn prove<S: Store>(
        &self,
        cx: Context<'_, S>,
        arrival: Arrival,
    ) -> Result<Vec<Task>, StoreError> {
        let (header, signature) = (&arrival.entry.entry.header, arrival.entry.entry.signature);
        let space = header.space;
        let proof = cx
            .entry_beside(header)?
            .and_then(|beside| ForkProof::new(beside, (header.clone(), signature)));
        let fork = |proof| Task::Fork { space, fork: Box::new(proof) };
        let mut tasks: Vec<Task> = proof.map(fork).into_iter().collect();
        tasks.push(Task::NameBranches);
        tasks.push(Task::Judge(Arrival { is_proven: true, ..arrival }));
        Ok(tasks)
    }

    /// Before an entry is taken in that decides about sites, or vouches: vouches for what is held beyond what it lets count,
    /// so that nothing that shows here has to be taken back.
    pub(in crate::replica) fn vouch<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        arrival: Arrival,
        decided: Vec<Decided>,
        is_durable: bool,
    ) -> Vec<Task> {
        if !is_durable {
            return arrival.put_off();
        }
        let header = &arrival.entry.entry.header;
        let (own, by, realm) = (cx.author.site, header.author.site, header.realm);
        for (site, role, cut) in decided {
            // What is decided of a replaced key holds for those that came after it.
            let mut key = Some(site);
            while let (Some(site), Some(members)) = (key, cx.realms.members_of(realm)) {
                let may_count = by == site
                    || members.ever(&by) == Some(Role::Admin) && members.is_senior(&by, &site);
                let held = cx.realms.held_of(realm, site).beyond(&cut);
                let is_said = held.is_empty() || members.has_vouched(own, site, &held);
                // For itself a site can only vouch while it stays a member.
                let may_vouch = members.ever(&own).is_some() && (site != own || role.is_some());
                key = members.successor(&site);
                if may_count && may_vouch && !is_said {
                    self.stage.operations.push((realm, Operation::Vouch(Vouch { site, held })));
                }
            }
        }
        vec![Task::Commit, Task::VouchLosers(arrival)]
    }

    /// The same of the sites of which something would count no more once the entry is taken in.
    pub(in crate::replica) fn vouch_for_losers<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        arrival: Arrival,
        is_durable: bool,
    ) -> Vec<Task> {
        if !is_durable {
            return arrival.put_off();
        }
        let (own, realm) = (cx.author.site, arrival.entry.entry.header.realm);
        for site in cx.realms.sites_losing_entries(&arrival.entry.entry) {
            let held = cx.realms.held_of(realm, site);
            let members = cx.realms.members_of(realm);
            if !members.is_none_or(|members| members.has_vouched(own, site, &held)) {
                self.stage.operations.push((realm, Operation::Vouch(Vouch { site, held })));
            }
        }
        vec![Task::Commit, Task::TakeIn(arrival)]
    }

    /// Takes an entry in that decides about sites. Whatever comes next is judged by those who are members afterwards.
    pub(in crate::replica) fn take_in<S: Store>(
        &mut self,
        cx: Context<'_, S>,
        out: &mut Outbox,
        arrival: Arrival,
        is_durable: bool,
    ) -> Result<Vec<Task>, StoreError> {
        if !is_durable {
            return Ok(arrival.put_off());
        }
        let source = arrival.source();
        let Arrival { entry, waiting, .. } = arrival;
        let acceptance = self.judge_past(cx, out, entry, source)?;
        Ok(vec![Task::Commit, Task::Conclude { waiting, acceptance, if_durable: true }])
    }
}

/// The sites that an entry decides about: what each may do from now on, and what counts of a higher role. `None`: it is an
/// ordinary entry; empty: it only vouches, by which sites may still lose something. Nothing is read of a payload of a later
/// format than `format_max`.
fn decisions(entry: &Entry, format_max: u8, members: Option<&Members>) -> Option<Vec<Decided>> {
    let header = &entry.header;
    let is_readable = header.payload.format <= format_max;
    if header.space != header.realm.membership_space() || !is_readable {
        return None;
    }
    let Ok(Body::Membership(operations)) = entry.body() else { return None };
    let may_dispute = || members.is_some_and(|members| members.may_dispute(entry, &operations));
    if !operations.iter().any(Operation::is_of_standing) && !may_dispute() {
        return None;
    }
    let decisions = operations.iter().filter_map(Operation::decision);
    Some(decisions.map(|(site, role, cut)| (site, role, cut.clone())).collect())
}
