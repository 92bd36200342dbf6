//! Credentials: what makes a request one of ours.
//!
//! | file | what |
//! |---|---|
//! | `config` | the setting `auth` |
//! | `keeper` | tokens that end are replaced in time, by one refresher |
//! | `grant` | how a token is asked for |
//! | `kept` | the refresh token that is latest, on the disk |
//! | `assertion` | signed statements instead of a client's secret |
//! | `oauth1` | requests signed one by one |

mod assertion;
mod config;
mod grant;
mod keeper;
mod kept;
mod oauth1;

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use reqwest::header::HeaderValue;
use reqwest::{Method, Url};

pub use config::{Algorithm, AssertionConfig, AssertionGrant, AuthConfig, ClientAuth};

use assertion::Assertion;
use grant::{Client, Grant, basic, secret_header};
use keeper::Keeper;
use oauth1::Oauth1;

use super::exchange::Exchange;
use super::service::NotUsable;
use crate::jobs::fault::{Class, Fault};
use crate::jobs::secret::{Redactor, SecretError, SecretText, complete_with};

/// A connector's credential.
pub(super) struct Auth {
    kind: AuthKind,
    /// The same for connectors with the same credential, and no secret.
    pub(super) key: String,
}

enum AuthKind {
    Fixed(HeaderValue),
    Token(Arc<Keeper>),
    Signed(Box<Oauth1>),
}

/// The credential of one request.
pub(super) struct Credential {
    pub(super) header: HeaderValue,
    /// The token in it, if it is one that ends.
    token: Option<String>,
}

impl Auth {
    pub(super) fn new(
        config: &AuthConfig,
        folder: &Path,
        redactor: &Redactor,
    ) -> Result<Self, NotUsable> {
        config.check().map_err(NotUsable::Setting)?;
        let read = |secret: &SecretText| secret.read(redactor);
        match config {
            AuthConfig::Basic { user, password } => {
                let (user, password) = (user.value(redactor)?, read(password)?);
                Self::fixed(basic(&user, &password))
            }
            AuthConfig::Bearer { token } => {
                Self::fixed(secret_header(&format!("Bearer {}", read(token)?)))
            }
            AuthConfig::Oauth1 { consumer_key, consumer_secret, token, token_secret, realm } => {
                let oauth1 = Oauth1 {
                    consumer_key: consumer_key.value(redactor)?,
                    consumer_secret: read(consumer_secret)?,
                    token: token.value(redactor)?,
                    token_secret: read(token_secret)?,
                    realm: realm.clone(),
                };
                let key = key(&["oauth1", &oauth1.consumer_key, &oauth1.token]);
                Ok(Self { kind: AuthKind::Signed(Box::new(oauth1)), key })
            }
            AuthConfig::Oauth2 {
                token_url,
                client_id,
                client_secret,
                assertion,
                scope,
                client_auth,
                params,
            } => {
                let token_url = complete_with(token_url, redactor)?;
                let client_id = client_id.value(redactor)?;
                let scope = scope.clone();
                let secret = client_secret.as_ref().map(read).transpose()?;
                let mut parts = vec!["oauth2".to_owned(), token_url.clone(), client_id.clone()];
                parts.extend(secret.clone());
                let client = match (secret, assertion) {
                    (Some(secret), _) => Client::Secret(secret, *client_auth),
                    (None, None) => Client::Open,
                    (None, Some(config)) => {
                        let pem = config.key.read_whole(redactor)?;
                        let scope = scope.as_deref();
                        let assertion = Assertion::new(config, &pem, &client_id, &token_url, scope);
                        parts.push(pem);
                        parts.extend(config.subject.clone());
                        let assertion = assertion.map_err(NotUsable::Setting)?;
                        Client::Assertion(Box::new(assertion), config.grant)
                    }
                };
                parts.push(format!("{scope:?}{params:?}"));
                let params = params
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), complete_with(value, redactor)?)));
                let params = params.collect::<Result<_, SecretError>>()?;
                let url = url(&token_url)?;
                let grant = Grant { url, client_id, client, scope, params };
                let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
                let key = key(&parts);
                Ok(Self { kind: AuthKind::Token(Keeper::shared(&key, grant, None)), key })
            }
            AuthConfig::RefreshToken {
                token_url,
                client_id,
                client_secret,
                refresh_token,
                scope,
                client_auth,
            } => {
                let token_url = complete_with(token_url, redactor)?;
                let client_id = client_id.value(redactor)?;
                let client = match client_secret.as_ref().map(read).transpose()? {
                    Some(secret) => Client::Secret(secret, *client_auth),
                    None => Client::Open,
                };
                let refresh_token = read(refresh_token)?;
                let folder_text = folder.display().to_string();
                let name = key(&["refresh_token", &token_url, &client_id, &refresh_token]);
                let key = key(&[&name, &folder_text]);
                let (url, scope) = (url(&token_url)?, scope.clone());
                let grant = Grant { url, client_id, client, scope, params: Default::default() };
                let sign_in = keeper::sign_in(folder, &name, refresh_token);
                Ok(Self { kind: AuthKind::Token(Keeper::shared(&key, grant, Some(sign_in))), key })
            }
        }
    }

    fn fixed(header: Result<HeaderValue, String>) -> Result<Self, NotUsable> {
        let header = header.map_err(|what| NotUsable::Setting(format!("auth: {what}")))?;
        let key = blake3::hash(header.as_bytes()).to_hex().to_string();
        Ok(Self { kind: AuthKind::Fixed(header), key })
    }

    /// The credential of a request that is about to be sent.
    pub(super) async fn credential(
        &self,
        exchange: &Arc<Exchange>,
        redactor: &Redactor,
        method: &Method,
        url: &Url,
    ) -> Result<Credential, Fault> {
        let broken = |what| Fault::unsent(Class::Transient, what);
        match &self.kind {
            AuthKind::Fixed(header) => Ok(Credential { header: header.clone(), token: None }),
            AuthKind::Token(keeper) => {
                let token = keeper.token(exchange, redactor).await?;
                let header = secret_header(&format!("Bearer {token}")).map_err(broken)?;
                Ok(Credential { header, token: Some(token) })
            }
            AuthKind::Signed(oauth1) => {
                let nonce = assertion::nonce().map_err(broken)?;
                let header = oauth1.header(method, url, Timestamp::now(), &nonce);
                Ok(Credential { header: secret_header(&header).map_err(broken)?, token: None })
            }
        }
    }

    /// A request with this credential was refused. Says whether the next one gets another.
    pub(super) async fn refused(&self, credential: &Credential) -> bool {
        match (&self.kind, &credential.token) {
            (AuthKind::Token(keeper), Some(token)) => {
                keeper.refused(token).await;
                true
            }
            (AuthKind::Fixed(_) | AuthKind::Token(_) | AuthKind::Signed(_), _) => false,
        }
    }
}

/// What is the same for the same parts, and shows none of them.
fn key(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn url(text: &str) -> Result<Url, NotUsable> {
    // The text may hold a secret.
    Url::parse(text).map_err(|error| NotUsable::Setting(format!("auth: token_url: {error}")))
}
