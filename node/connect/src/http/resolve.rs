//! Names become addresses here, and only those that may be reached: whatever a name means at one moment and at the next,
//! the connection goes to an address that was judged.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::allow::{Allow, Refused};

/// Where addresses of names come from.
pub(super) trait Lookup: Send + Sync {
    /// The addresses of a name, at this moment.
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The machine's own way.
pub(super) struct System;

impl Lookup for System {
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    }
}

pub(super) struct Resolver {
    pub(super) allow: Arc<Allow>,
    pub(super) lookup: Arc<dyn Lookup>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let allow = Arc::clone(&self.allow);
        let found = self.lookup.addresses(host.clone());
        async move {
            let open = open(&allow, &host, found.await?)?;
            let addresses = open.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        }
        .boxed()
    }
}

/// The addresses that may be reached; none of them is an error, that of the first.
fn open(allow: &Allow, host: &str, found: Vec<IpAddr>) -> Result<Vec<IpAddr>, Refused> {
    let mut open = Vec::new();
    let mut refused = None;
    for address in found {
        match allow.judge(host, address) {
            Ok(()) => open.push(address),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(refused) if open.is_empty() => Err(refused),
        Some(_) | None => Ok(open),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_a_names_addresses_those_that_may_be_reached_remain() {
        let found = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let allow = Allow::default();
        let mixed = found(&["10.0.0.1", "93.184.216.34", "::1"]);
        assert_eq!(open(&allow, "x", mixed).unwrap(), found(&["93.184.216.34"]));
        let refused = open(&allow, "x", found(&["10.0.0.1", "::1"])).unwrap_err();
        assert!(refused.to_string().contains("10.0.0.1"), "{refused}");
        assert!(open(&allow, "x", Vec::new()).unwrap().is_empty());
    }
}
