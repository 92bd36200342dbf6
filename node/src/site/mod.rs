//! The small files of a data folder: who the site is, and where its node can be reached.
//!
//! | file | mode | what |
//! |---|---|---|
//! | `site.key` | 0600 | the 32 secret bytes of the site's ed25519 key, in hex |
//! | `site.key.next` | 0600 | the key that is to replace it, while it is being replaced |
//! | `site.json` | 0600 | [`SiteFile`]: which of the two keys is the site's |
//! | `ticket` | 0600 | the ticket that the site is to join with, until it is a member |
//! | `api.token` | 0600 | the bearer token of the HTTP API |
//! | `api.sock` | 0600 | the Unix socket of the running node's API, see [`crate::socket`] |
//! | `run.json` | 0600 | [`RunFile`]: addresses of the node while it runs, and its last ports |
//! | `branchline.toml` | | the configuration, if there is one |
//! | `peers.json` | 0600 | the peer book |
//! | `heard.json` | 0600 | when other sites were heard |
//! | `added.json` | 0600 | how much each site has added |
//! | `journal/`, `tables/` | 0700 | see [`crate::storage`] |
//! | others of small letters | 0700 | what an extension keeps, under its name: see [`crate::extension`] |

pub(crate) mod init;
pub(crate) mod ports;
pub(crate) mod rotate;
pub(crate) mod token;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use branchline_crdt::ids::{SiteId, SiteKey};
use branchline_crdt::membership::{BadSiteName, Ticket, check_new_site_name};
use data_encoding::HEXLOWER;
use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::config::CONFIG_FILE;
use crate::storage::room::is_full;
use crate::storage::spare;
use crate::whole_file;

const KEY_FILE: &str = "site.key";
const NEXT_KEY_FILE: &str = "site.key.next";
const SITE_FILE: &str = "site.json";
/// The peer book, which the network keeps.
pub(crate) const PEERS_FILE: &str = "peers.json";
/// When other sites were heard.
pub(crate) const HEARD_FILE: &str = "heard.json";
/// How much each site has added.
pub(crate) const ADDED_FILE: &str = "added.json";
const TICKET_FILE: &str = "ticket";
const TOKEN_FILE: &str = "api.token";
const RUN_FILE: &str = "run.json";
/// Digits of a token: 256 random bits.
const TOKEN_DIGITS: usize = 64;
const TOKEN_EXPECTED: &str =
    "64 hex digits; `branchline token rotate` makes a new token, which programs must then use";
/// Longest file that is read: the peer book of the largest network.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What else a backup takes along, where it is there. The last two are read elsewhere.
const OTHER_FILES: [&str; 3] = [TICKET_FILE, CONFIG_FILE, PEERS_FILE];
/// What makes a folder a site's; the one that says that the site is complete comes first.
pub(crate) const SITE_FILES: [&str; 3] = [SITE_FILE, KEY_FILE, TOKEN_FILE];

/// What a site says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFile {
    /// The name that it wishes to bear.
    pub name: String,
    /// Its id. The key's file has no checksum, and any 64 digits are a key: this tells whether they are the right ones.
    pub site: String,
}

/// Where a node can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    /// Where the API listens; `None` while no node runs.
    pub api: Option<SocketAddr>,
    /// The running process.
    pub pid: Option<u32>,
    /// Addresses that the node last listened on.
    pub listening: Vec<Multiaddr>,
    /// The ports that were chosen for addresses with port 0, by the address as it was asked for.
    pub ports: BTreeMap<String, u16>,
}

/// Why a site's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// There is no site.
    #[error("{path} contains no site; make one with `branchline init --name NAME`", path = path.display())]
    NoSite {
        /// The data folder.
        path: PathBuf,
    },
    /// There is a site already.
    #[error("{path} already contains a site ({name}); use another data folder", path = path.display())]
    Exists {
        /// The data folder.
        path: PathBuf,
        /// The site's name.
        name: String,
    },
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] BadSiteName),
    /// A file does not hold what it should.
    #[error("{path} is damaged: expected {expected}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The small files of one data folder.
#[derive(Clone, Debug)]
pub struct SiteFolder {
    path: PathBuf,
}

impl SiteFolder {
    /// The files of a data folder, whether or not they exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The data folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a new site: its key, its name and its API token.
    ///
    /// # Errors
    /// [`SiteError`] where the folder holds a site already, the name cannot be one, or a file cannot be written.
    pub fn create(&self, name: &str) -> Result<SiteKey, SiteError> {
        check_new_site_name(name)?;
        match self.site() {
            Ok(site) => return Err(SiteError::Exists { path: self.path.clone(), name: site.name }),
            Err(SiteError::NoSite { .. }) => {}
            Err(error) => return Err(error),
        }
        let key = SiteKey::from_seed(self.random_bytes()?);
        self.write(KEY_FILE, HEXLOWER.encode(&key.seed()).as_bytes())?;
        self.make_token()?;
        // Last: its presence says that the site is complete.
        let site = SiteFile { name: name.to_owned(), site: key.site().to_string() };
        self.write_json(SITE_FILE, &site)?;
        Ok(key)
    }

    /// The files that make this site what it is, by name: for a backup. The API's token is none of them.
    ///
    /// # Errors
    /// [`SiteError`] where a file cannot be read.
    pub fn files(&self) -> Result<Vec<(String, Vec<u8>)>, SiteError> {
        let key = HEXLOWER.encode(&self.key()?.seed()).into_bytes();
        let mut files = vec![(KEY_FILE.to_owned(), key)];
        for name in [SITE_FILE].into_iter().chain(OTHER_FILES) {
            let content = self.read(name)?;
            files.extend(content.map(|text| (name.to_owned(), text.into_bytes())));
        }
        Ok(files)
    }

    /// Rebuilds the site from [`SiteFolder::files`], with a token of its own. `site`: the id that it must have.
    ///
    /// # Errors
    /// [`SiteError`] where the files are not of that site, or cannot be written.
    pub fn restore(&self, site: &str, files: Vec<(String, Vec<u8>)>) -> Result<(), SiteError> {
        let is_last = |name: &String| name == SITE_FILE;
        let (last, first): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|(name, _)| is_last(name));
        for (name, content) in first.iter().chain(&last) {
            let is_known = |known: &&str| *known == name;
            if let Some(name) =
                [KEY_FILE, SITE_FILE].iter().chain(&OTHER_FILES).copied().find(is_known)
            {
                self.write(name, content)?;
            }
        }
        self.make_token()?;
        if self.key()?.site().to_string() == site {
            Ok(())
        } else {
            Err(self.damaged(KEY_FILE, "the key of the site that the backup is of"))
        }
    }

    /// What the site says of itself.
    ///
    /// # Errors
    /// [`SiteError::NoSite`] where the folder holds none, another where the file cannot be read.
    pub fn site(&self) -> Result<SiteFile, SiteError> {
        let file = self.read_json(SITE_FILE, "a JSON object with the site's name")?;
        file.ok_or_else(|| SiteError::NoSite { path: self.path.clone() })
    }

    /// The site's key pair.
    ///
    /// # Errors
    /// [`SiteError`] where the file cannot be read, or is not what this program wrote.
    pub fn key(&self) -> Result<SiteKey, SiteError> {
        let key = self.key_in(KEY_FILE)?;
        let key = key.ok_or_else(|| SiteError::NoSite { path: self.path.clone() })?;
        let site = self.site()?.site;
        if key.site().to_string() == site {
            return Ok(key);
        }
        // A crash came between the two steps of `take_next_key`.
        match self.key_in(NEXT_KEY_FILE)?.filter(|next| next.site().to_string() == site) {
            Some(next) => Ok(next),
            None => Err(self.damaged(KEY_FILE, "the key of the site that site.json names")),
        }
    }

    fn key_in(&self, file: &'static str) -> Result<Option<SiteKey>, SiteError> {
        let Some(text) = self.read(file)? else { return Ok(None) };
        let seed = HEXLOWER.decode(text.trim().as_bytes()).ok();
        let seed: Option<[u8; 32]> = seed.and_then(|bytes| bytes.try_into().ok());
        let key = seed.map(SiteKey::from_seed);
        key.map(Some).ok_or_else(|| self.damaged(file, "64 hex digits"))
    }

    /// The key that is to replace the site's, made and kept if there is none yet.
    ///
    /// # Errors
    /// [`SiteError`] where the file cannot be read or written, or is not what this program wrote.
    pub fn next_key(&self) -> Result<SiteKey, SiteError> {
        let own = self.key()?;
        // Where a crash left the site's key in the file that is used again below.
        self.write(KEY_FILE, HEXLOWER.encode(&own.seed()).as_bytes())?;
        let kept = self.key_in(NEXT_KEY_FILE)?.filter(|next| next.site() != own.site());
        if let Some(next) = kept {
            return Ok(next);
        }
        let next = SiteKey::from_seed(self.random_bytes()?);
        self.write(NEXT_KEY_FILE, HEXLOWER.encode(&next.seed()).as_bytes())?;
        Ok(next)
    }

    /// The next key is the site's from now on, if it is the one of `site`; says whether it is. Both stay until that is
    /// durable.
    ///
    /// # Errors
    /// [`SiteError`] where a file cannot be read or written: it is to be tried again.
    pub fn take_next_key(&self, site: SiteId) -> Result<bool, SiteError> {
        let Some(next) = self.key_in(NEXT_KEY_FILE)?.filter(|next| next.site() == site) else {
            return Ok(false);
        };
        let file = SiteFile { site: site.to_string(), ..self.site()? };
        self.write_json(SITE_FILE, &file)?;
        self.write(KEY_FILE, HEXLOWER.encode(&next.seed()).as_bytes())?;
        let path = self.path.join(NEXT_KEY_FILE);
        std::fs::remove_file(&path).map_err(|source| SiteError::Io { path, source })?;
        Ok(true)
    }

    /// The API's bearer token.
    ///
    /// # Errors
    /// [`SiteError`] where the file cannot be read, or is not what this program wrote.
    pub fn token(&self) -> Result<String, SiteError> {
        // Whatever it is, it is not made known by a message.
        let bytes = self.read_bytes(TOKEN_FILE)?.unwrap_or_default();
        let token = String::from_utf8(bytes).unwrap_or_default().trim().to_owned();
        if token.len() == TOKEN_DIGITS && token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(token);
        }
        Err(self.damaged(TOKEN_FILE, TOKEN_EXPECTED))
    }

    /// Makes another bearer token for the API, and returns it.
    pub(crate) fn make_token(&self) -> Result<String, SiteError> {
        let token = HEXLOWER.encode(&self.random_bytes::<32>()?);
        self.write(TOKEN_FILE, token.as_bytes())?;
        Ok(token)
    }

    /// The ticket that the site is to join with.
    ///
    /// # Errors
    /// [`SiteError`] where the file cannot be read, or is not what this program wrote.
    pub fn ticket(&self) -> Result<Option<Ticket>, SiteError> {
        let text = self.read(TICKET_FILE)?;
        let parse = |text: String| {
            text.parse()
                .map_err(|_| self.damaged(TICKET_FILE, "a ticket (remove the file and join again)"))
        };
        text.map(parse).transpose()
    }

    /// Keeps the ticket that the site is to join with.
    ///
    /// # Errors
    /// [`SiteError`] where the file cannot be written.
    pub fn keep_ticket(&self, ticket: &Ticket) -> Result<(), SiteError> {
        self.write(TICKET_FILE, ticket.to_string().as_bytes())
    }

    /// The ticket has served.
    ///
    /// # Errors
    /// [`SiteError`] where the file cannot be removed.
    pub fn remove_ticket(&self) -> Result<(), SiteError> {
        let path = self.path.join(TICKET_FILE);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(SiteError::Io { path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Where the node can be reached, or could when it last ran.
    ///
    /// # Errors
    /// [`SiteError`] where the file cannot be read, or is not what this program wrote.
    pub fn run(&self) -> Result<RunFile, SiteError> {
        match self.read_json(RUN_FILE, "a JSON object with addresses") {
            // A power cut may have emptied it. What it says is of no use without a node, which writes it again.
            Err(SiteError::Damaged { .. }) => Ok(RunFile::default()),
            read => Ok(read?.unwrap_or_default()),
        }
    }

    /// The same for the node that starts: a file that makes no sense is left for inspection under another name.
    pub(crate) fn run_or_set_aside(&self) -> Result<RunFile, SiteError> {
        let read: Result<Option<RunFile>, _> = self.read_json(RUN_FILE, "");
        let Err(SiteError::Damaged { path, .. }) = read else {
            return Ok(read?.unwrap_or_default());
        };
        let aside = self.path.join(RUN_FILE.to_owned() + ".damaged");
        warn!(path = %path.display(), aside = %aside.display(), "the run file makes no sense and is set aside: free ports are chosen again");
        std::fs::rename(&path, aside).map_err(|source| SiteError::Io { path, source })?;
        Ok(RunFile::default())
    }

    /// Says where the node can be reached.
    ///
    /// # Errors
    /// [`SiteError`] where the file cannot be written.
    pub fn keep_run(&self, run: &RunFile) -> Result<(), SiteError> {
        self.write_json(RUN_FILE, run)
    }

    fn damaged(&self, file: &str, expected: &'static str) -> SiteError {
        SiteError::Damaged { path: self.path.join(file), expected }
    }

    fn read(&self, file: &'static str) -> Result<Option<String>, SiteError> {
        let text = self.read_bytes(file)?.map(String::from_utf8).transpose();
        text.map_err(|_| self.damaged(file, "text in UTF-8"))
    }

    fn read_bytes(&self, file: &str) -> Result<Option<Vec<u8>>, SiteError> {
        let path = self.path.join(file);
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path);
        match read.and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SiteError::Io { path, source }),
        }
    }

    fn read_json<T: for<'de> Deserialize<'de>>(
        &self,
        file: &'static str,
        expected: &'static str,
    ) -> Result<Option<T>, SiteError> {
        let text = self.read(file)?;
        let parse =
            |text: String| serde_json::from_str(&text).map_err(|_| self.damaged(file, expected));
        text.map(parse).transpose()
    }

    fn write(&self, file: &str, content: &[u8]) -> Result<(), SiteError> {
        let path = self.path.join(file);
        let written = match whole_file::replace(&path, content) {
            Err(error) if is_full(&error) && spare::release(&self.path) => {
                let written = whole_file::replace(&path, content);
                spare::keep(&self.path);
                written
            }
            written => written,
        };
        written.map_err(|source| SiteError::Io { path, source })
    }

    fn write_json(&self, file: &str, content: &impl Serialize) -> Result<(), SiteError> {
        let json = serde_json::to_vec_pretty(content)
            .map_err(|error| SiteError::Io { path: self.path.join(file), source: error.into() })?;
        self.write(file, &json)
    }

    fn random_bytes<const N: usize>(&self) -> Result<[u8; N], SiteError> {
        let mut bytes = [0; N];
        getrandom::fill(&mut bytes).map_err(|error| SiteError::Io {
            path: self.path.clone(),
            source: io::Error::other(error.to_string()),
        })?;
        Ok(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_token_that_is_none_is_refused_with_what_to_do() {
        let data = tempfile::tempdir().unwrap();
        let folder = SiteFolder::new(data.path());
        folder.create("head").unwrap();
        let path = data.path().join(TOKEN_FILE);
        let token = folder.token().unwrap();
        fs::write(&path, format!("{token}\n")).unwrap();
        assert_eq!(folder.token().unwrap(), token);
        let long = format!("{token}0");
        let lines = format!("{token}\n{token}");
        for wrong in ["", "\n", "secret", &token[1..], &long, &lines, &token.replace('a', "ä")] {
            if wrong == token {
                continue;
            }
            fs::write(&path, wrong).unwrap();
            let error = folder.token().unwrap_err().to_string();
            assert!(error.contains("api.token is damaged: expected 64 hex digits"), "{error}");
            assert!(error.contains("token rotate") && !error.contains(&token[2..]), "{error}");
        }
        fs::write(&path, [0xff; 64]).unwrap();
        folder.token().unwrap_err();
        fs::remove_file(&path).unwrap();
        folder.token().unwrap_err();
    }

    #[test]
    fn a_run_file_that_makes_no_sense_is_set_aside_by_the_node_alone() {
        let data = tempfile::tempdir().unwrap();
        let folder = SiteFolder::new(data.path());
        for content in [&b""[..], b"{\"api\":", b"[]", &[0; 100], &[0xff; 4]] {
            fs::write(data.path().join(RUN_FILE), content).unwrap();
            assert_eq!(folder.run().unwrap(), RunFile::default());
            assert_eq!(fs::read(data.path().join(RUN_FILE)).unwrap(), content);
            assert_eq!(folder.run_or_set_aside().unwrap(), RunFile::default());
            assert!(!data.path().join(RUN_FILE).exists());
            assert_eq!(fs::read(data.path().join("run.json.damaged")).unwrap(), content);
        }
        let run = RunFile { pid: Some(7), ..RunFile::default() };
        folder.keep_run(&run).unwrap();
        assert_eq!(folder.run_or_set_aside().unwrap(), run);
    }
}
