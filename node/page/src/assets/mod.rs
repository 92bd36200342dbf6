//! The style sheet and the scripts: part of the program, under names that change with what is in them. Nothing is fetched
//! from elsewhere.
//!
//! | file | whose |
//! |---|---|
//! | `htmx.min.js` | htmx 2.0.11 (`LICENSE-htmx`), as npm has it |
//! | `sse.min.js` | its extension for server-sent events, 2.2.4 (`LICENSE-htmx-ext-sse`), as npm has it |
//! | `page.js`, `page.css`, `icon.svg` | of this program |

use std::io::Write;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::office::Office;

/// Where they lie.
pub(crate) const PATH: &str = "/assets/";
/// They never change under one name.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

struct Asset {
    name: String,
    kind: &'static str,
    content: &'static [u8],
    packed: Vec<u8>,
}

static ASSETS: LazyLock<[Asset; 5]> = LazyLock::new(|| {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    [
        Asset::new("page.css", "text/css; charset=utf-8", include_bytes!("page.css")),
        Asset::new("htmx.js", SCRIPT, include_bytes!("htmx.min.js")),
        Asset::new("sse.js", SCRIPT, include_bytes!("sse.min.js")),
        Asset::new("page.js", SCRIPT, include_bytes!("page.js")),
        Asset::new("icon.svg", "image/svg+xml", include_bytes!("icon.svg")),
    ]
});

impl Asset {
    fn new(name: &str, kind: &'static str, content: &'static [u8]) -> Self {
        let hash = blake3::hash(content).to_hex();
        let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
        let name = format!("{stem}-{}.{ending}", &hash[..12]);
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        // A vector takes whatever is written to it.
        let packed = packed.write_all(content).and_then(|()| packed.finish()).unwrap_or_default();
        Self { name, kind, content, packed }
    }
}

/// The path of one, by the beginning of its name.
pub(crate) fn path(stem: &str) -> String {
    named(stem, |name| !name.ends_with(".js") || stem != "page")
}

/// The path of this program's own script.
pub(crate) fn script() -> String {
    named("page", |name| name.ends_with(".js"))
}

fn named(stem: &str, is_kind: impl Fn(&str) -> bool) -> String {
    let is_meant =
        |asset: &&Asset| asset.name.split('-').next() == Some(stem) && is_kind(&asset.name);
    let name = ASSETS.iter().find(is_meant).map(|asset| asset.name.as_str());
    format!("{PATH}{}", name.unwrap_or_default())
}

/// The paths of all.
pub(crate) fn routes() -> Router<Arc<Office>> {
    Router::new().route("/assets/{name}", get(asset))
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let accepted = headers.get(header::ACCEPT_ENCODING);
    let is_packed = accepted
        .and_then(|accepted| accepted.to_str().ok())
        .is_some_and(|accepted| accepted.split(',').any(|one| one.trim() == "gzip"));
    let kind = [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, FOR_GOOD)];
    let vary = [(header::VARY, "accept-encoding")];
    if is_packed {
        let packed = [(header::CONTENT_ENCODING, "gzip")];
        (kind, vary, packed, asset.packed.as_slice()).into_response()
    } else {
        (kind, vary, asset.content).into_response()
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn all_of_it_is_small() {
        let bytes: usize = ASSETS.iter().map(|asset| asset.packed.len()).sum();
        assert!(bytes < 120 * 1024, "{bytes}");
        assert!(ASSETS.iter().all(|asset| asset.packed.starts_with(&[0x1f, 0x8b])));
    }

    #[test]
    fn vendored_files_are_what_their_versions_are() {
        for (content, expected) in [
            (include_bytes!("htmx.min.js").as_slice(), HTMX),
            (include_bytes!("sse.min.js").as_slice(), SSE),
        ] {
            assert_eq!(HEXLOWER.encode(&Sha256::digest(content)), expected);
        }
    }

    const HTMX: &str = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717";
    const SSE: &str = "98a46496de0c3605fbffdce9167ba427bdd9553184f83f149c261891a92c0136";
}
