//! The latest refresh token of a sign-in, in a file of this site alone. Where a provider replaces the token at each use, the
//! old one is worth nothing from then on, and the new one is all that is left of a person's consent: it is durable before
//! anything that came with it is used.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Number of the file's format.
const FORMAT: u32 = 1;
/// Longest file: a token is a few kilobytes at most.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// What is kept.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) format: u32,
    /// The latest refresh token; `None`: still the one of the configuration.
    pub(super) refresh_token: Option<String>,
    /// Since when a refresh is under way whose answer is not known.
    pub(super) asked_at: Option<String>,
}

/// The file of one sign-in.
#[derive(Clone)]
pub(super) struct Kept {
    folder: PathBuf,
    name: String,
}

/// Held while a token is being refreshed, by one process at a time.
pub(super) struct Lock {
    _file: File,
}

impl Kept {
    /// `name`: of this sign-in, fit for a file.
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self { folder: folder.to_owned(), name: name.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name))
    }

    /// Waits until no other process refreshes.
    pub(super) fn lock(&self) -> io::Result<Lock> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let path = self.folder.join(format!("{}.lock", self.name));
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(Lock { _file: file })
    }

    /// What is kept, if anything is.
    pub(super) fn read(&self) -> io::Result<Tokens> {
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Tokens::default()),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
        // What is wrong with it must not show what is in it.
        let damaged = |what: String| io::Error::new(ErrorKind::InvalidData, what);
        let tokens: Tokens = serde_json::from_str(&text)
            .map_err(|error| damaged(format!("no file of tokens (line {})", error.line())))?;
        if tokens.format != FORMAT {
            return Err(damaged(format!("format {}, expected {FORMAT}", tokens.format)));
        }
        Ok(tokens)
    }

    /// Keeps these, durably.
    pub(super) fn write(&self, tokens: Tokens) -> io::Result<()> {
        let text = serde_json::to_vec(&Tokens { format: FORMAT, ..tokens })?;
        let fresh = self.folder.join(format!("{}.new", self.name));
        // A file that a crash has left may have another mode.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, self.path())?;
        File::open(&self.folder)?.sync_all()
    }

    /// Where it is, for people.
    pub(super) fn shown(&self) -> String {
        self.path().display().to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn tokens_are_kept_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(&folder.path().join("tokens"), "token-1");
        let lock = kept.lock().unwrap();
        assert_eq!(kept.read().unwrap().refresh_token, None);
        for token in ["one", "two"] {
            let tokens = Tokens { refresh_token: Some(token.to_owned()), ..Tokens::default() };
            kept.write(tokens).unwrap();
            assert_eq!(kept.read().unwrap().refresh_token.as_deref(), Some(token));
        }
        let mode = fs::metadata(kept.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(lock);
        kept.lock().unwrap();
    }

    #[test]
    fn a_damaged_file_is_said_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path(), "token-1");
        for text in ["hidden", "{\"format\": 9, \"refresh_token\": \"hidden\", \"asked_at\": null}"]
        {
            fs::write(kept.path(), text).unwrap();
            let error = kept.read().err().unwrap().to_string();
            assert!(error.contains("format") || error.contains("no file of tokens"), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
    }
}
