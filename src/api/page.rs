//! The page to try the API with: Swagger UI, from this process alone.

use axum::Extension;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::document::Document;
use super::extract::Named;
use super::problem::{Answer, Problem};

/// What the page may do: its own scripts and styles, and calls to this process. Swagger UI has pictures in its styles,
/// and sets styles of elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files belong to this version of the program.
const CACHE: &str = "private, max-age=3600";

const INDEX: &str = include_str!("page/index.html");
const START: &[u8] = include_bytes!("page/start.js");
const BUNDLE_GZ: &[u8] = include_bytes!("swagger-ui/swagger-ui-bundle.js.gz");
const STYLE_GZ: &[u8] = include_bytes!("swagger-ui/swagger-ui.css.gz");

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(show_page)).routes(routes!(show_file)).routes(routes!(show_document))
}

/// The page to try the API with.
///
/// A browser asks for a name and a password: any name, and a token as the password.
#[utoipa::path(
    get,
    path = "/api",
    tag = "page",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"))
)]
async fn show_page() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, INDEX).into_response()
}

/// The file that a path names.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
struct FileInPath {
    /// `start.js`, `swagger-ui-bundle.js` or `swagger-ui.css`.
    #[param(example = "start.js")]
    #[expect(dead_code, reason = "it is read as a text; this describes it")]
    file: String,
}

/// What the page is made of.
#[utoipa::path(
    get,
    path = "/api/page/{file}",
    tag = "page",
    params(FileInPath),
    responses(
        (status = 200, description = "The file.", content(
            (String = "text/javascript"),
            (String = "text/css"),
        ))
    )
)]
async fn show_file(Named(file): Named) -> Answer<Response> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    const STYLE: &str = "text/css; charset=utf-8";
    let (kind, content, is_packed) = match file.as_str() {
        "start.js" => (SCRIPT, START, false),
        "swagger-ui-bundle.js" => (SCRIPT, BUNDLE_GZ, true),
        "swagger-ui.css" => (STYLE, STYLE_GZ, true),
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, "unknown_file", "the page has no such file")),
    };
    let mut response = ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, CACHE)], content).into_response();
    if is_packed {
        // Whatever can show the page can unpack it.
        response.headers_mut().insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/openapi.json",
    tag = "page",
    responses((status = 200, description = "The OpenAPI document.", body = serde_json::Value))
)]
async fn show_document(Extension(Document(text)): Extension<Document>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
