//! One link: how it carries messages, and when it carries none.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::scenario::LinkQuality;

/// Gossip messages under way in one direction; the transport drops what comes on top, as the product's does for a
/// slow peer.
const GOSSIP_UNDER_WAY_MAX: u32 = 128;

/// Why a message did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTo {
    /// Nothing passes at present.
    Cut,
    /// The connection ended while the message was under way.
    Closed,
    /// Chance.
    Noise,
    /// Too much gossip was under way.
    Congestion,
    /// A sabotaged link swallowed it.
    Sabotage,
}

impl LostTo {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "the link is cut",
            Self::Closed => "the connection ended meanwhile",
            Self::Noise => "lost on the line",
            Self::Congestion => "too much gossip was under way",
            Self::Sabotage => "swallowed by a sabotaged link",
        }
    }
}

/// The two directions of a link, by the end that sends: 0 is the office with the smaller number.
pub(super) type End = usize;

/// One link between two offices.
pub(super) struct Link {
    pub(super) quality: LinkQuality,
    /// How many faults keep anything from passing, by sending end.
    cuts: [u32; 2],
    /// How many other things are wrong with it keep the quality that was there before them.
    degraded: BTreeMap<u64, LinkQuality>,
    /// Whether the two ends are connected. A cut is noticed only after a while.
    pub(super) is_up: bool,
    /// Grows with each connection made or ended: messages of an earlier one are lost.
    pub(super) session: u64,
    /// When each direction is free to take the next message, in us.
    free_us: [u64; 2],
    gossip_under_way: [u32; 2],
    random: SmallRng,
}

impl Link {
    pub(super) fn new(quality: LinkQuality, random: SmallRng) -> Self {
        Self {
            quality,
            cuts: [0; 2],
            degraded: BTreeMap::new(),
            is_up: false,
            session: 0,
            free_us: [0; 2],
            gossip_under_way: [0; 2],
            random,
        }
    }

    /// Whether messages pass from this end.
    pub(super) fn passes(&self, from: End) -> bool {
        self.cuts[from] == 0
    }

    /// Whether a connection can be made: both ends must hear each other.
    pub(super) fn is_open(&self) -> bool {
        self.passes(0) && self.passes(1)
    }

    /// One more fault that lets nothing pass from this end.
    pub(super) fn cut(&mut self, from: End) {
        self.cuts[from] += 1;
    }

    /// One such fault less.
    pub(super) fn mend(&mut self, from: End) {
        self.cuts[from] = self.cuts[from].saturating_sub(1);
    }

    /// All faults are gone.
    pub(super) fn mend_all(&mut self) {
        self.cuts = [0; 2];
        self.degraded.clear();
    }

    /// A worse quality, until it is taken back under the same number.
    pub(super) fn degrade(&mut self, number: u64, quality: LinkQuality) {
        self.degraded.insert(number, quality);
    }

    /// Takes a worse quality back.
    pub(super) fn restore_quality(&mut self, number: u64) {
        self.degraded.remove(&number);
    }

    /// The quality at present: the latest of the worse ones.
    pub(super) fn quality_now(&self) -> LinkQuality {
        self.degraded.values().next_back().copied().unwrap_or(self.quality)
    }

    pub(super) fn set_up(&mut self, is_up: bool) {
        self.is_up = is_up;
        self.session += 1;
        self.free_us = [0; 2];
        self.gossip_under_way = [0; 2];
    }

    /// When a message that is sent now arrives, in ms, or why it does not.
    pub(super) fn send(
        &mut self,
        from: End,
        now_ms: u64,
        bytes: usize,
        is_gossip: bool,
    ) -> Result<u64, LostTo> {
        let quality = self.quality_now();
        // Drawn for every message, so that what is lost does not change when others arrive.
        let noise: u32 = self.random.random_range(0..1_000_000);
        let jitter_ms = self.random.random_range(0..=quality.jitter_ms);
        if !self.passes(from) {
            return Err(LostTo::Cut);
        }
        if is_gossip && self.gossip_under_way[from] >= GOSSIP_UNDER_WAY_MAX {
            return Err(LostTo::Congestion);
        }
        if noise < quality.loss_ppm {
            return Err(LostTo::Noise);
        }
        self.gossip_under_way[from] += u32::from(is_gossip);
        let begins_us = self.free_us[from].max(now_ms * 1_000);
        let takes_us =
            quality.bytes_per_second.map_or(0, |rate| bytes as u64 * 1_000_000 / rate.max(1));
        self.free_us[from] = begins_us + takes_us;
        Ok(self.free_us[from].div_ceil(1_000) + quality.latency_ms + jitter_ms)
    }

    /// A gossip message has left the link.
    pub(super) fn gossip_arrived(&mut self, from: End) {
        self.gossip_under_way[from] = self.gossip_under_way[from].saturating_sub(1);
    }
}
