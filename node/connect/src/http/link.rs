//! The `Link` header (RFC 8288), and what counts as the same place.

use reqwest::Url;

/// Whether two URLs have scheme, host and port in common: what a credential is good for.
#[must_use]
pub fn same_origin(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one.origin() == other.origin(),
        (Ok(_) | Err(_), _) => false,
    }
}

/// The target of the first link with `rel=next` in a header's value, as it is written.
pub(super) fn next(header: &str) -> Option<&str> {
    let mut rest = header;
    loop {
        let (_, behind) = rest.split_once('<')?;
        let (target, behind) = behind.split_once('>')?;
        let (parameters, behind) = parameters(behind);
        let is_next = parameters.iter().any(|(name, value)| {
            let one = |word: &str| word.eq_ignore_ascii_case("next");
            name.eq_ignore_ascii_case("rel") && value.split_ascii_whitespace().any(one)
        });
        if is_next {
            return Some(target.trim());
        }
        rest = behind;
    }
}

/// The parameters of one link, and what follows behind its comma.
fn parameters(text: &str) -> (Vec<(&str, &str)>, &str) {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while let Some(behind) = rest.strip_prefix(';') {
        let end = behind.find(['=', ';', ',']).unwrap_or(behind.len());
        let name = behind[..end].trim();
        rest = &behind[end..];
        let Some(value) = rest.strip_prefix('=').map(str::trim_start) else { continue };
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => value.split_at(value.find([';', ',']).unwrap_or(value.len())),
        };
        parameters.push((name, value.trim()));
        rest = behind.trim_start();
    }
    (parameters, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        for (header, found) in [
            ("<https://x/a?page=2>; rel=\"next\"", Some("https://x/a?page=2")),
            ("<https://x/1>; rel=\"prev\", <https://x/3>; rel=\"next\"", Some("https://x/3")),
            ("<a,b;c>;rel=next", Some("a,b;c")),
            ("</3>; title=\"a, <b>; rel=\\\"\"; rel=\"last next\"", None),
            ("</3>; title=\"a, <b>; c\"; rel=\"last NEXT\"", Some("/3")),
            ("</3> ; REL = next ; x", Some("/3")),
            ("</3>; rel=\"nextish\"", None),
            ("</3>; flag; rel=next", Some("/3")),
            ("</3>", None),
            ("next", None),
            ("<", None),
            ("", None),
        ] {
            assert_eq!(next(header), found, "{header}");
        }
    }

    #[test]
    fn a_place_is_scheme_host_and_port() {
        assert!(same_origin("https://x/a", "https://X:443/b?c"));
        for other in ["http://x/a", "https://y/a", "https://x:8443/a", "/a", "https://x.y/a"] {
            assert!(!same_origin("https://x/a", other), "{other}");
        }
    }
}
