//! Clients of the API that mean harm, or are broken: each is refused, and the node goes on serving the others.

mod bodies;
mod requests;
mod slow;

use std::net::SocketAddr;
use std::path::Path;

use branchline_tests::Office;
use branchline_tests::wire::{Reply, Wire};

use crate::PROGRAM;

/// A running office and what one needs to ask it.
struct Site {
    office: Office,
    address: SocketAddr,
    token: String,
}

impl Site {
    fn start(folder: &Path) -> Self {
        let mut office = Office::init(PROGRAM, folder, "head", true);
        office.start();
        let (address, token) = office.api();
        Self { office, address, token }
    }

    /// The head of a request with token and host, open for more headers.
    fn head(&self, method: &str, path: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n",
            self.address, self.token
        )
    }

    /// A whole request.
    fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        let head = self.head(method, path);
        format!("{head}{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
    }

    fn send(&self, bytes: &[u8]) -> Option<Reply> {
        let mut wire = Wire::to(self.address);
        wire.send(bytes);
        wire.reply()
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        self.send(&self.request(method, path, headers, body)).expect("an answer")
    }

    /// Sends one request, and asserts that it is refused with this status and code, and that the node goes on.
    #[track_caller]
    fn refuses(&self, bytes: &[u8], status: u16, code: &str) {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let reply = self.send(bytes).unwrap_or_else(|| panic!("no answer to {shown}"));
        let found = (reply.status, reply.code());
        assert_eq!(found, (status, Some(code.to_owned())), "{shown}");
        self.is_well();
    }

    /// Sends what is no HTTP, and asserts that the connection ends, with an error at the most.
    #[track_caller]
    fn drops(&self, bytes: &[u8]) {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let mut wire = Wire::to(self.address);
        wire.send(bytes);
        wire.end();
        if let Some(reply) = wire.reply() {
            assert!((400..600).contains(&reply.status), "{shown}: {reply:?}");
            assert!(reply.code().is_some(), "{shown}: {reply:?}");
        }
        assert!(wire.is_closed(), "{shown}");
        self.is_well();
    }

    /// Asserts that another client is served, and nothing was written that should not be.
    #[track_caller]
    fn is_well(&self) {
        let reply = self.ask("GET", "/v1/collections", "", "");
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.body, br#"{"collections":[]}"#, "something was written");
    }

    /// Most memory that the node has ever had, in bytes.
    fn memory_peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.office.pid()));
        let status = status.expect("the process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a size") * 1024
    }
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn only_the_token_in_its_header_opens() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let (host, token) = (site.address, site.token.clone());
    let ask = |path: &str, header: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{header}\r\n").into_bytes()
    };
    let almost = format!("{}{}", &token[..63], if token.ends_with('0') { '1' } else { '0' });
    for header in [
        String::new(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: Bearer {almost}\r\n"),
        format!("Authorization: Bearer {}\r\n", &token[..63]),
        format!("Authorization: Bearer {token}0\r\n"),
        format!("Authorization: Bearer {}\r\n", token.to_uppercase() + "A"),
        format!("Authorization: Basic {token}\r\n"),
        format!("Authorization: {token}\r\n"),
        format!("X-Authorization: Bearer {token}\r\n"),
        format!("Cookie: token={token}\r\n"),
        format!("Authorization: Bearer {almost}\r\nAuthorization: Bearer {token}\r\n"),
        format!("Authorization: Bearer {token}\r\nAuthorization: Bearer {almost}\r\n"),
    ] {
        site.refuses(&ask("/v1/status", &header), 401, "unauthorized");
    }
    // Queries end up in logs and histories.
    for path in [
        format!("/v1/status?token={token}"),
        format!("/v1/status?access_token={token}"),
        format!("/v1/records/products?authorization=Bearer%20{token}"),
    ] {
        site.refuses(&ask(&path, ""), 401, "unauthorized");
    }
    // What there is shows to nobody without the token.
    for path in ["/", "/v1", "/v1/nothing", "/metrics", "/healthz/", "//healthz"] {
        site.refuses(&ask(path, ""), 401, "unauthorized");
    }
    assert_eq!(site.send(&ask("/healthz", "")).unwrap().body, b"ok");
    // Many wrong tokens lock nobody out.
    for _ in 0..300 {
        let guess = ask("/v1/status", "Authorization: Bearer guess\r\n");
        assert_eq!(site.send(&guess).unwrap().status, 401);
    }
    site.is_well();
}

#[test]
fn pages_in_a_browser_are_refused_even_with_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path());
    let port = site.address.port();
    let record = "/v1/records/products/tea";
    for origin in [
        "http://evil.example".to_owned(),
        "null".to_owned(),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}.evil.example"),
        format!("http://127.0.0.1.evil.example:{port}"),
        format!("http://evil.example@127.0.0.1:{port}"),
        format!("http://localhost:{}", port ^ 1),
        "http://127.0.0.1".to_owned(),
        String::new(),
    ] {
        let header = format!("Origin: {origin}\r\n{JSON}");
        site.refuses(&site.request("PUT", record, &header, "{}"), 403, "wrong_origin");
        // A preflight is not answered with permissions.
        let preflight = format!("Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n");
        let reply = site.ask("OPTIONS", record, &preflight, "");
        assert_eq!(reply.status, 403);
        assert!(!reply.head.contains("access-control-"), "{}", reply.head);
    }
    for fetch_site in ["cross-site", "same-site", "anything"] {
        let header = format!("Sec-Fetch-Site: {fetch_site}\r\n");
        site.refuses(&site.request("GET", "/v1/status", &header, ""), 403, "wrong_origin");
        site.refuses(&site.request("GET", "/healthz", &header, ""), 403, "wrong_origin");
    }
    // What a form can send without a preflight.
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a", "x"]
    {
        let header = format!("Content-Type: {kind}\r\n");
        let put = site.request("PUT", record, &header, "{}");
        site.refuses(&put, 415, "unsupported_media_type");
        let import = site.request("POST", "/v1/import/products", &header, "{}");
        site.refuses(&import, 415, "unsupported_media_type");
    }
    // A name of the page's own that resolves to this machine.
    let (token, own) = (&site.token, site.address);
    for host in [
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1:1",
        "0.0.0.0",
        "[::]",
        "2130706433",
        "",
    ] {
        let ask = format!(
            "GET /v1/status HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        site.refuses(ask.as_bytes(), 421, "wrong_host");
    }
    for head in [
        "GET /v1/status HTTP/1.1\r\n".to_owned(),
        format!("GET /v1/status HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n"),
        format!("GET http://evil.example/v1/status HTTP/1.1\r\nHost: {own}\r\n"),
        format!("GET http://{own}@evil.example/v1/status HTTP/1.1\r\nHost: {own}\r\n"),
        format!("GET http://{own}/v1/status HTTP/1.1\r\nHost: evil.example\r\n"),
    ] {
        let ask = format!("{head}Authorization: Bearer {token}\r\n\r\n");
        site.refuses(ask.as_bytes(), 421, "wrong_host");
    }
}
