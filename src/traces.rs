//! Traces: the way of one disconnect, from the request over the message to the commit (docs/tracing.md).
//!
//! A span holds what is given to it in this file and nothing else: what is logged does not get in, so no number, name or
//! reason does. An [`Order`] bears the context of whoever had it in hand last, and that is all that ties the parts
//! together: the request's in the event's row, the scheduler's in the message, the worker's for the store.
//!
//! Where traces are off, nothing is made and nothing is copied.

mod export;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use axum::http::{HeaderMap, Method};
use opentelemetry::trace::{
    Link, Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};

pub use export::Traces;

use crate::domain::event::{EventId, Order};
use crate::domain::trace::{TRACEPARENT, TraceParent};
use crate::queue::LaneKind;

/// Once it is set, traces are on.
static TRACER: OnceLock<ProcessTracer> = OnceLock::new();

struct ProcessTracer {
    sdk: SdkTracer,
    /// The queue and the database, by their names in the semantic conventions.
    messaging_system: &'static str,
    database_system: &'static str,
}

/// What is measured, until it is dropped. Nothing where traces are off or this one is not sampled.
pub struct Span(Option<Box<SdkSpan>>);

impl Span {
    pub const NONE: Self = Self(None);

    fn begin<const N: usize>(
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: Option<TraceParent>,
        links: BTreeSet<TraceParent>,
        attributes: impl FnOnce(&ProcessTracer) -> [KeyValue; N],
    ) -> Self {
        let Some(tracer) = TRACER.get() else { return Self::NONE };
        let parent =
            parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(context(parent)));
        let span = tracer
            .sdk
            .span_builder(name)
            .with_kind(kind)
            .with_links(links.into_iter().map(|link| Link::with_context(context(link))).collect())
            .with_attributes(attributes(tracer))
            .start_with_context(&tracer.sdk, &parent);
        if !span.is_recording() {
            return Self::NONE;
        }
        metrics::counter!("disconnectd_spans_total", "result" => "begun").increment(1);
        Self(Some(Box::new(span)))
    }

    /// Of a request to this process. Its path may hold an account's number, so the route stands for it.
    #[must_use]
    pub fn of_request(method: &Method, route: Option<&str>, headers: &HeaderMap) -> Self {
        if TRACER.get().is_none() {
            return Self::NONE;
        }
        // A method is any word that a client likes.
        let method = if KNOWN_METHODS.contains(method) { method.to_string() } else { "_OTHER".to_owned() };
        let name = route.map_or_else(|| method.clone(), |route| format!("{method} {route}"));
        let mut span = Self::begin(name, SpanKind::Server, parent_of(headers), BTreeSet::new(), |_| {
            [KeyValue::new("http.request.method", method)]
        });
        if let Some(route) = route {
            span.set("http.route", route.to_owned());
        }
        span
    }

    pub fn answered(&mut self, status: u16) {
        self.set("http.response.status_code", i64::from(status));
        if status >= 500 {
            self.failed("");
        }
    }

    /// Of a command that asks for a disconnect. Whoever calls it may say by `TRACEPARENT` what it belongs to.
    #[must_use]
    pub fn of_command(name: &'static str) -> Self {
        let parent = std::env::var("TRACEPARENT").ok().and_then(|text| TraceParent::parse(&text));
        Self::begin(name, SpanKind::Internal, parent, BTreeSet::new(), |_| [])
    }

    /// For what follows from it; always sampled, since what is not is not recorded.
    #[must_use]
    pub fn context(&self) -> Option<TraceParent> {
        let context = self.0.as_ref()?.span_context();
        Some(TraceParent {
            trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
            span_id: u64::from_be_bytes(context.span_id().to_bytes()),
            sampled: context.is_sampled(),
        })
    }

    fn set(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key.into(), value));
        }
    }

    /// `why` is one of ours, or nothing: what the database says may quote a row.
    fn failed(&mut self, why: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(why));
        }
    }
}

/// Those of HTTP itself, as the semantic conventions have it.
const KNOWN_METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

/// Said twice, it is not known which one holds.
fn parent_of(headers: &HeaderMap) -> Option<TraceParent> {
    let mut said = headers.get_all(TRACEPARENT).iter();
    match (said.next(), said.next()) {
        (Some(one), None) => TraceParent::parse(one.to_str().ok()?),
        _ => None,
    }
}

fn context(of: TraceParent) -> SpanContext {
    let flags = if of.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    let (trace, span) = (TraceId::from(of.trace_id), SpanId::from(of.span_id));
    SpanContext::new(trace, span, flags, true, TraceState::NONE)
}

/// Orders while somebody has them in hand: with a span for each single disconnect, in the trace of whoever asked for it,
/// or with one for a batch of a campaign's. A single one that is in no trace has none.
pub struct InHand<'a> {
    orders: Cow<'a, [Order]>,
    spans: Spans,
}

enum Spans {
    None,
    Each(BTreeMap<EventId, Span>),
    /// With how many ended how.
    Batch(Span, BTreeMap<&'static str, i64>),
}

/// What is done with orders.
#[derive(Clone, Copy)]
enum Work {
    Publish,
    Disconnect,
}

impl<'a> InHand<'a> {
    /// From the claim to what the queue says.
    #[must_use]
    pub fn publishing(lane: LaneKind, orders: &'a [Order]) -> Self {
        Self::begin(Work::Publish, lane, orders)
    }

    /// From the delivery to what came of it, each time that it is tried.
    #[must_use]
    pub fn disconnecting(lane: LaneKind, orders: &'a [Order]) -> Self {
        Self::begin(Work::Disconnect, lane, orders)
    }

    fn begin(work: Work, lane: LaneKind, orders: &'a [Order]) -> Self {
        let mut in_hand = Self { orders: Cow::Borrowed(orders), spans: Spans::None };
        if TRACER.get().is_none() {
            return in_hand;
        }
        match lane {
            LaneKind::Single => {
                let mut spans = BTreeMap::new();
                for (position, order) in orders.iter().enumerate().filter(|(_, order)| order.trace.is_some()) {
                    // A message may come twice in one batch.
                    let span = spans.entry(order.event_id).or_insert_with(|| work.single(lane, order));
                    if let Some(context) = span.context() {
                        in_hand.orders.to_mut()[position].trace = Some(context);
                    }
                }
                in_hand.spans = Spans::Each(spans);
            }
            LaneKind::Campaign => {
                let span = work.batch(lane, orders);
                if let Some(context) = span.context() {
                    in_hand.orders.to_mut().iter_mut().for_each(|order| order.trace = Some(context));
                }
                in_hand.spans = Spans::Batch(span, BTreeMap::new());
            }
        }
        in_hand
    }

    /// The same orders, for whoever has them next: what follows for them follows from these spans.
    #[must_use]
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    pub fn ended(&mut self, event: EventId, how: &'static str) {
        match &mut self.spans {
            Spans::None => {}
            Spans::Each(spans) => {
                if let Some(span) = spans.get_mut(&event) {
                    span.set("disconnectd.outcome", how);
                }
            }
            Spans::Batch(_, counts) => *counts.entry(how).or_default() += 1,
        }
    }

    /// The same, where it is nothing that was meant to be.
    pub fn failed(&mut self, event: EventId, how: &'static str) {
        self.ended(event, how);
        match &mut self.spans {
            Spans::None => {}
            Spans::Each(spans) => {
                if let Some(span) = spans.get_mut(&event) {
                    span.failed(how);
                }
            }
            Spans::Batch(span, _) => span.failed(how),
        }
    }

    /// All of them.
    pub fn all_failed(&mut self, how: &'static str) {
        match &mut self.spans {
            Spans::None => {}
            Spans::Each(spans) => spans.values_mut().for_each(|span| span.failed(how)),
            Spans::Batch(span, _) => span.failed(how),
        }
    }
}

impl Drop for Spans {
    fn drop(&mut self) {
        if let Self::Batch(span, counts) = self {
            for (how, count) in counts {
                span.set(format!("disconnectd.outcome.{how}"), *count);
            }
        }
    }
}

impl Work {
    fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Disconnect => "disconnect",
        }
    }

    /// As the semantic conventions name it.
    fn operation(self) -> (SpanKind, &'static str) {
        match self {
            Self::Publish => (SpanKind::Producer, "send"),
            Self::Disconnect => (SpanKind::Consumer, "process"),
        }
    }

    fn attributes(self, tracer: &ProcessTracer, lane: LaneKind) -> [KeyValue; 4] {
        [
            KeyValue::new("messaging.system", tracer.messaging_system),
            KeyValue::new("messaging.destination.name", lane.as_str()),
            KeyValue::new("messaging.operation.name", self.as_str()),
            KeyValue::new("messaging.operation.type", self.operation().1),
        ]
    }

    fn single(self, lane: LaneKind, order: &Order) -> Span {
        let (kind, _) = self.operation();
        let mut span =
            Span::begin(self.as_str(), kind, order.trace, BTreeSet::new(), |tracer| self.attributes(tracer, lane));
        span.set("messaging.message.id", crate::domain::message::message_id(*order));
        span.set("disconnectd.event.id", order.event_id.0);
        span.set("disconnectd.attempt", i64::from(order.attempt.0));
        span
    }

    /// What follows from messages of several batches follows from none of them: it is linked to each.
    fn batch(self, lane: LaneKind, orders: &[Order]) -> Span {
        let links: BTreeSet<TraceParent> = orders.iter().filter_map(|order| order.trace).collect();
        if orders.is_empty() || links.is_empty() && matches!(self, Self::Disconnect) {
            return Span::NONE;
        }
        let (kind, _) = self.operation();
        let mut span = Span::begin(self.as_str(), kind, None, links, |tracer| self.attributes(tracer, lane));
        span.set("messaging.batch.message_count", i64::try_from(orders.len()).unwrap_or(i64::MAX));
        span
    }
}

/// The commit of the transaction that runs disconnects: a span in each trace that it ends a part of.
pub struct Commit(Vec<Span>);

impl Commit {
    #[must_use]
    pub fn begin(orders: &[Order]) -> Self {
        if TRACER.get().is_none() {
            return Self(Vec::new());
        }
        let parents: BTreeSet<TraceParent> = orders.iter().filter_map(|order| order.trace).collect();
        let span = |parent| {
            Span::begin("commit", SpanKind::Client, Some(parent), BTreeSet::new(), |tracer| {
                [KeyValue::new("db.system.name", tracer.database_system), KeyValue::new("db.operation.name", "COMMIT")]
            })
        };
        Self(parents.into_iter().map(span).collect())
    }

    pub fn ended<T, E>(self, committed: &Result<T, E>) {
        for mut span in self.0 {
            if committed.is_err() {
                span.failed("not committed, or nobody knows");
            }
        }
    }
}
