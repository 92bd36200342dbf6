//! What is under way between this site and the members that it is connected with.

use std::collections::BTreeMap;

use super::copies::Lives;
use super::gossip::Announced;
use super::peer::Peer;
use super::repair::Losses;
use super::timers::{Random, Timers};
use crate::ids::SiteId;

/// The links to connected members, and what decides when something is sent over them.
pub(super) struct Links {
    pub(super) peers: BTreeMap<SiteId, Peer>,
    pub(super) lives: Lives,
    /// What is asked of peers because it is damaged here.
    pub(super) losses: Losses,
    pub(super) announced: Announced,
    pub(super) timers: Timers,
    pub(super) random: Random,
    pub(super) request_count: u64,
    /// The last append failed: what is pulled meanwhile is only a trial, and thrown away.
    pub(super) is_unwritable: bool,
}

impl Links {
    /// None yet. `seed`: of the choice of peers, and of jitter.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            peers: BTreeMap::new(),
            lives: Lives::default(),
            losses: Losses::default(),
            announced: Announced::default(),
            timers: Timers::default(),
            random: Random::new(seed),
            request_count: 0,
            is_unwritable: false,
        }
    }
}
