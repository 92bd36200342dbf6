//! Spaces that some sites share and the others learn nothing of.
//!
//! Such a space is a realm, as the network is: the hash of its [`SpaceDocument`] stands where the network's id stands in
//! headers, grants, revocations and receipts; it has a membership space and a space of records of its own; and [`Members`] folds the one as it folds the network's. What is said of the network's members
//! (seniority, cuts, vouches) so holds for the sites of a space. Its creator is its founder.

use serde::{Deserialize, Serialize};

use super::{Admission, Genesis, Grant, Members, Role, Ticket};
use crate::format::codec;
use crate::ids::{RealmId, SiteId, SiteKey};

/// Longest name of a space, in bytes.
pub const SPACE_NAME_BYTES_MAX: usize = 64;
/// The name of the space that every member of the network holds.
pub const MAIN_SPACE: &str = "main";

/// The document that a space begins with. Its hash is the realm's id, so nothing in it ever changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceDocument {
    /// The network whose members may share it.
    pub network: RealmId,
    /// Its name for people. Two sites may give one name to two spaces.
    pub name: String,
    /// The site that made it: its first admin.
    pub creator: SiteId,
    /// When, in ms since 1970. For display only.
    pub time_ms: i64,
    /// Makes every realm's id its own, and nobody's to guess.
    pub nonce: [u8; 16],
}

impl SpaceDocument {
    /// The realm that it begins.
    pub fn realm(&self) -> RealmId {
        RealmId(blake3::derive_key("branchline 1 space document", &codec::encode(self)))
    }

    /// The sites of the space before anything is known but this.
    pub(crate) fn members(&self) -> Members {
        let founders = vec![(self.creator, self.name.clone())];
        let genesis = Genesis { founders, time_ms: self.time_ms, nonce: self.nonce };
        Members::new(self.realm(), Some(genesis))
    }
}

/// The admission of a site that is known, by an admin's own decision: of a member of the network to a space, or of a site whose
/// ticket is disputed. Nobody but `issuer` can know the secret of the ticket that this takes, so it admits no other site.
pub(crate) fn admission_by(
    realm: RealmId,
    site: SiteId,
    name: &str,
    role: Role,
    issuer: &SiteKey,
) -> Admission {
    let bytes = codec::encode(&(issuer.seed(), realm, site));
    let secret =
        SiteKey::from_seed(blake3::derive_key("branchline 1 ticket within a space", &bytes));
    let grant = Grant::sign(realm, secret.site(), role, i64::MAX, issuer);
    let ticket = Ticket { grant, secret, inviter: issuer.site(), addresses: Vec::new() };
    Admission::sign(&ticket, site, name)
}

/// Why a name cannot be a space's.
#[derive(Debug, thiserror::Error)]
#[error(
    "space name {found:?} is not usable: expected 1 to {SPACE_NAME_BYTES_MAX} letters a to z, digits, - and _, beginning with a letter, and not {MAIN_SPACE:?}"
)]
pub struct BadSpaceName {
    /// What was given.
    pub found: String,
}

/// Checks what a user wishes to call a space.
///
/// # Errors
/// [`BadSpaceName`] says what a name may be.
pub fn check_space_name(name: &str) -> Result<(), BadSpaceName> {
    let fits = (1..=SPACE_NAME_BYTES_MAX).contains(&name.len());
    let is_usual = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    if fits && begins && name.bytes().all(is_usual) && name != MAIN_SPACE {
        Ok(())
    } else {
        Err(BadSpaceName { found: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_spaces_are_words() {
        for good in ["north", "shop-12", "a", "clinic_2"] {
            assert!(check_space_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(SPACE_NAME_BYTES_MAX + 1);
        for bad in ["", "main", "_network", "1st", "Nord", "two words", "ä", "a/b", &long] {
            assert!(check_space_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_admission_to_a_space_is_good_for_that_space_and_site_alone() {
        let issuer = SiteKey::from_seed([1; 32]);
        let site = SiteKey::from_seed([2; 32]).site();
        let (realm, other) = (RealmId([3; 32]), RealmId([4; 32]));
        let admission = admission_by(realm, site, "north", Role::Writer, &issuer);
        assert!(admission.is_signed(realm));
        assert!(!admission.is_signed(other));
        let of_other = admission_by(other, site, "north", Role::Writer, &issuer);
        assert_ne!(admission.grant.ticket, of_other.grant.ticket);
        let stolen = Admission { site: issuer.site(), ..admission };
        assert!(!stolen.is_signed(realm));
    }
}
