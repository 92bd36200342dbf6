//! Why a remote service did not do what it was asked to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a failed request means for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The remote or the way to it is out of order, or busy: the same request is worth another try, for as long as it takes.
    Transient,
    /// The remote refuses this request, and will again: the item is set aside, others go on.
    Permanent,
    /// The remote does not accept who asks: the connector stops until a person has seen to it.
    Authentication,
}

impl Class {
    /// As metrics and the API write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Authentication => "authentication",
        }
    }
}

/// What failed, by what it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// The remote, or the way to it, was out of order.
    pub transient: u64,
    /// Requests, or items, were refused.
    pub permanent: u64,
    /// The remote did not accept this office.
    pub authentication: u64,
}

impl Faults {
    /// One more.
    pub fn count(&mut self, class: Class) {
        let number = match class {
            Class::Transient => &mut self.transient,
            Class::Permanent => &mut self.permanent,
            Class::Authentication => &mut self.authentication,
        };
        *number = number.saturating_add(1);
    }

    /// Each number with the name of its class.
    pub fn by_class(self) -> [(&'static str, u64); 3] {
        [
            (Class::Transient.as_str(), self.transient),
            (Class::Permanent.as_str(), self.permanent),
            (Class::Authentication.as_str(), self.authentication),
        ]
    }
}

/// Whether the remote may have carried out a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    /// It has not: the request was never sent, or the answer says so.
    No,
    /// It may have: look it up before sending it again.
    Unknown,
}

/// A failed request. Its text holds no secret that the connector has read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What it means.
    pub class: Class,
    /// What was asked and what came back, with the first [`EXCERPT_BYTES_MAX`] bytes of an answer's body at most.
    pub message: String,
    /// The answer's status; `None`: there was no answer.
    pub status: Option<u16>,
    /// How long the remote asks to be left alone, at most a quarter of an hour.
    pub retry_after: Option<Duration>,
    /// Whether the remote may have carried it out.
    pub done: Done,
}

/// As much of an answer's body as an error shows.
pub const EXCERPT_BYTES_MAX: usize = 200;

impl Fault {
    /// A fault of before anything was sent.
    #[must_use]
    pub fn unsent(class: Class, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), status: None, retry_after: None, done: Done::No }
    }

    /// A fault of an answer that came, said to have succeeded, and is not what was expected.
    #[must_use]
    pub fn answer(class: Class, status: u16, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { class, message, status: Some(status), retry_after: None, done: Done::Unknown }
    }
}

/// What the system says is worth another try: a disk, a share or a link that comes back.
impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        let (class, message) = (Class::Transient, error.to_string());
        Self { class, message, status: None, retry_after: None, done: Done::Unknown }
    }
}

/// The beginning of a text, for an error: at most [`EXCERPT_BYTES_MAX`] bytes, on one line.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let text = text.trim();
    let mut end = text.len().min(EXCERPT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let mut excerpt: String = text[..end].chars().map(plain).collect();
    if end < text.len() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_whole_characters_and_one_line() {
        assert_eq!(excerpt(" <html>\n<b> "), "<html> <b>");
        let long = "é".repeat(150);
        assert_eq!(excerpt(&long), format!("{}…", "é".repeat(100)));
        assert!(excerpt(&format!("x{long}")).starts_with("xé"));
    }
}
