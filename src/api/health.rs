//! Whether the process lives, whether it is ready, and its metrics: answered in every role.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use crate::health::Condition;
use crate::queue::Connectivity;

/// How long the database may take to answer a readiness check.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// For anybody.
pub fn open() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(alive))
}

pub fn read() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(ready)).routes(routes!(metrics))
}

/// Whether the process lives. This alone needs no token.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "It lives.", body = String, content_type = "text/plain"))
)]
async fn alive() -> &'static str {
    "ok\n"
}

/// Whether the process is ready, part by part.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    ready: bool,
    /// A stop was asked for, and what has begun is being finished.
    stopping: bool,
    database: Part,
    queue: Part,
}

#[derive(Debug, Serialize, ToSchema)]
struct Part {
    #[schema(inline)]
    state: PartState,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PartState {
    Starting,
    Up,
    Down,
}

impl From<Condition> for Part {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Starting => Self { state: PartState::Starting, reason: None },
            Condition::Up => Self { state: PartState::Up, reason: None },
            Condition::Down(reason) => Self { state: PartState::Down, reason: Some(reason) },
        }
    }
}

/// Whether the process is ready: database and queue, with the reason when not.
///
/// While the database is away, a token that was good in this process before is good here still.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "It is ready.", body = Readiness),
        (status = 503, description = "It is not ready, or the database is away and the token new here.", content(
            (Readiness = "application/json"),
            (super::problem::Problem = "application/problem+json"),
        )),
    )
)]
async fn ready(State(api): State<Shared>) -> (StatusCode, Json<Readiness>) {
    let database = match tokio::time::timeout(PING_TIMEOUT, api.store.ping()).await {
        Ok(Ok(())) if api.health.database() == Condition::Starting => Condition::Starting,
        Ok(Ok(())) => Condition::Up,
        Ok(Err(error)) => Condition::Down(error.to_string()),
        Err(_) => match api.health.database() {
            known @ Condition::Down(_) => known,
            _ => Condition::Down("the database does not answer in time".into()),
        },
    };
    let queue = match api.queue.get() {
        None => Condition::Starting,
        Some(queue) => match &*queue.connectivity().borrow() {
            Connectivity::Starting => Condition::Starting,
            Connectivity::Up => Condition::Up,
            Connectivity::Down(reason) => Condition::Down(reason.clone()),
        },
    };
    let stopping = api.stop.is_asked();
    let ready = database == Condition::Up && queue == Condition::Up && !stopping;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, stopping, database: database.into(), queue: queue.into() }))
}

/// The metrics of this process, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain"))
)]
async fn metrics(State(api): State<Shared>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.metrics.render()).into_response()
}
