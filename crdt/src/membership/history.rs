//! What became of the members, in the order in which this site heard of it.

use super::{Admission, Genesis, Members, Operation, Role};
use crate::ids::{RealmId, SiteId};
use crate::log::entry::{Body, Entry, EntryId};

/// One thing that was done to the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MembershipStep {
    /// The entry that says so; `None`: the document that the network or space began with.
    pub entry: Option<EntryId>,
    /// When, in ms since 1970 by its author's clock.
    pub time_ms: i64,
    /// Who decided it.
    pub by: SiteId,
    /// Whom it is about.
    pub site: SiteId,
    /// What was done.
    pub event: MembershipEvent,
    /// Whether anything came of it: what a site decides that may not, and what was so already, changes nothing.
    pub counts: bool,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipEvent {
    /// The network or space began, with this site as an admin.
    Founded,
    /// The site was let in.
    Admitted {
        /// The name that it wished for.
        name: String,
        /// What it might do.
        role: Role,
        /// The member that took the ticket.
        through: SiteId,
    },
    /// The site was shut out; by itself where it left.
    Revoked,
    /// The site may do more or less.
    RoleChanged {
        /// What it may do.
        role: Role,
    },
    /// The site is called otherwise.
    Renamed {
        /// What it was called.
        from: Option<String>,
        /// What it is called.
        to: String,
    },
    /// The site goes on under another key.
    KeyReplaced {
        /// The new key's site.
        to: SiteId,
    },
}

/// Tells what became of the members of `realm`, from the document that it began with and its membership entries in the
/// order in which they were taken in.
pub fn history(realm: RealmId, genesis: &Genesis, entries: &[Entry]) -> Vec<MembershipStep> {
    let mut members = Members::new(realm, Some(genesis.clone()));
    let founded = |(site, _): &(SiteId, String)| MembershipStep {
        entry: None,
        time_ms: genesis.time_ms,
        by: *site,
        site: *site,
        event: MembershipEvent::Founded,
        counts: true,
    };
    let mut steps: Vec<_> = genesis.founders.iter().map(founded).collect();
    for entry in entries {
        let Ok(Body::Membership(operations)) = entry.body() else { continue };
        let begin = steps.len();
        let before = |operation: &Operation| step(entry, operation, &members);
        steps.extend(operations.iter().filter_map(before));
        members.extend([(entry, operations)]);
        for step in &mut steps[begin..] {
            step.counts = step.counts && is_so(step, &members);
        }
    }
    steps
}

/// What an operation is to do, and whether that would be new.
fn step(entry: &Entry, operation: &Operation, before: &Members) -> Option<MembershipStep> {
    let author = entry.header.author.site;
    let (by, site, event) = match operation {
        Operation::Admit(Admission { grant, site, name, .. }) => {
            let (name, role) = (name.clone(), grant.role);
            (grant.issuer, *site, MembershipEvent::Admitted { name, role, through: author })
        }
        Operation::Revoke(revocation) => {
            (revocation.issuer, revocation.site, MembershipEvent::Revoked)
        }
        Operation::ChangeRole(change) => {
            (author, change.site, MembershipEvent::RoleChanged { role: change.role })
        }
        Operation::Rename { site, name } => {
            let from = before.name_of(site).map(str::to_owned);
            (author, *site, MembershipEvent::Renamed { from, to: name.clone() })
        }
        Operation::Rotate(rotation) => {
            (author, rotation.from, MembershipEvent::KeyReplaced { to: rotation.to })
        }
        // How others hold what a decision cuts off.
        Operation::Vouch(_) => return None,
        Operation::Invite(_) | Operation::Withdraw { .. } => return None,
    };
    let header = &entry.header;
    let entry = Some(entry.id());
    let step = MembershipStep { entry, time_ms: header.time_ms, by, site, event, counts: true };
    Some(MembershipStep { counts: !is_so(&step, before), ..step })
}

/// Whether that is how the members stand which a step is to bring about.
fn is_so(step: &MembershipStep, members: &Members) -> bool {
    let newest = std::iter::successors(Some(step.site), |key| members.successor(key)).last();
    let member = newest.and_then(|site| members.get(&site));
    match &step.event {
        MembershipEvent::Founded => true,
        MembershipEvent::Admitted { .. } => member.is_some(),
        MembershipEvent::Revoked => {
            newest.is_some_and(|site| members.revoked().contains_key(&site))
        }
        MembershipEvent::RoleChanged { role } => member.is_some_and(|member| member.role == *role),
        MembershipEvent::Renamed { to, .. } => member.is_some_and(|member| member.name == *to),
        MembershipEvent::KeyReplaced { to } => members.successor(&step.site) == Some(*to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Author, EntryHash, Incarnation, SiteKey};
    use crate::log::entry::{Draft, Tip};
    use crate::membership::{Cut, Grant, Revocation, RoleChange, Ticket};

    fn key(site: u8) -> SiteKey {
        SiteKey::from_seed([site + 1; 32])
    }

    #[test]
    fn each_step_tells_who_what_and_whether_anything_came_of_it() {
        let (head, north) = (key(0), key(1));
        let founders = vec![(head.site(), "head".to_owned())];
        let genesis = Genesis { founders, time_ms: 5, nonce: [1; 16] };
        let network = genesis.network();
        let secret = key(9);
        let grant = Grant::sign(network, secret.site(), Role::Writer, i64::MAX, &head);
        let ticket = Ticket { grant, secret, inviter: head.site(), addresses: Vec::new() };
        let admission = Admission::sign(&ticket, north.site(), "north");
        let revoke = |by: &SiteKey, site: SiteId| {
            Operation::Revoke(Revocation::sign(network, site, Cut::default(), by))
        };
        let role = RoleChange { site: north.site(), role: Role::Reader, held: Cut::default() };
        let said = [
            (&head, Operation::Admit(admission)),
            (&north, revoke(&north, head.site())),
            (&head, Operation::ChangeRole(role)),
            (&head, Operation::Rename { site: north.site(), name: "harbour".to_owned() }),
            (&head, revoke(&head, north.site())),
            (&head, revoke(&head, north.site())),
        ];
        let mut entries: Vec<Entry> = Vec::new();
        for (time_ms, (by, operation)) in (10..).zip(said) {
            let author = Author { site: by.site(), incarnation: Incarnation([1; 8]) };
            let own = entries.iter().rev().find(|entry| entry.header.author == author);
            let other = entries.iter().rev().find(|entry| entry.header.author != author);
            let draft = Draft {
                realm: network,
                space: network.membership_space(),
                author,
                seq: own.map_or(1, |entry| entry.header.seq + 1),
                previous: own.map_or(EntryHash::NONE, |entry| entry.hash),
                past: other.map(Entry::tip).into_iter().collect::<Vec<Tip>>(),
                membership_past: Vec::new(),
                time_ms,
            };
            entries.push(draft.sign(&Body::Membership(vec![operation]), by));
        }
        let steps = history(network, &genesis, &entries);
        assert_eq!((&steps[0].event, steps[0].time_ms), (&MembershipEvent::Founded, 5));
        let counts: Vec<_> = steps.iter().map(|step| step.counts).collect();
        assert_eq!(counts, [true, true, false, true, true, true, false], "{steps:?}");
        let by: Vec<_> = steps.iter().map(|step| step.by == head.site()).collect();
        assert_eq!(by, [true, true, false, true, true, true, true]);
        let (from, to) = (Some("north".to_owned()), "harbour".to_owned());
        assert_eq!(steps[4].event, MembershipEvent::Renamed { from, to });
        assert_eq!(steps[6].entry.map(|entry| entry.seq), Some(5));
    }
}
