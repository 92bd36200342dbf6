//! What a payload would take in memory, judged before anything is made of it.
//!
//! An item of a list may have a few bytes, and next to none once compressed, and take a hundred in memory. This pass
//! reads the layout of [`super::Body`] and keeps nothing. It refuses what would be void anyway; what is left takes at
//! most some ten times its bytes.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::limits::CHANGES_MAX;
use crate::format::codec::{self, DecodeError};
use crate::record::{DEPTH_MAX, GENESIS_MAX, GenesisKind};

/// Bytes of the hash by which a change names a genesis among its dependencies.
const HASH_BYTES: usize = 32;

/// Reads a payload without keeping it; an error where it means too much.
pub(super) fn check(raw: &[u8]) -> Result<(), DecodeError> {
    codec::decode_start::<BodyOutline<'_>>("payload", raw).map(|_| ())
}

/// Of [`super::Body`]. Membership operations are not looked at: one has some 30 bytes or more, and some 300 in memory, which is
/// within the ten times.
#[derive(serde::Deserialize)]
enum BodyOutline<'a> {
    Transactions {
        #[serde(borrow)]
        _list: OutlineTotal<TransactionOutline<'a>, CHANGES_MAX>,
    },
    Membership,
}

/// Of [`super::Transaction`].
#[derive(serde::Deserialize)]
struct TransactionOutline<'a> {
    #[serde(borrow)]
    _origin: Option<(&'a str, u64)>,
    changes: OutlineTotal<WriteOutline<'a>, CHANGES_MAX>,
}

/// Of [`super::RecordWrite`].
#[derive(serde::Deserialize)]
struct WriteOutline<'a> {
    _collection: &'a str,
    _id: &'a str,
    genesis: OutlineTotal<GenesisOutline<'a>, GENESIS_MAX>,
    body: &'a [u8],
}

/// Of [`crate::record::InitialChange`].
#[derive(serde::Deserialize)]
struct GenesisOutline<'a> {
    #[serde(borrow)]
    _path: OutlineTotal<&'a str, DEPTH_MAX>,
    _kind: GenesisKind,
}

/// A list whose items may weigh `MAX` together.
struct OutlineTotal<T, const MAX: usize> {
    weight: usize,
    items: PhantomData<T>,
}

/// What an item counts for, or why it cannot be sound.
trait Weigh {
    fn weight(&self) -> Result<usize, &'static str>;
}

impl Weigh for TransactionOutline<'_> {
    /// None is empty.
    fn weight(&self) -> Result<usize, &'static str> {
        Ok(self.changes.weight.max(1))
    }
}

impl Weigh for WriteOutline<'_> {
    fn weight(&self) -> Result<usize, &'static str> {
        if self.genesis.weight * HASH_BYTES <= self.body.len() {
            Ok(1)
        } else {
            Err("a change names more genesis than it can depend on")
        }
    }
}

impl Weigh for GenesisOutline<'_> {
    fn weight(&self) -> Result<usize, &'static str> {
        Ok(1)
    }
}

impl Weigh for &str {
    fn weight(&self) -> Result<usize, &'static str> {
        Ok(1)
    }
}

impl<'de, T: Weigh + Deserialize<'de>, const MAX: usize> Deserialize<'de> for OutlineTotal<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Self { weight: 0, items: PhantomData })
    }
}

impl<'de, T: Weigh + Deserialize<'de>, const MAX: usize> Visitor<'de> for OutlineTotal<T, MAX> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX}")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self, A::Error> {
        while let Some(item) = items.next_element::<T>()? {
            self.weight += item.weight().map_err(A::Error::custom)?;
            if self.weight > MAX {
                return Err(A::Error::custom(format_args!("a list has more than {MAX} items")));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entry::limits::BODY_BYTES_MAX;
    use crate::log::entry::{Body, Origin, RecordWrite, Transaction};
    use crate::record::{InitialChange, RecordChange};

    fn write(genesis: usize, names: usize, body: usize) -> RecordWrite {
        let path = vec!["a".to_owned(); names];
        let genesis = vec![InitialChange { path, kind: GenesisKind::Map }; genesis];
        let change = RecordChange { genesis, body: vec![7; body] };
        RecordWrite { collection: "c".to_owned(), id: "1".to_owned(), change }
    }

    fn checked(changes: Vec<RecordWrite>) -> Result<(), DecodeError> {
        let origin = Some(Origin { source: "s".to_owned(), number: 1 });
        let transaction = Transaction { origin, changes };
        check(&codec::encode(&Body::Transactions(vec![transaction])))
    }

    #[test]
    fn what_authors_write_passes() {
        assert!(checked(vec![write(0, 0, 90); CHANGES_MAX]).is_ok());
        assert!(checked(vec![write(GENESIS_MAX, DEPTH_MAX, GENESIS_MAX * HASH_BYTES)]).is_ok());
        assert!(check(&codec::encode(&Body::Transactions(vec![]))).is_ok());
        assert!(check(&codec::encode(&Body::Membership(vec![]))).is_ok());
    }

    #[test]
    fn lists_that_mean_too_much_are_refused() {
        assert!(checked(vec![write(0, 0, 0); CHANGES_MAX + 1]).is_err());
        assert!(checked(vec![write(GENESIS_MAX + 1, 1, 100_000)]).is_err());
        assert!(checked(vec![write(1, DEPTH_MAX + 1, 100_000)]).is_err());
        assert!(checked(vec![write(2, 1, 2 * HASH_BYTES - 1)]).is_err());
        // Transactions without changes, and one of nothing but changes without content.
        for byte in [0, 1] {
            let mut zeros = vec![0; BODY_BYTES_MAX];
            zeros[1..6].copy_from_slice(&[252, 0, 0, 16, 0]);
            zeros[7..12].copy_from_slice(&[252 * byte, 0, 0, 15 * byte, 0]);
            let error = check(&zeros).unwrap_err().to_string();
            assert!(error.contains("16384"), "{error}");
        }
    }
}
