//! Secrets in the configuration: never in the file itself, but named there.

use std::path::{Path, PathBuf};

/// Longest file that holds a secret.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why a text with secrets cannot be completed. The text itself is not told: it may hold one.
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

/// Replaces `${NAME}` by environment variables and `${file:PATH}` by the first line of files.
pub fn complete(text: &str) -> Result<String, SecretError> {
    let mut completed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        completed.push_str(before);
        let (name, behind) = behind.split_once('}').ok_or(SecretError::Open)?;
        match name.strip_prefix("file:") {
            Some(path) => completed.push_str(&read(Path::new(path))?),
            None => {
                let value = std::env::var(name);
                completed
                    .push_str(&value.map_err(|_| SecretError::Unset { name: name.to_owned() })?);
            }
        }
        rest = behind;
    }
    completed.push_str(rest);
    Ok(completed)
}

/// The first line of a file that holds a secret.
pub fn read(path: &Path) -> Result<String, SecretError> {
    use std::io::Read;
    let failed = |source| SecretError::File { path: path.to_owned(), source };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
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
}
