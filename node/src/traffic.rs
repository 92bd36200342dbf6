//! How many bytes the lines carry, hour by hour.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// Hours that are kept: what a person compares with the day before.
const HOURS_MAX: usize = 48;
/// How often the bytes are counted into their hour. What a minute carries may be counted into the next hour.
const COUNTED_EVERY: Duration = Duration::from_secs(60);
const HOUR_S: u64 = 3_600;

/// What all lines together carried within one hour of this node's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HourTraffic {
    /// When the hour began, in seconds since 1970.
    pub begins_s: u64,
    /// Bytes of all streams that came, gossip included, before encryption.
    pub received_bytes: u64,
    /// Those that went.
    pub sent_bytes: u64,
}

/// The bytes of all connections since this node started. libp2p counts them, by direction and transport, in a registry that
/// can be read as text alone.
#[derive(Debug)]
pub(crate) struct Traffic {
    registry: Registry,
    hours: Mutex<Hours>,
}

#[derive(Debug, Default)]
struct Hours {
    /// The latest last.
    hours: VecDeque<HourTraffic>,
    /// What was counted so far: received, sent.
    counted: (u64, u64),
}

impl Traffic {
    /// Of the connections whose transport counts in this registry.
    pub(crate) fn new(registry: Registry) -> Arc<Self> {
        Arc::new(Self { registry, hours: Mutex::default() })
    }

    /// Counts now and then, until nobody else holds it.
    pub(crate) async fn count(self: Arc<Self>) {
        let traffic = Arc::downgrade(&self);
        drop(self);
        let mut ticks = tokio::time::interval(COUNTED_EVERY);
        loop {
            ticks.tick().await;
            let Some(traffic) = traffic.upgrade() else { return };
            traffic.hours();
        }
    }

    /// The latest hours, the present one last.
    pub(crate) fn hours(&self) -> Vec<HourTraffic> {
        let mut text = String::new();
        // Writing into a string does not fail.
        let carried =
            encode(&mut text, &self.registry).map(|()| carried(&text)).unwrap_or_default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        hours.add(carried, now.as_secs());
        hours.hours.iter().copied().collect()
    }
}

impl Hours {
    /// Counts what came and went since it was last counted into the hour of `now_s`.
    fn add(&mut self, carried: (u64, u64), now_s: u64) {
        let begins_s = now_s - now_s % HOUR_S;
        if self.hours.back().is_none_or(|hour| hour.begins_s != begins_s) {
            self.hours.push_back(HourTraffic { begins_s, ..HourTraffic::default() });
            self.hours.drain(..self.hours.len().saturating_sub(HOURS_MAX));
        }
        if let Some(hour) = self.hours.back_mut() {
            hour.received_bytes += carried.0.saturating_sub(self.counted.0);
            hour.sent_bytes += carried.1.saturating_sub(self.counted.1);
        }
        self.counted = carried;
    }
}

/// The bytes that came and went by all transports, from lines like
/// `libp2p_bandwidth_bytes_total{protocols="/ip4/tcp/p2p",direction="Inbound"} 1234`.
fn carried(text: &str) -> (u64, u64) {
    let (mut received, mut sent) = (0, 0);
    for line in text.lines().filter(|line| line.starts_with("libp2p_bandwidth_bytes_total{")) {
        let bytes = line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0_u64);
        if line.contains("direction=\"Inbound\"") {
            received += bytes;
        } else {
            sent += bytes;
        }
    }
    (received, sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_into_the_hour_in_which_they_went_and_the_oldest_hours_go() {
        let mut hours = Hours::default();
        hours.add((100, 10), 7_200);
        hours.add((150, 30), 7_260);
        hours.add((150, 31), 10_800);
        let of = |begins_s, received_bytes, sent_bytes| HourTraffic {
            begins_s,
            received_bytes,
            sent_bytes,
        };
        assert_eq!(hours.hours, [of(7_200, 150, 30), of(10_800, 0, 1)]);
        for hour in 4..100 {
            hours.add((200, 40), hour * 3_600);
        }
        assert_eq!(hours.hours.len(), 48);
        assert_eq!(hours.hours[47], of(99 * 3_600, 0, 0));
    }

    #[test]
    fn what_the_library_counts_is_read_by_direction() {
        let text = "# TYPE libp2p_bandwidth_bytes counter\n\
            libp2p_bandwidth_bytes_total{protocols=\"/ip4/tcp/p2p\",direction=\"Inbound\"} 12\n\
            libp2p_bandwidth_bytes_total{protocols=\"/ip4/udp/quic-v1/p2p\",direction=\"Inbound\"} 30\n\
            libp2p_bandwidth_bytes_total{protocols=\"/ip4/tcp/p2p\",direction=\"Outbound\"} 5\n# EOF\n";
        assert_eq!(carried(text), (42, 5));
    }
}
