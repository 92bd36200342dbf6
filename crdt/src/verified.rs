//! Signatures that hold, remembered for a while.
//!
//! A node is given a signature once or twice and keeps nothing here. A program that runs a whole network, such as the
//! simulator, gives every signature to every site and to its checkers: to verify one takes 28 us, to know it again a half.
//! What is remembered is an answer of a function of nothing but the key, the message and the signature, by a hash over all
//! of them; each signature has been verified before it is known. So no verdict can come out otherwise.

use std::cell::RefCell;
use std::collections::HashSet;

/// Signatures remembered: those of some minutes of a busy network, in 3 MB. Once there are so many all are forgotten.
const KNOWN_MAX: usize = 1 << 16;

thread_local! {
    /// What this thread remembers; `None`: nothing is to be remembered.
    static KNOWN: RefCell<Option<HashSet<[u8; 32]>>> = const { RefCell::new(None) };
}

/// Lets this thread remember which signatures it has verified, as long as `run` takes.
pub fn remembered<T>(run: impl FnOnce() -> T) -> T {
    /// Puts back what was there before, even where `run` panics.
    struct Before(Option<HashSet<[u8; 32]>>);
    impl Drop for Before {
        fn drop(&mut self) {
            KNOWN.with_borrow_mut(|known| *known = self.0.take());
        }
    }
    let _before = Before(KNOWN.replace(Some(HashSet::new())));
    run()
}

/// Whether a signature holds: as `verify` says, unless it is remembered that it does.
pub(crate) fn holds(
    key: &[u8; 32],
    message: &[u8],
    signature: &[u8],
    verify: impl FnOnce() -> bool,
) -> bool {
    if KNOWN.with_borrow(Option::is_none) {
        return verify();
    }
    let name = name(key, message, signature);
    let is_known = |known: &Option<HashSet<_>>| known.as_ref().is_some_and(|k| k.contains(&name));
    if KNOWN.with_borrow(is_known) {
        return true;
    }
    let holds = verify();
    KNOWN.with_borrow_mut(|known| {
        if let Some(known) = known.as_mut().filter(|_| holds) {
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(name);
        }
    });
    holds
}

/// A hash over all three. The key has one length and that of the signature is hashed, so no two triples read alike.
fn name(key: &[u8; 32], message: &[u8], signature: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key);
    hasher.update(&(signature.len() as u64).to_le_bytes());
    hasher.update(signature);
    hasher.update(message);
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn only_what_was_verified_is_known_and_only_meanwhile() {
        let asked = Cell::new(0);
        let ask = |key: u8, message: &[u8], signature: &[u8], answer: bool| {
            let verify = || {
                asked.set(asked.get() + 1);
                answer
            };
            holds(&[key; 32], message, signature, verify)
        };
        assert!(ask(1, b"stock", b"s", true) && ask(1, b"stock", b"s", true));
        assert_eq!(asked.get(), 2, "nothing is remembered unasked");
        remembered(|| {
            assert!(ask(1, b"stock", b"s", true) && ask(1, b"stock", b"s", false));
            assert_eq!(asked.get(), 3);
            // Another key, message or signature, also where the bytes are the same in a row.
            assert!(!ask(2, b"stock", b"s", false) && !ask(1, b"stocks", b"s", false));
            assert!(!ask(1, b"tock", b"ss", false) && !ask(1, b"stock", b"t", false));
            // What did not hold is asked again.
            assert!(!ask(2, b"stock", b"s", false) && ask(2, b"stock", b"s", true));
            assert_eq!(asked.get(), 9);
        });
        assert!(!ask(1, b"stock", b"s", false));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        remembered(|| {
            for number in 0..=KNOWN_MAX as u64 {
                assert!(holds(&[1; 32], &number.to_le_bytes(), b"s", || true));
            }
            assert_eq!(KNOWN.with_borrow(|known| known.as_ref().map(HashSet::len)), Some(1));
        });
    }
}
