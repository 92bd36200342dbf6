//! One remote service over HTTP: asked within what the configuration allows, at its pace, and never trusted.
//!
//! | file | what |
//! |---|---|
//! | `config` | `allow`, `auth`, `rate` and so on of a connector's section |
//! | `message` | requests and answers, `link` their links |
//! | `service` | one request's way: limiter, credential, client, answer, what a failure means |
//! | `exchange` | one request and its answer, without any of that |
//! | `allow`, `resolve` | which addresses may be reached |
//! | `authorities` | who vouches for services over https |
//! | `body` | answers inflated and bounded |
//! | `limits` | what the remote says about how often it may be asked |
//! | `verdict` | what a status means |
//! | `auth` | credentials |

mod allow;
mod auth;
mod authorities;
mod body;
mod config;
mod exchange;
mod limits;
mod link;
mod message;
mod resolve;
mod service;
#[cfg(test)]
mod tests;
mod verdict;

pub use auth::{Algorithm, AssertionConfig, AssertionGrant, AuthConfig, ClientAuth};
pub(crate) use authorities::read as read_authorities;
pub use config::ServiceConfig;
pub use link::same_origin;
pub use message::{Answer, Request};
pub use reqwest::Method;
pub use service::{NotUsable, Service};
