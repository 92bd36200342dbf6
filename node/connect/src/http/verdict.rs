//! What an answer's status means for what comes next.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::limits;
use crate::jobs::fault::{Class, Done};

/// What a refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: Class,
    pub(super) done: Done,
    /// Whether the remote has had too much.
    pub(super) is_overload: bool,
}

/// Judges an answer that is no success. `overload`: texts in its body that mean that there was too much.
pub(super) fn verdict(
    status: StatusCode,
    headers: &HeaderMap,
    body: &str,
    overload: &[String],
) -> Verdict {
    let no = |class| Verdict { class, done: Done::No, is_overload: false };
    let overloaded = |done| Verdict { class: Class::Transient, done, is_overload: true };
    if overload.iter().any(|text| body.contains(text.as_str())) {
        let done = if status.is_client_error() { Done::No } else { Done::Unknown };
        return overloaded(done);
    }
    match status.as_u16() {
        429 => overloaded(Done::No),
        503 | 529 => overloaded(Done::Unknown),
        // A time-out of theirs, and a conflict with a request that may be our own of before.
        408 => Verdict { done: Done::Unknown, ..no(Class::Transient) },
        409 if limits::is_limited(headers) => {
            Verdict { done: Done::Unknown, ..no(Class::Transient) }
        }
        425 => no(Class::Transient),
        401 | 407 => no(Class::Authentication),
        400..=499 if limits::is_limited(headers) => overloaded(Done::No),
        // With a challenge it is about who asks; without, about this one item.
        403 if headers.contains_key(WWW_AUTHENTICATE) => no(Class::Authentication),
        // What is not built there will not be built by waiting.
        501 | 505 => no(Class::Permanent),
        500..=599 => Verdict { done: Done::Unknown, ..no(Class::Transient) },
        _ => no(Class::Permanent),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn judged(status: u16, header: Option<(&'static str, &'static str)>, body: &str) -> Verdict {
        let pair = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers = header.into_iter().map(pair).collect();
        let overload = ["Invalid login attempt".to_owned()];
        verdict(StatusCode::from_u16(status).unwrap(), &headers, body, &overload)
    }

    #[test]
    fn c26_what_is_worth_another_try_is_told_from_what_is_not() {
        for (status, class, done) in [
            (400, Class::Permanent, Done::No),
            (403, Class::Permanent, Done::No),
            (404, Class::Permanent, Done::No),
            (409, Class::Permanent, Done::No),
            (413, Class::Permanent, Done::No),
            (422, Class::Permanent, Done::No),
            (501, Class::Permanent, Done::No),
            (401, Class::Authentication, Done::No),
            (407, Class::Authentication, Done::No),
            (408, Class::Transient, Done::Unknown),
            (425, Class::Transient, Done::No),
            (429, Class::Transient, Done::No),
            (500, Class::Transient, Done::Unknown),
            (502, Class::Transient, Done::Unknown),
            (503, Class::Transient, Done::Unknown),
            (504, Class::Transient, Done::Unknown),
            (599, Class::Transient, Done::Unknown),
        ] {
            let verdict = judged(status, None, "");
            assert_eq!((verdict.class, verdict.done), (class, done), "{status}");
        }
    }

    #[test]
    fn c24_limits_come_as_other_statuses_too() {
        for (status, header, is_overload) in [
            (429, None, true),
            (503, None, true),
            (403, Some(("retry-after", "5")), true),
            (403, Some(("x-ratelimit-remaining", "0")), true),
            (403, Some(("x-ratelimit-remaining", "9")), false),
            (400, Some(("retry-after", "5")), true),
            (500, None, false),
        ] {
            let verdict = judged(status, header, "");
            assert_eq!(verdict.is_overload, is_overload, "{status} {header:?}");
        }
        let conflict = judged(409, Some(("retry-after", "1")), "");
        assert_eq!((conflict.class, conflict.done), (Class::Transient, Done::Unknown));
        let challenge = judged(403, Some(("www-authenticate", "Bearer")), "");
        assert_eq!(challenge.class, Class::Authentication);
    }

    #[test]
    fn c25_an_overload_that_calls_itself_something_else_is_known_by_its_text() {
        for status in [400, 401, 403, 500] {
            let verdict = judged(status, None, "{\"title\": \"Invalid login attempt.\"}");
            assert_eq!((verdict.class, verdict.is_overload), (Class::Transient, true), "{status}");
        }
        assert_eq!(judged(401, None, "Invalid token").class, Class::Authentication);
    }
}
