//! Secrets that browsers hold: made by chance, and kept here only as what cannot be turned back into them.

use data_encoding::BASE64URL_NOPAD;

/// Bytes of a secret: nobody guesses it.
const BYTES: usize = 32;
/// Its characters.
const CHARS: usize = 43;

/// What is kept of a secret. Two are compared by what they were made of, so how long it takes says nothing of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretHash(pub(crate) [u8; 32]);

/// A new secret; `None`: the machine gives no random bytes.
pub(crate) fn new() -> Option<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).ok()?;
    Some(BASE64URL_NOPAD.encode(&bytes))
}

/// What is kept of a text that may be a secret; `None`: it is none.
pub(crate) fn kept(text: &str) -> Option<SecretHash> {
    let is_one = text.len() == CHARS && BASE64URL_NOPAD.decode(text.as_bytes()).is_ok();
    is_one.then(|| SecretHash(*blake3::hash(text.as_bytes()).as_bytes()))
}

/// What forms of a session carry, so that no other page can send them: made of its secret, which it does not show.
pub(crate) fn form_token(secret: &str) -> String {
    BASE64URL_NOPAD.encode(&blake3::derive_key("branchline page form token 1", secret.as_bytes()))
}
