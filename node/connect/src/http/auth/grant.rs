//! Asking for a token where tokens are handed out (RFC 6749).

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use url::form_urlencoded;

use super::assertion::Assertion;
use super::config::{AssertionGrant, ClientAuth};
use crate::http::exchange::{Exchange, Outgoing};
use crate::http::limits;
use crate::jobs::fault::{Class, Done, Fault, excerpt};
use crate::jobs::secret::Redactor;

/// Tokens that say nothing of when they end are used until they are refused.
const LIFETIME_MAX: Duration = Duration::from_secs(365 * 86_400);

/// How a program says who it is.
pub(super) enum Client {
    /// A public one.
    Open,
    Secret(String, ClientAuth),
    Assertion(Box<Assertion>, AssertionGrant),
}

/// Where and how tokens are asked for.
pub(super) struct Grant {
    pub(super) url: Url,
    pub(super) client_id: String,
    pub(super) client: Client,
    pub(super) scope: Option<String>,
    pub(super) params: BTreeMap<String, String>,
}

/// A token, as it was handed out.
pub(super) struct Granted {
    pub(super) access_token: String,
    pub(super) lifetime: Option<Duration>,
    pub(super) refresh_token: Option<String>,
}

/// Why there is no token.
pub(super) struct Denied {
    pub(super) fault: Fault,
    /// Whether the refresh token is no good (any more).
    pub(super) is_invalid_grant: bool,
    /// Whether a token may have been handed out all the same.
    pub(super) is_unknown: bool,
}

#[derive(Deserialize)]
struct Reply {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<serde_json::Value>,
    refresh_token: Option<String>,
    error: Option<serde_json::Value>,
    error_description: Option<String>,
}

impl Grant {
    /// Asks for a token, with a refresh token where that is the grant.
    pub(super) async fn ask(
        &self,
        exchange: &Exchange,
        redactor: &Redactor,
        refresh_token: Option<&str>,
    ) -> Result<Granted, Denied> {
        let now = Timestamp::now();
        let outgoing = self
            .outgoing(refresh_token, now)
            .map_err(|what| denied(Class::Authentication, what))?;
        let incoming = exchange.ask(outgoing).await.map_err(|broken| {
            let what = redactor.redact(&broken.what);
            // What no token can be asked for with is wrong for every item alike.
            let class = match broken.class {
                Class::Transient => Class::Transient,
                Class::Permanent | Class::Authentication => Class::Authentication,
            };
            let denied = denied(class, format!("no token from {}: {what}", self.place()));
            Denied { is_unknown: broken.done == Done::Unknown, ..denied }
        })?;
        let (status, body) = (incoming.status, &incoming.body);
        let reply: Option<Reply> = serde_json::from_str(body).ok();
        if let Some(Reply {
            access_token: Some(access_token),
            token_type,
            expires_in,
            refresh_token,
            ..
        }) = reply.as_ref().filter(|_| status.is_success())
        {
            let is_bearer = |kind: &String| kind.eq_ignore_ascii_case("bearer");
            if let Some(kind) = token_type.as_ref().filter(|kind| !is_bearer(kind)) {
                let what = format!(
                    "{} hands out tokens of the type {kind:?}: expected bearer",
                    self.place()
                );
                return Err(denied(Class::Authentication, what));
            }
            return Ok(Granted {
                access_token: access_token.clone(),
                lifetime: expires_in.as_ref().and_then(lifetime),
                refresh_token: refresh_token.clone().filter(|token| !token.is_empty()),
            });
        }
        let error = reply.as_ref().and_then(|reply| Some(reply.error.as_ref()?.to_string()));
        let error = error.as_deref().map(|error| error.trim_matches('"'));
        let is_busy =
            matches!(error, Some("temporarily_unavailable" | "slow_down" | "server_error"));
        let class = match status.as_u16() {
            408 | 425 | 429 | 500..=599 => Class::Transient,
            _ if is_busy => Class::Transient,
            // A page with 200 is a service in trouble.
            200..=299 if reply.is_none() => Class::Transient,
            _ => Class::Authentication,
        };
        let description = reply.as_ref().and_then(|reply| reply.error_description.as_deref());
        let shown = match (error, description) {
            (Some(error), Some(description)) => format!("{error}: {description}"),
            (Some(error), None) => error.to_owned(),
            (None, _) => body.clone(),
        };
        let shown = excerpt(&redactor.redact(&shown));
        let mut denied =
            denied(class, format!("no token from {}: {status}: {shown}", self.place()));
        if class == Class::Transient {
            let pause = limits::pause(&incoming.headers, body, now);
            denied.fault.retry_after = pause.map(limits::Pause::kept);
        }
        denied.is_invalid_grant = error == Some("invalid_grant");
        denied.is_unknown = status.is_server_error() || status.is_success();
        Err(denied)
    }

    fn outgoing(&self, refresh_token: Option<&str>, now: Timestamp) -> Result<Outgoing, String> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let mut form = form_urlencoded::Serializer::new(String::new());
        match (refresh_token, &self.client) {
            (Some(token), _) => {
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token);
            }
            (None, Client::Assertion(assertion, AssertionGrant::JwtBearer)) => {
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
                    .append_pair("assertion", &assertion.sign(now)?);
            }
            (None, Client::Open | Client::Secret(..) | Client::Assertion(..)) => {
                form.append_pair("grant_type", "client_credentials");
            }
        }
        match &self.client {
            Client::Open => {
                form.append_pair("client_id", &self.client_id);
            }
            Client::Secret(secret, ClientAuth::Post) => {
                form.append_pair("client_id", &self.client_id).append_pair("client_secret", secret);
            }
            Client::Secret(secret, ClientAuth::Basic) => {
                let part = |text: &str| {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
                };
                headers.insert(AUTHORIZATION, basic(&part(&self.client_id), &part(secret))?);
            }
            Client::Assertion(assertion, AssertionGrant::ClientCredentials) => {
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form.append_pair("client_assertion_type", kind)
                    .append_pair("client_assertion", &assertion.sign(now)?);
            }
            Client::Assertion(_, AssertionGrant::JwtBearer) => {}
        }
        if let Some(scope) = &self.scope {
            form.append_pair("scope", scope);
        }
        for (name, value) in &self.params {
            form.append_pair(name, value);
        }
        let body = Some(form.finish());
        Ok(Outgoing { method: Method::POST, url: self.url.clone(), headers, body })
    }

    fn place(&self) -> String {
        format!("{}{}", self.url.origin().ascii_serialization(), self.url.path())
    }
}

/// The header of a name and its password.
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, String> {
    secret_header(&format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes())))
}

/// A header whose value is shown nowhere.
pub(super) fn secret_header(value: &str) -> Result<HeaderValue, String> {
    let header = HeaderValue::from_str(value);
    let mut header =
        header.map_err(|_| "the credential has characters that no header can have".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

fn denied(class: Class, what: String) -> Denied {
    Denied { fault: Fault::unsent(class, what), is_invalid_grant: false, is_unknown: false }
}

/// Some providers write numbers as text.
fn lifetime(expires_in: &serde_json::Value) -> Option<Duration> {
    let text = expires_in.to_string();
    let seconds: f64 = text.trim_matches('"').parse().ok()?;
    (seconds > 0.0)
        .then(|| Duration::try_from_secs_f64(seconds).unwrap_or(LIFETIME_MAX).min(LIFETIME_MAX))
}
