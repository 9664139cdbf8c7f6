//! What is answered over HTTP: for now whether the process lives, whether it is ready, and its metrics.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::health::{Condition, Health};
use crate::queue::{Connectivity, Queue};
use crate::shutdown::Shutdown;
use crate::store::Store;

/// How long the database may take to answer a readiness check.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// What the answers are made from.
#[derive(Clone)]
pub struct Api {
    pub store: Arc<dyn Store>,
    pub health: Arc<Health>,
    /// There once the database has said which installation this is.
    pub queue: watch::Receiver<Option<Arc<dyn Queue>>>,
    pub metrics: PrometheusHandle,
    pub stop: Shutdown,
}

impl Api {
    /// Answers until `end`, which comes after the stop: readiness is answered while work drains.
    ///
    /// # Errors
    /// Those of the listener.
    pub async fn serve(self, listener: TcpListener, end: Shutdown) -> std::io::Result<()> {
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(async move { end.asked().await }).await
    }
}

async fn ready(State(api): State<Api>) -> Response {
    let database = match tokio::time::timeout(PING_TIMEOUT, api.store.ping()).await {
        Ok(Ok(())) if api.health.database() == Condition::Starting => Condition::Starting,
        Ok(Ok(())) => Condition::Up,
        Ok(Err(error)) => Condition::Down(error.to_string()),
        Err(_) => match api.health.database() {
            known @ Condition::Down(_) => known,
            _ => Condition::Down("the database does not answer in time".into()),
        },
    };
    let queue = match &*api.queue.borrow() {
        None => Condition::Starting,
        Some(queue) => match &*queue.connectivity().borrow() {
            Connectivity::Starting => Condition::Starting,
            Connectivity::Up => Condition::Up,
            Connectivity::Down(reason) => Condition::Down(reason.clone()),
        },
    };
    let is_ready = database == Condition::Up && queue == Condition::Up && !api.stop.is_asked();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let part = |condition: &Condition| match condition {
        Condition::Starting => json!({"state": "starting"}),
        Condition::Up => json!({"state": "up"}),
        Condition::Down(reason) => json!({"state": "down", "reason": reason}),
    };
    let body = json!({
        "ready": is_ready,
        "stopping": api.stop.is_asked(),
        "database": part(&database),
        "queue": part(&queue),
    });
    (status, Json(body)).into_response()
}

async fn metrics(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.metrics.render()).into_response()
}
