//! `bridge list` and `bridge status`.

use branchline_connect::api::{BridgeResponse, BridgeTableResponse, BridgesResponse};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::path;
use crate::Context;
use crate::error::CliError;
use crate::output::{self, counted, visible};

/// Lists the bridges.
pub(crate) async fn list(context: &Context) -> Result<(), CliError> {
    let answer: BridgesResponse = context.client.get("/v1/bridges").await?;
    if context.json {
        return output::json(&answer);
    }
    if is_empty(&answer) {
        return Ok(());
    }
    let row = |bridge: BridgeResponse| {
        let tables: Vec<_> = bridge.tables.iter().map(|table| table.table.clone()).collect();
        [bridge.name, bridge.state, bridge.database, bridge.space, tables.join(", ")]
    };
    let rows = answer.bridges.into_iter().map(row).collect();
    output::table(["NAME", "STATE", "DATABASE", "SPACE", "TABLES"], rows)
}

/// Shows how one bridge is, or all of them.
pub(crate) async fn status(context: &Context, name: Option<&str>) -> Result<(), CliError> {
    let answer = match name {
        None => context.client.get("/v1/bridges").await?,
        Some(name) => BridgesResponse { bridges: vec![context.client.get(&path(name, "")).await?] },
    };
    if context.json {
        return match (name, answer.bridges.first()) {
            (Some(_), Some(bridge)) => output::json(bridge),
            (Some(_) | None, _) => output::json(&answer),
        };
    }
    if is_empty(&answer) {
        return Ok(());
    }
    for (number, bridge) in answer.bridges.iter().enumerate() {
        if number > 0 {
            output::line("")?;
        }
        show(bridge)?;
    }
    Ok(())
}

fn is_empty(answer: &BridgesResponse) -> bool {
    if answer.bridges.is_empty() {
        output::note(
            "this site has no bridges: a [[bridge]] in branchline.toml makes one, `branchline reload` takes it up",
        );
    }
    answer.bridges.is_empty()
}

fn show(bridge: &BridgeResponse) -> Result<(), CliError> {
    let BridgeResponse { name, site, state, database, .. } = bridge;
    let since =
        bridge.since.as_deref().map_or(String::new(), |time| format!(" since {}", clock(time)));
    output::line(format_args!("bridge {name} ({database}): {state}{since}"))?;
    if let Some(reason) = &bridge.reason {
        output::line(format_args!("  {}", visible(reason)))?;
    }
    if bridge.notes_waiting > 0 {
        let since = bridge
            .notes_since
            .as_deref()
            .map_or(String::new(), |time| format!(", since {}", clock(time)));
        let rows = counted(bridge.notes_waiting, "changed row");
        output::line(format_args!("  {rows} not read yet{since}"))?;
    }
    if !bridge.tables.is_empty() {
        let header =
            ["TABLE", "COLLECTION", "MODE", "STATE", "LOADED", "IN", "OUT", "WAITING", "SET ASIDE"];
        let row = |table: &BridgeTableResponse| {
            let numbers =
                [table.loaded_rows, table.rows_in, table.rows_out, table.waiting, table.set_aside];
            let [loaded, rows_in, rows_out, waiting, set_aside] =
                numbers.map(|number| number.to_string());
            let BridgeTableResponse { table, collection, mode, state, .. } = table.clone();
            [table, collection, mode, state, loaded, rows_in, rows_out, waiting, set_aside]
        };
        output::table(header, bridge.tables.iter().map(row).collect())?;
    }
    bridge.tables.iter().try_for_each(|table| show_trouble(name, site, table))
}

fn show_trouble(bridge: &str, site: &str, table: &BridgeTableResponse) -> Result<(), CliError> {
    let BridgeTableResponse { table: name, .. } = table;
    if let Some(reason) = &table.reason {
        let since =
            table.since.as_deref().map_or(String::new(), |time| format!(" since {}", clock(time)));
        output::line(format_args!("{name} has stopped{since}: {}", visible(reason)))?;
    }
    if let Some(since) = &table.blind_since {
        output::line(format_args!(
            "{name}: triggers were missing at {}, and were put back; `branchline bridge verify {bridge} {name}` compares",
            clock(since)
        ))?;
    }
    if table.set_aside > 0 {
        let number = table.set_aside;
        output::line(format_args!(
            "{name}: {number} set aside: `branchline bridge errors {bridge}`"
        ))?;
    }
    match unconfirmed(site, table) {
        Some(reported) => output::line(format_args!("{name}: {reported}")),
        None => Ok(()),
    }
}

/// `412 rows of branch-2 are not yet durable at head, the oldest since 13:20`.
fn unconfirmed(site: &str, table: &BridgeTableResponse) -> Option<String> {
    let by = table.acked_by.as_deref()?;
    Some(match (table.unacknowledged, &table.unacknowledged_since) {
        (0, _) => format!("all rows of {site} that were captured are durable at {by}"),
        (1, since) => {
            format!("1 row of {site} is not yet durable at {by}{}", of_oldest(", ", since))
        }
        (rows, since) => {
            format!(
                "{rows} rows of {site} are not yet durable at {by}{}",
                of_oldest(", the oldest ", since)
            )
        }
    })
}

fn of_oldest(before: &str, since: &Option<String>) -> String {
    since.as_deref().map_or(String::new(), |time| format!("{before}since {}", clock(time)))
}

/// A moment by the wall clock of the one who asks: the time alone where it was today.
fn clock(moment: &str) -> String {
    let Ok(moment) = moment.parse::<Timestamp>() else { return moment.to_owned() };
    at(moment, Timestamp::now(), TimeZone::system())
}

fn at(moment: Timestamp, now: Timestamp, zone: TimeZone) -> String {
    let (moment, now) = (moment.to_zoned(zone.clone()), now.to_zoned(zone));
    if moment.date() == now.date() {
        moment.strftime("%H:%M").to_string()
    } else {
        moment.strftime("%Y-%m-%d %H:%M").to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_confirmed_is_told_in_a_sentence() {
        let table = |rows: u64, since: Option<&str>| -> BridgeTableResponse {
            serde_json::from_value(json!({
                "table": "sales", "collection": "sales", "mode": "capture", "state": "running", "reason": null,
                "since": null, "loaded_rows": 0, "rows_in": 0, "rows_out": 0, "waiting": 0, "set_aside": 0,
                "acked_by": "head", "unacknowledged": rows, "unacknowledged_since": since, "blind_since": null,
            }))
            .unwrap()
        };
        let reported = unconfirmed("branch-2", &table(412, None)).unwrap();
        assert_eq!(reported, "412 rows of branch-2 are not yet durable at head");
        let reported = unconfirmed("branch-2", &table(1, Some("2026-11-28T13:20:00Z"))).unwrap();
        assert!(
            reported.starts_with("1 row of branch-2 is not yet durable at head, since "),
            "{reported}"
        );
        let reported = unconfirmed("branch-2", &table(0, None)).unwrap();
        assert_eq!(reported, "all rows of branch-2 that were captured are durable at head");
        let none = BridgeTableResponse { acked_by: None, ..table(0, None) };
        assert_eq!(unconfirmed("branch-2", &none), None);
    }

    #[test]
    fn a_moment_of_today_is_a_time_and_another_has_its_date() {
        let now = "2026-11-28T18:00:00Z".parse().unwrap();
        for (moment, expected) in
            [("2026-11-28T13:20:59Z", "13:20"), ("2026-11-27T23:59:00Z", "2026-11-27 23:59")]
        {
            assert_eq!(at(moment.parse().unwrap(), now, TimeZone::UTC), expected);
        }
    }
}
