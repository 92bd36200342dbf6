//! The page as a browser sees it, without one: requests to its router, beside a real node.

mod letting_in;
mod views;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use branchline_node::extension::Sections;
use branchline_node::{Config, Node, init};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::config::PageConfig;
use crate::guard;
use crate::office::Office;
use crate::sign_in::users::{Role, Users};
use crate::sign_in::{Ends, cookie};

const OWN: &str = "127.0.0.1:7080";
pub(super) const PASSWORD: &str = "correct horse battery";

/// An office with its page, and a browser.
pub(super) struct Scene {
    node: Option<Node>,
    pub(super) office: Arc<Office>,
    app: Router,
    pub(super) data: TempDir,
    /// The cookie that the browser holds.
    pub(super) secret: String,
}

/// What the browser got.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    #[track_caller]
    pub(super) fn ok(self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.text
    }

    pub(super) fn place(&self) -> &str {
        self.headers.get(header::LOCATION).map_or("", |place| place.to_str().unwrap())
    }
}

impl Scene {
    /// An office whose configuration has this section.
    pub(super) async fn with(page: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        init(data.path(), "head", true).unwrap();
        let mut config = Config::new(data.path());
        config.settings.listen = Vec::new();
        config.settings.mdns = false;
        let node =
            Node::builder(config).with(branchline_connect::extension()).start().await.unwrap();
        let folder = data.path().join("page");
        crate::sign_in::users::private_folder(&folder).unwrap();
        let sections = Sections::new("branchline.toml", page);
        let config = PageConfig::read(&sections, &folder).unwrap();
        let office = Arc::new(Office::new(node.handle(), folder, config));
        office.set_served(Some((OWN.parse().unwrap(), false)));
        office.learn_name().await;
        let app = guard::app(Arc::clone(&office));
        Self { node: Some(node), office, app, data, secret: String::new() }
    }

    /// The same, with somebody signed in who came by a link.
    pub(super) async fn signed_in() -> Self {
        let mut scene = Self::with("").await;
        let link = scene.office.links.make(Instant::now()).unwrap();
        let answer = scene.get(&format!("/sign-in/{link}")).await;
        scene.keep(&answer);
        scene
    }

    /// The same, with a viewer.
    pub(super) async fn of_viewer() -> Self {
        let mut scene = Self::with("").await;
        scene.add_user("ana", Role::Viewer);
        let answer = scene.sign_in("ana", PASSWORD).await;
        scene.keep(&answer);
        scene
    }

    pub(super) fn add_user(&self, name: &str, role: Role) {
        Users::of_site(self.data.path()).add(name, role, PASSWORD).unwrap();
    }

    pub(super) async fn sign_in(&self, name: &str, password: &str) -> Answer {
        self.send(Method::POST, "/sign-in", &[], &[("name", name), ("password", password)]).await
    }

    /// Keeps the cookie of an answer.
    #[track_caller]
    pub(super) fn keep(&mut self, answer: &Answer) {
        let set = answer.headers.get(header::SET_COOKIE).expect("a cookie").to_str().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, set.split(';').next().unwrap().parse().unwrap());
        self.secret = cookie(&headers, &self.office.cookie_name()).unwrap();
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], &[]).await
    }

    /// Sends a form with the session's token.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = crate::sign_in::secret::form_token(&self.secret);
        let mut all = vec![(crate::form::TOKEN, token.as_str())];
        all.extend_from_slice(fields);
        self.send(Method::POST, path, &[], &all).await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(&method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(header::HOST, OWN);
        }
        if !self.secret.is_empty() && !headers.iter().any(|(name, _)| *name == "cookie") {
            let pair = format!("{}={}", self.office.cookie_name(), self.secret);
            request = request.header(header::COOKIE, pair);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        self.exchange(request.body(Body::from(form.finish())).unwrap()).await
    }

    pub(super) async fn exchange(&self, mut request: Request<Body>) -> Answer {
        let local: SocketAddr = OWN.parse().unwrap();
        request.extensions_mut().insert(Ends { peer: "127.0.0.1:40000".parse().unwrap(), local });
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 * 1024 * 1024).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// Writes a record, as a program would.
    pub(super) async fn put(&self, record: &str, fields: serde_json::Value) {
        let path = format!("/v1/records/{record}");
        let put = self.office.ask.json::<serde_json::Value>(Method::PUT, &path, &[], &fields);
        put.await.unwrap();
    }

    pub(super) async fn stop(mut self) {
        self.office.ask.close();
        self.node.take().unwrap().shutdown().await;
    }
}
