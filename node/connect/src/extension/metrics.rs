//! What the bridges do, in figures.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::sql::worker::BridgeReport;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBridge {
    bridge: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTable {
    bridge: String,
    table: String,
}

type TableCounter = Family<OfTable, Counter>;
type TableGauge = Family<OfTable, Gauge>;
type BridgeGauge = Family<OfBridge, Gauge>;
/// Seconds with their parts.
type SecondsGauge<L> = Family<L, Gauge<f64, AtomicU64>>;

/// Adds what the reports hold. Nothing is added where there are no bridges.
pub(super) fn register(registry: &mut Registry, reports: &BTreeMap<String, BridgeReport>) {
    if reports.is_empty() {
        return;
    }
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let age = |since_ms: i64| now_ms.saturating_sub(since_ms).max(0) as f64 / 1_000.0;
    let works = BridgeGauge::default();
    let notes = BridgeGauge::default();
    let notes_age = SecondsGauge::<OfBridge>::default();
    let (rows_in, rows_out) = (TableCounter::default(), TableCounter::default());
    let (waiting, aside) = (TableGauge::default(), TableGauge::default());
    let (blind, stopped) = (TableGauge::default(), TableGauge::default());
    let unacknowledged = TableGauge::default();
    let lag = SecondsGauge::<OfTable>::default();
    for (bridge, report) in reports {
        let of = OfBridge { bridge: bridge.clone() };
        let is_at_work = matches!(report.state.as_str(), "running" | "loading");
        works.get_or_create(&of).set(i64::from(is_at_work));
        notes.get_or_create(&of).set(signed(report.notes_waiting));
        notes_age.get_or_create(&of).set(report.notes_since_ms.map_or(0.0, age));
        for table in &report.tables {
            let of = OfTable { bridge: bridge.clone(), table: table.table.clone() };
            rows_in.get_or_create(&of).inc_by(table.rows_in);
            rows_out.get_or_create(&of).inc_by(table.rows_out);
            waiting.get_or_create(&of).set(signed(table.waiting));
            aside.get_or_create(&of).set(signed(table.quarantined));
            blind.get_or_create(&of).set(i64::from(table.blind_since_ms.is_some()));
            stopped.get_or_create(&of).set(i64::from(table.state == "stopped"));
            if table.acked_by.is_some() {
                unacknowledged.get_or_create(&of).set(signed(table.unacknowledged));
                lag.get_or_create(&of).set(table.unacknowledged_since_ms.map_or(0.0, age));
            }
        }
    }
    registry.register(
        "bridge_works",
        "1 where the bridge is at work, 0 where it rests or tries again",
        works,
    );
    registry.register(
        "bridge_notes_waiting",
        "Changed rows that wait to be read, counted up to 1,000,000",
        notes,
    );
    registry.register("bridge_notes_age_seconds", "Since when some of them wait", notes_age);
    registry.register("bridge_rows_in", "Rows of the table that were looked at", rows_in);
    registry.register("bridge_rows_out", "Rows that were written to the table", rows_out);
    registry.register(
        "bridge_records_waiting",
        "Records that wait to be written to the table",
        waiting,
    );
    registry.register("bridge_set_aside", "Rows and records that are set aside", aside);
    registry.register(
        "bridge_blind",
        "1 where changes were not seen since the start, for want of triggers",
        blind,
    );
    registry.register(
        "bridge_stopped",
        "1 where the table has stopped until a person decides",
        stopped,
    );
    registry.register(
        "bridge_unacknowledged",
        "Captured rows that acked_by has not confirmed",
        unacknowledged,
    );
    registry.register("bridge_lag_seconds", "The age of the oldest of them", lag);
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
