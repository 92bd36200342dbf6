//! How a node is run: one TOML file, then the environment, then flags; the later wins.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::{Deserialize, Serialize};

use crate::api::http::hosts;
use crate::extension::{self, Extension, Sections};

/// The file that is read from the data folder where no other is named.
pub const CONFIG_FILE: &str = "branchline.toml";

const LOG_DEFAULT: &str = "info";

/// Everything that can be set. [`Settings::default`] runs a node that finds others on the local network.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// The node's own settings.
    pub settings: Settings,
    /// What extensions read of the file.
    pub sections: Sections,
    /// Where it was loaded from; `None`: a program has made it.
    source: Option<Source>,
}

/// What a configuration was loaded from, for loading it again.
#[derive(Clone, Debug, PartialEq)]
struct Source {
    file: Option<PathBuf>,
    overrides: Overrides,
}

/// What the TOML file may set; every key is optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Addresses to listen on for other sites. Port 0 takes a free port once and keeps it over restarts.
    pub listen: Vec<Multiaddr>,
    /// Addresses at which others reach this site from elsewhere (a router's, a name's); put into tickets.
    pub external: Vec<Multiaddr>,
    /// Addresses of sites, with their `/p2p/` id, to be dialled always.
    pub peers: Vec<Multiaddr>,
    /// Whether to find sites on the local network by multicast DNS.
    pub mdns: bool,
    /// Where the HTTP API listens; loopback only. Port 0 takes a free port.
    pub api: SocketAddr,
    /// Further hosts that requests at the API's port may name, as `HOST` or `HOST:PORT`: those of tunnels and proxies.
    pub api_hosts: Vec<String>,
    /// Memory for cached table pages, in MiB.
    pub cache_mib: u64,
    /// Writes are refused while the disk has less room than this, in MiB: the tables need it to go on.
    pub disk_reserve_mib: u64,
    /// Room for this office's own writes, in MiB beside [`Settings::disk_reserve_mib`]: while the disk has less, nothing new
    /// of what other sites wrote is taken in. 0: none is kept. `None`: 1 GiB, or 5 % of a smaller file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve_own_mib: Option<u64>,
    /// What is logged: a level for Branchline itself, and others for parts of it and for libraries by their names, in the
    /// syntax of `tracing`'s filters.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person.
    Text,
    /// One JSON object a line.
    Json,
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            found => Err(format!("log format {found:?} is unknown, expected text or json")),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: default_listen(),
            external: Vec::new(),
            peers: Vec::new(),
            mdns: true,
            api: SocketAddr::from(([127, 0, 0, 1], 0)),
            api_hosts: Vec::new(),
            cache_mib: 64,
            disk_reserve_mib: 64,
            disk_reserve_own_mib: None,
            log: LOG_DEFAULT.to_owned(),
            log_format: LogFormat::Text,
        }
    }
}

impl Settings {
    /// Each setting by its key.
    pub(crate) fn table(&self) -> toml::Table {
        // All of it can be written as TOML.
        toml::Table::try_from(self).unwrap_or_default()
    }

    fn overridden(mut self, overrides: &Overrides) -> Self {
        let Overrides { listen, external, peers, mdns, api, log, log_format } = overrides;
        let replace = |setting: &mut Vec<Multiaddr>, by: &Vec<Multiaddr>| {
            if !by.is_empty() {
                setting.clone_from(by);
            }
        };
        replace(&mut self.listen, listen);
        replace(&mut self.external, external);
        replace(&mut self.peers, peers);
        self.mdns = mdns.unwrap_or(self.mdns);
        self.api = api.unwrap_or(self.api);
        self.log = log.clone().unwrap_or(self.log);
        self.log_format = log_format.unwrap_or(self.log_format);
        self
    }
}

fn default_listen() -> Vec<Multiaddr> {
    let any = Multiaddr::empty().with(Protocol::Ip4([0, 0, 0, 0].into()));
    let tcp = any.clone().with(Protocol::Tcp(0));
    let quic = any.with(Protocol::Udp(0)).with(Protocol::QuicV1);
    vec![tcp, quic]
}

/// What the environment or flags may set; `None` leaves the file's word.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// See [`Settings::listen`]; an empty list leaves the file's.
    pub listen: Vec<Multiaddr>,
    /// See [`Settings::external`]; an empty list leaves the file's.
    pub external: Vec<Multiaddr>,
    /// See [`Settings::peers`]; an empty list leaves the file's.
    pub peers: Vec<Multiaddr>,
    /// See [`Settings::mdns`].
    pub mdns: Option<bool>,
    /// See [`Settings::api`].
    pub api: Option<SocketAddr>,
    /// See [`Settings::log`].
    pub log: Option<String>,
    /// See [`Settings::log_format`].
    pub log_format: Option<LogFormat>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no configuration.
    #[error("the configuration {path} is wrong: {source}", path = path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// A section says what cannot be.
    #[error("the configuration {path} is wrong in line {line}: {what}", path = path.display())]
    Section {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
        /// What was found and what was expected.
        what: String,
    },
    /// The configuration is a program's own.
    #[error("this node was started without a configuration file, so there is none to read again")]
    NoFile,
    /// Two settings contradict each other, or one cannot be.
    #[error("{what}")]
    Contradiction {
        /// Which, and what to do.
        what: String,
    },
}

impl Config {
    /// The defaults for a data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            settings: Settings::default(),
            sections: Sections::default(),
            source: None,
        }
    }

    /// Reads `file` (or `branchline.toml` in the data folder, if there is one) and puts `overrides` on top. Whether a node
    /// can run by it is for [`Config::check`]: a command needs to know nothing of listening.
    ///
    /// # Errors
    /// [`ConfigError`] where a file cannot be read, or does not say what it may; it names the place.
    pub fn load(
        data: impl Into<PathBuf>,
        file: Option<&Path>,
        overrides: Overrides,
    ) -> Result<Self, ConfigError> {
        Self::load_with(data, file, overrides, &[])
    }

    /// The same for a program with extensions, whose sections the file may have. What is in them is for
    /// [`Extension::check`].
    ///
    /// # Errors
    /// [`ConfigError`] as for [`Config::load`].
    pub fn load_with(
        data: impl Into<PathBuf>,
        file: Option<&Path>,
        overrides: Overrides,
        extensions: &[Arc<dyn Extension>],
    ) -> Result<Self, ConfigError> {
        let data = data.into();
        let source = Source { file: file.map(Path::to_owned), overrides };
        Self::load_from(data, source, extensions)
    }

    /// Reads again what this was loaded from.
    pub(crate) fn load_again(
        &self,
        extensions: &[Arc<dyn Extension>],
    ) -> Result<Self, ConfigError> {
        let source = self.source.clone().ok_or(ConfigError::NoFile)?;
        Self::load_from(self.data.clone(), source, extensions)
    }

    fn load_from(
        data: PathBuf,
        source: Source,
        extensions: &[Arc<dyn Extension>],
    ) -> Result<Self, ConfigError> {
        let (settings, sections) = match &source.file {
            Some(path) => read(path, extensions)?,
            None => {
                let path = data.join(CONFIG_FILE);
                if path.exists() {
                    read(&path, extensions)?
                } else {
                    (Settings::default(), Sections::new(path, ""))
                }
            }
        };
        let settings = settings.overridden(&source.overrides);
        Ok(Self { data, settings, sections, source: Some(source) })
    }

    /// Refuses what no node can run by, or what contradicts itself.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting and what is expected of it.
    pub fn check(&self) -> Result<(), ConfigError> {
        let settings = &self.settings;
        let refuse = |what: String| Err(ConfigError::Contradiction { what });
        if !settings.api.ip().is_loopback() {
            return refuse(format!(
                "api = \"{}\" is not a loopback address: the API has no encryption, use 127.0.0.1 or [::1] (and a tunnel or a reverse proxy from elsewhere)",
                settings.api
            ));
        }
        if let Some(host) = settings.api_hosts.iter().find(|host| hosts::parts(host).is_none()) {
            return refuse(format!(
                "api_hosts names {host:?}: expected HOST or HOST:PORT, as a request's Host header says it, like branch.example.org or localhost:9000"
            ));
        }
        for (index, address) in settings.listen.iter().enumerate() {
            if settings.listen[..index].contains(address) {
                return refuse(format!("listen names {address} twice"));
            }
            if !is_listenable(address) {
                return refuse(format!(
                    "listen address {address} is not usable: expected /ip4/IP/tcp/PORT or /ip4/IP/udp/PORT/quic-v1 (or ip6)"
                ));
            }
        }
        let unnamed =
            |address: &&Multiaddr| !matches!(address.iter().last(), Some(Protocol::P2p(_)));
        if let Some(address) = settings.peers.iter().find(unnamed) {
            return refuse(format!(
                "peer address {address} names no site: expected /p2p/SITE at its end, as `branchline status` shows it"
            ));
        }
        if settings.listen.is_empty() && settings.mdns {
            return refuse(
                "mdns = true announces addresses, but listen is empty: set mdns = false, or listen"
                    .to_owned(),
            );
        }
        if settings.listen.is_empty() && !settings.external.is_empty() {
            return refuse("external addresses lead nowhere while listen is empty".to_owned());
        }
        self.check_storage()
    }

    /// Refuses what no data can be opened by.
    pub(crate) fn check_storage(&self) -> Result<(), ConfigError> {
        if self.settings.cache_mib == 0 {
            let what = "cache_mib = 0: the tables need at least 1 MiB".to_owned();
            return Err(ConfigError::Contradiction { what });
        }
        Ok(())
    }
}

fn read(
    path: &Path,
    extensions: &[Arc<dyn Extension>],
) -> Result<(Settings, Sections), ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let sections = Sections::new(path, text);
    let names = extension::names(extensions);
    sections.refuse_unknown(&Settings::default().table(), &names)?;
    Ok((sections.read_other_than(&names)?, sections))
}

fn is_listenable(address: &Multiaddr) -> bool {
    let parts: Vec<_> = address.iter().collect();
    let usable_ip = |ip: IpAddr| !ip.is_multicast();
    let ip = match parts.first() {
        Some(Protocol::Ip4(ip)) => usable_ip((*ip).into()),
        Some(Protocol::Ip6(ip)) => usable_ip((*ip).into()),
        Some(_) | None => false,
    };
    ip && matches!(parts.get(1..), Some([Protocol::Tcp(_)] | [Protocol::Udp(_), Protocol::QuicV1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), text).unwrap();
        let config = Config::load(folder.path(), None, Overrides::default())?;
        config.check().map(|()| config)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let text = "api = \"127.0.0.1:7000\"\nmdns = false\n";
        std::fs::write(folder.path().join(CONFIG_FILE), text).unwrap();
        let api = Some("127.0.0.1:7001".parse().unwrap());
        let overrides = Overrides { api, ..Overrides::default() };
        let config = Config::load(folder.path(), None, overrides).unwrap();
        assert_eq!(config.settings.api.port(), 7001);
        assert!(!config.settings.mdns);
        assert_eq!(config.settings.cache_mib, 64);
    }

    #[test]
    fn contradictions_are_refused_with_what_to_do() {
        for (text, expected) in [
            ("api = \"0.0.0.0:80\"", "not a loopback address"),
            ("listen = []", "set mdns = false"),
            ("listen = [\"/ip4/1.2.3.4/tcp/1\", \"/ip4/1.2.3.4/tcp/1\"]", "twice"),
            ("listen = [\"/dns4/example/tcp/1\"]", "expected /ip4/IP/tcp/PORT"),
            ("peers = [\"/ip4/1.2.3.4/tcp/1\"]", "names no site"),
            ("listen = []\nmdns = false\nexternal = [\"/ip4/1.2.3.4/tcp/1\"]", "lead nowhere"),
            ("cache_mib = 0", "at least 1 MiB"),
            ("api_hosts = [\"https://branch.example.org\"]", "expected HOST or HOST:PORT"),
            ("api_hosts = [\"*\"]", "expected HOST or HOST:PORT"),
            ("lisen = []", "unknown field `lisen`"),
            (
                "mdns = true\n[[bridge]]\n",
                "line 2: no part of this program reads the section [bridge]",
            ),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(load("").is_ok());
    }
}
