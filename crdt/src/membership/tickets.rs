//! The tickets of a network: announced, taken up, used up, withdrawn.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::standing::Said;
use super::{Grant, Members, Operation, Role};
use crate::ids::SiteId;

/// Most sites that one ticket admits: those of a chain that opens all its shops in one night.
pub const PLACES_MAX: u16 = 1_000;
/// Longest note of what a ticket is for, in bytes: as long as a site's name may be.
pub const NOTE_BYTES_MAX: usize = super::SITE_NAME_BYTES_MAX;

/// An admin says that there is a ticket, before anybody gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenTicket {
    /// What it grants.
    pub grant: Grant,
    /// How many sites it admits.
    pub places: u16,
    /// What it is for, in the admin's words, which all members can read.
    pub note: String,
}

/// How a ticket stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketStanding {
    /// Its id.
    pub ticket: SiteId,
    /// What it gives.
    pub role: Role,
    /// The admin who made it.
    pub issuer: SiteId,
    /// After this moment (ms since 1970) no member admits with it, and the issuer's node withdraws it.
    pub expires_ms: i64,
    /// How many sites it admits.
    pub places: u16,
    /// What it is for.
    pub note: String,
    /// The sites that came by it.
    pub admitted: Vec<SiteId>,
    /// Who withdrew it.
    pub withdrawn_by: Option<SiteId>,
}

impl TicketStanding {
    /// Whether it admits another site, unless it has expired.
    pub fn is_open(&self) -> bool {
        self.withdrawn_by.is_none() && self.admitted.len() < usize::from(self.places)
    }
}

impl Members {
    /// All tickets that their issuers made known, by id.
    pub fn tickets(&self) -> Vec<TicketStanding> {
        let counts = |said: &Said| self.docket.withdraws(said, &self.sites);
        let mut known = BTreeSet::new();
        let tickets = self.docket.invitations.iter().filter_map(|(ticket, said)| {
            let OpenTicket { grant, note, .. } = said.invitation()?;
            (counts(said) && known.insert(*ticket)).then(|| TicketStanding {
                ticket: *ticket,
                role: grant.role,
                issuer: grant.issuer,
                expires_ms: grant.expires_ms,
                places: u16::try_from(self.places(ticket)).unwrap_or(PLACES_MAX),
                note: note.chars().take(NOTE_BYTES_MAX).collect(),
                admitted: self.admitted_by(ticket),
                withdrawn_by: self.withdrawn_by(ticket, &grant.issuer),
            })
        });
        tickets.collect()
    }

    /// How many sites a ticket admits.
    pub(crate) fn places(&self, ticket: &SiteId) -> usize {
        self.docket.places(ticket, &self.sites)
    }

    /// The sites that a ticket admitted, the most senior first.
    pub(crate) fn admitted_by(&self, ticket: &SiteId) -> Vec<SiteId> {
        let claims = self.docket.claims.of(ticket).iter().filter_map(Said::admission);
        let sites: BTreeSet<_> = claims.map(|(_, admission)| admission.site).collect();
        let holds = |site: &SiteId| self.sites.get(site).is_some_and(|it| it.holds(ticket));
        let mut admitted: Vec<_> = sites.into_iter().filter(holds).collect();
        admitted.sort_by_key(|site| self.ranks.get(site).copied());
        admitted
    }

    /// Who withdrew a ticket: an admin by a word of its own, or with its issuer, who is no admin any more.
    pub(crate) fn withdrawn_by(&self, ticket: &SiteId, issuer: &SiteId) -> Option<SiteId> {
        let mut withdrawals = self.docket.withdrawals.of(ticket).iter();
        let said = withdrawals.find(|said| self.docket.withdraws(said, &self.sites));
        let by = said.map(|said| said.entry.author.site);
        by.or_else(|| {
            let is_over = !self.has_role(issuer, Role::Admin);
            is_over.then(|| self.revoked().get(issuer).map_or(*issuer, |revoked| revoked.by))
        })
    }

    /// The members that came by a site: by its ticket, or through it, and by those in turn; the most senior first.
    pub fn let_in_by(&self, site: SiteId) -> Vec<SiteId> {
        let own: BTreeSet<_> = self.keys_of(site).collect();
        let mut by = own.clone();
        // Whom a site lets in comes behind it, but not behind every site that let it in.
        loop {
            let before = by.len();
            for (other, standing) in &self.sites {
                let is_one = by.contains(&standing.invited_by) || by.contains(&standing.through);
                if is_one && standing.lapse.is_none() {
                    by.insert(*other);
                }
            }
            if by.len() == before {
                break;
            }
        }
        let mut let_in: Vec<_> = by.into_iter().filter(|it| self.get(it).is_some()).collect();
        let_in.retain(|other| !own.contains(other) && !self.is_senior(other, &site));
        let_in.sort_by_key(|site| self.ranks.get(site).copied());
        let_in
    }
}

impl Said {
    /// The ticket that it announces.
    pub(super) fn invitation(&self) -> Option<&OpenTicket> {
        let Operation::Invite(ticket) = &*self.operation else { return None };
        Some(ticket)
    }
}
