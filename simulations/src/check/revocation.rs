//! Invariant 7 for sites that were shut out: of what they wrote, a member holds only what the revocation says that its
//! admin held, or what another member vouched for who did not know of it, or knew something against that admin.
//!
//! Shown from the entries of a journal alone, without asking the replica what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use branchline_crdt::ids::{EntryHash, SiteId};
use branchline_crdt::log::entry::{Body, Entry};
use branchline_crdt::membership::{Cut, FORMER_KEYS_MAX, Operation};

use super::provenance::{frames, logs_of};
use super::{Check, Report, Scene};
use crate::invariant::Invariant;
use crate::world::SiteIndex;

/// Reads in each member's journal what it holds of revoked sites.
pub(super) struct Revocation;

impl Check for Revocation {
    fn finish(&mut self, scene: &Scene<'_>, report: &mut Report) {
        for office in scene.groups.iter().flatten() {
            if scene.world.damaged_count(*office) == 0 {
                read_journal(*office, scene, report);
            }
        }
    }
}

/// An entry of the membership space that says how far a site's logs count: who wrote it, what, and all that it follows.
struct Saying {
    by: SiteId,
    hash: EntryHash,
    held: Cut,
    follows: BTreeSet<EntryHash>,
}

fn read_journal(office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
    let Some(replica) = scene.world.replica(office) else { return };
    let Some(members) = replica.realms().members().filter(|members| !members.revoked().is_empty())
    else {
        return;
    };
    let Ok((_, entries)) = frames(replica.store()) else { return };
    let Sayings { revocations, vouches, decided, former } = Sayings::of(&entries);
    for entry in entries.iter().filter(|e| e.header.space == e.header.realm.main_space()) {
        let header = &entry.header;
        let site = header.author.site;
        let Some(by) = members.revoked().get(&site).map(|revoked| revoked.by) else { continue };
        let names = logs_of(replica.store(), entry);
        let covers =
            |held: &Cut| names.iter().any(|log| held.covers(header.space, *log, header.seq));
        // What was decided of a key holds for the one that replaced it.
        let keys = std::iter::successors(Some(site), |key| former.get(key).copied());
        let of_keys = keys.take(FORMER_KEYS_MAX).filter_map(|key| revocations.get(&key));
        let revocations: Vec<&Saying> = of_keys.flatten().collect();
        let vouches: &[Saying] = vouches.get(&site).map_or(&[], Vec::as_slice);
        let counts =
            revocations.iter().filter(|revocation| revocation.by == by).any(|revocation| {
                let against = decided.get(&revocation.by);
                let unaware = |saying: &&Saying| {
                    let knows = |hash| saying.follows.contains(hash);
                    let doubts = || against.is_some_and(|all| all.iter().any(knows));
                    saying.by != site && (!knows(&revocation.hash) || doubts())
                };
                let others = vouches.iter().chain(revocations.iter().copied()).filter(unaware);
                covers(&revocation.held) || others.into_iter().any(|saying| covers(&saying.held))
            });
        report.expect(Invariant::Provenance, counts, Some(scene.world.name(office)), || {
            format!("entry {} of {site} is held, which was revoked before", header.seq)
        });
    }
}

/// What the entries of the membership space say, by the site that it is about.
#[derive(Default)]
struct Sayings {
    revocations: BTreeMap<SiteId, Vec<Saying>>,
    vouches: BTreeMap<SiteId, Vec<Saying>>,
    /// The entries that decide of the site.
    decided: BTreeMap<SiteId, BTreeSet<EntryHash>>,
    /// The key that a key replaced.
    former: BTreeMap<SiteId, SiteId>,
}

impl Sayings {
    fn of(entries: &[Arc<Entry>]) -> Self {
        let mut all = Self::default();
        let mut pasts: BTreeMap<EntryHash, BTreeSet<EntryHash>> = BTreeMap::new();
        for entry in entries {
            let header = &entry.header;
            if header.space != header.realm.membership_space() {
                continue;
            }
            let parents = header.past.iter().map(|tip| tip.hash).chain([header.previous]);
            let mut follows = BTreeSet::new();
            for parent in parents {
                follows.insert(parent);
                follows.extend(pasts.get(&parent).into_iter().flatten());
            }
            let Ok(Body::Membership(operations)) = entry.body() else { continue };
            for operation in operations {
                let (site, is_decision) = match &operation {
                    Operation::Revoke(revocation) => (revocation.site, true),
                    Operation::ChangeRole(change) => (change.site, true),
                    Operation::Rotate(rotation) => {
                        all.former.insert(rotation.to, rotation.from);
                        (rotation.from, true)
                    }
                    Operation::Vouch(vouch) => (vouch.site, false),
                    Operation::Admit(_)
                    | Operation::Rename { .. }
                    | Operation::Invite(_)
                    | Operation::Withdraw { .. } => continue,
                };
                if is_decision {
                    all.decided.entry(site).or_default().insert(entry.hash);
                }
                let (into, held) = match operation {
                    Operation::Revoke(revocation) => (&mut all.revocations, revocation.held),
                    Operation::Vouch(vouch) => (&mut all.vouches, vouch.held),
                    Operation::Admit(_)
                    | Operation::ChangeRole(_)
                    | Operation::Rename { .. }
                    | Operation::Rotate(_)
                    | Operation::Invite(_)
                    | Operation::Withdraw { .. } => continue,
                };
                let (by, hash, follows) = (header.author.site, entry.hash, follows.clone());
                into.entry(site).or_default().push(Saying { by, hash, held, follows });
            }
            pasts.insert(entry.hash, follows);
        }
        all
    }
}
