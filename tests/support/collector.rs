//! A collector of traces: it takes what the program exports, by OTLP over HTTP, and keeps it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use disconnectd::domain::trace::TraceParent;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as SpanStatus;
use prost::Message;
use tokio::net::TcpListener;

use super::wait_until;
use crate::program::{DEADLINE, Program};

#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    is_unwell: Arc<AtomicBool>,
}

#[derive(Default)]
struct Kept {
    spans: Vec<Span>,
    services: Vec<String>,
    bodies: Vec<u8>,
    refused: usize,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector =
            Self { address: listener.local_addr().unwrap(), kept: Arc::default(), is_unwell: Arc::default() };
        let router = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        collector
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The program with its traces sent here, soon, so that tests wait for nothing.
    pub fn traces(&self, program: Program) -> Program {
        let program = program.with("OTEL_EXPORTER_OTLP_ENDPOINT", self.url()).with("OTEL_BSP_SCHEDULE_DELAY", "50");
        // The process's number may be one that is looked for.
        program.with("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=one")
    }

    /// From now on it takes nothing, or does again.
    pub fn is_unwell(&self, is_unwell: bool) {
        self.is_unwell.store(is_unwell, Ordering::Relaxed);
    }

    fn kept<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> T {
        look(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many batches it did not take.
    pub fn refused(&self) -> usize {
        self.kept(|kept| kept.refused)
    }

    pub fn services(&self) -> Vec<String> {
        self.kept(|kept| kept.services.clone())
    }

    pub fn spans(&self) -> Vec<Span> {
        self.kept(|kept| kept.spans.clone())
    }

    /// Those of one trace, in the order that they began.
    pub fn trace(&self, trace_id: u128) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace_id == trace_id.to_be_bytes());
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }

    /// The trace once it has so many spans. They come in any order, each when it has ended.
    pub async fn until(&self, trace_id: u128, count: usize) -> Vec<Span> {
        let so_many = async || self.trace(trace_id).len() >= count;
        wait_until(DEADLINE, &format!("{count} spans of {trace_id:032x} came"), so_many).await;
        self.trace(trace_id)
    }

    /// Whether nothing of this was in anything that came.
    #[track_caller]
    pub fn holds_none_of(&self, texts: &[&str]) {
        let bodies = self.kept(|kept| kept.bodies.clone());
        assert!(!bodies.is_empty(), "something came");
        for text in texts {
            let found = bodies.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()));
            assert!(!found, "`{text}` was exported: {}", String::from_utf8_lossy(&bodies));
        }
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) -> StatusCode {
    if collector.is_unwell.load(Ordering::Relaxed) {
        collector.kept(|kept| kept.refused += 1);
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let request = ExportTraceServiceRequest::decode(&*body).expect("it is OTLP");
    collector.kept(|kept| {
        kept.bodies.extend_from_slice(&body);
        for of_resource in request.resource_spans {
            let attributes = of_resource.resource.unwrap_or_default().attributes;
            kept.services.extend(attributes.iter().filter(|a| a.key == "service.name").map(|a| text(a.value.as_ref())));
            kept.spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    });
    StatusCode::OK
}

fn text(value: Option<&opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// What a test looks at of a span.
pub trait Look {
    fn attribute(&self, key: &str) -> Option<String>;
    fn context(&self) -> TraceParent;
    fn is_child_of(&self, parent: &Span) -> bool;
    /// The message of its status, where it failed.
    fn failure(&self) -> Option<&str>;
}

impl Look for Span {
    fn attribute(&self, key: &str) -> Option<String> {
        self.attributes.iter().find(|attribute| attribute.key == key).map(|attribute| text(attribute.value.as_ref()))
    }

    fn context(&self) -> TraceParent {
        TraceParent {
            trace_id: u128::from_be_bytes(self.trace_id.as_slice().try_into().unwrap()),
            span_id: u64::from_be_bytes(self.span_id.as_slice().try_into().unwrap()),
            sampled: true,
        }
    }

    fn is_child_of(&self, parent: &Span) -> bool {
        self.parent_span_id == parent.span_id && self.trace_id == parent.trace_id
    }

    fn failure(&self) -> Option<&str> {
        let status = self.status.as_ref()?;
        (status.code == SpanStatus::Error as i32).then_some(&status.message)
    }
}
