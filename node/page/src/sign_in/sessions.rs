//! Sessions: who is signed in with which browser. They outlive the node's restart, so that an open page comes back by
//! itself. The file holds nothing that would let its reader in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use branchline_node::whole_file;
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::Role;
use super::secret::{self, SecretHash};

/// A session ends when nobody has used it for so long: a working day.
const IDLE_MS: i64 = 12 * 60 * 60 * 1_000;
/// And in any case so long after it began.
const AGE_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// Sessions at the same time; the one that nobody has used for longest makes room. An office has some browsers.
const SESSIONS_MAX: usize = 256;
/// The file is rewritten for a use only so much later than the one that it knows.
const NOTED_MS: i64 = 60 * 1_000;
/// Larger files are none that this wrote.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Of the user with a password; `None`: came by a link, as the owner of the data folder.
    pub(crate) user: Option<String>,
    /// What stood for the user's password when the session began: another password ends it.
    pub(crate) mark: String,
    /// What the session may do, where it came by a link. A user's role is looked up each time.
    pub(crate) role: Role,
    /// The language that was chosen; `None`: what the browser asks for.
    #[serde(default)]
    pub(crate) language: Option<String>,
    began_ms: i64,
    used_ms: i64,
}

/// All sessions.
pub(crate) struct Sessions {
    file: PathBuf,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    by_secret: BTreeMap<SecretHash, Session>,
    noted_ms: i64,
}

impl Session {
    pub(crate) fn new(user: Option<String>, mark: String, role: Role, now_ms: i64) -> Self {
        Self { user, mark, role, language: None, began_ms: now_ms, used_ms: now_ms }
    }

    fn is_over(&self, now_ms: i64) -> bool {
        // A clock that was set back makes no session longer than it may be.
        let lies_ahead = self.used_ms > now_ms.saturating_add(IDLE_MS);
        let is_idle = now_ms.saturating_sub(self.used_ms) > IDLE_MS;
        lies_ahead || is_idle || now_ms.saturating_sub(self.began_ms) > AGE_MS
    }
}

impl Sessions {
    /// Those of a file. One that makes no sense is as none: people sign in again.
    pub(crate) fn load(file: &Path) -> Self {
        let is_small = std::fs::metadata(file).is_ok_and(|found| found.len() <= FILE_BYTES_MAX);
        let bytes = is_small.then(|| std::fs::read(file).ok()).flatten().unwrap_or_default();
        let read: BTreeMap<String, Session> = serde_json::from_slice(&bytes).unwrap_or_default();
        let kept = |(hex, session): (String, Session)| {
            let bytes = HEXLOWER.decode(hex.as_bytes()).ok()?;
            Some((SecretHash(bytes.try_into().ok()?), session))
        };
        let by_secret = read.into_iter().filter_map(kept).take(SESSIONS_MAX).collect();
        let all = Mutex::new(All { by_secret, noted_ms: 0 });
        Self { file: file.to_owned(), all }
    }

    /// Begins a session; returns its secret. `None`: the machine gives no random bytes.
    pub(crate) fn begin(&self, session: Session, now_ms: i64) -> Option<String> {
        let secret = secret::new()?;
        let kept = secret::kept(&secret)?;
        let mut all = self.all();
        all.by_secret.retain(|_, session| !session.is_over(now_ms));
        while all.by_secret.len() >= SESSIONS_MAX {
            let oldest = all.by_secret.iter().min_by_key(|(_, session)| session.used_ms);
            let Some(oldest) = oldest.map(|(kept, _)| *kept) else { break };
            all.by_secret.remove(&oldest);
        }
        all.by_secret.insert(kept, session);
        self.write(&mut all, now_ms);
        Some(secret)
    }

    /// The session of a secret, which is used now.
    pub(crate) fn find(&self, secret: &str, now_ms: i64) -> Option<Session> {
        let kept = secret::kept(secret)?;
        let mut all = self.all();
        let session = all.by_secret.get_mut(&kept)?;
        if session.is_over(now_ms) {
            all.by_secret.remove(&kept);
            self.write(&mut all, now_ms);
            return None;
        }
        session.used_ms = session.used_ms.max(now_ms);
        let found = session.clone();
        if now_ms.saturating_sub(all.noted_ms) > NOTED_MS {
            self.write(&mut all, now_ms);
        }
        Some(found)
    }

    /// Changes a session.
    pub(crate) fn change(&self, secret: &str, now_ms: i64, change: impl FnOnce(&mut Session)) {
        let mut all = self.all();
        if let Some(session) = secret::kept(secret).and_then(|kept| all.by_secret.get_mut(&kept)) {
            change(session);
            self.write(&mut all, now_ms);
        }
    }

    /// Ends a session.
    pub(crate) fn end(&self, secret: &str, now_ms: i64) {
        let Some(kept) = secret::kept(secret) else { return };
        let mut all = self.all();
        if all.by_secret.remove(&kept).is_some() {
            self.write(&mut all, now_ms);
        }
    }

    /// Writes what only memory knows.
    pub(crate) fn close(&self, now_ms: i64) {
        let mut all = self.all();
        if !all.by_secret.is_empty() {
            self.write(&mut all, now_ms);
        }
    }

    fn write(&self, all: &mut All, now_ms: i64) {
        all.noted_ms = now_ms;
        let by_hex: BTreeMap<_, _> = all
            .by_secret
            .iter()
            .map(|(kept, session)| (HEXLOWER.encode(&kept.0), session))
            .collect();
        let written = serde_json::to_vec(&by_hex)
            .map_err(std::io::Error::from)
            .and_then(|bytes| whole_file::replace(&self.file, &bytes));
        if let Err(error) = written {
            warn!(path = %self.file.display(), %error, "sessions of the page are not kept: after a restart people sign in again");
        }
    }

    fn all(&self) -> MutexGuard<'_, All> {
        // A thread that panicked while holding the lock left the map whole.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sessions(folder: &Path) -> Sessions {
        Sessions::load(&folder.join("sessions.json"))
    }

    fn session(now_ms: i64) -> Session {
        Session::new(None, String::new(), Role::Operator, now_ms)
    }

    #[test]
    fn a_session_outlives_a_restart_and_ends_after_a_day_without_use_or_a_week() {
        let folder = tempfile::tempdir().unwrap();
        let first = sessions(folder.path());
        let secret = first.begin(session(0), 0).unwrap();
        let text = std::fs::read_to_string(folder.path().join("sessions.json")).unwrap();
        assert!(!text.contains(&secret), "the file would let its reader in");
        let again = sessions(folder.path());
        let mut now = 0;
        while now < AGE_MS {
            assert!(again.find(&secret, now).is_some(), "{now}");
            now += IDLE_MS;
        }
        assert!(again.find(&secret, AGE_MS + 1).is_none());
        let idle = again.begin(session(0), 0).unwrap();
        assert!(again.find(&idle, IDLE_MS + 1).is_none());
        assert!(again.find(&idle, 0).is_none(), "it came back");
    }

    #[test]
    fn a_session_that_was_ended_is_gone_and_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let all = sessions(folder.path());
        let (one, other) = (all.begin(session(0), 0).unwrap(), all.begin(session(0), 0).unwrap());
        all.end(&one, 1);
        assert!(all.find(&one, 1).is_none() && all.find(&other, 1).is_some());
        assert!(all.find("", 1).is_none() && all.find(&"A".repeat(43), 1).is_none());
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let all = sessions(folder.path());
        let first = all.begin(session(0), 0).unwrap();
        for now in 1..=SESSIONS_MAX as i64 {
            all.begin(session(now), now).unwrap();
        }
        assert!(all.find(&first, 2).is_none());
        assert_eq!(all.all().by_secret.len(), SESSIONS_MAX);
    }

    #[test]
    fn a_file_that_makes_no_sense_lets_nobody_in_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", "{\"ab\":{}}"] {
            std::fs::write(folder.path().join("sessions.json"), text).unwrap();
            let all = sessions(folder.path());
            assert!(all.begin(session(0), 0).is_some());
        }
    }
}
