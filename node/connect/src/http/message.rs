//! Requests, and answers.

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, LINK};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

use super::link;
use crate::jobs::fault::{Class, Fault, excerpt};
use crate::jobs::secret::Redactor;

/// What is asked.
#[derive(Clone)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where: `http` or `https`.
    pub url: String,
    /// Headers beside those of the service's own credential.
    pub headers: Vec<(String, String)>,
    /// The body: JSON, unless a header says otherwise.
    pub body: Option<String>,
}

impl Request {
    /// A `GET` of a URL.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, url: url.into(), headers: Vec::new(), body: None }
    }

    /// A request with a body of JSON.
    #[must_use]
    pub fn json(method: Method, url: impl Into<String>, body: &serde_json::Value) -> Self {
        let body = Some(body.to_string());
        Self { method, url: url.into(), headers: Vec::new(), body }
    }

    /// With another header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// URL and headers may hold secrets.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request {}", about(&self.method, &self.url))
    }
}

/// What came back: an answer that says that the request succeeded.
#[derive(Clone)]
pub struct Answer {
    /// 200 to 299.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, inflated, as text.
    pub body: String,
    /// Where it came from, after redirects.
    pub(super) url: Url,
    /// What was asked, for errors.
    pub(super) about: String,
    pub(super) redactor: Redactor,
}

/// Headers and body may hold secrets.
impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer {} to {}", self.status, self.redactor.redact(&self.about))
    }
}

impl Answer {
    /// The remote's own clock when it answered.
    #[must_use]
    pub fn date(&self) -> Option<Timestamp> {
        date(&self.headers)
    }

    /// The URL of the next page, where the `Link` header has one.
    ///
    /// # Errors
    /// It leads to another scheme, host or port, where the credential has no business.
    pub fn next_link(&self) -> Result<Option<String>, Fault> {
        let links = self.headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
        let Some(next) = links.filter_map(link::next).next() else { return Ok(None) };
        let shown = |what: &str| self.fault(Class::Permanent, format!("its next link {what}"));
        let url = self.url.join(next).map_err(|error| shown(&format!("is not a URL: {error}")))?;
        if url.origin() != self.url.origin() {
            return Err(shown(&format!(
                "leads to {}: expected one on {}",
                url.origin().ascii_serialization(),
                self.url.origin().ascii_serialization()
            )));
        }
        Ok(Some(url.into()))
    }

    /// Reads the body as JSON. Numbers keep their text.
    ///
    /// # Errors
    /// It is no JSON, or not of that shape: transient, since services in trouble answer with pages for people.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        self.expect_json()?;
        serde_json::from_str(&self.body).map_err(|error| {
            let found = self.excerpt();
            self.fault(Class::Transient, format!("expected JSON: {error}; found {found:?}"))
        })
    }

    /// Refuses bodies that say of themselves that they are no JSON.
    ///
    /// # Errors
    /// The type is that of a page.
    pub fn expect_json(&self) -> Result<(), Fault> {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Some(kind) = kind else { return Ok(()) };
        let kind = kind.split(';').next().unwrap_or(kind).trim().to_ascii_lowercase();
        // Services send JSON as text/plain and worse; what is no JSON is found when it is read. A page is one.
        let is_page = kind == "text/html"
            || kind == "text/xml"
            || kind.ends_with("/xml")
            || kind.ends_with("+xml");
        if !is_page {
            return Ok(());
        }
        let found = self.excerpt();
        Err(self.fault(Class::Transient, format!("expected JSON, found {kind}: {found}")))
    }

    /// The body's beginning. What is cut cannot be recognised as a secret any more.
    fn excerpt(&self) -> String {
        excerpt(&self.redactor.redact(&self.body))
    }

    /// A fault that is about this answer.
    #[must_use]
    pub fn fault(&self, class: Class, what: impl AsRef<str>) -> Fault {
        let message = format!("{}: {} and {}", self.about, self.status, what.as_ref());
        Fault::answer(class, self.status, self.redactor.redact(&message))
    }
}

/// The clock of who answered.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    headers.get(DATE)?.to_str().ok().and_then(http_date)
}

/// Reads a date as HTTP writes it.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|date| date.timestamp())
}

/// What is asked, for errors: neither user nor query, which may hold names and secrets.
pub(super) fn about(method: &Method, url: &str) -> String {
    let shown = match Url::parse(url) {
        Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
        Err(_) => "a URL that cannot be read".to_owned(),
    };
    format!("{method} {shown}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn answer(headers: &[(HeaderName, &'static str)], body: &str) -> Answer {
        let headers =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Answer {
            status: 200,
            headers: headers.collect(),
            body: body.to_owned(),
            url: Url::parse("https://x/a/b?page=1").unwrap(),
            about: "GET https://x/a/b".to_owned(),
            redactor: Redactor::default(),
        }
    }

    #[test]
    fn the_providers_clock_is_read_from_its_date() {
        let answer = answer(&[(DATE, "Sun, 06 Nov 1994 08:49:37 GMT")], "");
        assert_eq!(answer.date().unwrap().to_string(), "1994-11-06T08:49:37Z");
    }

    #[test]
    fn a_next_link_is_followed_on_its_own_place_alone() {
        let next = |value| answer(&[(LINK, value)], "").next_link();
        assert_eq!(next("</a/c?page=2>; rel=next").unwrap().unwrap(), "https://x/a/c?page=2");
        assert_eq!(next("<?page=2>; rel=next").unwrap().unwrap(), "https://x/a/b?page=2");
        assert_eq!(next("</a>; rel=last").unwrap(), None);
        let fault = next("<https://evil/a>; rel=next").unwrap_err();
        assert_eq!(fault.class, Class::Permanent);
        assert!(fault.message.contains("https://evil"), "{fault}");
    }

    #[test]
    fn a_page_instead_of_json_is_said_and_shown() {
        let page = answer(&[(CONTENT_TYPE, "text/html; charset=utf-8")], "<h1>Maintenance</h1>");
        let fault = page.json::<serde_json::Value>().unwrap_err();
        assert_eq!(fault.class, Class::Transient);
        for part in ["GET https://x/a/b", "text/html", "<h1>Maintenance</h1>"] {
            assert!(fault.message.contains(part), "{fault}");
        }
        let cut = answer(&[(CONTENT_TYPE, "application/json")], "{\"a\": ");
        assert!(cut.json::<serde_json::Value>().unwrap_err().message.contains("EOF"));
        let plain = answer(&[(CONTENT_TYPE, "text/plain")], "{\"price\": 12.50}");
        assert_eq!(plain.json::<serde_json::Value>().unwrap().to_string(), "{\"price\":12.50}");
    }

    #[test]
    fn what_is_shown_of_a_request_holds_neither_user_nor_query() {
        let request = Request::get("https://me:pw@x:8443/a?token=t");
        assert_eq!(format!("{request:?}"), "Request GET https://x:8443/a");
    }
}
