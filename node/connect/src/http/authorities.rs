//! Who vouches for a service that is asked over https: the machine's authorities and those of `ca_file`; and what is wrong
//! with a service for which nobody does.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use reqwest::Certificate;
use rustls::CertificateError;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Longest file of authorities: the lists of whole systems take a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The bytes of a `ca_file`.
///
/// # Errors
/// A text that names the file and says what is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("ca_file {} cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "ca_file {} has more than {FILE_BYTES_MAX} bytes: expected certificates in PEM",
            path.display()
        ));
    }
    Ok(bytes)
}

/// The authorities of a `ca_file`.
pub(super) fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let bytes = read(path)?;
    let wrong = |what: &str| {
        format!(
            "ca_file {} holds {what}: expected the certificates of authorities in PEM, which begin with \
             -----BEGIN CERTIFICATE-----",
            path.display()
        )
    };
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| wrong(&format!("no PEM ({error})")))?;
        let certificate = Certificate::from_der(&certificate);
        found.push(certificate.map_err(|error| wrong(&format!("no certificate ({error})")))?);
    }
    if found.is_empty() { Err(wrong("no certificate")) } else { Ok(found) }
}

/// What is wrong with a service that did not prove itself, and what to do about it; `None`: an error of another kind.
pub(super) fn why(error: &(dyn Error + 'static), host: &str) -> Option<String> {
    match of_tls(error)? {
        rustls::Error::InvalidCertificate(wrong) => Some(of_certificate(wrong, host)),
        rustls::Error::InvalidMessage(_) => Some(format!(
            "what answers at {host} does not speak TLS: if the service has no https, its url is to say http, and then \
             all that is sent can be read on the way"
        )),
        error => Some(format!("no TLS connection with {host} comes about: {error}")),
    }
}

/// The error of TLS behind one of a request. Those of input and output hide what they are made of from `source`.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match within {
            Some(within) => Some(within as &'a (dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

fn of_certificate(wrong: &CertificateError, host: &str) -> String {
    let moment = |time: &rustls_pki_types::UnixTime| {
        let seconds = i64::try_from(time.as_secs()).ok();
        let moment = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        moment.map_or_else(|| "a time beyond all calendars".to_owned(), |moment| moment.to_string())
    };
    let renew =
        "the service needs a new one, or this machine's clock is wrong; nothing is sent until then";
    match wrong {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the certificate of {host} ended on {}, and it is {}: {renew}",
            moment(not_after),
            moment(time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the certificate of {host} begins on {}, and it is {}: {renew}",
            moment(not_before),
            moment(time)
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names =
                if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!(
                "the certificate that answers at {host} is for {names}: expected one for {host}; the url has to name \
                 the service as its certificate does"
            )
        }
        CertificateError::UnknownIssuer => format!(
            "no authority that is trusted here vouches for the certificate of {host}: if it is one of a company's own \
             authority, ca_file = \"PATH\" names that authority's certificate (PEM)"
        ),
        wrong => format!("the certificate of {host} is not trusted: {wrong}"),
    }
}
