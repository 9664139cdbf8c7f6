//! What happens to every request, whatever it asks for: it has an id, which its log lines and its answer bear; it is
//! logged in one line, and measured where traces are on; a panic in it is an answer; and no browser does more with the
//! answer than show it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::{Instrument, field};

use super::extract::require_known_coding;
use super::problem::{self, Problem, Told};
use crate::domain::trace::TraceParent;
use crate::traces;

pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id is at most this long; another is replaced by ours.
const ID_MAX: usize = 128;

/// Who looks after themselves: asked every few seconds, and nobody reads of it.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The id of a request, for what is kept or logged of it.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The trace of a request, where it is measured.
#[derive(Debug, Clone, Copy)]
pub struct Traced(pub Option<TraceParent>);

impl<S: Send + Sync> FromRequestParts<S> for Traced {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(None)))
    }
}

/// The outermost layer.
pub async fn follow(mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = id_of(&request);
    let is_probe = PROBES.contains(&request.uri().path());
    // The path alone: a query may hold somebody's name.
    let (method, path) = (request.method().as_str(), request.uri().path());
    let span = tracing::info_span!("request", id, method, path, owner = field::Empty, trace_id = field::Empty);
    let mut measured = if is_probe { traces::Span::NONE } else { measured(&request) };
    let trace = measured.context();
    if let Some(trace) = trace {
        span.record("trace_id", format!("{:032x}", trace.trace_id));
    }
    request.extensions_mut().insert(RequestId(id.clone()));
    request.extensions_mut().insert(Traced(trace));
    async move {
        let response = match require_known_coding(request.headers()) {
            Ok(()) => caught(next.run(request)).await,
            Err(problem) => problem.into_response(),
        };
        let mut response = problem::written(response, &id);
        harden(&mut response);
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        let (status, ms) = (response.status().as_u16(), begun.elapsed().as_millis());
        measured.answered(status);
        match response.extensions().get::<Told>() {
            // That a database is away is said once, elsewhere; that a probe hears of it is nothing new.
            _ if is_probe => tracing::debug!(status, ms, "answered"),
            Some(Told(why)) if status >= 500 => tracing::info!(status, ms, why, "not answered"),
            _ => tracing::info!(status, ms, "answered"),
        }
        response
    }
    .instrument(span)
    .await
}

fn measured(request: &Request) -> traces::Span {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    traces::Span::of_request(request.method(), route, request.headers())
}

/// Makes of a panic an answer. The process's own report of the panic has the place.
pub async fn caught(answer: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = text, "a request panicked, which is a bug");
        Problem::bug().into_response()
    })
}

/// The one that came, if it can be passed on, else a new one.
fn id_of(request: &Request) -> String {
    let came = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    match came {
        Some(id) if (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()) => id.to_owned(),
        _ => format!("{:032x}", rand::random::<u128>()),
    }
}

/// For browsers. What says more about itself, as the page does, is left as it is.
fn harden(response: &mut Response) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn an_id_that_could_break_a_log_line_is_replaced() {
        let request = |id: &str| Request::builder().header(X_REQUEST_ID, id).body(Body::empty()).unwrap();
        assert_eq!(id_of(&request("abc-1")), "abc-1");
        for bad in ["", "a b", "a\tb", &"x".repeat(ID_MAX + 1)] {
            let id = id_of(&request(bad));
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{bad:?}: {id}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let response = caught(async { panic!("oops") }).await;
        assert_eq!(response.status().as_u16(), 500);
    }
}
