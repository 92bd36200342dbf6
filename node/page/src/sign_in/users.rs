//! People who sign in with a password: a file in the page's folder, which only its owner reads.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use branchline_node::whole_file;
use serde::{Deserialize, Serialize};

pub use super::Role;

/// The file, in the page's folder.
const FILE: &str = "users.json";
/// Users of one site: people of an office.
const USERS_MAX: usize = 200;
/// Longest name.
const NAME_CHARS_MAX: usize = 64;
/// Shortest password.
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Larger files are none that this wrote.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// A hash that no password has, compared where nobody is called so: it takes as long as where somebody is.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ibw$QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI";

/// Somebody who signs in with a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// The password, as argon2id makes it unreadable.
    password: String,
}

#[derive(Default, Serialize, Deserialize)]
struct UsersFile {
    users: Vec<User>,
}

/// Why users cannot be read or changed. The file is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// The file cannot be read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is none of users.
    #[error("{path} is damaged: expected users as `branchline user` writes them; remove it, and add them again", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// No user can be called so.
    #[error("{found:?} cannot be a user's name: expected 1 to 64 letters, digits, and . - _ @")]
    Name {
        /// What was given.
        found: String,
    },
    /// The password is none.
    #[error(
        "the password has {found} characters, expected at least {PASSWORD_CHARS_MIN} (and at most {PASSWORD_BYTES_MAX} bytes)"
    )]
    Password {
        /// How many it has.
        found: usize,
    },
    /// Somebody is called so already.
    #[error(
        "there is a user {name} already: `branchline user password {name}` gives a new password, `branchline user remove {name}` removes the user"
    )]
    Exists {
        /// The name.
        name: String,
    },
    /// Nobody is called so.
    #[error("there is no user {name}: `branchline user list` shows all users")]
    Unknown {
        /// The name.
        name: String,
    },
    /// There are as many as there may be.
    #[error("there are {USERS_MAX} users already, no more are possible")]
    Full,
    /// The password cannot be made unreadable.
    #[error("the password cannot be kept: {what}")]
    Hash {
        /// Why.
        what: String,
    },
}

/// The users of a site.
pub struct Users {
    path: PathBuf,
}

impl Users {
    /// Those of a site's data folder.
    pub fn of_site(data: &Path) -> Self {
        Self { path: data.join("page").join(FILE) }
    }

    /// The users, by name.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn all(&self) -> Result<Vec<User>, UsersError> {
        let io = |source| UsersError::Io { path: self.path.clone(), source };
        let mut bytes = Vec::new();
        match fs::File::open(&self.path) {
            Ok(file) => file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(io)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io(error)),
        };
        let file: Result<UsersFile, _> = serde_json::from_slice(&bytes);
        Ok(file.map_err(|_| UsersError::Damaged { path: self.path.clone() })?.users)
    }

    /// Adds a user.
    ///
    /// # Errors
    /// Name or password are none, the name is taken, or the file cannot be written.
    pub fn add(&self, name: &str, role: Role, password: &str) -> Result<(), UsersError> {
        let is_plain = |c: char| c.is_alphanumeric() || ".-_@".contains(c);
        let chars = name.chars().count();
        if chars == 0 || chars > NAME_CHARS_MAX || !name.chars().all(is_plain) {
            return Err(UsersError::Name { found: name.chars().take(NAME_CHARS_MAX).collect() });
        }
        let mut users = self.all()?;
        if users.iter().any(|user| user.name == name) {
            return Err(UsersError::Exists { name: name.to_owned() });
        }
        if users.len() >= USERS_MAX {
            return Err(UsersError::Full);
        }
        users.push(User { name: name.to_owned(), role, password: hash(password)? });
        self.write(users)
    }

    /// Removes a user, whose sessions end.
    ///
    /// # Errors
    /// Nobody is called so, or the file cannot be written.
    pub fn remove(&self, name: &str) -> Result<(), UsersError> {
        let mut users = self.all()?;
        let before = users.len();
        users.retain(|user| user.name != name);
        if users.len() == before {
            return Err(UsersError::Unknown { name: name.to_owned() });
        }
        self.write(users)
    }

    /// Gives a user another password; sessions that began with the old one end.
    ///
    /// # Errors
    /// Nobody is called so, the password is none, or the file cannot be written.
    pub fn set_password(&self, name: &str, password: &str) -> Result<(), UsersError> {
        let mut users = self.all()?;
        let user = users.iter_mut().find(|user| user.name == name);
        let user = user.ok_or_else(|| UsersError::Unknown { name: name.to_owned() })?;
        user.password = hash(password)?;
        self.write(users)
    }

    fn write(&self, mut users: Vec<User>) -> Result<(), UsersError> {
        users.sort_by(|a, b| a.name.cmp(&b.name));
        let folder = self.path.parent().unwrap_or(&self.path);
        let written = private_folder(folder).and_then(|()| {
            let bytes = serde_json::to_vec_pretty(&UsersFile { users })?;
            whole_file::replace(&self.path, &bytes)
        });
        written.map_err(|source| UsersError::Io { path: self.path.clone(), source })
    }
}

/// Makes a folder that only its owner opens, if there is none.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

impl User {
    /// What stands for the password, for sessions that began with it.
    pub(crate) fn mark(&self) -> String {
        blake3::hash(self.password.as_bytes()).to_hex()[..16].to_owned()
    }
}

fn hash(password: &str) -> Result<String, UsersError> {
    let found = password.chars().count();
    if found < PASSWORD_CHARS_MIN || password.len() > PASSWORD_BYTES_MAX {
        return Err(UsersError::Password { found });
    }
    let hash: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| UsersError::Hash { what: error.to_string() })
}

/// The user whose name and password these are. Takes as long where nobody is called so, and some ten milliseconds of
/// computing and 19 MiB in any case.
pub(crate) fn verify(users: &[User], name: &str, password: &str) -> Option<User> {
    let user = users.iter().find(|user| user.name == name);
    let kept = user.map_or(NOBODY, |user| user.password.as_str());
    let kept = PasswordHash::new(kept).ok()?;
    let password = if password.len() > PASSWORD_BYTES_MAX { "" } else { password };
    let is_right = Argon2::default().verify_password(password.as_bytes(), &kept).is_ok();
    user.filter(|_| is_right).cloned()
}

/// The users as a running node sees them: read again when the file has changed.
pub(crate) struct Watched {
    users: Users,
    read: std::sync::Mutex<(Option<Changed>, Vec<User>)>,
}

/// When a file was changed last, and how long it is.
type Changed = (SystemTime, u64);

impl Watched {
    pub(crate) fn new(folder: &Path) -> Self {
        let users = Users { path: folder.join(FILE) };
        Self { users, read: std::sync::Mutex::default() }
    }

    /// The users now. Where the file cannot be read there are none: nobody is let in by what it was.
    pub(crate) fn now(&self) -> Vec<User> {
        let found = fs::metadata(&self.users.path).ok();
        let changed = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        let mut read = self.read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if read.0 != changed {
            *read = (changed, self.users.all().unwrap_or_default());
        }
        read.1.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const PASSWORD: &str = "correct horse battery";

    #[test]
    fn a_user_is_known_by_the_password_alone_and_the_file_is_the_owners() {
        let data = tempfile::tempdir().unwrap();
        let users = Users::of_site(data.path());
        users.add("ana", Role::Viewer, PASSWORD).unwrap();
        let all = users.all().unwrap();
        assert_eq!(verify(&all, "ana", PASSWORD).unwrap().role, Role::Viewer);
        assert!(verify(&all, "ana", "correct horse batterz").is_none());
        assert!(verify(&all, "ben", PASSWORD).is_none());
        assert!(verify(&all, "ana", "").is_none());
        let file = data.path().join("page/users.json");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(file).unwrap();
        assert!(text.contains("$argon2id$") && !text.contains("horse"), "{text}");
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        let users = Users::of_site(data.path());
        users.add("ana", Role::Operator, PASSWORD).unwrap();
        for (result, expected) in [
            (users.add("ana", Role::Viewer, PASSWORD), "there is a user ana already"),
            (users.add("a b", Role::Viewer, PASSWORD), "cannot be a user's name"),
            (users.add("", Role::Viewer, PASSWORD), "cannot be a user's name"),
            (users.add("ben", Role::Viewer, "short"), "has 5 characters"),
            (users.remove("ben"), "there is no user ben"),
            (users.set_password("ben", PASSWORD), "there is no user ben"),
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        fs::write(data.path().join("page/users.json"), "{").unwrap();
        assert!(users.all().unwrap_err().to_string().contains("is damaged"));
    }

    #[test]
    fn a_running_node_sees_who_was_added_and_removed() {
        let data = tempfile::tempdir().unwrap();
        let users = Users::of_site(data.path());
        let watched = Watched::new(&data.path().join("page"));
        assert!(watched.now().is_empty());
        users.add("ana", Role::Operator, PASSWORD).unwrap();
        let before = watched.now()[0].mark();
        users.set_password("ana", "another password").unwrap();
        assert_ne!(watched.now()[0].mark(), before);
        users.remove("ana").unwrap();
        assert!(watched.now().is_empty());
    }

    #[test]
    fn a_name_that_nobody_has_takes_as_long_as_one_that_somebody_has() {
        let data = tempfile::tempdir().unwrap();
        let users = Users::of_site(data.path());
        users.add("ana", Role::Viewer, PASSWORD).unwrap();
        let all = users.all().unwrap();
        assert!(verify(&all, "ben", "a wrong password").is_none());
        // The time is that of the function, of its parameters and of what it makes; a hash that cannot be read takes none.
        let (known, nobody) = (PasswordHash::new(&all[0].password), PasswordHash::new(NOBODY));
        let (known, nobody) = (known.unwrap(), nobody.unwrap());
        assert_eq!(known.algorithm, nobody.algorithm);
        assert_eq!(known.version, nobody.version);
        assert_eq!(known.params, nobody.params);
        let lengths = |hash: &PasswordHash| {
            (hash.salt.as_ref().map(|salt| salt.len()), hash.hash.as_ref().map(|hash| hash.len()))
        };
        assert_eq!(lengths(&known), lengths(&nobody));
    }
}
