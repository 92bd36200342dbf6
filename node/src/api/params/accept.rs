//! Which of two content types a client would rather have, by its `Accept` headers (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

/// The content type of an Automerge document.
pub const AUTOMERGE: &str = "application/vnd.automerge";

/// How well a range of types fits, and how much the client likes it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Liking {
    /// 2: it names the type; 1: all of its kind; 0: any.
    precision: u8,
    /// From 0, not at all, to 1.
    quality: f32,
}

/// Returns whether a client would rather have `first` than `second`, which is taken where it does not care. Of what it
/// likes as much it has the one that it names.
pub(crate) fn prefers(headers: &HeaderMap, first: &str, second: &str) -> bool {
    let (first, second) = (liking(headers, first), liking(headers, second));
    let Some(first) = first.filter(|first| first.quality > 0.0) else { return false };
    let Some(second) = second else { return true };
    first.quality > second.quality || first.quality == second.quality && first.precision == 2
}

/// Of all ranges that fit the type, the most precise counts.
fn liking(headers: &HeaderMap, kind: &str) -> Option<Liking> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(','));
    let likings = ranges.filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let precision = precision(parts.next()?, kind)?;
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())?
        });
        let quality = quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(1.0);
        Some(Liking { precision, quality })
    });
    likings.reduce(|best, next| if next.precision > best.precision { next } else { best })
}

fn precision(range: &str, kind: &str) -> Option<u8> {
    let family = range.strip_suffix("/*");
    let kind_family = kind.split('/').next().unwrap_or_default();
    if range.eq_ignore_ascii_case(kind) {
        Some(2)
    } else if family == Some("*") {
        Some(0)
    } else if family.is_some_and(|family| family.eq_ignore_ascii_case(kind_family)) {
        Some(1)
    } else {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_events_where_it_would_rather_have_them() {
        for (accepted, expected) in [
            ("text/event-stream", true),
            ("TEXT/Event-Stream", true),
            ("text/event-stream, */*", true),
            ("text/event-stream;q=0.9, */*;q=0.1", true),
            ("application/json;q=0.5, text/event-stream", true),
            ("text/event-stream;charset=utf-8", true),
            ("text/*", true),
            ("", false),
            ("*/*", false),
            ("application/json", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("text/event-stream;q=0", false),
            ("text/event-stream;q=0.000, */*", false),
            ("application/json, text/event-stream;q=0.5", false),
            ("text/event-stream; q=0.1, */*; q=0.2", false),
            ("application/json;note=\"text/event-stream\"", false),
            ("text/event-streams", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accepted.parse().unwrap());
            assert_eq!(
                prefers(&headers, "text/event-stream", "application/json"),
                expected,
                "{accepted}"
            );
        }
        assert!(!prefers(&HeaderMap::new(), "text/event-stream", "application/json"));
    }
}
