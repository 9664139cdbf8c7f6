//! Where traces go: to a collector, by OTLP over HTTP, in batches and from a thread of its own. What the collector does
//! not take is dropped, and nothing waits for it.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{Link, SpanKind, TraceId, TracerProvider};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{self, Sampler, SamplingResult, SdkTracerProvider, ShouldSample, SpanData};
use tokio::runtime::Handle;

use super::{ProcessTracer, TRACER};
use crate::config::{Config, DatabaseUrl, QueueUrl, TracesConfig};

/// How long the collector may take with one batch.
const EXPORT_LIMIT: Duration = Duration::from_secs(5);

/// How long the end of a process waits for the last batch.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Of an answer. A collector has next to nothing to say.
const ANSWER_MAX: usize = 64 * 1024;

/// Traces that are on, until their end.
pub struct Traces {
    provider: SdkTracerProvider,
    is_away: Arc<AtomicBool>,
}

impl Traces {
    /// Switches them on for the process where the configuration says where they go. Call it within a tokio runtime,
    /// which sends them.
    ///
    /// # Errors
    /// A sentence.
    pub fn start(config: &Config) -> Result<Option<Self>, String> {
        for sentence in &config.traces_passed_over {
            tracing::warn!("{sentence}");
        }
        let Some(TracesConfig { endpoint, ratio }) = &config.traces else { return Ok(None) };
        let is_away = Arc::new(AtomicBool::new(false));
        let collector = Collector {
            http: Client::builder(TokioExecutor::new()).build_http(),
            runtime: Handle::current(),
            endpoint: endpoint.to_string(),
            is_away: is_away.clone(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_endpoint(endpoint.as_str())
            .with_protocol(Protocol::HttpBinary)
            // Its waits would hold up the batches behind it.
            .with_retry_policy(RetryPolicy::default().with_max_retries(0))
            .build()
            .map_err(|error| format!("traces can't be sent: {error}"))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Counted(exporter))
            .with_sampler(Sampler::ParentBased(Box::new(Share(*ratio))))
            .with_resource(this_process())
            .build();
        let tracer = ProcessTracer {
            sdk: provider.tracer("disconnectd"),
            messaging_system: match config.queue {
                QueueUrl::Memory => "memory",
                QueueUrl::Amqp(_) => "rabbitmq",
            },
            database_system: match config.database {
                DatabaseUrl::Sqlite(_) => "sqlite",
                DatabaseUrl::Postgres(_) => "postgresql",
            },
        };
        // A second start in one process keeps the first.
        let _ = TRACER.set(tracer);
        Ok(Some(Self { provider, is_away }))
    }

    /// Sends what is left, if the collector takes it soon. One that is away is not waited for.
    pub async fn end(self) {
        if self.is_away.load(Ordering::Relaxed) {
            return;
        }
        let provider = self.provider;
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_LIMIT));
        let _ = tokio::time::timeout(FLUSH_LIMIT, flushed).await;
    }
}

/// Of what has no parent: a share, and whatever follows from something that is kept.
#[derive(Debug, Clone)]
struct Share(f64);

impl ShouldSample for Share {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let follows = links.iter().any(|link| link.span_context.is_sampled());
        let sampler = if follows { Sampler::AlwaysOn } else { Sampler::TraceIdRatioBased(self.0) };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
    }
}

/// What the environment says of this process (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`), and which one it is.
fn this_process() -> Resource {
    let told = Resource::builder_empty().with_detector(Box::new(EnvResourceDetector::new())).build();
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.trim().is_empty());
    let name = name.or_else(|| told.get(&Key::new("service.name")).map(|name| name.to_string()));
    let instance = told.get(&Key::new("service.instance.id")).map(|instance| instance.to_string());
    let this_one = || format!("{}:{}", whoami::hostname().unwrap_or_default(), std::process::id());
    Resource::builder()
        .with_service_name(name.unwrap_or_else(|| "disconnectd".to_owned()))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", instance.unwrap_or_else(this_one)))
        .build()
}

/// So that holes in traces have a reason: what was begun and was neither taken nor lost here waits, or found no room.
#[derive(Debug)]
struct Counted(SpanExporter);

impl trace::SpanExporter for Counted {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let exported = self.0.export(batch).await;
        let result = if exported.is_ok() { "exported" } else { "lost" };
        metrics::counter!("disconnectd_spans_total", "result" => result).increment(count);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// The exporter's thread has no runtime, so the process's own does the sending and the thread waits for it.
#[derive(Debug)]
struct Collector {
    http: Client<HttpConnector, Full<Bytes>>,
    runtime: Handle,
    endpoint: String,
    /// It did not take the last batch.
    is_away: Arc<AtomicBool>,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = send(self.http.clone(), request);
        let sending = self.runtime.spawn(async {
            match tokio::time::timeout(EXPORT_LIMIT, sending).await {
                Ok(sent) => sent,
                Err(_) => Err(format!("no answer within {} s", EXPORT_LIMIT.as_secs()).into()),
            }
        });
        let sent = sending.await.unwrap_or_else(|error| Err(error.into()));
        match &sent {
            Ok(response) if response.status().is_success() => self.takes_them(),
            Ok(response) => self.takes_none(&format!("it answered {}", response.status())),
            Err(error) => self.takes_none(&sentence(&**error)),
        }
        sent
    }
}

impl Collector {
    /// Both are said once, not for each batch.
    fn takes_none(&self, why: &str) {
        if !self.is_away.swap(true, Ordering::Relaxed) {
            let endpoint = &self.endpoint;
            tracing::warn!("the collector at {endpoint} takes no traces: {why}; they are dropped until it does");
        }
    }

    fn takes_them(&self) {
        if self.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!("the collector at {} takes traces again", self.endpoint);
        }
    }
}

async fn send(http: Client<HttpConnector, Full<Bytes>>, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (parts, body) = http.request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

/// With what is behind it: "connection refused" stands at the end.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::trace::TraceParent;
    use crate::traces::context;
    use opentelemetry_sdk::trace::SamplingDecision;

    #[test]
    fn what_follows_from_something_kept_is_kept() {
        let parent = |sampled| TraceParent { trace_id: 1, span_id: 2, sampled };
        let decide = |ratio, links: &[Link]| {
            let trace = TraceId::from(u128::MAX);
            Share(ratio).should_sample(None, trace, "disconnect", &SpanKind::Consumer, &[], links).decision
        };
        let link = |sampled| Link::with_context(context(parent(sampled)));
        assert_eq!(decide(0.0, &[]), SamplingDecision::Drop);
        assert_eq!(decide(0.0, &[link(false)]), SamplingDecision::Drop);
        assert_eq!(decide(0.0, &[link(false), link(true)]), SamplingDecision::RecordAndSample);
        assert_eq!(decide(1.0, &[]), SamplingDecision::RecordAndSample);
    }
}
