//! The section `[page]` of `branchline.toml`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use branchline_node::ConfigError;
use branchline_node::extension::Sections;
use jiff::tz::TimeZone;
use serde::Deserialize;
use toml::Spanned;

/// The section's name.
pub(crate) const SECTION: &str = "page";
/// Totals that the first view shows. Each is a query of its own.
const TOTALS_MAX: usize = 8;
/// The files of `branchline page cert`, in the page's folder.
pub(crate) const CERT_FILE: &str = "cert.pem";
/// See [`CERT_FILE`].
pub(crate) const KEY_FILE: &str = "key.pem";

#[derive(Default, Deserialize)]
struct ConfigFile {
    page: Option<Spanned<Section>>,
}

/// How the page is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    listen: Option<SocketAddr>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    hosts: Vec<String>,
    time_zone: Option<String>,
    backups: Option<PathBuf>,
    total: Vec<Total>,
}

/// What is summed up for each day: records of a collection, by when they came to be.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Total {
    /// The collection.
    pub(crate) collection: String,
    /// The field that holds when.
    pub(crate) time: String,
    /// The field that is summed up; absent: records are only counted.
    pub(crate) sum: Option<String>,
}

/// How the page is served, with what is not said filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageConfig {
    /// Whether the configuration has a section for it.
    pub(crate) is_configured: bool,
    /// Port 0 takes a free port once and keeps it.
    pub(crate) listen: SocketAddr,
    /// Certificate and key, where it is served with TLS.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    /// Further hosts that requests may name, as `HOST` or `HOST:PORT`.
    pub(crate) hosts: Vec<String>,
    /// The zone in which times are shown; absent: the machine's.
    pub(crate) time_zone: Option<String>,
    /// The folder for backups, on this machine.
    pub(crate) backups: Option<PathBuf>,
    /// Totals of the day.
    pub(crate) totals: Vec<Total>,
}

impl PageConfig {
    /// Reads and judges the section. `folder`: where the page keeps its files, and relative paths begin.
    pub(crate) fn read(sections: &Sections, folder: &Path) -> Result<Self, ConfigError> {
        let file: ConfigFile = sections.read(&[SECTION])?;
        let Some(spanned) = file.page else {
            return Ok(Self::of(Section::default(), folder, false));
        };
        let span = spanned.span();
        let section = spanned.into_inner();
        let judged = section.check();
        let config = Self::of(section, folder, true);
        judged
            .and_then(|()| config.check())
            .map_err(|what| sections.refuse(span, format!("page: {what}")))?;
        Ok(config)
    }

    fn of(section: Section, folder: &Path, is_configured: bool) -> Self {
        let Section { listen, tls_cert, tls_key, hosts, time_zone, backups, total } = section;
        let listen = listen.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));
        let path = |given: PathBuf| folder.parent().unwrap_or(folder).join(given);
        let made = (folder.join(CERT_FILE), folder.join(KEY_FILE));
        let tls = match (tls_cert, tls_key) {
            (Some(cert), Some(key)) => Some((path(cert), path(key))),
            // On loopback nobody listens in, and browsers warn of certificates that no authority has signed.
            _ if !listen.ip().is_loopback() && made.0.exists() && made.1.exists() => Some(made),
            _ => None,
        };
        let backups = backups.map(path);
        Self { is_configured, listen, tls, hosts, time_zone, backups, totals: total }
    }

    fn check(&self) -> Result<(), String> {
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            return Err(format!(
                "listen = \"{}\" is not a loopback address, and without TLS everybody on the line could read passwords: expected tls_cert and tls_key, or the pair that `branchline page cert` makes",
                self.listen
            ));
        }
        Ok(())
    }

    /// The zone in which times are shown.
    pub(crate) fn zone(&self) -> TimeZone {
        let named = self.time_zone.as_deref().and_then(|name| TimeZone::get(name).ok());
        named.unwrap_or_else(TimeZone::system)
    }
}

impl Section {
    fn check(&self) -> Result<(), String> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err("tls_cert and tls_key stand together, one of them is missing".to_owned());
        }
        if let Some(host) = self.hosts.iter().find(|host| crate::guard::authority(host).is_none()) {
            return Err(format!(
                "hosts names {host:?}: expected HOST or HOST:PORT, like office.example.org"
            ));
        }
        if let Some(name) = &self.time_zone {
            TimeZone::get(name).map_err(|_| {
                format!("time_zone is {name:?}, expected a name like Europe/Vienna or UTC")
            })?;
        }
        if self.total.len() > TOTALS_MAX {
            let found = self.total.len();
            return Err(format!("there are {found} totals, expected at most {TOTALS_MAX}"));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PageConfig, String> {
        let sections = Sections::new("branchline.toml", text);
        PageConfig::read(&sections, Path::new("/data/page")).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_section_it_is_served_on_loopback_alone() {
        let config = read("").unwrap();
        assert!(!config.is_configured && config.listen.ip().is_loopback() && config.tls.is_none());
    }

    #[test]
    fn what_cannot_be_is_refused_by_file_line_and_with_what_to_do() {
        for (text, expected) in [
            ("[page]\nlisten = \"0.0.0.0:7443\"", "branchline page cert"),
            ("[page]\ntls_cert = \"a\"", "one of them is missing"),
            ("[page]\nhosts = [\"http://a\"]", "expected HOST or HOST:PORT"),
            ("[page]\ntime_zone = \"Mars/Base\"", "expected a name like"),
            ("[page]\nlissten = \"127.0.0.1:1\"", "unknown field `lissten`"),
            ("[[page.total]]\ncollection = \"orders\"", "missing field `time`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(error.contains("branchline.toml") && error.contains("line "), "{error}");
        }
    }

    #[test]
    fn files_of_tls_lie_beside_the_configuration() {
        let text = "[page]\nlisten = \"0.0.0.0:7443\"\ntls_cert = \"a.pem\"\ntls_key = \"/b.pem\"";
        let (cert, key) = read(text).unwrap().tls.unwrap();
        assert_eq!((cert, key), ("/data/a.pem".into(), "/b.pem".into()));
    }
}
