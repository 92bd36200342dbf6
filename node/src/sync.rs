//! Syncing with the peers now, and saying what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use branchline_crdt::ids::SiteId;
use branchline_crdt::replica::Exchange;
use tokio::time::{Instant, sleep};

use crate::driver::Message;
use crate::handle::{Handle, ReadError, conflicted};
use crate::network::Command;

/// How often the state of the exchanges is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How often a peer is asked anew.
const ASK_PAUSE: Duration = Duration::from_millis(500);

/// What has to be done for a sync to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both sides hold the same.
    Both,
    /// This site has got what the peer holds.
    Pull,
    /// The peer has got what this site holds.
    Push,
}

/// What came of syncing with one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSync {
    /// The peer.
    pub site: SiteId,
    /// Entries that came from it.
    pub pulled: u64,
    /// Entries that it asked for.
    pub pushed: u64,
    /// How long it took.
    pub duration: Duration,
    /// Why it is not complete; `None`: it is.
    pub error: Option<String>,
}

/// What came of syncing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// Each peer.
    pub peers: Vec<PeerSync>,
    /// Records that have conflicts now and had none.
    pub conflicts_new: u64,
}

impl Handle {
    /// Syncs with these members now, at most for `patience`. A member that is not connected is dialled.
    pub async fn sync(
        &self,
        sites: BTreeSet<SiteId>,
        direction: Direction,
        patience: Duration,
    ) -> Result<SyncReport, ReadError> {
        let conflicts_before = self.read(conflicted).await?;
        let started = Instant::now();
        self.dial(&sites).await?;
        let (mut before, mut done) = (BTreeMap::new(), BTreeMap::new());
        let mut asked: Option<Instant> = None;
        loop {
            let exchanges = self.ask(Message::Exchanges).await?;
            for site in &sites {
                // A peer whose link came up meanwhile begins to count at zero.
                let Some(now) = exchanges.get(site) else { continue };
                let first = before.entry(*site).or_insert_with(|| now.clone());
                if now.pulled < first.pulled || now.pushed < first.pushed {
                    *first = Exchange::default();
                }
                if asked.is_some() && is_done(first, now, direction) {
                    done.entry(*site).or_insert_with(|| started.elapsed());
                }
            }
            if done.len() == sites.len() || started.elapsed() >= patience {
                let peer = |site| peer_sync(site, &before, &exchanges, &done, started.elapsed());
                let peers = sites.into_iter().map(peer).collect();
                let after = self.read(conflicted).await?;
                let conflicts_new = after.difference(&conflicts_before).count() as u64;
                return Ok(SyncReport { peers, conflicts_new });
            }
            if asked.is_none_or(|at| at.elapsed() >= ASK_PAUSE) {
                asked = Some(Instant::now());
                for site in sites.iter().filter(|site| !done.contains_key(*site)) {
                    let site = *site;
                    self.ask(|reply| Message::PullNow { site, reply }).await?;
                }
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    /// Has members dialled at once that are not connected.
    async fn dial(&self, sites: &BTreeSet<SiteId>) -> Result<(), ReadError> {
        let Some(network) = &self.network else { return Ok(()) };
        for peer in self.peers().await? {
            let is_meant =
                SiteId::from_peer_id(&peer.peer).is_some_and(|site| sites.contains(&site));
            if is_meant && !peer.connected {
                for address in peer.known_addresses {
                    // A network that has stopped is noticed by the next question to the node.
                    let _ = network.send(Command::AddAddress { peer: peer.peer, address }).await;
                }
            }
        }
        Ok(())
    }
}

fn is_done(before: &Exchange, now: &Exchange, direction: Direction) -> bool {
    let since = |now: &BTreeMap<_, u64>, before: &BTreeMap<_, u64>, space| {
        now.get(space).copied().unwrap_or(0) > before.get(space).copied().unwrap_or(0)
    };
    now.spaces.iter().all(|space| {
        let in_step = since(&now.in_step, &before.in_step, space);
        in_step
            || match direction {
                Direction::Both => false,
                Direction::Pull => since(&now.pulls_ended, &before.pulls_ended, space),
                Direction::Push => since(&now.pushes_ended, &before.pushes_ended, space),
            }
    })
}

fn peer_sync(
    site: SiteId,
    before: &BTreeMap<SiteId, Exchange>,
    now: &BTreeMap<SiteId, Exchange>,
    done: &BTreeMap<SiteId, Duration>,
    elapsed: Duration,
) -> PeerSync {
    let (first, last) = (before.get(&site), now.get(&site));
    let passed =
        |count: fn(&Exchange) -> u64| last.map_or(0, count).saturating_sub(first.map_or(0, count));
    let error = match (done.contains_key(&site), last) {
        (true, _) => None,
        (false, Some(_)) => Some("connected, but not in step in time".to_owned()),
        (false, None) => Some("not connected (`branchline peers` tells why)".to_owned()),
    };
    PeerSync {
        site,
        pulled: passed(|exchange| exchange.pulled),
        pushed: passed(|exchange| exchange.pushed),
        duration: done.get(&site).copied().unwrap_or(elapsed),
        error,
    }
}
