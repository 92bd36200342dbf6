//! Secrets in the configuration: never in the file itself, but named there; and out of all that people read.

mod redact;

use std::path::{Path, PathBuf};

pub use redact::Redactor;
use serde::{Deserialize, Serialize, Serializer};

/// Longest file that holds a secret.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a text with secrets cannot be completed. The text itself is not reported: it may hold one.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// An environment variable is not set.
    #[error(
        "${{{name}}} is not in the node's environment: set it in the service's unit, or give password_file"
    )]
    Unset {
        /// Its name.
        name: String,
    },
    /// A file cannot be read.
    #[error("the secret in {path} cannot be read: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A reference does not end.
    #[error(
        "a reference to a secret begins with ${{ and does not end: expected ${{NAME}} or ${{file:PATH}}"
    )]
    Open,
}

/// A setting that is or names a secret. Neither `Debug` nor serde shows one that is.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// A setting, as the configuration writes it.
    #[must_use]
    pub fn new(written: impl Into<String>) -> Self {
        Self(written.into())
    }

    /// The setting with what it names, like a user's name: a secret only if it is named and not written.
    ///
    /// # Errors
    /// It names a variable or file that cannot be read.
    pub fn value(&self, redactor: &Redactor) -> Result<String, SecretError> {
        complete_with(&self.0, redactor)
    }

    /// The secret itself, where it has lines: of `${file:PATH}` the whole file.
    ///
    /// # Errors
    /// It names a variable or file that cannot be read.
    pub fn read_whole(&self, redactor: &Redactor) -> Result<String, SecretError> {
        let path = self.0.strip_prefix("${file:").and_then(|rest| rest.strip_suffix('}'));
        let Some(path) = path else { return self.read(redactor) };
        let secret = read_file(Path::new(path))?;
        redactor.learn(&secret);
        Ok(secret)
    }

    /// The secret itself, which `redactor` knows from then on.
    ///
    /// # Errors
    /// It names a variable or file that cannot be read.
    pub fn read(&self, redactor: &Redactor) -> Result<String, SecretError> {
        let secret = complete_with(&self.0, redactor)?;
        redactor.learn(&secret);
        Ok(secret)
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What only names a secret is none.
        let name = self.0.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let is_named = name.is_some_and(|name| !name.contains('$'));
        serializer.serialize_str(if is_named { &self.0 } else { "***" })
    }
}

/// Replaces `${NAME}` by environment variables and `${file:PATH}` by the first line of files.
///
/// # Errors
/// [`SecretError`] where a variable is not set, a file cannot be read, or a reference does not end.
pub fn complete(text: &str) -> Result<String, SecretError> {
    complete_with(text, &Redactor::default())
}

/// As [`complete`]; `redactor` knows the secrets from then on.
///
/// # Errors
/// A variable is not set, a file cannot be read, or a reference does not end.
pub fn complete_with(text: &str, redactor: &Redactor) -> Result<String, SecretError> {
    let mut completed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        completed.push_str(before);
        let (name, behind) = behind.split_once('}').ok_or(SecretError::Open)?;
        let secret = match name.strip_prefix("file:") {
            Some(path) => read(Path::new(path))?,
            None => {
                std::env::var(name).map_err(|_| SecretError::Unset { name: name.to_owned() })?
            }
        };
        redactor.learn(&secret);
        completed.push_str(&secret);
        rest = behind;
    }
    completed.push_str(rest);
    Ok(completed)
}

/// The first line of a file that holds a secret.
///
/// # Errors
/// [`SecretError`] where the file cannot be read.
pub fn read(path: &Path) -> Result<String, SecretError> {
    Ok(read_file(path)?.lines().next().unwrap_or_default().to_owned())
}

fn read_file(path: &Path) -> Result<String, SecretError> {
    use std::io::Read;
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_and_the_environment_and_errors_do_not_tell_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "s3cret\nsecond line\n").unwrap();
        let text = format!("postgres://till:${{file:{}}}@host/${{HOME}}", path.display());
        let home = std::env::var("HOME").unwrap();
        assert_eq!(complete(&text).unwrap(), format!("postgres://till:s3cret@host/{home}"));
        assert_eq!(complete("plain").unwrap(), "plain");
        let error = complete("postgres://till:hidden@host/${BRANCHLINE_NO_SUCH}").unwrap_err();
        assert!(error.to_string().contains("BRANCHLINE_NO_SUCH"), "{error}");
        assert!(!error.to_string().contains("hidden"), "{error}");
        assert!(matches!(complete("${open").unwrap_err(), SecretError::Open));
        let error = complete("${file:/no/such}").unwrap_err().to_string();
        assert!(error.contains("/no/such"), "{error}");
    }

    #[test]
    fn a_setting_that_is_a_secret_is_shown_nowhere_and_struck_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "first line\nsecond line\n").unwrap();
        let secret = SecretText::new(format!("${{file:{}}}", path.display()));
        let redactor = Redactor::default();
        assert_eq!(secret.read_whole(&redactor).unwrap(), "first line\nsecond line\n");
        assert_eq!(redactor.redact("first line"), "first line");
        assert_eq!(secret.read(&redactor).unwrap(), "first line");
        assert_eq!(redactor.redact("the first line"), "the ***");
        let written = SecretText::new("hidden");
        assert_eq!(written.value(&redactor).unwrap(), "hidden");
        assert_eq!(redactor.redact("hidden"), "hidden");
        written.read(&redactor).unwrap();
        assert_eq!(redactor.redact("hidden"), "***");
        assert!(!format!("{written:?}").contains("hidden"));
        assert_eq!(serde_json::to_string(&written).unwrap(), "\"***\"");
    }
}
