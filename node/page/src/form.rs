//! What browsers send where somebody changes something.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use crate::layout;
use crate::office::Office;
use crate::sign_in::Viewer;

/// Largest form: a record may have 4 MiB, and percent-encoding makes three bytes of one.
const FORM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest form of somebody who is not signed in: a name and a password.
const UNSIGNED_BYTES_MAX: usize = 8 * 1024;
/// Most fields of a form.
const FIELDS_MAX: usize = 10_000;
/// The field that shows that a form is of this session.
pub(crate) const TOKEN: &str = "form_token";

/// The fields of a form, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// The first value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The first value of a field that is not empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// All fields.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The path of the view that the form was on: of this page, and no other.
    pub(crate) fn back(&self) -> Option<&str> {
        let path = self.get("back")?;
        let is_own = path.starts_with('/')
            && !path.starts_with("//")
            && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        is_own.then_some(path)
    }

    /// The pairs of an address's query.
    pub(crate) fn of_query(uri: &Uri) -> Self {
        Self::of(uri.query().unwrap_or_default().as_bytes())
    }

    #[cfg(test)]
    pub(crate) fn from_pairs(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    fn of(bytes: &[u8]) -> Self {
        let pairs = url::form_urlencoded::parse(bytes).take(FIELDS_MAX);
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }
}

/// A form of somebody who may change something, from a page of this session.
pub(crate) struct Write<T>(pub(crate) T);

impl FromRequest<Arc<Office>> for Write<Fields> {
    type Rejection = Response;

    async fn from_request(request: Request, office: &Arc<Office>) -> Result<Self, Response> {
        let path = request.uri().path().to_owned();
        let Some(viewer) = request.extensions().get::<Viewer>().cloned() else {
            return Err(StatusCode::UNAUTHORIZED.into_response());
        };
        let fields = read(request, FORM_BYTES_MAX).await?;
        let token = fields.get(TOKEN).unwrap_or_default();
        check(office, &viewer, &path, token)?;
        Ok(Self(fields))
    }
}

/// Refuses a change by a viewer, and one that did not come from a page of this session.
pub(crate) fn check(
    office: &Office,
    viewer: &Viewer,
    path: &str,
    token: &str,
) -> Result<(), Response> {
    let t = viewer.t;
    let refuse = |text: &str| Err(layout::refused(office, viewer, StatusCode::FORBIDDEN, text));
    if !bool::from(token.as_bytes().ct_eq(viewer.form_token.as_bytes())) {
        return refuse(t.form_is_foreign);
    }
    if !viewer.may_change() && !is_own_matter(path) {
        return refuse(t.viewers_change_nothing);
    }
    Ok(())
}

/// What concerns nobody but the viewer.
fn is_own_matter(path: &str) -> bool {
    matches!(path, "/sign-out" | "/language" | "/dismiss")
}

/// The form of somebody who is not signed in yet.
pub(crate) struct Unsigned(pub(crate) Fields);

impl<S: Send + Sync> FromRequest<S> for Unsigned {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        Ok(Self(read(request, UNSIGNED_BYTES_MAX).await?))
    }
}

async fn read(request: Request, bytes_max: usize) -> Result<Fields, Response> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response());
    }
    match to_bytes(request.into_body(), bytes_max).await {
        Ok(bytes) => Ok(Fields::of(&bytes)),
        Err(_) => Err(StatusCode::PAYLOAD_TOO_LARGE.into_response()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_leads_to_this_page_alone() {
        for (back, expected) in [
            ("/records/products?where=a", Some("/records/products?where=a")),
            ("//evil.example/", None),
            ("/\\evil.example/", None),
            ("https://evil.example/", None),
            ("/a\r\nset-cookie: b", None),
            ("", None),
        ] {
            let fields = Fields(vec![("back".to_owned(), back.to_owned())]);
            assert_eq!(fields.back(), expected, "{back}");
        }
    }
}
