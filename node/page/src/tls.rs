//! TLS: certificates that are read, and one that an office makes for itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use branchline_node::whole_file;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{CERT_FILE, KEY_FILE};
use crate::sign_in::users::private_folder;

/// How long a certificate that an office makes for itself is good. Apple's systems take none that is good for longer.
const LIFETIME_DAYS: i64 = 825;
/// A clock that is a little behind takes it too.
const BEFORE_DAYS: i64 = 1;

/// A certificate that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCertificate {
    /// Its file.
    pub certificate: PathBuf,
    /// The file of its key, for its owner alone.
    pub key: PathBuf,
    /// The names and addresses that it is for.
    pub names: Vec<String>,
    /// SHA-256 of it, as browsers show it: pairs of hex digits with `:` between them.
    pub fingerprint: String,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A name cannot be in one.
    #[error(
        "no certificate can be made for these names: {source}; expected host names and IP addresses"
    )]
    Names {
        /// Why.
        source: rcgen::Error,
    },
    /// A file is there, or cannot be written.
    #[error("cannot write {path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is one already.
    #[error("{path} exists already: browsers that trust it would have to trust a new one; --force makes one anyway", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

/// What this machine is called.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Makes a certificate and its key in a site's data folder, which is signed by nobody but itself. `names`: the host names
/// and addresses under which browsers will ask; empty: this machine's name and loopback. `replace`: whether it may take the
/// place of one that is there.
///
/// # Errors
/// A name is none, or the files cannot be written. What was there stays.
pub fn make_certificate(
    data: &Path,
    names: Vec<String>,
    replace: bool,
) -> Result<NewCertificate, CertificateError> {
    let folder = data.join("page");
    let (certificate, key) = (folder.join(CERT_FILE), folder.join(KEY_FILE));
    if !replace && certificate.exists() {
        return Err(CertificateError::Exists { path: certificate });
    }
    let names = if names.is_empty() {
        vec![host_name(), "localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string()]
    } else {
        names
    };
    let made = generate(&names).map_err(|source| CertificateError::Names { source })?;
    let written = |path: &Path, content: &str| {
        private_folder(&folder)
            .and_then(|()| whole_file::replace(path, content.as_bytes()))
            .map_err(|source| CertificateError::Io { path: path.to_owned(), source })
    };
    written(&key, &made.1)?;
    written(&certificate, made.0.pem().as_str())?;
    let digest = Sha256::digest(made.0.der());
    let pairs: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(NewCertificate { certificate, key, names, fingerprint: pairs.join(":") })
}

fn generate(names: &[String]) -> Result<(rcgen::Certificate, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "Branchline page");
    params.distinguished_name = subject;
    let now = std::time::SystemTime::now();
    let days = |count: i64| std::time::Duration::from_secs(count.unsigned_abs() * 24 * 60 * 60);
    params.not_before = (now - days(BEFORE_DAYS)).into();
    params.not_after = (now + days(LIFETIME_DAYS)).into();
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate, key.serialize_pem()))
}

/// What speaks TLS with a certificate and its key.
pub(crate) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let wrong = |path: &Path, expected: &str, error: &dyn std::fmt::Display| {
        format!("{} is not a {expected} in PEM: {error}", path.display())
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, "certificate", &error))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "certificate", &"it holds none"));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, "private key", &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| {
            let (certificate, key) = (certificate.display(), key.display());
            format!("{certificate} and {key} do not go together: {error}")
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_certificate_that_was_made_serves_and_its_key_is_the_owners() {
        let data = tempfile::tempdir().unwrap();
        let names = vec!["office.example.org".to_owned(), "10.0.0.7".to_owned()];
        let made = make_certificate(data.path(), names, false).unwrap();
        assert!(acceptor(&made.certificate, &made.key).is_ok());
        let mode = std::fs::metadata(&made.key).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(made.fingerprint.len(), 32 * 3 - 1);
        let again = make_certificate(data.path(), Vec::new(), false).unwrap_err();
        assert!(again.to_string().contains("exists already"));
        let other = make_certificate(data.path(), Vec::new(), true).unwrap();
        assert_ne!(other.fingerprint, made.fingerprint);
    }

    #[test]
    fn what_is_no_certificate_is_refused_by_its_file() {
        let data = tempfile::tempdir().unwrap();
        let made = make_certificate(data.path(), Vec::new(), false).unwrap();
        let error = |cert: &Path, key: &Path| acceptor(cert, key).err().unwrap();
        assert!(error(&made.key, &made.key).contains("key.pem is not a certificate"));
        assert!(
            error(&made.certificate, &made.certificate).contains("cert.pem is not a private key")
        );
        assert!(error(&data.path().join("none"), &made.key).contains("none is not a certificate"));
        let old = data.path().join("old.pem");
        std::fs::copy(&made.certificate, &old).unwrap();
        make_certificate(data.path(), Vec::new(), true).unwrap();
        assert!(error(&old, &made.key).contains("do not go together"));
        assert!(make_certificate(data.path(), vec!["ü b".to_owned()], true).is_err());
    }
}
