//! Who looks at the page: signed in by a link that serves once, or with a name and a password.

mod attempts;
mod door;
pub(crate) mod links;
pub(crate) mod secret;
pub(crate) mod sessions;
pub mod users;

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::{Deserialize, Serialize};

use crate::live::Version;
use crate::office::Office;
use crate::texts::{self, Texts};

pub(crate) use attempts::Attempts;
pub(crate) use door::{choose_language, routes, sign_out};

/// What somebody may do on the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything, and change nothing.
    Viewer,
    /// Change what the page can change.
    Operator,
}

impl Role {
    /// As it stands in files and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "viewer" => Ok(Self::Viewer),
            "operator" => Ok(Self::Operator),
            found => Err(format!("the role is {found:?}, expected viewer or operator")),
        }
    }
}

/// Where a connection comes from, and where it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// Somebody who is signed in, and looks at a view.
#[derive(Clone)]
pub(crate) struct Viewer {
    /// The name; `None`: the owner of the data folder.
    pub(crate) name: Option<String>,
    pub(crate) role: Role,
    /// What forms carry.
    pub(crate) form_token: String,
    /// The words that are shown.
    pub(crate) t: &'static Texts,
    /// The session's secret.
    pub(crate) secret: String,
    /// What had happened when the view was asked for.
    pub(crate) seen: Version,
}

impl Viewer {
    /// Finds out who sends a request; `None`: nobody who is signed in.
    pub(crate) fn of(office: &Office, headers: &HeaderMap) -> Option<Self> {
        let secret = cookie(headers, &office.cookie_name())?;
        let session = office.sessions.find(&secret, office.now_ms())?;
        let (name, role) = match &session.user {
            None => (None, session.role),
            Some(name) => {
                let users = office.users.now();
                // A user who is gone, or has another password, is signed in no more.
                let user = users.into_iter().find(|user| user.name == *name)?;
                if user.mark() != session.mark {
                    return None;
                }
                (Some(user.name), user.role)
            }
        };
        let t = texts::choose(session.language.as_deref(), headers);
        let (form_token, seen) = (secret::form_token(&secret), office.live.version());
        Some(Self { name, role, form_token, t, secret, seen })
    }

    pub(crate) fn may_change(&self) -> bool {
        self.role == Role::Operator
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = axum::http::StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // The guard has put it there.
        parts.extensions.get().cloned().ok_or(axum::http::StatusCode::UNAUTHORIZED)
    }
}

/// The value of a cookie. Where several are called so, it is none: one of them was put there by somebody else.
pub(crate) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let mut values = pairs.filter(|(found, _)| *found == name).map(|(_, value)| value.to_owned());
    let value = values.next()?;
    values.next().is_none().then_some(value)
}
