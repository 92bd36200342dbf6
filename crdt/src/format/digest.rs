//! An order-independent sum of hashes: equal for equal sets, whatever the order in which they were added.
//!
//! The sum is taken modulo 2^256 over little-endian numbers. It is a diagnostic, not a commitment against an
//! adversary who may choose what is summed.

use std::fmt;
use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The sum.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Adds one hash.
    pub fn add(&mut self, hash: &[u8; 32]) {
        let mut carry = 0;
        for (sum, byte) in self.0.iter_mut().zip(hash) {
            let total = u16::from(*sum) + u16::from(*byte) + carry;
            *sum = total.to_le_bytes()[0];
            carry = total >> 8;
        }
    }

    /// Takes away one hash that was added.
    pub fn remove(&mut self, hash: &[u8; 32]) {
        // Two's complement: -hash = !hash + 1.
        let mut one = [0; 32];
        one[0] = 1;
        self.add(&hash.map(|byte| !byte));
        self.add(&one);
    }

    /// Adds all that `other` sums up.
    pub fn merge(&mut self, other: &Self) {
        self.add(&other.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Derived once: it costs as much as hashing a record.
static RECORD_KEY: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("branchline 1 record in a digest"));

/// What one record adds to the digest of its collection: the hash of its address and of its live operations.
pub fn record_hash(collection: &str, id: &str, operations: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Hasher::new_from_context_key(&RECORD_KEY);
    hasher.update(&(collection.len() as u64).to_le_bytes());
    hasher.update(collection.as_bytes());
    hasher.update(&(id.len() as u64).to_le_bytes());
    hasher.update(id.as_bytes());
    hasher.update(operations);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_does_not_matter_and_removal_undoes(hashes in prop::collection::vec(any::<[u8; 32]>(), 1..20)) {
            let mut forwards = Digest::default();
            hashes.iter().for_each(|hash| forwards.add(hash));
            let mut backwards = Digest::default();
            hashes.iter().rev().for_each(|hash| backwards.add(hash));
            prop_assert_eq!(forwards, backwards);
            hashes.iter().for_each(|hash| forwards.remove(hash));
            prop_assert_eq!(forwards, Digest::default());
        }
    }
}
