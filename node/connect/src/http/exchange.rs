//! One request and its answer: sent to an address that may be reached, and read within its bounds.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, Response, StatusCode, Url};
use url::Host;

use super::allow::{Allow, Refused};
use super::authorities;
use super::body::{self, BadBody, Body};
use super::resolve::{Lookup, Resolver};
use crate::jobs::duration;
use crate::jobs::fault::{Class, Done};

/// As much of the body of a refusal as is read: what it says stands in front.
const REFUSAL_BYTES_MAX: u64 = 64 * 1024;
/// Connections that nobody uses are closed by then: servers close them after a minute or so, and a request on a connection
/// that is being closed is one of unknown outcome.
const IDLE_CONNECTION: Duration = Duration::from_secs(20);
const NAME: &str = concat!("branchline/", env!("CARGO_PKG_VERSION"));

/// What bounds each exchange.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) timeout: Duration,
    pub(super) idle: Duration,
    pub(super) body_max: u64,
}

pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
}

pub(super) struct Incoming {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// An exchange that ended without a whole answer.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) class: Class,
    pub(super) done: Done,
    /// The answer's status, if it came that far.
    pub(super) status: Option<StatusCode>,
    pub(super) what: String,
}

/// Asks, with all that is the same for each request.
pub(super) struct Exchange {
    client: Client,
    allow: Arc<Allow>,
    bounds: Bounds,
}

impl Exchange {
    pub(super) fn new(
        allow: Allow,
        lookup: Arc<dyn Lookup>,
        bounds: Bounds,
        authorities: Vec<Certificate>,
    ) -> Result<Self, reqwest::Error> {
        let allow = Arc::new(allow);
        let resolver = Resolver { allow: Arc::clone(&allow), lookup };
        let client = Client::builder()
            .user_agent(NAME)
            .dns_resolver(resolver)
            // A redirect's target is judged like any URL, and signed again: by who asks.
            .redirect(Policy::none())
            // An environment made for people's programs does not decide where an office's data goes.
            .no_proxy()
            // A repeat that nobody knows of is a duplicate at the remote.
            .retry(reqwest::retry::never())
            .referer(false)
            .tls_certs_merge(authorities)
            .pool_idle_timeout(IDLE_CONNECTION)
            .build()?;
        Ok(Self { client, allow, bounds })
    }

    /// Sends a request and reads its answer. An answer that refuses is an answer.
    pub(super) async fn ask(&self, outgoing: Outgoing) -> Result<Incoming, Broken> {
        self.judge(&outgoing.url)?;
        let timeout = self.bounds.timeout;
        let asked = tokio::time::timeout(timeout, self.whole(outgoing)).await;
        asked.unwrap_or_else(|_| {
            let what = format!("no whole answer within {}", duration::text(timeout));
            Err(Broken { class: Class::Transient, done: Done::Unknown, status: None, what })
        })
    }

    /// Whether a URL may be asked, as far as it says so itself.
    fn judge(&self, url: &Url) -> Result<(), Broken> {
        let refused =
            |what: String| Broken { class: Class::Permanent, done: Done::No, status: None, what };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(format!("its scheme is {}: expected http or https", url.scheme())));
        }
        // The resolver is not asked about addresses.
        let judged = match url.host() {
            Some(Host::Ipv4(address)) => self.allow.judge(&address.to_string(), address.into()),
            Some(Host::Ipv6(address)) => self.allow.judge(&address.to_string(), address.into()),
            Some(Host::Domain(_)) => Ok(()),
            None => return Err(refused("it names no host".to_owned())),
        };
        judged.map_err(|error| refused(error.to_string()))
    }

    async fn whole(&self, outgoing: Outgoing) -> Result<Incoming, Broken> {
        let host = outgoing.url.host_str().unwrap_or_default().to_owned();
        let mut request = self
            .client
            .request(outgoing.method, outgoing.url)
            .headers(outgoing.headers)
            .header(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        if let Some(body) = outgoing.body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(|error| unanswered(&error, &host))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let broken = |what: String| Broken {
            class: Class::Transient,
            // The remote has answered before this went wrong, and a refusal is one however it ends.
            done: if status.is_client_error() { Done::No } else { Done::Unknown },
            status: Some(status),
            what,
        };
        if status.is_success() {
            let bytes = self.body(response, self.bounds.body_max).await.map_err(broken)?;
            let body = body::text(&headers, bytes).map_err(|error| broken(error.to_string()))?;
            Ok(Incoming { status, headers, body })
        } else {
            // What is wrong with its body does not matter beside what its status says.
            Ok(Incoming { status, headers, body: self.refusal(response).await })
        }
    }

    async fn body(&self, mut response: Response, max: u64) -> Result<Vec<u8>, String> {
        let said = |error: BadBody| error.to_string();
        if response.content_length().is_some_and(|length| length > max) {
            return Err(said(BadBody::Long { max }));
        }
        let mut body = Body::new(response.headers(), max).map_err(said)?;
        while let Some(bytes) = self.chunk(&mut response).await? {
            body.take(&bytes).map_err(said)?;
        }
        body.end().map_err(said)
    }

    async fn refusal(&self, mut response: Response) -> String {
        let Ok(mut body) = Body::new(response.headers(), REFUSAL_BYTES_MAX) else {
            return String::new();
        };
        while let Ok(Some(bytes)) = self.chunk(&mut response).await {
            if body.take(&bytes).is_err() {
                break;
            }
        }
        String::from_utf8_lossy(&body.into_taken()).into_owned()
    }

    async fn chunk(&self, response: &mut Response) -> Result<Option<Vec<u8>>, String> {
        let idle = self.bounds.idle;
        match tokio::time::timeout(idle, response.chunk()).await {
            Ok(Ok(bytes)) => Ok(bytes.map(Vec::from)),
            Ok(Err(error)) => Err(format!("its body was cut off: {}", causes(&error))),
            Err(_) => Err(format!("no byte of its body came for {}", duration::text(idle))),
        }
    }
}

/// What an error without an answer means.
fn unanswered(error: &reqwest::Error, host: &str) -> Broken {
    let transient =
        |done| Broken { class: Class::Transient, done, status: None, what: causes(error) };
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.downcast_ref::<Refused>().is_some() {
            // A name's addresses change; nobody need requeue what a bad answer of an hour has refused.
            return Broken { what: cause.to_string(), ..transient(Done::No) };
        }
        source = cause.source();
    }
    if let Some(what) = authorities::why(error, host) {
        // Who renews it need not ask anybody here to go on.
        return Broken { what, ..transient(Done::No) };
    }
    match error.is_builder() {
        true => Broken { class: Class::Permanent, ..transient(Done::No) },
        false if error.is_connect() => transient(Done::No),
        false => transient(Done::Unknown),
    }
}

/// An error with what caused it, without the URL, which may hold secrets.
fn causes(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    match causes.is_empty() {
        true if error.is_builder() => "the request cannot be written".to_owned(),
        true => "the exchange broke off".to_owned(),
        false => {
            causes.dedup();
            causes.join(": ")
        }
    }
}
