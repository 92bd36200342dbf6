//! What a replica knows of itself and of the others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Replica;
use super::logs::Logs;
use super::peer::Peer;
use crate::entry::EntryId;
use crate::frontier::Known;
use crate::ids::{Author, NetworkId, SiteId};
use crate::membership::Role;
use crate::receipt::{Held, LogTag, Receipt};
use crate::store::Store;

/// What a replica knows of itself and of the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This site.
    pub site: SiteId,
    /// Its name.
    pub name: String,
    /// Its network, once known.
    pub network: Option<NetworkId>,
    /// Its role, by membership or by the ticket it holds.
    pub role: Option<Role>,
    /// Whether it is a member; a site with a ticket may write before it is.
    pub member: bool,
    /// Entries held in the main space.
    pub entries: u64,
    /// Entries of this site among them.
    pub own_entries: u64,
    /// Entries held whose payload this program is too old to apply.
    pub entries_unapplied: u64,
    /// Entries whose bytes are damaged here, until a peer gives them back.
    pub entries_lost: u64,
    /// Logs of which a fork is proven.
    pub forks: Vec<Author>,
    /// All members, this site first.
    pub sites: Vec<SiteStatus>,
}

/// What is known of one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteStatus {
    /// The member.
    pub site: SiteId,
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Whether it is connected to this site.
    pub connected: bool,
    /// When it issued its latest receipt that is known here, ms since 1970 by its own clock.
    pub receipt_ms: Option<i64>,
    /// Entries held here that its receipt does not cover; where it lists only some logs, of those. `None`: no
    /// receipt is known, or it does not tell.
    pub lacks: Option<u64>,
    /// The ones among them that this site wrote.
    pub lacks_of_ours: Option<u64>,
    /// Entries that its receipt covers and that are not held here.
    pub ahead: Option<u64>,
}

/// What a replica holds in memory besides its logs and members. Between two groups of inputs nothing is staged, and
/// once the caller has acted nothing is unsaid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Entries of the group under way.
    pub staged_entries: usize,
    /// Bytes of the group under way.
    pub staged_bytes: usize,
    /// Documents kept at hand.
    pub documents: usize,
    /// Connected members.
    pub peers: usize,
    /// Pulls from them, under way or remembered.
    pub pulls: usize,
    /// Announcements that wait for their entry.
    pub announcements: usize,
    /// Outputs that wait for the caller.
    pub outputs: usize,
}

impl<S: Store> Replica<S> {
    /// What is held in memory now.
    pub fn footprint(&self) -> Footprint {
        Footprint {
            staged_entries: self.stage.entries.len(),
            staged_bytes: self.stage.bytes,
            documents: self.documents.count(),
            peers: self.peers.len(),
            pulls: self.peers.values().map(Peer::pull_count).sum(),
            announcements: self.announced.count(),
            outputs: self.outputs.len(),
        }
    }

    /// What is known now.
    pub fn status(&self) -> Status {
        let space = self.network().map(|network| network.main_space());
        let logs = space.and_then(|space| self.spaces.get(&space));
        let rows = logs.iter().flat_map(|logs| &logs.rows);
        let own = rows.clone().filter(|(author, _)| author.site == self.site());
        let members = self.members().map(|members| members.all().clone()).unwrap_or_default();
        let tags = rows.clone().map(|(author, _)| (LogTag::of(author), *author)).collect();
        let mut sites: Vec<_> = members
            .into_iter()
            .map(|(site, member)| {
                let receipts = space.and_then(|space| self.receipts.get(&space));
                let receipt = receipts.and_then(|receipts| receipts.by_site.get(&site));
                let lag = receipt.and_then(|receipt| self.lag(receipt, &tags));
                let is_own = site == self.site();
                SiteStatus {
                    site,
                    name: member.name,
                    role: member.role,
                    connected: is_own || self.peers.contains_key(&site),
                    receipt_ms: receipt.map(|receipt| receipt.time_ms),
                    lacks: if is_own { Some(0) } else { lag.map(|lag| lag.lacks) },
                    lacks_of_ours: if is_own { Some(0) } else { lag.map(|lag| lag.lacks_of_ours) },
                    ahead: if is_own { Some(0) } else { lag.map(|lag| lag.ahead) },
                }
            })
            .collect();
        sites.sort_by(|a, b| {
            (a.site != self.site(), &a.name).cmp(&(b.site != self.site(), &b.name))
        });
        Status {
            site: self.site(),
            name: self.own_name(),
            network: self.network(),
            role: self.role(),
            member: self.members().is_some_and(|members| members.get(&self.site()).is_some()),
            entries: rows.clone().map(|(_, row)| row.seq).sum(),
            own_entries: own.map(|(_, row)| row.seq).sum(),
            entries_unapplied: rows.map(|(_, row)| row.seq - row.applied).sum(),
            entries_lost: self.losses.count(),
            forks: logs.iter().flat_map(|logs| logs.forks.keys().copied()).collect(),
            sites,
        }
    }

    fn own_name(&self) -> String {
        let member = self.members().and_then(|members| members.get(&self.site()));
        member.map_or_else(|| self.identity.name.clone(), |member| member.name.clone())
    }

    /// How a receipt compares with what is held here; `None` where it lists some logs, all of them as held here, and
    /// others differ. `tags`: the logs that are known here.
    fn lag(&self, receipt: &Receipt, tags: &BTreeMap<LogTag, Author>) -> Option<Lag> {
        let logs = self.spaces.get(&receipt.space)?;
        let held = &receipt.held;
        if held.frontier == logs.frontier().digest() {
            return Some(Lag::default());
        }
        let mut lag = Lag::default();
        // Logs of which nothing is known here.
        for (_, seq) in held.logs.iter().filter(|(tag, _)| !tags.contains_key(tag)) {
            lag.ahead = lag.ahead.saturating_add(*seq);
        }
        let known = listed(held, tags);
        let lacking = told_lacking(logs, held, &known);
        let missing = |(author, from): (&Author, &u64)| {
            let seq = logs.rows.get(author).map_or(0, |row| row.seq);
            (author.site, seq + 1 - from)
        };
        for (site, count) in lacking.iter().map(missing) {
            lag.lacks += count;
            lag.lacks_of_ours += if site == self.site() { count } else { 0 };
        }
        for item in &known {
            let seq = logs.rows.get(&item.author).map_or(0, |row| row.seq);
            lag.ahead = lag.ahead.saturating_add(item.seq.saturating_sub(seq));
        }
        let tells = held.is_whole() || lag.lacks > 0 || lag.ahead > 0;
        tells.then_some(lag)
    }

    /// Which of the other members hold an entry of the main space durably, by their receipts: `Some(false)` where a
    /// receipt shows that it does not, `None` where none tells.
    pub fn holders(&self, entry: EntryId) -> BTreeMap<SiteId, Option<bool>> {
        let space = self.network().map(|network| network.main_space());
        let logs = space.and_then(|space| self.spaces.get(&space));
        let receipts = space.and_then(|space| self.receipts.get(&space));
        let members = self.members().map(|members| members.sites()).unwrap_or_default();
        let authors = logs.iter().flat_map(|logs| logs.rows.keys());
        let tags = authors.map(|author| (LogTag::of(author), *author)).collect();
        let holds = |site: &SiteId| {
            let held = &receipts?.by_site.get(site)?.held;
            let logs = logs.filter(|logs| logs.rows.contains_key(&entry.author))?;
            if held.frontier == logs.frontier().digest() {
                return Some(true);
            }
            let known = listed(held, &tags);
            if told_lacking(logs, held, &known)
                .get(&entry.author)
                .is_some_and(|at| *at <= entry.seq)
            {
                return Some(false);
            }
            let is_implied = !logs.lacking(&known).contains_key(&entry.author);
            let is_listed = known.iter().any(|item| item.author == entry.author);
            (is_implied || is_listed).then_some(true)
        };
        let others = members.into_iter().filter(|site| *site != self.site());
        others.map(|site| (site, holds(&site))).collect()
    }
}

/// What a receipt says of the logs that are known here.
fn listed(held: &Held, tags: &BTreeMap<LogTag, Author>) -> Vec<Known> {
    let known = |(tag, seq): (&LogTag, &u64)| {
        let author = *tags.get(tag)?;
        Some(Known { author, seq: *seq, check: [0; 8], predecessors: Vec::new() })
    };
    held.logs.iter().filter_map(known).collect()
}

/// For each log that a receipt shows to lack entries: the number of the first.
fn told_lacking(logs: &Logs, held: &Held, known: &[Known]) -> BTreeMap<Author, u64> {
    let mut lacking = logs.lacking(known);
    lacking.retain(|author, _| held.is_whole() || known.iter().any(|item| item.author == *author));
    lacking
}

#[derive(Clone, Copy, Default)]
struct Lag {
    lacks: u64,
    lacks_of_ours: u64,
    ahead: u64,
}
