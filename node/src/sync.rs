//! Syncing with the peers now, and saying what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use branchline_crdt::ids::{SiteId, SpaceId};
use branchline_crdt::replica::Exchange;
use branchline_crdt::store::tables::records::RecordKey;
use tokio::time::{Instant, sleep};

use crate::clock::wall_ms;
use crate::driver::{Driver, Message};
use crate::handle::{Handle, ReadError, conflicted};
use crate::network::Command;

/// How often the state of the exchanges is looked at.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// Records with new conflicts that are named one by one.
pub const CONFLICTS_NAMED_MAX: usize = 100;
/// How often a peer is asked again.
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

/// What a site holds of `main`, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncFrontier {
    /// A digest of the logs' tips: equal where the same entries are held.
    pub digest: [u8; 16],
    /// How many logs the frontier lists.
    pub logs: u64,
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
    /// What it holds: the same as this site held when the two were found in step, else what its latest receipt says.
    /// `None`: it has never said.
    pub frontier: Option<SyncFrontier>,
}

/// What came of syncing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReport {
    /// Each peer.
    pub peers: Vec<PeerSync>,
    /// Records that have conflicts now and had none.
    pub conflicts_new: u64,
    /// The first [`CONFLICTS_NAMED_MAX`] of them.
    pub conflicts: Vec<RecordKey>,
    /// When it began, in ms since 1970 by this machine's clock.
    pub started_ms: i64,
    /// How long it took.
    pub duration: Duration,
    /// What this site holds at the end. `None`: it belongs to no network.
    pub frontier: Option<SyncFrontier>,
}

impl SyncReport {
    /// Entries that came.
    #[must_use]
    pub fn pulled(&self) -> u64 {
        self.peers.iter().map(|peer| peer.pulled).sum()
    }

    /// Entries that others asked for.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.peers.iter().map(|peer| peer.pushed).sum()
    }
}

/// What is known of a site when it is found to be done.
struct SyncDone {
    duration: Duration,
    /// What both held, if they were in step.
    frontier: Option<SyncFrontier>,
}

impl Handle {
    /// Syncs with these members now, at most for `patience`. A member that is not connected is dialled.
    ///
    /// # Errors
    /// [`ReadError`] where the tables cannot be read, or the node has stopped.
    pub async fn sync(
        &self,
        sites: BTreeSet<SiteId>,
        direction: Direction,
        patience: Duration,
    ) -> Result<SyncReport, ReadError> {
        let conflicts_before = self.read(conflicted).await?;
        let (started, started_ms) = (Instant::now(), wall_ms());
        self.dial(&sites).await?;
        let (mut before, mut done) = (BTreeMap::new(), BTreeMap::new());
        let mut asked: Option<Instant> = None;
        loop {
            let exchanges = self.ask(Message::Exchanges).await?;
            for site in &sites {
                let Some(now) = exchanges.get(site) else { continue };
                // A peer whose link came up meanwhile begins to count at zero.
                let first = before.entry(*site).or_insert_with(|| match asked {
                    None => now.clone(),
                    Some(_) => Exchange::default(),
                });
                if now.pulled < first.pulled || now.pushed < first.pushed {
                    *first = Exchange::default();
                }
                if asked.is_some() && !done.contains_key(site) && is_done(first, now, direction) {
                    let is_in_step = now.spaces.iter().all(|space| is_in_step(first, now, space));
                    let held = if is_in_step { self.frontiers().await?.own } else { None };
                    done.insert(*site, SyncDone { duration: started.elapsed(), frontier: held });
                }
            }
            if done.len() == sites.len() || started.elapsed() >= patience {
                let duration = started.elapsed();
                let Frontiers { own: frontier, of_others } = self.frontiers().await?;
                let held_back = self.look(|driver| driver.room().held_back()).await?;
                let peer = |site| {
                    let mut peer = peer_sync(site, &before, &exchanges, &done, duration);
                    if let (Some(error), Some(reason)) = (&mut peer.error, &held_back) {
                        *error = format!("{error}: {reason}");
                    }
                    let frontier = peer.frontier.or_else(|| of_others.get(&site).copied());
                    PeerSync { frontier, ..peer }
                };
                let peers = sites.into_iter().map(peer).collect();
                let after = self.read(conflicted).await?;
                let new = || after.difference(&conflicts_before).cloned();
                let conflicts_new = new().count() as u64;
                let conflicts = new().take(CONFLICTS_NAMED_MAX).collect();
                return Ok(SyncReport {
                    peers,
                    conflicts_new,
                    conflicts,
                    started_ms,
                    duration,
                    frontier,
                });
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

    /// What this site and others hold of `main`.
    async fn frontiers(&self) -> Result<Frontiers, ReadError> {
        Ok(self.look(Frontiers::of).await?)
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

/// What this site holds of `main`, and what others say that they hold.
#[derive(Default)]
struct Frontiers {
    own: Option<SyncFrontier>,
    of_others: BTreeMap<SiteId, SyncFrontier>,
}

impl Frontiers {
    fn of(driver: &Driver) -> Self {
        let replica = driver.replica();
        let Some(space) = replica.realms().network().map(|network| network.main_space()) else {
            return Self::default();
        };
        let own = replica.realms().frontier(space).map(|frontier| SyncFrontier {
            digest: frontier.digest(),
            logs: frontier.tips().count() as u64,
        });
        // One that is damaged holds less than its receipt once said, and says so.
        let receipts = replica.realms().receipts_of(space).into_iter();
        let sound = receipts.filter(|(_, receipt)| !receipt.held.is_damaged());
        let held = sound.map(|(site, receipt)| {
            let held = receipt.held;
            (site, SyncFrontier { digest: held.frontier, logs: held.log_count })
        });
        Self { own, of_others: held.collect() }
    }
}

fn has_grown(
    count: fn(&Exchange) -> &BTreeMap<SpaceId, u64>,
    before: &Exchange,
    now: &Exchange,
    space: &SpaceId,
) -> bool {
    let of = |exchange| count(exchange).get(space).copied().unwrap_or(0);
    of(now) > of(before)
}

fn is_in_step(before: &Exchange, now: &Exchange, space: &SpaceId) -> bool {
    has_grown(|exchange| &exchange.in_step, before, now, space)
}

fn is_done(before: &Exchange, now: &Exchange, direction: Direction) -> bool {
    now.spaces.iter().all(|space| {
        is_in_step(before, now, space)
            || match direction {
                Direction::Both => false,
                Direction::Pull => has_grown(|it| &it.pulls_ended, before, now, space),
                Direction::Push => has_grown(|it| &it.pushes_ended, before, now, space),
            }
    })
}

fn peer_sync(
    site: SiteId,
    before: &BTreeMap<SiteId, Exchange>,
    now: &BTreeMap<SiteId, Exchange>,
    done: &BTreeMap<SiteId, SyncDone>,
    elapsed: Duration,
) -> PeerSync {
    let (first, last) = (before.get(&site), now.get(&site));
    let passed =
        |count: fn(&Exchange) -> u64| last.map_or(0, count).saturating_sub(first.map_or(0, count));
    let error = match (done.contains_key(&site), last) {
        (true, _) => None,
        (false, Some(_)) => Some("connected, but not in step in time".to_owned()),
        (false, None) => Some("not connected (`branchline peers` shows why)".to_owned()),
    };
    PeerSync {
        site,
        pulled: passed(|exchange| exchange.pulled),
        pushed: passed(|exchange| exchange.pushed),
        duration: done.get(&site).map_or(elapsed, |done| done.duration),
        error,
        frontier: done.get(&site).and_then(|done| done.frontier),
    }
}
