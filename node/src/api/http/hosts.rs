//! Under which names the API's port may be asked: those under which a machine reaches itself, and those of tunnels and
//! reverse proxies that the configuration names.

/// Names under which a machine reaches itself.
const LOOPBACK_NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The hosts that requests may name.
pub(crate) struct Hosts {
    port: u16,
    /// `HOST`, with any port, or `HOST:PORT`.
    others: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(port: u16, others: &[String]) -> Self {
        Self { port, others: others.to_vec() }
    }

    /// Says what is expected, for an error.
    pub(crate) fn expected(&self) -> String {
        let others = self.others.iter().map(|host| format!(" or {host}"));
        format!("127.0.0.1:{}{}", self.port, others.collect::<String>())
    }

    /// Returns whether an authority (`HOST` or `HOST:PORT`) is where this API is.
    pub(crate) fn is_own(&self, authority: &str) -> bool {
        let Some((host, port)) = parts(authority) else { return false };
        let is_loopback = LOOPBACK_NAMES.iter().any(|name| name.eq_ignore_ascii_case(host));
        is_loopback && port.is_none_or(|port| port == self.port) || self.is_other(authority)
    }

    /// Returns whether an origin (`SCHEME://AUTHORITY`) is that of a page which came from here.
    pub(crate) fn is_own_origin(&self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        match scheme {
            // A browser leaves the port out of an origin only where it is 80.
            "http"
                if self.port == 80 || parts(authority).is_some_and(|(_, port)| port.is_some()) =>
            {
                self.is_own(authority)
            }
            "http" | "https" => self.is_other(authority),
            _ => false,
        }
    }

    fn is_other(&self, authority: &str) -> bool {
        let host = parts(authority).map(|(host, _)| host);
        self.others.iter().any(|other| {
            other.eq_ignore_ascii_case(authority)
                || host.is_some_and(|host| other.eq_ignore_ascii_case(host))
        })
    }
}

/// Splits `HOST` or `HOST:PORT`; `None`: it is neither.
pub(crate) fn parts(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, rest) = authority.split_at(end);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_address = |c: char| c.is_ascii_hexdigit() || ":.".contains(c);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.chars().all(is_address),
        None => host.chars().all(is_name),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?),
        None => None,
    };
    let is_whole = is_host && host.len() <= 255 && !host.is_empty();
    (is_whole && (rest.is_empty() || port.is_some())).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_tunnels_and_proxies_are_those_that_are_named() {
        let named = ["branch.example.org".to_owned(), "localhost:9000".to_owned()];
        let hosts = Hosts::new(7000, &named);
        for own in ["127.0.0.1:7000", "localhost", "Branch.Example.org", "branch.example.org:8443"]
        {
            assert!(hosts.is_own(own), "{own}");
        }
        assert!(hosts.is_own("localhost:9000"));
        for foreign in ["localhost:9001", "example.org", "a.branch.example.org", "127.0.0.1:9000"] {
            assert!(!hosts.is_own(foreign), "{foreign}");
        }
        for (origin, expected) in [
            ("https://branch.example.org", true),
            ("http://branch.example.org:8443", true),
            ("http://localhost:9000", true),
            ("https://127.0.0.1:7000", false),
            ("ftp://branch.example.org", false),
            ("https://branch.example.org.evil.example", false),
            ("http://localhost", false),
        ] {
            assert_eq!(hosts.is_own_origin(origin), expected, "{origin}");
        }
    }

    #[test]
    fn what_is_no_host_is_none() {
        for host in
            ["", ":1", "a:", "a:b", "a:+1", "a:65536", "a/b", "http://a", "[::1", "[x]", "a b", "*"]
        {
            assert_eq!(parts(host), None, "{host}");
        }
        assert_eq!(parts("[::1]:80"), Some(("[::1]", Some(80))));
    }
}
