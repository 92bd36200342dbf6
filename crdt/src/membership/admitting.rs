//! Whether an admission makes a member.

use super::{Admission, BadSiteName, Members, Revoked, Role, check_new_site_name, looks_like};
use crate::ids::{RealmId, SiteId};

/// Why an admission would not make a member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The grant is for other sites.
    #[error("the ticket is for network {found}, this is network {expected}")]
    OtherNetwork {
        /// The network of the grant.
        found: RealmId,
        /// The network asked.
        expected: RealmId,
    },
    /// A signature is wrong.
    #[error("the ticket's signatures are not valid")]
    Forged,
    /// The issuer may not invite.
    #[error("the ticket was issued by {issuer}, which is not an admin of this network")]
    IssuerNotAdmin {
        /// Who signed the grant.
        issuer: SiteId,
    },
    /// The ticket has no place left.
    #[error("the ticket was used before, by site {used_by}")]
    Used {
        /// The site that it admitted.
        used_by: SiteId,
    },
    /// Nobody comes by a ticket that was withdrawn.
    #[error("the ticket was withdrawn by {by}")]
    Withdrawn {
        /// The admin.
        by: SiteId,
    },
    /// A revoked site stays out.
    #[error("this site was revoked by {by}: it can join again only with another data folder")]
    Revoked {
        /// The admin who revoked it.
        by: SiteId,
    },
    /// A site goes on under the key that replaced this one.
    #[error(
        "the key of this site was replaced: the site is {by} now; restore a backup from after that, or join with another \
         data folder"
    )]
    Replaced {
        /// The site by its new key.
        by: SiteId,
    },
    /// The name cannot be shown.
    #[error(transparent)]
    Name(#[from] BadSiteName),
    /// People would take it for another site.
    #[error("its name {name:?} looks like that of another site: it needs another name")]
    LooksLike {
        /// The name.
        name: String,
    },
}

/// Whether an admission makes a new member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitting {
    /// It would.
    New,
    /// The site is a member already.
    AlreadyMember,
}

impl Members {
    /// Whether an admission that a stranger presents makes it a member. The grant's expiry is for the caller,
    /// who has a clock.
    ///
    /// # Errors
    /// [`NotAdmitted`] says why the ticket, or its use, admits nobody.
    pub fn examine(&self, admission: &Admission) -> Result<Admitting, NotAdmitted> {
        let Admission { grant, site, name, .. } = admission;
        if grant.realm != self.realm() {
            let (found, expected) = (grant.realm, self.realm());
            return Err(NotAdmitted::OtherNetwork { found, expected });
        }
        if !admission.is_signed(self.realm()) {
            return Err(NotAdmitted::Forged);
        }
        check_new_site_name(name)?;
        // One of two that are the same gets a number.
        let is_same = |other: &str| other.to_lowercase() == name.to_lowercase();
        if self.get(site).is_none()
            && self.names().any(|other| !is_same(other) && looks_like(other, name))
        {
            return Err(NotAdmitted::LooksLike { name: name.clone() });
        }
        if let Some(Revoked { by, .. }) = self.revoked().get(site) {
            return Err(NotAdmitted::Revoked { by: *by });
        }
        if let Some(by) = self.successor(site) {
            return Err(NotAdmitted::Replaced { by });
        }
        if !self.has_role(&grant.issuer, Role::Admin) {
            return Err(NotAdmitted::IssuerNotAdmin { issuer: grant.issuer });
        }
        let admitted = self.admitted_by(&grant.ticket);
        if admitted.contains(site) {
            return Ok(Admitting::AlreadyMember);
        }
        let is_full = admitted.len() >= self.places(&grant.ticket);
        if let Some(used_by) = admitted.last().filter(|_| is_full) {
            return Err(NotAdmitted::Used { used_by: *used_by });
        }
        if let Some(by) = self.withdrawn_by(&grant.ticket, &grant.issuer) {
            return Err(NotAdmitted::Withdrawn { by });
        }
        Ok(if self.get(site).is_some() { Admitting::AlreadyMember } else { Admitting::New })
    }
}
