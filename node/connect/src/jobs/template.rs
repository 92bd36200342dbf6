//! Texts with places for values: `https://crm.example.com/orders/{remote_id}?ref={ref}`.
//!
//! `{name}` is a place, `{{` and `}}` are braces, and `${NAME}` is a secret, completed before anything is filled in.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::secret::{self, Redactor, SecretError};

/// What a value keeps as it is in a URL: the unreserved characters of RFC 3986.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes all that could mean something in a URL.
#[must_use]
pub fn encoded(value: &str) -> String {
    utf8_percent_encode(value, URL).to_string()
}

/// Why a text is no template. The text itself is not shown: it may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum BadTemplate {
    /// A place does not end.
    #[error(
        "a place begins with {{ at byte {at} and does not end: expected {{name}}, or {{{{ for a brace"
    )]
    Open {
        /// Where, in bytes from the beginning.
        at: usize,
    },
    /// A place ends that has not begun.
    #[error(
        "there is a }} at byte {at} with no {{ before it: expected {{name}}, or }}}} for a brace"
    )]
    Close {
        /// Where, in bytes from the beginning.
        at: usize,
    },
    /// A place has no proper name.
    #[error(
        "the place at byte {at} is called {found:?}: expected letters, digits, _, - and . as in {{remote_id}}, and {{{{ for a brace"
    )]
    Name {
        /// Where, in bytes from the beginning.
        at: usize,
        /// Its name.
        found: String,
    },
    /// A secret is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// A template has a place for which there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no value for {{{name}}}")]
pub struct MissingName {
    /// The place's name.
    pub name: String,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(String),
}

/// A text with places for values. Its `Debug` output shows the places alone: the text may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Template").field(&self.names()).finish()
    }
}

impl Template {
    /// Reads a template without secrets.
    ///
    /// # Errors
    /// A brace has no partner, or a place no proper name.
    pub fn parse(text: &str) -> Result<Self, BadTemplate> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find(['{', '}']) {
            plain.push_str(&text[at..at + found]);
            at += found;
            let rest = &text[at..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                plain.push_str(&rest[..1]);
                at += 2;
                continue;
            }
            if rest.starts_with('}') {
                return Err(BadTemplate::Close { at });
            }
            let end = rest.find('}').ok_or(BadTemplate::Open { at })?;
            let name = &rest[1..end];
            if !is_name(name) {
                return Err(BadTemplate::Name { at, found: super::fault::excerpt(name) });
            }
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Place(name.to_owned()));
            at += end + 1;
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }

    /// Reads a template in which `${…}` are secrets; a brace in a secret is a brace.
    ///
    /// # Errors
    /// As [`Template::parse`], and a secret cannot be read.
    pub fn with_secrets(text: &str, redactor: &Redactor) -> Result<Self, BadTemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            let (_, after) = behind.split_once('}').ok_or(SecretError::Open)?;
            let reference = &rest[before.len()..rest.len() - after.len()];
            pieces.extend(Self::parse(before)?.pieces);
            pieces.push(Piece::Text(secret::complete_with(reference, redactor)?));
            rest = after;
        }
        pieces.extend(Self::parse(rest)?.pieces);
        Ok(Self { pieces })
    }

    /// As [`Template::with_secrets`], with nothing in the places of the secrets: to judge a text where they are not.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn without_secrets(text: &str) -> Result<Self, BadTemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("${") {
            let (_, after) = behind.split_once('}').ok_or(SecretError::Open)?;
            pieces.extend(Self::parse(before)?.pieces);
            rest = after;
        }
        pieces.extend(Self::parse(rest)?.pieces);
        Ok(Self { pieces })
    }

    /// The names of its places, each as often as it is there.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Place(name) => Some(name.as_str()),
                Piece::Text(_) => None,
            })
            .collect()
    }

    /// The text with values in its places, as they are.
    ///
    /// # Errors
    /// A place has no value.
    pub fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, MissingName> {
        self.filled(value, |value| value)
    }

    /// The text with values in its places, percent-encoded: a value cannot change what the URL means around it.
    ///
    /// # Errors
    /// A place has no value.
    pub fn fill_url(&self, value: impl Fn(&str) -> Option<String>) -> Result<String, MissingName> {
        self.filled(value, |value| encoded(&value))
    }

    fn filled(
        &self,
        value: impl Fn(&str) -> Option<String>,
        write: impl Fn(String) -> String,
    ) -> Result<String, MissingName> {
        let mut filled = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Place(name) => {
                    let value = value(name).ok_or_else(|| MissingName { name: name.clone() })?;
                    filled.push_str(&write(value));
                }
            }
        }
        Ok(filled)
    }
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !name.is_empty() && name.bytes().all(is_plain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_and_braces_doubled() {
        let template = Template::parse("https://x/{id}?ref={a.ref}&q={{{id}}}").unwrap();
        assert_eq!(template.names(), ["id", "a.ref", "id"]);
        let value = |name: &str| Some(if name == "id" { "7/8 é" } else { "a&b" }.to_owned());
        assert_eq!(template.fill(value).unwrap(), "https://x/7/8 é?ref=a&b&q={7/8 é}");
        assert_eq!(
            template.fill_url(value).unwrap(),
            "https://x/7%2F8%20%C3%A9?ref=a%26b&q={7%2F8%20%C3%A9}"
        );
        let missing = template.fill(|name| (name == "id").then(String::new)).unwrap_err();
        assert_eq!(missing.to_string(), "there is no value for {a.ref}");
        assert_eq!(Template::parse("").unwrap().fill(|_| None).unwrap(), "");
    }

    #[test]
    fn what_is_no_template_is_refused_by_its_place() {
        for (text, part) in [
            ("secret{id", "at byte 6"),
            ("a}b", "at byte 1"),
            ("{}", "\"\""),
            ("{a b}", "\"a b\""),
            ("{{a}", "at byte 3"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn a_brace_in_a_secret_is_a_brace_and_its_value_is_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "s3{cr}et").unwrap();
        let redactor = Redactor::default();
        let text = format!("https://x/{{id}}?t=${{file:{}}}", path.display());
        let template = Template::with_secrets(&text, &redactor).unwrap();
        assert_eq!(template.fill(|_| Some("7".to_owned())).unwrap(), "https://x/7?t=s3{cr}et");
        assert_eq!(format!("{template:?}"), "Template([\"id\"])");
        assert_eq!(redactor.redact("it was s3{cr}et"), "it was ***");
        assert!(Template::with_secrets("${BRANCHLINE_NO_SUCH}", &redactor).is_err());
    }
}
