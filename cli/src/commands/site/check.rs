//! `check`: the state of the site for a monitoring system, in one line with figures and an exit code as Nagios plugins
//! have them: 0 all is well, 1 look at it, 2 act now, 3 it is not known.

use branchline_node::api::{SiteResponse, SpaceResponse, SpacesResponse, StatusResponse};
use branchline_node::extension::Severity;
use jiff::Timestamp;
use serde::Serialize;

use crate::args::{CheckArgs, Global};
use crate::client::Client;
use crate::commands::site::status::{copies_told, finding_told};
use crate::commands::site::thresholds::{State, Thresholds};
use crate::error::CliError;
use crate::output::{self, counted};

const MIB: u64 = 1024 * 1024;

/// What was found.
#[derive(Debug, Default, Serialize)]
struct Check {
    state: Option<State>,
    /// What is not well, the worst first.
    problems: Vec<(State, String)>,
    /// `name=value;warning;critical` for each figure.
    figures: Vec<String>,
    summary: String,
}

/// Checks a running site.
pub(crate) async fn check(global: &Global, args: CheckArgs) -> Result<(), CliError> {
    let mut found = match look(global, &args).await {
        Ok(found) => found,
        Err(error) => Check::of(State::Unknown, error.message()),
    };
    let state = found.problems.iter().map(|(state, _)| *state).max().unwrap_or(State::Ok);
    found.state = Some(state);
    found.problems.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    if global.json {
        output::json(&found)?
    } else {
        output::line(found.line(state))?
    }
    end(state)
}

/// Says that the state is not known.
pub(crate) fn unknown(why: &str) -> Result<(), CliError> {
    output::line(Check::of(State::Unknown, why.to_owned()).line(State::Unknown))?;
    end(State::Unknown)
}

fn end(state: State) -> Result<(), CliError> {
    match state {
        State::Ok => Ok(()),
        State::Warning | State::Critical | State::Unknown => {
            Err(CliError::told_with(state.exit_code()))
        }
    }
}

async fn look(global: &Global, args: &CheckArgs) -> Result<Check, CliError> {
    let Some(client) = Client::connect_running(&global.data).await? else {
        return Ok(Check::of(
            State::Critical,
            "the node is not running, or its API does not answer".to_owned(),
        ));
    };
    let status: StatusResponse = client.get("/v1/status").await?;
    let SpacesResponse { spaces } = client.get("/v1/spaces").await?;
    Ok(judge(&status, &spaces, args, Timestamp::now()))
}

fn judge(
    status: &StatusResponse,
    spaces: &[SpaceResponse],
    args: &CheckArgs,
    now: Timestamp,
) -> Check {
    let mut check = Check::default();
    let is_other = |site: &&SiteResponse| site.site != status.site;
    let others: Vec<_> = status.sites.iter().filter(is_other).collect();
    let in_step =
        others.iter().filter(|site| site.lag_entries == Some(0) && site.ahead_entries == Some(0));
    let (name, of, in_step) = (&status.name, others.len(), in_step.count());
    let records = counted(status.records, "record");
    check.summary = format!("{name}: {in_step} of {of} other sites in step, {records}");
    if let Some(reason) = &status.writes_refused {
        check.add(State::Critical, format!("writes are refused: {reason}"));
    }
    if let Some(reason) = &status.standing.reason {
        check.add(of_standing(status), output::visible(reason));
    }
    for copies in &status.copies {
        check.add(State::Critical, copies_told(copies));
    }
    if status.entries_unapplied > 0 {
        let entries = output::counted_entries(status.entries_unapplied);
        check.add(State::Warning, format!("{entries} need a newer program"));
    }
    for finding in &status.findings {
        let state = match finding.severity {
            Severity::Info => continue,
            Severity::Warning => State::Warning,
            Severity::Error => State::Critical,
        };
        check.add(state, finding_told(finding));
    }
    let damaged = status.damaged_frames.max(status.entries_lost);
    check.measure(args.damaged.above(damaged), || counted(damaged, "damaged journal frame"));
    if let Some(free) = status.disk_free_bytes {
        let free = free / MIB;
        check.measure(args.disk_free_mib.below(free), || format!("{free} MiB free on the disk"));
        check.figure("disk_free_mib", free, Some(args.disk_free_mib));
    }
    let mut sites: Vec<_> = others.iter().map(|site| (site.name.clone(), *site)).collect();
    for space in spaces.iter().filter(|space| space.role.is_some()) {
        let of_space = space.sites.iter().filter(is_other);
        sites.extend(of_space.map(|site| (format!("{} in space {}", site.name, space.name), site)));
    }
    judge_sites(&sites, args, now, &mut check);
    for space in spaces.iter().filter(|space| space.revoked_by.is_some()) {
        let name = &space.name;
        check.add(State::Warning, format!("this site was shut out of space {name}"));
    }
    let connected = others.iter().filter(|site| site.connected).count();
    check.figure("sites_connected", connected as u64, None);
    check.figure("damaged", damaged, Some(args.damaged));
    check.figure("entries", status.entries, None);
    check.figure("records", status.records, None);
    check.figure("conflicts", status.conflicts, None);
    check.figure("journal_bytes", status.journal_bytes, None);
    check.figure("tables_bytes", status.tables_bytes, None);
    check
}

/// How bad it is how this site stands.
fn of_standing(status: &StatusResponse) -> State {
    match status.standing.state.as_str() {
        // Nobody takes what it writes.
        "revoked" | "disputed" => State::Critical,
        "refused" if !status.member => State::Critical,
        _ => State::Warning,
    }
}

/// How far the others are behind, in each space, and how long ago they were heard; with what each is called here.
fn judge_sites(
    others: &[(String, &SiteResponse)],
    args: &CheckArgs,
    now: Timestamp,
    check: &mut Check,
) {
    let (mut entries_max, mut seconds_max, mut contact_max) = (0, 0, 0);
    for (name, site) in others {
        let name = output::visible(name);
        let age = |moment: &Option<String>| {
            let moment: Timestamp = moment.as_deref()?.parse().ok()?;
            Some(u64::try_from(now.duration_since(moment).as_secs()).unwrap_or(0))
        };
        let (silent, confirmed) = (age(&site.last_heard), age(&site.last_confirmed));
        let lag = site.lag_entries.unwrap_or(0).max(site.ahead_entries.unwrap_or(0));
        entries_max = entries_max.max(lag);
        check.measure(args.behind_entries.above(lag), || {
            let entries = output::counted_entries(lag);
            match site.lag_entries {
                Some(not_confirmed) if not_confirmed == lag => {
                    format!("{name} has not confirmed {entries}")
                }
                Some(_) | None => format!("{name} is ahead by {entries}"),
            }
        });
        if let (true, Some(seconds)) = (lag > 0, confirmed) {
            seconds_max = seconds_max.max(seconds);
            check.measure(args.behind_seconds.above(seconds), || {
                format!("{name} has not confirmed all, and last said what it holds {seconds} s ago")
            });
        }
        match (site.connected, silent) {
            (true, _) => {}
            (false, Some(seconds)) => {
                contact_max = contact_max.max(seconds);
                check.measure(args.last_contact_seconds.above(seconds), || {
                    format!("{name} is not connected and was last heard from {seconds} s ago")
                });
            }
            (false, None) => check.add(State::Warning, format!("{name} was never heard from")),
        }
    }
    check.figure("behind_entries", entries_max, Some(args.behind_entries));
    check.figure("behind_seconds", seconds_max, Some(args.behind_seconds));
    check.figure("last_contact_seconds", contact_max, Some(args.last_contact_seconds));
}

impl Check {
    fn of(state: State, problem: String) -> Self {
        Self { problems: vec![(state, problem)], ..Self::default() }
    }

    fn add(&mut self, state: State, problem: String) {
        self.problems.push((state, problem));
    }

    fn measure(&mut self, state: State, problem: impl FnOnce() -> String) {
        if state != State::Ok {
            self.add(state, problem());
        }
    }

    fn figure(&mut self, name: &str, value: u64, thresholds: Option<Thresholds>) {
        self.figures.push(match thresholds {
            Some(thresholds) => thresholds.figure(name, value),
            None => format!("{name}={value}"),
        });
    }

    fn line(&self, state: State) -> String {
        let problems = self.problems.iter().map(|(_, problem)| problem.as_str());
        let reported: Vec<_> =
            problems.chain([self.summary.as_str()]).filter(|text| !text.is_empty()).collect();
        // The bar and line ends have a meaning of their own here.
        let reported = reported.join("; ").replace(['|', '\n'], " ");
        if self.figures.is_empty() {
            format!("BRANCHLINE {state} - {reported}")
        } else {
            format!("BRANCHLINE {state} - {reported} | {}", self.figures.join(" "))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use branchline_node::extension::Finding;
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn args(flags: &[&str]) -> CheckArgs {
        let words = [&["branchline", "check"], flags].concat();
        match Args::try_parse_from(words).unwrap().command {
            Command::Check(args) => args,
            Command::Init { .. }
            | Command::Run(_)
            | Command::Rotate
            | Command::Site(_)
            | Command::Backup(_)
            | Command::Connector(_)
            | Command::Page(_)
            | Command::User(_)
            | Command::Completions { .. }
            | Command::Demo { .. } => unreachable!("check was asked for"),
        }
    }

    fn status() -> StatusResponse {
        let site = |site: &str, connected: bool, lag: u64| {
            serde_json::json!({
                "site": site, "name": site, "role": "writer", "connected": connected,
                "last_heard": "2026-11-20T12:00:00Z",
                "last_confirmed": "2026-11-20T12:00:00Z", "lag_entries": lag, "lag_own_entries": lag, "ahead_entries": 0,
            })
        };
        let mut status = serde_json::json!({
            "site": "head", "name": "head", "network": "n", "role": "admin", "member": true,
            "join_refused": null, "standing": standing("member", None), "running": true, "listening": [], "records": 12, "conflicts": 0,
            "digest": "", "entries": 5, "own_entries": 5, "entries_unapplied": 0, "entries_lost": 0,
            "forked": [], "journal_bytes": 1, "tables_bytes": 2, "damaged_frames": 0,
            "disk_free_bytes": 9_000_u64 * MIB, "writes_refused": null, "indexes": [],
        });
        let sites = vec![site("head", true, 0), site("north", true, 0), site("south", false, 0)];
        status["sites"] = sites.into();
        serde_json::from_value(status).unwrap()
    }

    fn standing(state: &str, reason: Option<&str>) -> serde_json::Value {
        serde_json::json!({
            "state": state, "reason": reason, "by": null, "by_name": null, "since": null, "attempts": 0,
            "error": null, "addresses": [], "hint": null,
        })
    }

    #[test]
    fn a_site_that_nobody_takes_anything_from_says_so() {
        for (state, member, expected) in [
            ("revoked", false, State::Critical),
            ("refused", false, State::Critical),
            ("refused", true, State::Warning),
            ("not_admitted", false, State::Warning),
            ("no_network", false, State::Warning),
        ] {
            let standing = serde_json::from_value(standing(state, Some("for a reason"))).unwrap();
            let (found, line) = judged(&StatusResponse { standing, member, ..status() }, &[]);
            assert_eq!(found, expected, "{state}");
            assert!(line.contains("for a reason"), "{line}");
        }
        let copies = serde_json::json!({
            "site": "north", "site_name": "north", "since": "2026-11-20T12:00:00Z", "last": null,
            "addresses": ["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/1"],
        });
        let copies = vec![serde_json::from_value(copies).unwrap()];
        let (found, line) = judged(&StatusResponse { copies, ..status() }, &[]);
        assert_eq!(found, State::Critical);
        assert!(line.contains("two copies of north") && line.contains("10.0.0.2"), "{line}");
    }

    #[test]
    fn what_extensions_find_is_told_and_an_info_is_no_problem() {
        let found = |severity| {
            let mut finding = Finding::new(severity, "bridge till", "sees no trigger");
            finding.since = Some("2026-11-20T12:00:00Z".to_owned());
            judged(&StatusResponse { findings: vec![finding], ..status() }, &[])
        };
        assert_eq!(found(Severity::Info).0, State::Ok);
        assert_eq!(found(Severity::Warning).0, State::Warning);
        let (state, line) = found(Severity::Error);
        assert_eq!(state, State::Critical);
        assert!(line.contains("till: sees no trigger, since 2026-11-20T12:00:00Z;"), "{line}");
    }

    fn judged(status: &StatusResponse, flags: &[&str]) -> (State, String) {
        judged_with(status, &[], flags)
    }

    fn judged_with(
        status: &StatusResponse,
        spaces: &[SpaceResponse],
        flags: &[&str],
    ) -> (State, String) {
        let now = "2026-11-20T12:10:00Z".parse().unwrap();
        let check = judge(status, spaces, &args(flags), now);
        let state = check.problems.iter().map(|(state, _)| *state).max().unwrap_or(State::Ok);
        (state, check.line(state))
    }

    #[test]
    fn a_healthy_site_is_one_line_with_figures() {
        let (state, line) = judged(&status(), &[]);
        assert_eq!(state, State::Ok);
        assert!(
            line.starts_with("BRANCHLINE OK - head: 2 of 2 other sites in step, 12 records | ")
        );
        assert!(
            line.contains(" disk_free_mib=9000;1024;256 ") || line.contains("| disk_free_mib=")
        );
        assert!(line.contains("last_contact_seconds=600;86400;604800"), "{line}");
    }

    #[test]
    fn each_threshold_tells_the_state() {
        for (flags, expected) in [
            (&["--last-contact-seconds", "300,900"][..], State::Warning),
            (&["--last-contact-seconds", "300,600"], State::Critical),
            (&["--disk-free-mib", "10000,5000"], State::Warning),
            (&["--disk-free-mib", "20000,10000"], State::Critical),
            (&["--behind-entries", "0,10"], State::Warning),
        ] {
            assert_eq!(judged(&status(), flags).0, expected, "{flags:?}");
        }
        let mut behind = status();
        behind.sites[1].lag_entries = Some(50);
        assert_eq!(judged(&behind, &["--behind-entries", "50,100"]).0, State::Warning);
        assert_eq!(judged(&behind, &["--behind-seconds", "60,600"]).0, State::Critical);
        let refused = StatusResponse { writes_refused: Some("full|disk".into()), ..status() };
        let (state, line) = judged(&refused, &[]);
        assert_eq!((state, line.matches('|').count()), (State::Critical, 1), "{line}");
        let damaged = StatusResponse { damaged_frames: 3, ..status() };
        assert_eq!(judged(&damaged, &[]).0, State::Warning);
        assert_eq!(judged(&damaged, &["--damaged", "1,3"]).0, State::Critical);
    }

    #[test]
    fn who_is_behind_in_a_space_is_told_with_the_space() {
        let space = serde_json::json!({
            "name": "tills", "id": "", "role": "writer", "left": false, "revoked_by": null, "records": 1,
            "digest": "", "entries": 9, "own_entries": 9, "entries_unapplied": 0, "sites": [],
        });
        let mut space: SpaceResponse = serde_json::from_value(space).unwrap();
        space.sites = status().sites;
        space.sites[1].lag_entries = Some(50);
        let flags = ["--behind-entries", "50,100"];
        let (state, line) = judged_with(&status(), &[space.clone()], &flags);
        assert_eq!(state, State::Warning);
        assert!(line.contains("north in space tills has not confirmed 50 entries"), "{line}");
        let shut_out = SpaceResponse { role: None, revoked_by: Some("head".into()), ..space };
        let (state, line) = judged_with(&status(), &[shut_out], &flags);
        assert_eq!(state, State::Warning);
        assert!(line.contains("shut out of space tills"), "{line}");
    }
}
