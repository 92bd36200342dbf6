//! Keeps a token fresh. All connectors of this process with the same credential share one keeper: there is one refresher at a
//! time, and none of them makes another's token worthless.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::grant::{Denied, Grant, Granted};
use super::kept::{Kept, Tokens};
use crate::http::exchange::Exchange;
use crate::jobs::fault::{Class, Fault};
use crate::jobs::secret::Redactor;

/// After a failed refresh the old token is used for so long before the next try, while it lasts.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a person allowed once.
pub(super) struct SignIn {
    /// The refresh token of the configuration.
    pub(super) refresh_token: String,
    pub(super) kept: Kept,
}

pub(super) struct Keeper {
    grant: Grant,
    sign_in: Option<SignIn>,
    current: tokio::sync::Mutex<Current>,
}

#[derive(Default)]
struct Current {
    token: Option<Token>,
    /// Handed out, and not on the disk yet.
    unsaved: Option<Granted>,
}

struct Token {
    access_token: String,
    /// From then on it is replaced; `None`: once it is refused.
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
}

/// The keepers of this process, by credential.
static SHARED: LazyLock<Mutex<BTreeMap<String, Weak<Keeper>>>> = LazyLock::new(Mutex::default);

impl Keeper {
    /// The keeper of a credential. `key`: what is the same for connectors that share it, and no secret itself.
    pub(super) fn shared(key: &str, grant: Grant, sign_in: Option<SignIn>) -> Arc<Self> {
        let mut all = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, keeper| keeper.strong_count() > 0);
        let known = all.get(key).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let keeper = Arc::new(Self { grant, sign_in, current: tokio::sync::Mutex::default() });
            all.insert(key.to_owned(), Arc::downgrade(&keeper));
            keeper
        })
    }

    /// A token that can be used now.
    pub(super) async fn token(
        self: &Arc<Self>,
        exchange: &Arc<Exchange>,
        redactor: &Redactor,
    ) -> Result<String, Fault> {
        if let Ok(current) = self.current.try_lock()
            && let Some(token) = current.fresh(Instant::now())
        {
            return Ok(token);
        }
        let (keeper, exchange, asker) = (Arc::clone(self), Arc::clone(exchange), redactor.clone());
        // A refresh that has begun goes on though nobody waits for it any more: its answer may be all that is left of the
        // sign-in.
        let looked = tokio::spawn(async move { keeper.look(&exchange, &asker).await });
        let looked = looked.await.unwrap_or_else(|_| {
            Err(Fault::unsent(Class::Transient, "the refresh of the token was broken off"))
        });
        looked.inspect(|token| redactor.learn_passing(token))
    }

    /// The remote has refused a token: the next one to ask gets another.
    pub(super) async fn refused(&self, access_token: &str) {
        let mut current = self.current.lock().await;
        if current.token.as_ref().is_some_and(|token| token.access_token == access_token) {
            current.token = None;
        }
    }

    async fn look(&self, exchange: &Exchange, redactor: &Redactor) -> Result<String, Fault> {
        let mut current = self.current.lock().await;
        let now = Instant::now();
        if let Some(token) = current.fresh(now) {
            return Ok(token);
        }
        match self.fresh(exchange, redactor, &mut current).await {
            Ok(granted) => {
                let token = Token::new(granted, now);
                let access_token = token.access_token.clone();
                current.token = Some(token);
                Ok(access_token)
            }
            Err(fault) => match &mut current.token {
                Some(token) if token.ends_at.is_none_or(|at| now < at) => {
                    token.renew_at = Some(now + PATIENCE);
                    Ok(token.access_token.clone())
                }
                Some(_) | None => Err(fault),
            },
        }
    }

    async fn fresh(
        &self,
        exchange: &Exchange,
        redactor: &Redactor,
        current: &mut Current,
    ) -> Result<Granted, Fault> {
        let Some(SignIn { refresh_token, kept }) = &self.sign_in else {
            return self.grant.ask(exchange, redactor, None).await.map_err(|denied| denied.fault);
        };
        let _lock = on_disk(kept, Kept::lock).await?;
        if current.unsaved.is_none() {
            let asked = self.refresh(exchange, redactor, refresh_token, kept).await;
            current.unsaved = Some(asked?);
        }
        // Until it is durable nothing that came with it is used. Should this fail, it is tried again, and not asked for again.
        let latest = current.unsaved.as_ref().and_then(|granted| granted.refresh_token.clone());
        if let Some(token) = &latest {
            redactor.learn_passing(token);
        }
        on_disk(kept, move |kept| {
            let before = kept.read()?.refresh_token;
            kept.write(Tokens { refresh_token: latest.or(before), ..Tokens::default() })
        })
        .await?;
        let gone = || Fault::unsent(Class::Transient, "the token was lost");
        current.unsaved.take().ok_or_else(gone)
    }

    async fn refresh(
        &self,
        exchange: &Exchange,
        redactor: &Redactor,
        configured: &str,
        kept: &Kept,
    ) -> Result<Granted, Fault> {
        let tokens = on_disk(kept, Kept::read).await?;
        let token = tokens.refresh_token.clone().unwrap_or_else(|| configured.to_owned());
        redactor.learn_passing(&token);
        let cut_short = tokens.asked_at.clone();
        let began = cut_short.clone().unwrap_or_else(|| Timestamp::now().to_string());
        let latest = tokens.refresh_token.clone();
        on_disk(kept, move |kept| kept.write(Tokens { asked_at: Some(began), ..tokens })).await?;
        let Denied { mut fault, is_invalid_grant, is_unknown } =
            match self.grant.ask(exchange, redactor, Some(&token)).await {
                Ok(granted) => return Ok(granted),
                Err(denied) => denied,
            };
        if !is_unknown {
            let asked_at = cut_short.clone();
            let before = Tokens { refresh_token: latest, asked_at, ..Tokens::default() };
            on_disk(kept, move |kept| kept.write(before)).await?;
        }
        if is_invalid_grant {
            let why = cut_short.map(|at| {
                format!(
                    "; a refresh at {at} was cut short, and its answer with the next token was lost"
                )
            });
            fault.message.push_str(&why.unwrap_or_default());
            fault.message.push_str("; sign in again, and give the new refresh token in auth");
        } else if fault.class == Class::Authentication {
            fault.message.push_str("; see client_id, client_secret and scope in auth");
        }
        Err(fault)
    }
}

impl Current {
    /// The token, if it is in the first half of its life.
    fn fresh(&self, now: Instant) -> Option<String> {
        let token = self.token.as_ref()?;
        token.renew_at.is_none_or(|at| now < at).then(|| token.access_token.clone())
    }
}

impl Token {
    fn new(granted: Granted, now: Instant) -> Self {
        Self {
            access_token: granted.access_token,
            renew_at: granted.lifetime.map(|lifetime| now + lifetime / 2),
            ends_at: granted.lifetime.map(|lifetime| now + lifetime),
        }
    }
}

/// Does something with the file where waiting is allowed.
async fn on_disk<T: Send + 'static>(
    kept: &Kept,
    work: impl FnOnce(&Kept) -> std::io::Result<T> + Send + 'static,
) -> Result<T, Fault> {
    let shown = kept.shown();
    let kept = kept.clone();
    let done = tokio::task::spawn_blocking(move || work(&kept)).await;
    let done = done.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|error| {
        let what = format!("the refresh token in {shown} cannot be kept: {error}");
        Fault::unsent(Class::Transient, what)
    })
}

/// Where the tokens of sign-ins are, in a connector's folder.
pub(super) fn sign_in(folder: &Path, key: &str, refresh_token: String) -> SignIn {
    let name = format!("token-{}", key.get(..32).unwrap_or(key));
    SignIn { refresh_token, kept: Kept::new(folder, &name) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reqwest::Url;

    use super::super::grant::Client;
    use super::*;
    use crate::http::allow::Allow;
    use crate::http::exchange::Bounds;
    use crate::http::resolve::System;

    fn keeper(token: Token) -> Arc<Keeper> {
        let grant = Grant {
            // Never reached.
            url: Url::parse("http://127.0.0.1:9/token").unwrap(),
            client_id: "me".to_owned(),
            client: Client::Open,
            scope: None,
            params: BTreeMap::new(),
        };
        let current = Current { token: Some(token), unsaved: None };
        Arc::new(Keeper { grant, sign_in: None, current: tokio::sync::Mutex::new(current) })
    }

    #[tokio::test]
    async fn c13_a_token_in_the_second_half_of_its_life_serves_while_no_other_can_be_had() {
        let bounds = Bounds { timeout: PATIENCE, idle: PATIENCE, body_max: 1000 };
        let exchange = Exchange::new(Allow::default(), Arc::new(System), bounds, Vec::new());
        let exchange = Arc::new(exchange.unwrap());
        let redactor = Redactor::default();
        let now = Instant::now();
        let token =
            |ends_at| Token { access_token: "old-token".to_owned(), renew_at: Some(now), ends_at };
        let lasting = keeper(token(Some(now + PATIENCE)));
        assert_eq!(lasting.token(&exchange, &redactor).await.unwrap(), "old-token");
        assert!(
            lasting.current.lock().await.fresh(Instant::now()).is_some(),
            "not asked for at once again"
        );
        let ended = keeper(token(Some(now)));
        assert_eq!(
            ended.token(&exchange, &redactor).await.unwrap_err().class,
            Class::Authentication
        );
        lasting.refused("old-token").await;
        lasting.token(&exchange, &redactor).await.unwrap_err();
        assert_eq!(redactor.redact("old-token"), "***");
    }
}
