//! What can be said of other sites: letting one in, and syncing with it.

use std::path::PathBuf;
use std::time::Duration;

use branchline_crdt::membership::{PLACES_MAX, Role};
use libp2p::Multiaddr;

#[derive(clap::Args)]
pub(crate) struct SyncArgs {
    /// Only with this site, by name or id [default: all others]
    pub(crate) peer: Option<String>,
    /// Finish once the others have what this site holds
    #[arg(long, conflicts_with = "pull")]
    pub(crate) push: bool,
    /// Finish once this site has what the others hold
    #[arg(long)]
    pub(crate) pull: bool,
    /// How long to try, such as 90s or 30m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct InviteArgs {
    #[command(subcommand)]
    pub(crate) command: Option<InviteCommand>,
    #[command(flatten)]
    pub(crate) ticket: TicketArgs,
}

#[derive(clap::Subcommand)]
pub(crate) enum InviteCommand {
    /// List tickets with which sites can still join
    List,
    /// Withdraw a ticket, so that nobody can join with it any more
    Withdraw {
        /// Its id as `branchline invite list` shows it, or the start of the id, or its note
        ticket: String,
    },
}

#[derive(clap::Args)]
pub(crate) struct TicketArgs {
    /// The new site's role: reader, writer or admin
    #[arg(long, default_value_t = Role::Writer)]
    pub(crate) role: Role,
    /// How long the ticket is valid, such as 90s, 30m, 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) expires: Duration,
    /// How many sites may join with the ticket
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(PLACES_MAX)))]
    pub(crate) sites: u16,
    /// What the ticket is for. All members can read the note, and the ticket can be withdrawn by it
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Address where the new site will look for this one; repeatable [default: all known addresses]
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) address: Vec<Multiaddr>,
    /// Write the ticket to this new file, readable by its owner only, instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `90s`, `30m`, `24h`, `7d`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || {
        format!("{text:?} is not a time; expected a number followed by s, m, h or d, such as 30m")
    };
    let (number, seconds) = match text.char_indices().last() {
        Some((end, 's')) => (&text[..end], 1),
        Some((end, 'm')) => (&text[..end], 60),
        Some((end, 'h')) => (&text[..end], 3600),
        Some((end, 'd')) => (&text[..end], 24 * 3600),
        Some(_) | None => return Err(expected()),
    };
    let number = Some(number).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number: u64 = number.and_then(|text| text.parse().ok()).ok_or_else(expected)?;
    match number.checked_mul(seconds) {
        Some(0) => Err("the time must be longer than 0".to_owned()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(format!("{text:?} is too long")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "h", "24", "-1h", "+1h", "1.5h", "1w", "0d", "1 h", "9999999999999999d", "ü"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
