//! How people write down which entry they mean: `INCARNATION/SEQ`, with `_network/` before it where it is of the
//! membership. Every program that shows an entry shows it so, and takes the beginning of the incarnation as well.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;

use super::EntryId;

/// What is before an entry of the membership.
pub const MEMBERSHIP: &str = "_network";
/// Fewer characters of an incarnation could be anything.
const INCARNATION_CHARS_MIN: usize = 4;
/// All characters of an incarnation.
const INCARNATION_CHARS: usize = 16;

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", HEXLOWER.encode(&self.author.incarnation.0), self.seq)
    }
}

/// An entry as a person names it: more than one may be meant where only the beginning of the incarnation is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryText {
    /// Whether it is one of the membership.
    pub is_of_membership: bool,
    /// The incarnation in hex, or the beginning of it.
    incarnation: String,
    /// The number in the log of that incarnation.
    pub seq: u64,
}

/// What was given names no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not an entry: expected INCARNATION/NUMBER, like 8f3a2c91d04b7e11/5")]
pub struct NoEntryText {
    /// What was given.
    pub found: String,
}

impl FromStr for EntryText {
    type Err = NoEntryText;

    fn from_str(text: &str) -> Result<Self, NoEntryText> {
        let wrong = || NoEntryText { found: text.to_owned() };
        let of_membership = text.strip_prefix(MEMBERSHIP).and_then(|rest| rest.strip_prefix('/'));
        let (incarnation, seq) = of_membership.unwrap_or(text).split_once('/').ok_or_else(wrong)?;
        let is_usual = (INCARNATION_CHARS_MIN..=INCARNATION_CHARS).contains(&incarnation.len())
            && incarnation.bytes().all(|byte| byte.is_ascii_hexdigit())
            && seq.bytes().all(|byte| byte.is_ascii_digit());
        let seq = seq.parse().ok().filter(|seq| is_usual && *seq > 0).ok_or_else(wrong)?;
        let incarnation = incarnation.to_ascii_lowercase();
        Ok(Self { is_of_membership: of_membership.is_some(), incarnation, seq })
    }
}

impl EntryText {
    /// Whether an entry may be the one that is meant.
    pub fn may_be(&self, entry: EntryId) -> bool {
        let incarnation = HEXLOWER.encode(&entry.author.incarnation.0);
        self.seq == entry.seq && incarnation.starts_with(&self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Author, Incarnation, SiteId};

    #[test]
    fn an_entry_can_be_read_back_from_how_it_is_shown() {
        let incarnation = Incarnation([0x8f, 0x3a, 0, 1, 2, 3, 4, 5]);
        let id = EntryId { author: Author { site: SiteId([1; 32]), incarnation }, seq: 12 };
        assert_eq!(id.to_string(), "8f3a000102030405/12");
        for (text, is_of_membership) in
            [("8f3a000102030405/12", false), ("8F3A/12", false), ("_network/8f3a0001/12", true)]
        {
            let read: EntryText = text.parse().unwrap();
            assert!(read.may_be(id), "{text}");
            assert_eq!(read.is_of_membership, is_of_membership);
            assert!(!read.may_be(EntryId { seq: 13, ..id }));
        }
        assert!(!"8f3b/12".parse::<EntryText>().unwrap().may_be(id));
    }

    #[test]
    fn what_names_no_entry_is_refused() {
        for text in [
            "",
            "12",
            "north",
            "8f3/12",
            "8f3a",
            "8f3a/",
            "8f3a/0",
            "8f3a/x",
            "8f3a/+1",
            "8f3g/1",
            "8f3a0001020304056/1",
            "main/8f3a/1",
            "8f3a/1/2",
            "8f3a/99999999999999999999",
        ] {
            assert!(text.parse::<EntryText>().is_err(), "{text}");
        }
    }
}
