//! Randomness from one seed, apart for each concern: what one of them draws does not change what another does.

use rand::SeedableRng;
use rand::rngs::SmallRng;

/// The random numbers of one concern, named by words and numbers.
pub fn concern(seed: u64, name: &str, numbers: &[u64]) -> SmallRng {
    SmallRng::from_seed(hash(seed, name, numbers))
}

/// 32 bytes for one purpose.
pub fn hash(seed: u64, name: &str, numbers: &[u64]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("branchline simulation randomness");
    hasher.update(&seed.to_le_bytes());
    hasher.update(name.as_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// A number for one purpose.
pub fn number(seed: u64, name: &str, numbers: &[u64]) -> u64 {
    let bytes = hash(seed, name, numbers);
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(first)
}
