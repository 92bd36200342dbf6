//! Versions of records, by which a writer says what it has read.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::view::View;

/// Bytes of a head in a version: enough that no two changes of a record share them.
const HEAD_BYTES: usize = 16;
/// Most heads in a version: more concurrent changes than sites can write before they hear of each other.
const HEADS_MAX: usize = 1024;

/// Which changes of a record one has seen: the beginnings of its heads. Sites that have the same changes of a record
/// name the same version. As text it is hex, with `-` between the heads. The version without heads, which has no text, is
/// that of a record that nobody has written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version(Vec<[u8; HEAD_BYTES]>);

/// What a record must be for an edit of it to be made, as its writer has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// It exists and is not deleted.
    Existing,
    /// It does not exist, or is deleted.
    Missing,
    /// It exists, is not deleted, and is of one of these versions.
    OneOf(Vec<Version>),
}

/// A text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a version of a record is 1 to {HEADS_MAX} heads of {} hex digits each with '-' between them",
    HEAD_BYTES * 2
)]
pub struct BadVersion;

impl Version {
    /// The version that a view is of.
    #[must_use]
    pub fn of(view: &View) -> Self {
        Self::of_heads(&view.heads)
    }

    /// The version that these changes, with all that they build on, make: one that has the hash of an edit is the record
    /// as that edit left it.
    #[must_use]
    pub fn of_heads<'a>(heads: impl IntoIterator<Item = &'a [u8; 32]>) -> Self {
        let begin = |head: &[u8; 32]| {
            let mut begin = [0; HEAD_BYTES];
            begin.copy_from_slice(&head[..HEAD_BYTES]);
            begin
        };
        Self(heads.into_iter().map(begin).collect())
    }

    /// Its heads, each one of these hashes; `None`: one of them is not.
    pub(crate) fn heads_among(&self, hashes: &BTreeSet<[u8; 32]>) -> Option<Vec<[u8; 32]>> {
        let found = |beginning: &[u8; HEAD_BYTES]| {
            let mut least = [0; 32];
            least[..HEAD_BYTES].copy_from_slice(beginning);
            hashes.range(least..).next().filter(|hash| hash.starts_with(beginning)).copied()
        };
        self.0.iter().map(found).collect()
    }

    /// The beginnings of its heads' hashes.
    pub(super) fn beginnings(&self) -> &[[u8; HEAD_BYTES]] {
        &self.0
    }
}

impl View {
    /// The version that it is of.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::of(self)
    }
}

impl Expected {
    /// Whether a record is so. `view`: the record's; of one that nobody has written it has no heads.
    #[must_use]
    pub fn is_met(&self, view: &View) -> bool {
        let exists = !view.heads.is_empty() && !view.deleted;
        match self {
            Self::Existing => exists,
            Self::Missing => !exists,
            Self::OneOf(versions) => exists && versions.contains(&Version::of(view)),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, head) in self.0.iter().enumerate() {
            let between = if number == 0 { "" } else { "-" };
            write!(f, "{between}{}", HEXLOWER.encode(head))?;
        }
        Ok(())
    }
}

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(text: &str) -> Result<Self, BadVersion> {
        let head = |text: &str| {
            let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| BadVersion)?;
            bytes.try_into().map_err(|_| BadVersion)
        };
        let heads = text.split('-').take(HEADS_MAX + 1).map(head).collect::<Result<Vec<_>, _>>()?;
        if heads.len() > HEADS_MAX { Err(BadVersion) } else { Ok(Self(heads)) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn view(heads: Vec<[u8; 32]>, deleted: bool) -> View {
        View { fields: BTreeMap::new(), deleted, conflicts: Vec::new(), heads }
    }

    #[test]
    fn a_version_is_read_back_from_its_text() {
        for heads in [vec![[1; 32]], vec![[1; 32], [0xab; 32]]] {
            let version = Version::of(&view(heads, false));
            assert_eq!(version.to_string().parse(), Ok(version));
        }
        for text in ["", "-", "abc", "AB", &"00".repeat(15), &"00".repeat(17), "é"] {
            assert_eq!(text.parse::<Version>(), Err(BadVersion), "{text}");
        }
    }

    #[test]
    fn what_is_expected_is_met_by_that_alone() {
        let (missing, here) = (view(vec![], false), view(vec![[1; 32]], false));
        let deleted = view(vec![[1; 32]], true);
        let version = Expected::OneOf(vec![Version::of(&here)]);
        let other = Expected::OneOf(vec![Version::of(&view(vec![[2; 32]], false))]);
        for (expected, met) in [
            (Expected::Existing, [false, true, false]),
            (Expected::Missing, [true, false, true]),
            (version, [false, true, false]),
            (other, [false, false, false]),
        ] {
            assert_eq!([&missing, &here, &deleted].map(|view| expected.is_met(view)), met);
        }
    }
}
