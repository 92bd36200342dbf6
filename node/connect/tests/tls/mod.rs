//! A company's own authority, the certificates that it hands out, and what speaks TLS with them.
#![allow(dead_code, reason = "each of those that include this uses a part of it")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// An authority, whose certificate lies in a file.
pub(crate) struct Authority {
    certificate: Certificate,
    key: KeyPair,
    folder: TempDir,
}

/// For how long certificates are good.
#[derive(Clone, Copy)]
pub(crate) enum Lifetime {
    Now,
    Over,
    NotYet,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let authority = Self { certificate, key, folder };
        std::fs::write(authority.file(), authority.certificate.pem()).unwrap();
        authority
    }

    /// The file of its certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The line of a connector's section that names it.
    pub(crate) fn setting(&self) -> String {
        setting(&self.file())
    }

    /// What speaks TLS for a service of this name or address.
    pub(crate) fn vouch_for(&self, name: &str, lifetime: Lifetime) -> TlsAcceptor {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        let (from, to) = match lifetime {
            Lifetime::Now => (1975, 4096),
            Lifetime::Over => (1975, 2001),
            Lifetime::NotYet => (4000, 4096),
        };
        (params.not_before, params.not_after) =
            (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        Arc::new(config).into()
    }
}

/// The line of a connector's section that names a file of authorities.
pub(crate) fn setting(file: &Path) -> String {
    format!("ca_file = {:?}", file.display().to_string())
}

/// Where a server takes connections over TLS.
pub(crate) struct TlsListener {
    pub(crate) tcp: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // One that does not trust the certificate goes away.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
