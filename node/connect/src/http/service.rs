//! One request's way: the limiter, the credential, the exchange, and what its answer means.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
};
use reqwest::{Method, StatusCode, Url};

use super::allow::Allow;
use super::auth::{Auth, Credential};
use super::authorities::authorities;
use super::config::ServiceConfig;
use super::exchange::{Bounds, Broken, Exchange, Incoming, Outgoing};
use super::message::{Answer, Request, about};
use super::resolve::{Lookup, System};
use super::{limits, verdict};
use crate::jobs::duration;
use crate::jobs::fault::{Class, Done, Fault, excerpt};
use crate::jobs::rate::{Blocked, CONCURRENCY_DEFAULT, Limiter, Rate};
use crate::jobs::secret::{Redactor, SecretError};

/// A request is led on as many times at most, within one place.
const REDIRECTS_MAX: usize = 5;
/// Headers in which services are given credentials, beside `Authorization`.
const KEY_HEADERS: [&str; 3] = ["x-api-key", "api-key", "x-auth-token"];

/// Why a service cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum NotUsable {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// This machine lacks something, such as the certificates of authorities.
    #[error("requests cannot be made on this machine: {0}")]
    Machine(#[from] reqwest::Error),
}

/// A remote service, asked as one connector may ask it. Clones are the same service.
#[derive(Clone)]
pub struct Service(Arc<ServiceInner>);

struct ServiceInner {
    name: String,
    exchange: Arc<Exchange>,
    auth: Option<Auth>,
    redactor: Redactor,
    limiter: OnceLock<Limiter>,
    rate: Option<Rate>,
    concurrency: usize,
    config: ServiceConfig,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Service").field(&self.0.name).finish()
    }
}

impl Service {
    /// A service. `name`: who asks, like `source crm`; `folder`: private, where refresh tokens are kept.
    ///
    /// # Errors
    /// A setting is wrong, a secret cannot be read, or this machine cannot make requests.
    pub fn new(name: &str, config: &ServiceConfig, folder: &Path) -> Result<Self, NotUsable> {
        Self::with_lookup(name, config, folder, Arc::new(System))
    }

    pub(super) fn with_lookup(
        name: &str,
        config: &ServiceConfig,
        folder: &Path,
        lookup: Arc<dyn Lookup>,
    ) -> Result<Self, NotUsable> {
        config.check().map_err(NotUsable::Setting)?;
        let allow = Allow::read(&config.allow).map_err(NotUsable::Setting)?;
        let rate = config.rate.as_deref().map(Rate::parse).transpose();
        let bounds =
            Bounds { timeout: config.timeout, idle: config.idle, body_max: config.body_max };
        let ca_file = config.ca_file.as_deref();
        let trusted = ca_file.map(authorities).transpose().map_err(NotUsable::Setting)?;
        let trusted = trusted.unwrap_or_default();
        let redactor = Redactor::default();
        let auth = config.auth.as_ref();
        let auth = auth.map(|auth| Auth::new(auth, folder, &redactor)).transpose()?;
        Ok(Self(Arc::new(ServiceInner {
            name: name.to_owned(),
            exchange: Arc::new(Exchange::new(allow, lookup, bounds, trusted)?),
            auth,
            redactor,
            limiter: OnceLock::new(),
            rate: rate.map_err(|error| NotUsable::Setting(error.to_string()))?,
            concurrency: config.concurrency.unwrap_or(CONCURRENCY_DEFAULT),
            config: config.clone(),
        })))
    }

    /// Who knows this connector's secrets: what URLs and headers are completed with is to be known to it too.
    #[must_use]
    pub fn redactor(&self) -> &Redactor {
        &self.0.redactor
    }

    /// For how long the service has asked to be left alone.
    #[must_use]
    pub fn blocked(&self) -> Option<std::time::Duration> {
        self.0.limiter.get().and_then(Limiter::blocked)
    }

    /// Sends a request, as soon as the limits allow it, and gives its answer if it says that it succeeded.
    ///
    /// Nothing is tried twice here but what a stale token has refused. Waits at most the configured time-out for a
    /// service that wants to be left alone, and otherwise as long as its rate demands.
    ///
    /// # Errors
    /// There is no such answer: see the fault's class. No secret that [`Service::redactor`] knows stands in its text.
    pub async fn send(&self, request: Request) -> Result<Answer, Fault> {
        let about = about(&request.method, &request.url);
        let sent = self.led(request, &about).await;
        sent.map_err(|mut fault| {
            fault.message = self.0.redactor.redact(&format!("{about}: {}", fault.message));
            fault
        })
    }

    /// Follows redirects within one place.
    async fn led(&self, request: Request, about: &str) -> Result<Answer, Fault> {
        let permanent = |what: String| Fault::unsent(Class::Permanent, what);
        let mut url = Url::parse(&request.url)
            .map_err(|error| permanent(format!("its URL cannot be read: {error}")))?;
        let headers = headers(&request).map_err(permanent)?;
        for _ in 0..=REDIRECTS_MAX {
            let incoming = self.attempt(&request, &url, &headers).await?;
            if incoming.status.is_success() {
                let Incoming { status, headers, body } = incoming;
                let (about, redactor) = (about.to_owned(), self.0.redactor.clone());
                return Ok(Answer { status: status.as_u16(), headers, body, url, about, redactor });
            }
            url = target(&request.method, &url, &incoming)?;
        }
        Err(Fault {
            class: Class::Permanent,
            message: format!("led on {REDIRECTS_MAX} times without an answer"),
            status: None,
            retry_after: None,
            done: Done::Unknown,
        })
    }

    /// One exchange: an answer that succeeded, or that leads on.
    async fn attempt(
        &self,
        request: &Request,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<Incoming, Fault> {
        let inner = &self.0;
        let limiter = inner.limiter(headers);
        let _permit = limiter.permit(inner.config.timeout).await.map_err(blocked)?;
        let ask = async |headers: HeaderMap| {
            let (method, url, body) = (request.method.clone(), url.clone(), request.body.clone());
            inner.exchange.ask(Outgoing { method, url, headers, body }).await.map_err(broken)
        };
        let incoming = match &inner.auth {
            None => ask(headers.clone()).await?,
            Some(auth) => {
                // Before each attempt, since a token may have ended while the limiter held the request back.
                let (headers, used) = inner.signed(auth, request, url, headers).await?;
                let incoming = ask(headers.clone()).await?;
                let is_refused = incoming.status == StatusCode::UNAUTHORIZED;
                if is_refused && auth.refused(&used).await {
                    // A token can be taken back before its end; another is tried once.
                    ask(inner.signed(auth, request, url, &headers).await?.0).await?
                } else {
                    incoming
                }
            }
        };
        if incoming.status.is_success() || incoming.status.is_redirection() {
            limiter.calm();
            return Ok(incoming);
        }
        Err(inner.refused(limiter, &incoming))
    }
}

impl ServiceInner {
    /// The headers with this connector's credential.
    async fn signed(
        &self,
        auth: &Auth,
        request: &Request,
        url: &Url,
        headers: &HeaderMap,
    ) -> Result<(HeaderMap, Credential), Fault> {
        let credential =
            auth.credential(&self.exchange, &self.redactor, &request.method, url).await?;
        let mut headers = headers.clone();
        headers.insert(AUTHORIZATION, credential.header.clone());
        Ok((headers, credential))
    }

    /// The limiter, once it is known whose credential is used: the one in the headers where there is no other.
    fn limiter(&self, headers: &HeaderMap) -> &Limiter {
        self.limiter.get_or_init(|| {
            let given = std::iter::once(AUTHORIZATION.as_str()).chain(KEY_HEADERS);
            let given = given.filter_map(|name| headers.get(name)).next();
            let key = match (&self.auth, given) {
                (Some(auth), _) => auth.key.clone(),
                (None, Some(value)) => blake3::hash(value.as_bytes()).to_hex().to_string(),
                (None, None) => self.name.clone(),
            };
            Limiter::shared(&key, self.rate, self.concurrency)
        })
    }

    fn refused(&self, limiter: &Limiter, incoming: &Incoming) -> Fault {
        let Incoming { status, headers, body } = incoming;
        let verdict = verdict::verdict(*status, headers, body, &self.config.overload);
        let pause = match verdict.class {
            Class::Transient => limits::pause(headers, body, Timestamp::now()),
            Class::Permanent | Class::Authentication => None,
        };
        let retry_after = pause.map(limits::Pause::kept);
        if verdict.is_overload {
            limiter.overloaded(retry_after);
        } else if let Some(pause) = retry_after {
            limiter.block(pause);
        }
        // What is cut cannot be recognised as a secret any more.
        let mut message = format!("{status}: {}", excerpt(&self.redactor.redact(body)));
        if let Some(pause) = pause.filter(|pause| pause.asked > pause.kept()) {
            let (asked, kept) = (duration::text(pause.asked), duration::text(pause.kept()));
            message.push_str(&format!(
                "; it asks for a pause of {asked} and is asked again after {kept}"
            ));
        }
        Fault {
            class: verdict.class,
            message,
            status: Some(status.as_u16()),
            retry_after,
            done: verdict.done,
        }
    }
}

/// The headers of a request, with those that every one has.
fn headers(request: &Request) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if request.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    for (name, value) in &request.headers {
        let header: HeaderName =
            name.parse().map_err(|_| format!("the header {name:?} has no proper name"))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            format!("the header {name} has a value with characters that no header can have")
        })?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// Where an answer leads on to.
fn target(method: &Method, url: &Url, incoming: &Incoming) -> Result<Url, Fault> {
    let Incoming { status, headers, .. } = incoming;
    let refused = |what: String| Fault {
        class: Class::Permanent,
        message: format!("{status}: {what}"),
        status: Some(status.as_u16()),
        retry_after: None,
        done: Done::No,
    };
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(location) = location else { return Err(refused("it leads nowhere".to_owned())) };
    let target = url.join(location);
    let target = target.map_err(|error| refused(format!("it leads to no URL: {error}")))?;
    if target.origin() != url.origin() {
        let place = target.origin().ascii_serialization();
        return Err(refused(format!(
            "it leads to {place}, where nothing is sent: expected an answer; if that is where the service is, its url \
             is to say so"
        )));
    }
    let keeps_method =
        matches!(*status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if !keeps_method && *method != Method::GET {
        return Err(refused(format!("it leads a {method} to {}, as a GET", target.path())));
    }
    Ok(target)
}

fn blocked(Blocked { pause }: Blocked) -> Fault {
    let message =
        format!("the service has asked to be left alone for another {}s", pause.as_secs());
    Fault { retry_after: Some(pause), ..Fault::unsent(Class::Transient, message) }
}

fn broken(broken: Broken) -> Fault {
    let Broken { class, done, status, what } = broken;
    let message = match status {
        Some(status) => format!("{status}, but {what}"),
        None => what,
    };
    Fault { class, message, status: status.map(|status| status.as_u16()), retry_after: None, done }
}
