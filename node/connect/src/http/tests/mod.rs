//! Services that misbehave: real sockets, and servers written by hand, since a proper one would refuse to do most of it.

mod answers;
#[path = "../../../tests/tls/mod.rs"]
mod authorities;
mod limits;
mod places;
mod server;
mod sign_in;
mod tls;
mod tokens;

use std::path::Path;

use super::{Request, Service, ServiceConfig};

/// Settings under which servers of this machine may be asked.
fn config(more: &str) -> ServiceConfig {
    toml::from_str(&format!("allow = [\"127.0.0.1\"]\n{more}")).unwrap()
}

/// A service that keeps nothing.
fn service(name: &str, more: &str) -> Service {
    Service::new(name, &config(more), Path::new("/nonexistent")).unwrap()
}

fn get(server: &server::HttpTestServer, path: &str) -> Request {
    Request::get(format!("{}{path}", server.url))
}
