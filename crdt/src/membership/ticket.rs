//! Tickets: one line of text that makes its holder a member.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use super::Grant;
use crate::format::codec::{self, DecodeError};
use crate::ids::{SiteId, SiteKey};

/// Every ticket begins with this, so that a person can distinguish one from other secrets.
const PREFIX: &str = "branchline-ticket-1-";
/// Longest ticket that is read, in characters: a grant, a secret and some twenty addresses.
const TEXT_BYTES_MAX: usize = 4096;

/// A secret invitation: single-use, expiring, bound to network and role, with addresses where to present it.
#[derive(Clone, Debug)]
pub struct Ticket {
    /// The admin's grant.
    pub grant: Grant,
    /// What proves that its holder may take the grant up.
    pub secret: SiteKey,
    /// The site to present it to.
    pub inviter: SiteId,
    /// Where that site can be reached, as multiaddresses.
    pub addresses: Vec<String>,
}

/// Why a text is no ticket.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// It does not look like one.
    #[error("expected a ticket, which begins with {PREFIX:?}, found {found:?}")]
    Prefix {
        /// The beginning of what was found.
        found: String,
    },
    /// Too long.
    #[error("a ticket has at most {TEXT_BYTES_MAX} characters, found {found}")]
    TooLong {
        /// Length found.
        found: usize,
    },
    /// Characters are missing or changed.
    #[error("the ticket is damaged, copy it again from where it was printed")]
    Damaged,
    /// The text is complete but not a ticket of this version.
    #[error(transparent)]
    Layout(#[from] DecodeError),
}

#[derive(Serialize, Deserialize)]
struct TicketLayout {
    grant: Grant,
    seed: [u8; 32],
    inviter: SiteId,
    addresses: Vec<String>,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = codec::encode(&TicketLayout {
            grant: self.grant.clone(),
            seed: self.secret.seed(),
            inviter: self.inviter,
            addresses: self.addresses.clone(),
        });
        // A checksum tells a copying mistake from a ticket that is refused.
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(&checksum.as_bytes()[..4]);
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&bytes))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        if text.len() > TEXT_BYTES_MAX {
            return Err(TicketError::TooLong { found: text.len() });
        }
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(TicketError::Prefix { found: text.chars().take(24).collect() });
        };
        let bytes = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| TicketError::Damaged)?;
        let (content, checksum) = bytes.split_last_chunk::<4>().ok_or(TicketError::Damaged)?;
        if blake3::hash(content).as_bytes()[..4] != *checksum {
            return Err(TicketError::Damaged);
        }
        let TicketLayout { grant, seed, inviter, addresses } = codec::decode("ticket", content)?;
        let secret = SiteKey::from_seed(seed);
        if secret.site() != grant.ticket {
            return Err(TicketError::Damaged);
        }
        Ok(Self { grant, secret, inviter, addresses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RealmId;
    use crate::membership::Role;

    fn ticket() -> Ticket {
        let admin = SiteKey::from_seed([1; 32]);
        let secret = SiteKey::from_seed([2; 32]);
        let grant = Grant::sign(RealmId([3; 32]), secret.site(), Role::Writer, 9, &admin);
        let addresses = vec!["/ip4/127.0.0.1/tcp/4001".to_owned()];
        Ticket { grant, secret, inviter: admin.site(), addresses }
    }

    #[test]
    fn a_ticket_survives_being_a_line_of_text() {
        let ticket = ticket();
        let back: Ticket = format!(" {ticket}\n").parse().unwrap();
        assert_eq!(back.grant, ticket.grant);
        assert_eq!(back.secret.seed(), ticket.secret.seed());
        assert_eq!((back.inviter, back.addresses), (ticket.inviter, ticket.addresses));
    }

    #[test]
    fn a_copying_mistake_is_told_from_something_else() {
        let text = ticket().to_string();
        let cut = &text[..text.len() - 3];
        assert!(matches!(cut.parse::<Ticket>(), Err(TicketError::Damaged)));
        assert!(matches!("hello".parse::<Ticket>(), Err(TicketError::Prefix { .. })));
        assert!(matches!("x".repeat(5000).parse::<Ticket>(), Err(TicketError::TooLong { .. })));
    }
}
