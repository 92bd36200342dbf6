//! How this site stands in its network, and what is noticed of copies of sites.

use std::collections::BTreeMap;

use branchline_crdt::ids::SiteId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::texts::name_of;
use crate::api::texts::rfc3339;
use crate::peers::others::{Copies, PendingTicket, Refused, Standing, Unreached};

/// How this site stands in its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingResponse {
    /// `member`; `no_network`: it has neither founded nor joined one; `not_admitted`: its ticket has led to no member yet;
    /// `refused`: a site does not let it in; `disputed`: it came by a ticket too late, an admin decides; `revoked`: nobody syncs with it any more.
    pub state: String,
    /// Why, in words for a person; nothing for a member.
    pub reason: Option<String>,
    /// The site that refused or revoked it, or made the ticket.
    pub by: Option<String>,
    /// That site's name, where it is known.
    pub by_name: Option<String>,
    /// Since when it was refused, or no address has answered, in RFC 3339; as far as this start of the node knows.
    pub since: Option<String>,
    /// How often it has been tried in vain since to present the ticket.
    pub attempts: u64,
    /// What the last attempt ended with, address by address.
    pub error: Option<String>,
    /// Where the ticket's maker is looked for.
    pub addresses: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Two copies of a site that run at the same time, most likely from a copied data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CopiesResponse {
    /// The site.
    pub site: String,
    /// Its name.
    pub site_name: String,
    /// Since when they are noticed, in RFC 3339.
    pub since: Option<String>,
    /// When there was last a sign of them. Ten minutes after that they are reported no more.
    pub last: Option<String>,
    /// Where they are; nothing where only what they wrote shows that there are two.
    pub addresses: Vec<String>,
}

/// Names instead of ids, in text that another site has written.
fn with_names(text: &str, names: &BTreeMap<SiteId, String>) -> String {
    let replaced =
        |text: String, (site, name): (&SiteId, &String)| text.replace(&site.to_string(), name);
    names.iter().fold(text.to_owned(), replaced)
}

impl StandingResponse {
    /// The same for people and programs.
    pub(crate) fn of(standing: Standing, names: &BTreeMap<SiteId, String>) -> Self {
        let plain = |state: &str| Self {
            state: state.to_owned(),
            reason: None,
            by: None,
            by_name: None,
            since: None,
            attempts: 0,
            error: None,
            addresses: Vec::new(),
            hint: None,
        };
        let by = |site: SiteId| (Some(site.to_string()), names.get(&site).cloned());
        match standing {
            Standing::Member => plain("member"),
            Standing::NoNetwork => Self {
                reason: Some("this site does not belong to a network yet".to_owned()),
                hint: Some("`branchline join TICKET` joins one".to_owned()),
                ..plain("no_network")
            },
            Standing::Disputed { by: site } => {
                let (by, by_name) = by(site);
                let reason = format!(
                    "this site joined with a ticket that had been withdrawn or used up, as {} shows: nobody syncs with it until an admin decides; what it holds can be read",
                    name_of(site, names)
                );
                let hint = "an admin can make it a member with `branchline role`; `branchline members` lists it";
                let hint = Some(hint.to_owned());
                Self { reason: Some(reason), by, by_name, hint, ..plain("disputed") }
            }
            Standing::Revoked { by: site } => {
                let (by, by_name) = by(site);
                let name = name_of(site, names);
                let reason = format!(
                    "this site was revoked by {name}: nobody syncs with it any more; what it holds can be read"
                );
                let hint = "it can join again only with another data folder and name";
                let hint = Some(hint.to_owned());
                Self { reason: Some(reason), by, by_name, hint, ..plain("revoked") }
            }
            Standing::Refused(Refused { by: site, reason, since_ms }) => {
                let (by, by_name) = by(site);
                let (name, reason) = (name_of(site, names), with_names(&reason, names));
                let reason = Some(format!("{name} refuses this site: {reason}"));
                let hint = "an admin makes a new ticket with `branchline invite`";
                let (since, hint) = (rfc3339(since_ms), Some(hint.to_owned()));
                Self { reason, by, by_name, since, hint, ..plain("refused") }
            }
            Standing::NotAdmitted { ticket: None, .. } => Self {
                reason: Some("this site was never admitted, and holds no ticket".to_owned()),
                hint: Some("an admin makes one with `branchline invite`".to_owned()),
                ..plain("not_admitted")
            },
            Standing::NotAdmitted { ticket: Some(ticket), unreached } => {
                let PendingTicket { inviter, addresses, .. } = ticket;
                let (by, by_name) = by(inviter);
                let reported = Self { by, by_name, addresses, ..plain("not_admitted") };
                reported.never_admitted(unreached)
            }
        }
    }

    /// Says why a ticket has led to no member.
    fn never_admitted(self, unreached: Option<Unreached>) -> Self {
        let Some(Unreached { since_ms, attempts, error }) = unreached else {
            let reason = "this site was never admitted: its ticket has led to no member yet";
            return Self { reason: Some(reason.to_owned()), ..self };
        };
        let since = rfc3339(since_ms);
        let moment = since.as_deref().unwrap_or("its start");
        let reason = format!(
            "this site was never admitted: the ticket's addresses have not answered since {moment} ({error})"
        );
        let inviter = self.by.as_deref().unwrap_or("SITE");
        let hint = format!(
            "where another address leads to a member: `branchline run --peer /ip4/IP/tcp/PORT/p2p/{inviter}`"
        );
        let (reason, error, hint) = (Some(reason), Some(error), Some(hint));
        Self { reason, since, attempts, error, hint, ..self }
    }
}

impl CopiesResponse {
    /// The same for people and programs.
    pub(crate) fn of(copies: Copies, names: &BTreeMap<SiteId, String>) -> Self {
        let Copies { site, since_ms, last_ms, addresses } = copies;
        Self {
            site: site.to_string(),
            site_name: name_of(site, names),
            since: rfc3339(since_ms),
            last: rfc3339(last_ms),
            addresses,
        }
    }
}
