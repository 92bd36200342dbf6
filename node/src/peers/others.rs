//! What a node notes of the other sites, and of how they treat this one. The replica has no clock, and does not know
//! why an address leads nowhere.

use std::collections::BTreeMap;

use branchline_crdt::ids::SiteId;
use branchline_crdt::membership::{Role, Ticket};
use branchline_crdt::replica::{Now, Status};
use serde::{Deserialize, Serialize};

use crate::peers::heard::Heard;

/// How long after the last sign of it two copies of a site are reported: they connect again, and write, more often.
pub const COPIES_SHOWN_MS: u64 = 600_000;
/// How long after the last refusal a member is informed that a site refuses it: at the longest it presents itself hourly.
const REFUSAL_SHOWN_MS: u64 = 2 * 3_600_000;
/// Between two log lines about a ticket that leads nowhere, where the reason stays the same.
const UNREACHED_LOG_MS: u64 = 600_000;

/// How this site stands in its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// It is a member, and no site has said otherwise lately.
    Member,
    /// It has neither founded nor joined one.
    NoNetwork,
    /// It holds a ticket and no member has let it in yet.
    NotAdmitted {
        /// The ticket; `None`: there is none any more.
        ticket: Option<PendingTicket>,
        /// Why no member was reached; `None`: none has failed to answer since the start.
        unreached: Option<Unreached>,
    },
    /// Another site does not let it in.
    Refused(Refused),
    /// It came by a ticket that had been withdrawn or was used up; an admin is to decide.
    Disputed {
        /// Who withdrew the ticket; its issuer, where it was used up.
        by: SiteId,
    },
    /// It was revoked.
    Revoked {
        /// The admin who did it.
        by: SiteId,
    },
}

/// A ticket that has not served yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingTicket {
    /// The site that made it.
    pub inviter: SiteId,
    /// Where that one is looked for.
    pub addresses: Vec<String>,
    /// What this site is to be.
    pub role: Role,
}

impl From<&Ticket> for PendingTicket {
    fn from(ticket: &Ticket) -> Self {
        let Ticket { grant, inviter, addresses, .. } = ticket;
        Self { inviter: *inviter, addresses: addresses.clone(), role: grant.role }
    }
}

/// Why no member was reached with a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// Since when, in ms since 1970.
    pub since_ms: i64,
    /// How often it was tried since.
    pub attempts: u64,
    /// What the last attempt ended with, with each address.
    pub error: String,
}

/// A site that does not let this one in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which.
    pub by: SiteId,
    /// Why, in its words.
    pub reason: String,
    /// Since when, in ms since 1970.
    pub since_ms: i64,
}

/// Two copies of a site that are at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// The site.
    pub site: SiteId,
    /// Since when this is noticed, in ms since 1970.
    pub since_ms: i64,
    /// When it was last noticed.
    pub last_ms: i64,
    /// Where they are, as far as connections say.
    pub addresses: Vec<String>,
}

/// All that is noted.
#[derive(Debug, Default)]
pub(crate) struct Others {
    pub(crate) heard: Heard,
    /// With when it was said last.
    refused: Option<(Refused, u64)>,
    unreached: Option<Unreached>,
    /// What was last written to the log of it, and when.
    unreached_told: Option<(String, u64)>,
    copies: BTreeMap<SiteId, (Copies, u64)>,
}

impl Others {
    pub(crate) fn new(heard: Heard) -> Self {
        Self { heard, ..Self::default() }
    }

    /// A site does not let this one in.
    pub(crate) fn refused(&mut self, by: SiteId, reason: String, now: Now) {
        let known = self.refused.take().filter(|(known, _)| known.by == by);
        let since_ms = known.map_or(now.wall_ms, |(known, _)| known.since_ms);
        self.refused = Some((Refused { by, reason, since_ms }, now.monotonic_ms));
    }

    /// A site answers this one as a member.
    pub(crate) fn answered(&mut self, by: SiteId) {
        if self.refused.as_ref().is_some_and(|(refused, _)| refused.by == by) {
            self.refused = None;
        }
    }

    /// Some site has answered to the ticket, whatever it said.
    pub(crate) fn reached(&mut self) {
        self.unreached = None;
        self.unreached_told = None;
    }

    /// This site is a member now, or begins to join again.
    pub(crate) fn joining_ends(&mut self) {
        self.reached();
        self.refused = None;
    }

    /// No site has answered to the ticket. Says whether the log is to say.
    pub(crate) fn unreached(&mut self, error: &str, now: Now) -> bool {
        let unreached = self.unreached.get_or_insert_with(|| Unreached {
            since_ms: now.wall_ms,
            attempts: 0,
            error: String::new(),
        });
        unreached.attempts += 1;
        error.clone_into(&mut unreached.error);
        let is_told = |(reported, at): &(String, u64)| {
            reported == error && now.monotonic_ms.saturating_sub(*at) < UNREACHED_LOG_MS
        };
        let tells = !self.unreached_told.as_ref().is_some_and(is_told);
        if tells {
            self.unreached_told = Some((error.to_owned(), now.monotonic_ms));
        }
        tells
    }

    /// Two copies of a site are noticed. Says whether that is new.
    pub(crate) fn found_copies(&mut self, site: SiteId, addresses: Vec<String>, now: Now) -> bool {
        let is_new = !self.copies.contains_key(&site);
        let (copies, last) = self.copies.entry(site).or_insert_with(|| {
            let (since_ms, last_ms) = (now.wall_ms, now.wall_ms);
            (Copies { site, since_ms, last_ms, addresses: Vec::new() }, now.monotonic_ms)
        });
        copies.last_ms = now.wall_ms;
        *last = now.monotonic_ms;
        if !addresses.is_empty() {
            copies.addresses = addresses;
        }
        is_new
    }

    /// Forgets copies of which there is no sign any more, and names their sites.
    pub(crate) fn copies_that_ended(&mut self, now: Now) -> Vec<SiteId> {
        let is_over = |last: u64| now.monotonic_ms.saturating_sub(last) >= COPIES_SHOWN_MS;
        let over = self.copies.extract_if(.., |_, (_, last)| is_over(*last));
        over.map(|(site, _)| site).collect()
    }

    /// The sites of which two copies are at work.
    pub(crate) fn copies(&self) -> Vec<Copies> {
        self.copies.values().map(|(copies, _)| copies.clone()).collect()
    }

    /// How this site stands, by what the replica knows and what others have said.
    pub(crate) fn standing(&self, status: &Status, ticket: Option<&Ticket>, now: Now) -> Standing {
        let is_recent =
            |at: u64| !status.member || now.monotonic_ms.saturating_sub(at) < REFUSAL_SHOWN_MS;
        let refused = self.refused.as_ref().filter(|(_, at)| is_recent(*at));
        match (status.revoked_by, refused, &status.network) {
            (Some(by), _, _) if status.disputed.contains_key(&status.site) => {
                Standing::Disputed { by }
            }
            (Some(by), _, _) => Standing::Revoked { by },
            (None, _, None) => Standing::NoNetwork,
            (None, Some((refused, _)), Some(_)) => Standing::Refused(refused.clone()),
            (None, None, Some(_)) if status.member => Standing::Member,
            (None, None, Some(_)) => Standing::NotAdmitted {
                ticket: ticket.map(PendingTicket::from),
                unreached: self.unreached.clone(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use branchline_crdt::ids::SiteKey;

    use super::*;

    fn site(number: u8) -> SiteId {
        SiteKey::from_seed([number; 32]).site()
    }

    fn at(ms: u64) -> Now {
        Now { wall_ms: 1_700_000_000_000 + i64::try_from(ms).unwrap_or(0), monotonic_ms: ms }
    }

    #[test]
    fn the_log_tells_of_an_address_that_does_not_answer_once_and_again_after_a_while() {
        let mut others = Others::default();
        assert!(others.unreached("refused", at(1)));
        assert!(!others.unreached("refused", at(2_000)));
        assert!(others.unreached("timed out", at(4_000)), "another reason");
        assert!(!others.unreached("timed out", at(6_000)));
        assert!(others.unreached("timed out", at(4_000 + UNREACHED_LOG_MS)));
        let reported = others
            .unreached
            .clone()
            .map(|reported| (reported.since_ms, reported.attempts, reported.error));
        assert_eq!(reported, Some((at(1).wall_ms, 5, "timed out".to_owned())));
        others.reached();
        assert_eq!(others.unreached, None);
    }

    #[test]
    fn copies_are_told_until_ten_minutes_after_the_last_sign_of_them() {
        let mut others = Others::default();
        let places = || vec!["/ip4/10.0.0.1/tcp/1".to_owned(), "/ip4/10.0.0.2/tcp/1".to_owned()];
        assert!(others.found_copies(site(1), places(), at(0)));
        assert!(!others.found_copies(site(1), Vec::new(), at(300_000)));
        assert!(others.copies_that_ended(at(899_999)).is_empty());
        let reported = others.copies().remove(0);
        assert_eq!((reported.since_ms, reported.last_ms), (at(0).wall_ms, at(300_000).wall_ms));
        assert_eq!(reported.addresses, places());
        assert_eq!(others.copies_that_ended(at(900_000)), [site(1)]);
        assert!(others.copies().is_empty());
    }

    #[test]
    fn a_refusal_stands_until_the_site_answers_as_to_a_member() {
        let mut others = Others::default();
        others.refused(site(1), "no".to_owned(), at(0));
        others.refused(site(1), "still no".to_owned(), at(9_000));
        others.answered(site(2));
        let refused = others.refused.clone().map(|(refused, _)| refused);
        let (reason, since_ms) = ("still no".to_owned(), at(0).wall_ms);
        assert_eq!(refused, Some(Refused { by: site(1), reason, since_ms }));
        others.answered(site(1));
        assert_eq!(others.refused, None);
    }
}
