//! Secrets are known by their value, and struck out wherever it stands.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

use data_encoding::{BASE64, BASE64URL_NOPAD};

use crate::jobs::template::encoded;

/// Shorter values are no secrets worth the name, and would strike out half of every text.
const SECRET_BYTES_MIN: usize = 4;
/// As many passing secrets are known at once: tokens that a service hands out, of which the latest few still work.
const PASSING_MAX: usize = 8;
const STRUCK: &str = "***";

/// Knows the secrets that a connector has read. Its clones know the same.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Arc<RwLock<KnownSecret>>,
}

#[derive(Default)]
struct KnownSecret {
    /// From the configuration, with the forms in which each may stand: longest first.
    lasting: Vec<String>,
    /// From answers: the forms of each, the oldest first.
    passing: Vec<Vec<String>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// Takes note of a secret from the configuration.
    pub fn learn(&self, secret: &str) {
        let forms = forms(secret);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for form in forms {
            if !known.lasting.contains(&form) {
                known.lasting.push(form);
            }
        }
        known.lasting.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// Takes note of a secret that a service has handed out; the last few are known.
    pub fn learn_passing(&self, secret: &str) {
        let forms = forms(secret);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if forms.is_empty() || known.passing.contains(&forms) {
            return;
        }
        if known.passing.len() == PASSING_MAX {
            known.passing.remove(0);
        }
        known.passing.push(forms);
    }

    /// The text with `***` where a secret stood: as it is, percent-encoded, in base64, or escaped as in JSON.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut redacted = Cow::Borrowed(text);
        for form in known.passing.iter().flatten().chain(&known.lasting) {
            if redacted.contains(form.as_str()) {
                redacted = Cow::Owned(redacted.replace(form.as_str(), STRUCK));
            }
        }
        redacted.into_owned()
    }
}

/// The forms in which a secret may stand in a text, longest first; none if it is too short.
fn forms(secret: &str) -> Vec<String> {
    if secret.len() < SECRET_BYTES_MIN {
        return Vec::new();
    }
    let json = serde_json::Value::from(secret).to_string();
    let mut forms = vec![
        secret.to_owned(),
        encoded(secret),
        // As forms write it.
        encoded(secret).replace("%20", "+"),
        BASE64.encode(secret.as_bytes()),
        BASE64URL_NOPAD.encode(secret.as_bytes()),
        json.trim_matches('"').to_owned(),
    ];
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_struck_out_in_every_form() {
        let redactor = Redactor::default();
        let secret = "pä ss\"/word";
        redactor.clone().learn(secret);
        redactor.learn("abc");
        for form in [
            secret.to_owned(),
            "p%C3%A4%20ss%22%2Fword".to_owned(),
            "p%C3%A4+ss%22%2Fword".to_owned(),
            BASE64.encode(secret.as_bytes()),
            r#"pä ss\"/word"#.to_owned(),
        ] {
            assert_eq!(redactor.redact(&format!("a {form} b {form}")), "a *** b ***");
        }
        assert_eq!(
            redactor.redact("abc: too short to be struck out"),
            "abc: too short to be struck out"
        );
        assert_eq!(format!("{redactor:?}"), "Redactor");
    }

    #[test]
    fn a_secret_within_another_leaves_nothing_of_the_longer_one() {
        let redactor = Redactor::default();
        redactor.learn("token");
        redactor.learn("token-and-more");
        assert_eq!(redactor.redact("token-and-more, token"), "***, ***");
    }

    #[test]
    fn of_passing_secrets_the_last_are_known() {
        let redactor = Redactor::default();
        for n in 0..20 {
            redactor.learn_passing(&format!("token-{n:02}-x"));
        }
        assert_eq!(redactor.redact("token-19-x token-12-x token-11-x"), "*** *** token-11-x");
    }
}
