//! Mutations of inputs, the same for the same seed.

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};

/// Longest input that a mutation makes.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Bytes at which decoders turn: ends of ranges, marks of variable-length integers, signs, separators.
const TELLING: [u8; 16] =
    [0, 1, 2, 0x0a, 0x22, 0x2c, 0x2e, 0x7b, 0x7f, 0x80, 0xc0, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];

/// Makes inputs out of others.
pub struct Mutator {
    random: SmallRng,
}

impl Mutator {
    /// Makes the same mutations for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: SmallRng::seed_from_u64(seed) }
    }

    /// An input that is one of `inputs` with a few things changed.
    pub fn mutate(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.choose(inputs);
        for _ in 0..self.random.random_range(1..=6) {
            self.step(&mut bytes, inputs);
        }
        bytes.truncate(INPUT_BYTES_MAX);
        bytes
    }

    fn choose(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        match inputs.len() {
            0 => Vec::new(),
            count => inputs[self.random.random_range(0..count)].clone(),
        }
    }

    fn step(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.random.random_range(0..=bytes.len());
        let length = self.random.random_range(0..=(bytes.len() - at).min(64));
        match self.random.random_range(0..9) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.random.random_range(0..8),
            2 if at < bytes.len() => bytes[at] = self.random.random(),
            3 if at < bytes.len() => bytes[at] = self.telling(),
            4 if at < bytes.len() => {
                bytes[at] = bytes[at].wrapping_add(self.random.random_range(0..3))
            }
            5 => drop(bytes.drain(at..at + length)),
            6 => {
                let byte = self.telling();
                bytes.insert(at, byte);
            }
            7 => {
                let again = bytes[at..at + length].to_vec();
                bytes.splice(at..at, again);
            }
            8 => {
                let other = self.choose(inputs);
                let from = self.random.random_range(0..=other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            _ => {
                let mut noise = vec![0; self.random.random_range(0..8)];
                self.random.fill_bytes(&mut noise);
                bytes.splice(at..at, noise);
            }
        }
    }

    fn telling(&mut self) -> u8 {
        TELLING[self.random.random_range(0..TELLING.len())]
    }
}
