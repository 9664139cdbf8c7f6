//! Writes that may be sent again: the same `Idempotency-Key` and the same call are answered with the same answer, and
//! nothing is done twice.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use super::Taken;
use super::auth::Caller;
use super::call::{Brings, Terms};
use super::problem::{self, Answer, Problem};
use super::request_id::{RequestId, caught};
use crate::store::{Once, OnceAnswer, OnceKey, StoreResult};

pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Bears `true` where an answer was given before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A key is at most this long, in characters.
pub const KEY_MAX: usize = 255;

/// The headers that belong to an answer itself.
const KEPT_HEADERS: [HeaderName; 3] = [header::CONTENT_TYPE, header::LOCATION, header::ETAG];

/// When a call that another one stands in the way of may come again.
const UNDER_WAY_FOR: Duration = Duration::from_secs(1);

/// How long whoever asked in vain waits for their key to be free again.
const FORGET_MAX: Duration = Duration::from_secs(1);

/// Runs a write, or answers what it was answered before.
///
/// Whoever calls this must not cancel it: what has begun is to be kept or forgotten. It leaves the room once all is done.
pub async fn run(terms: &Terms, request: Request, fingerprint: &[u8; 32], next: Next, room: Option<Taken>) -> Response {
    let call = match key_of(request.headers(), terms.brings) {
        Ok(None) => return caught(next.run(request)).await,
        Ok(Some(key)) => {
            let Some(caller) = request.extensions().get::<Caller>() else { return Problem::bug().into_response() };
            OnceKey { owner: caller.owner.clone(), key }
        }
        Err(problem) => return problem.into_response(),
    };
    let store = &terms.api.store;
    let fence = match store.begin_once(&call, fingerprint, terms.brings.lost_after()).await {
        Ok(Once::Begun(fence)) => fence,
        Ok(Once::Answered(answer)) => return replayed(answer),
        Ok(Once::UnderWay) => return under_way().into_response(),
        Ok(Once::OtherCall) => return other_call().into_response(),
        Err(error) => return Problem::from(error).into_response(),
    };
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let response = problem::written(caught(next.run(request)).await, &request_id);
    let (parts, body) = response.into_parts();
    // Every answer to a write is whole already.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let kept = match String::from_utf8(body.to_vec()) {
        Ok(text) if !parts.status.is_server_error() => {
            let answer = OnceAnswer { status: parts.status.as_u16(), headers: kept(&parts.headers), body: text };
            store.answer_once(&call, fence, &answer).await
        }
        _ => {
            let store = store.clone();
            let forgetting = tokio::spawn(async move {
                report(store.forget_once(&call, fence).await);
                drop(room);
            });
            // What the call waited for in vain may be in the way of this as well, and it is answered all the same.
            let _ = tokio::time::timeout(FORGET_MAX, forgetting).await;
            Ok(())
        }
    };
    report(kept);
    Response::from_parts(parts, Body::from(body))
}

/// The call is done and answered; its key is free again once it counts as lost.
fn report(kept: StoreResult<()>) {
    if let Err(error) = kept {
        tracing::warn!(%error, "what came of a call with an Idempotency-Key could not be kept");
    }
}

fn key_of(headers: &HeaderMap, brings: Brings) -> Answer<Option<String>> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    if brings == Brings::JsonForASecret {
        let detail = "the answer to this holds a secret, which is not kept to be answered again; leave the key away";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_not_taken", detail));
    }
    match key.to_str() {
        Ok(key) if (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(Problem::invalid("Idempotency-Key", format!("a key has 1 to {KEY_MAX} visible ASCII characters"))),
    }
}

fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |name: &HeaderName| Some((name.to_string(), headers.get(name)?.to_str().ok()?.to_owned()));
    KEPT_HEADERS.iter().filter_map(text).collect()
}

fn replayed(answer: OnceAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default(); // it was one when it was kept
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    response
}

fn under_way() -> Problem {
    let detail = "a call with this Idempotency-Key is under way; send it again in a moment for its answer";
    Problem::new(StatusCode::CONFLICT, "idempotency_key_in_use", detail).retry_after(UNDER_WAY_FOR)
}

fn other_call() -> Problem {
    let detail = "this Idempotency-Key was used for another call; take a new one for each thing to be done";
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_short_and_visible_and_not_taken_where_the_answer_is_a_secret() {
        let key = |key: &str, brings| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, key.parse().unwrap());
            key_of(&headers, brings).map_err(|problem| problem.code)
        };
        assert_eq!(key("a-1", Brings::Json), Ok(Some("a-1".into())));
        assert_eq!(key("a-1", Brings::JsonForASecret), Err("idempotency_key_not_taken"));
        for bad in ["", "a b", &"x".repeat(KEY_MAX + 1)] {
            assert_eq!(key(bad, Brings::File), Err("invalid"), "{bad}");
        }
        assert_eq!(key_of(&HeaderMap::new(), Brings::JsonForASecret).map_err(|problem| problem.code), Ok(None));
    }
}
