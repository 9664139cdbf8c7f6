//! What pages are made of besides themselves: it is in the program, and named by its content, so that it is kept by
//! browsers for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::api::problem::Problem;

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const CSS: Asset =
    Asset { name: "console.css", kind: "text/css; charset=utf-8", content: include_bytes!("assets/console.css") };
const SCRIPT: Asset =
    Asset { name: "console.js", kind: "text/javascript; charset=utf-8", content: include_bytes!("assets/console.js") };
/// Its licence asks for nothing; it is kept beside it all the same.
const HTMX: Asset = Asset {
    name: "htmx.js",
    kind: "text/javascript; charset=utf-8",
    content: include_bytes!("assets/htmx-2.0.11.min.js"),
};
const ICON: Asset = Asset { name: "icon.svg", kind: "image/svg+xml", content: include_bytes!("assets/icon.svg") };

/// Where each of them is.
pub struct Paths {
    pub css: String,
    pub script: String,
    pub htmx: String,
    pub icon: String,
}

pub static PATHS: LazyLock<Paths> = LazyLock::new(|| {
    let path = |asset: &Asset| format!("/assets/{}", asset.file());
    Paths { css: path(&CSS), script: path(&SCRIPT), htmx: path(&HTMX), icon: path(&ICON) }
});

impl Asset {
    fn file(&self) -> String {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(self.content));
        // 72 bits tell our own versions apart; nobody else makes any.
        format!("{}-{}", hash.get(..12).unwrap_or(&hash), self.name)
    }
}

pub async fn show(Path(file): Path<String>) -> Response {
    let Some(asset) = [CSS, SCRIPT, HTMX, ICON].into_iter().find(|asset| asset.file() == file) else {
        let detail = "There is no such file, or not any more; load the page again.";
        return Problem::new(StatusCode::NOT_FOUND, "unknown_route", detail).into_response();
    };
    let headers = [(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, asset.content).into_response()
}
