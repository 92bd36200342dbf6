//! Which addresses a connector may reach: those of the public network, and what `allow` names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses at which clouds hand out credentials to the one who asks from the machine: opened by their own number alone.
const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Why an address is not reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} is at {address}, which is {kind}: nothing is sent there unless the section says allow = [\"{allow}\"]"
)]
pub(super) struct Refused {
    host: String,
    address: IpAddr,
    kind: &'static str,
    allow: String,
}

/// What `allow` names.
#[derive(Clone, Debug, Default)]
pub(super) struct Allow {
    networks: Vec<IpNet>,
    hosts: Vec<String>,
}

impl Allow {
    /// Reads `allow`: addresses, networks and hosts.
    pub(super) fn read(written: &[String]) -> Result<Self, String> {
        let mut allow = Self::default();
        for text in written {
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            if let Ok(address) = bare.parse::<IpAddr>() {
                allow.networks.push(IpNet::from(plain(address)));
            } else if let Ok(network) = text.parse::<IpNet>() {
                allow.networks.push(network.trunc());
            } else if is_host(text) {
                allow.hosts.push(host_name(text));
            } else {
                return Err(format!(
                    "allow names {text:?}: expected an address (10.0.0.7), a network (10.1.0.0/16) or a host \
                     (crm.internal) without scheme, port and path"
                ));
            }
        }
        Ok(allow)
    }

    /// Whether an address may be reached as `host`, which is its own text if the URL holds the address itself.
    pub(super) fn judge(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let seen = plain(address);
        // What stands inside counts as well: an address of a translator (NAT64, 6to4) leads to the IPv4 address in it.
        for seen in std::iter::once(seen).chain(embedded(seen)) {
            let Some(kind) = kind(seen) else { continue };
            if self.networks.iter().any(|network| network.contains(&seen)) {
                continue;
            }
            if !METADATA.contains(&seen) && self.hosts.contains(&host_name(host)) {
                continue;
            }
            let allow = if METADATA.contains(&seen) { seen.to_string() } else { host.to_owned() };
            return Err(Refused { host: host.to_owned(), address, kind, allow });
        }
        Ok(())
    }
}

/// Host names are the same in any case, and with or without the last dot.
fn host_name(text: &str) -> String {
    text.trim_end_matches('.').to_ascii_lowercase()
}

fn is_host(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // Digits and dots alone were meant as an address.
    !text.is_empty()
        && text.bytes().all(is_plain)
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// An IPv4 address written as IPv6 (`::ffff:10.0.0.7`) is that IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The IPv4 addresses that an IPv6 address leads to.
fn embedded(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else { return None };
    let segments = address.segments();
    let of = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    };
    match segments {
        // ::a.b.c.d, "IPv4-compatible"; :: and ::1 are known otherwise.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => of(high, low),
        // ::ffff:0:a.b.c.d, SIIT.
        [0, 0, 0, 0, 0xffff, 0, high, low] => of(high, low),
        // 64:ff9b::/96 and 64:ff9b:1::/48, NAT64; the local prefix may be cut elsewhere, and is refused as a whole below.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        // 2002::/16, 6to4.
        [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

/// What is particular about an address; `None`: it is public.
fn kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => kind_v4(address),
        IpAddr::V6(address) => kind_v6(address),
    }
}

fn kind_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => Some("no address of a host"),
        (127, ..) => Some("this machine (loopback)"),
        (10, ..) | (192, 168, _) => Some("private"),
        (172, 16..=31, _) => Some("private"),
        (169, 254, _) => Some("link-local"),
        (100, 64..=127, _) => Some("private to a provider (100.64.0.0/10)"),
        (192, 0, 0) => Some("reserved for protocols"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Some("reserved for examples"),
        (192, 88, 99) => Some("reserved for relays"),
        (198, 18..=19, _) => Some("reserved for measurements"),
        (224..=239, ..) => Some("multicast"),
        (240..=255, ..) => Some("reserved"),
        _ => None,
    }
}

fn kind_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("this machine (loopback)"),
        [0, 0, 0, 0, 0, 0, ..] => Some("no address of a host"),
        [0x64, 0xff9b, 1, ..] => Some("of a translator of this network (NAT64)"),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("private (site-local)"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        [0x100, 0, 0, 0, ..] => Some("a hole (discard-only)"),
        // Teredo hides the address that it leads to.
        [0x2001, 0, ..] => Some("of a tunnel (Teredo)"),
        [0x2001, 0xdb8, ..] => Some("reserved for examples"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn allow(written: &[&str]) -> Allow {
        let written: Vec<String> = written.iter().map(|text| (*text).to_owned()).collect();
        Allow::read(&written).unwrap()
    }

    fn judged(allow: &Allow, address: &str) -> Result<(), Refused> {
        allow.judge("crm.example.com", address.parse().unwrap())
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        for address in [
            "127.0.0.1",
            "127.8.9.10",
            "0.0.0.0",
            "10.0.0.7",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.7",
            "::127.0.0.1",
            "::ffff:0:10.0.0.7",
            "64:ff9b::10.0.0.7",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:7::1",
            "2001::1",
            "fd00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            let refused = judged(&Allow::default(), address).unwrap_err().to_string();
            assert!(refused.contains("crm.example.com") && refused.contains("allow"), "{refused}");
        }
        for address in [
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1111",
            "64:ff9b::93.184.216.34",
            "2002:5db8:d822::1",
            "::ffff:93.184.216.34",
        ] {
            judged(&Allow::default(), address).unwrap();
        }
    }

    #[test]
    fn an_allowed_address_is_that_one_alone_and_a_network_all_of_it() {
        let allow = allow(&["10.0.0.7", "192.168.0.0/16", "[::1]"]);
        for open in ["10.0.0.7", "::ffff:10.0.0.7", "64:ff9b::10.0.0.7", "192.168.3.4", "::1"] {
            judged(&allow, open).unwrap();
        }
        for closed in ["10.0.0.8", "172.16.0.1", "127.0.0.1", "64:ff9b::10.0.0.8", "fd00::1"] {
            judged(&allow, closed).unwrap_err();
        }
    }

    #[test]
    fn an_allowed_host_opens_private_addresses_and_never_those_of_metadata() {
        let allow = allow(&["CRM.internal."]);
        for address in ["10.0.0.7", "127.0.0.1", "fd00::1", "169.254.1.1"] {
            let address = address.parse().unwrap();
            allow.judge("crm.internal", address).unwrap();
            allow.judge("other.internal", address).unwrap_err();
        }
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254"] {
            let refused = allow.judge("crm.internal", address.parse().unwrap()).unwrap_err();
            assert!(!refused.allow.contains("crm"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_address_or_host_is_refused_by_name() {
        for bad in ["", "http://crm", "crm:80", "crm/x", "10.0.0.256", "10.0.0.0/33", "*"] {
            let error = Allow::read(&[bad.to_owned()]).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")), "{error}");
        }
    }
}
