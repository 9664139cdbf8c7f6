//! Consuming: one channel per consumer, made anew whenever anything about it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::Shared;
use super::connection::{Backoff, Wire, said};
use super::ledger::{Ledger, Unsettled};
use crate::domain::event::Order;
use crate::domain::message;
use crate::domain::trace::{TRACEPARENT, TraceParent};
use crate::queue::{ALONE, Batch, Deliveries, Delivery, LaneKind, QueueError};

/// For opening a channel and subscribing.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Batches that the broker may have under way to one consumer: one to work on, one to come.
const BATCHES_PREFETCHED: usize = 2;
/// Messages that it may have under way to one consumer, where the batches are small.
const PREFETCH_MIN: usize = 128;
/// A subscription that brought nothing for so long, with nothing unsettled, is made anew. Where a quorum queue is
/// deleted and made again at once, the broker moves subscriptions to the new queue by itself, and then withholds as many
/// messages as it had delivered from the old one (seen with 3.10.8): such a consumer would wait for ever, untold.
const QUIET_MAX: Duration = Duration::from_secs(15);
/// What a log line shows at most of why a message was rejected, in characters.
const REASON_LENGTH_MAX: usize = 200;

/// The `max` of its first batch decides how much the broker sends ahead.
pub struct Consumer {
    shared: Arc<Shared>,
    lane: LaneKind,
    state: State,
    backoff: Backoff,
}

enum State {
    New,
    /// Kept from one `next` to the next, so that a caller who cancels often gets there as well.
    Subscribing(BoxFuture<'static, Subscription>),
    Subscribed(Box<Subscription>),
}

impl Consumer {
    pub fn new(shared: Arc<Shared>, lane: LaneKind) -> Self {
        Self { shared, lane, state: State::New, backoff: Backoff::default() }
    }

    async fn gather(&mut self, max: usize, linger: Duration) -> Batch {
        loop {
            self.state = match &mut self.state {
                State::New => State::Subscribing(subscribe(Arc::clone(&self.shared), self.lane, max).boxed()),
                State::Subscribing(subscribing) => State::Subscribed(Box::new(subscribing.await)),
                State::Subscribed(subscription) => match subscription.fill(max, linger).await {
                    Ok(()) => {
                        self.backoff = Backoff::default();
                        return subscription.batch(max);
                    }
                    Err(End::Quiet) => State::New,
                    Err(End::Broken(reason)) => {
                        let lane = self.lane.as_str();
                        // Where its connection broke, that is said already.
                        if subscription.wire.is_open() {
                            tracing::warn!(
                                lane,
                                "a consumer of the {lane} queue was ended ({reason}); it subscribes again"
                            );
                        }
                        let (wait, subscribe) =
                            (self.backoff.next(), subscribe(Arc::clone(&self.shared), self.lane, max));
                        // What was taken and not handed out goes with the old subscription, and is delivered again.
                        State::Subscribing(sleep(wait).then(|()| subscribe).boxed())
                    }
                },
            };
        }
    }
}

/// Tries for ever: connection by connection, each attempt on a new channel.
async fn subscribe(shared: Arc<Shared>, lane: LaneKind, max: usize) -> Subscription {
    let mut backoff = Backoff::default();
    loop {
        let wire = shared.consume.wait().await;
        let reason = match timeout(SUBSCRIBE_TIMEOUT, Subscription::new(&shared, &wire, lane, max)).await {
            Ok(Ok(subscription)) => return subscription,
            Ok(Err(reason)) => reason,
            Err(_) => wire.address.timed_out("subscribing to a queue"),
        };
        // The next connection declares the queues again, and says what is wrong where that does not help.
        wire.give_up(reason);
        sleep(backoff.next()).await;
    }
}

#[async_trait]
impl Deliveries for Consumer {
    async fn next(&mut self, max: usize, linger: Duration) -> Result<Batch, QueueError> {
        let mut closing = self.shared.closing.subscribe();
        tokio::select! {
            biased;
            () = said(&mut closing) => Err(QueueError::Closed),
            batch = self.gather(max.max(1), linger) => Ok(batch),
        }
    }
}

/// One channel with one consumer on it.
struct Subscription {
    shared: Arc<Shared>,
    wire: Arc<Wire>,
    lane: LaneKind,
    stream: lapin::Consumer,
    ledger: Arc<Ledger>,
    /// Taken from the stream and not handed out yet: kept here, so that a cancelled `next` loses nothing.
    taken: VecDeque<(u64, Delivery)>,
    quiet_since: Instant,
}

/// Why a subscription is of no more use.
enum End {
    Broken(String),
    Quiet,
}

impl Subscription {
    async fn new(shared: &Arc<Shared>, wire: &Arc<Wire>, lane: LaneKind, max: usize) -> Result<Self, String> {
        let channel = wire.open_channel().await?;
        let ledger = Arc::new(Ledger::new(channel)); // closes the channel whatever fails below
        let channel = ledger.channel();
        shared.queues.declare(channel, &wire.address).await?; // it may have been deleted meanwhile
        let prefetch = max.saturating_mul(BATCHES_PREFETCHED).max(PREFETCH_MIN);
        let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX);
        let explain = |error| wire.address.explain(&error);
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(explain)?;
        let queue = shared.queues.lane(lane);
        let options = BasicConsumeOptions::default();
        let stream = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await.map_err(explain)?;
        Ok(Self {
            shared: Arc::clone(shared),
            wire: Arc::clone(wire),
            lane,
            stream,
            ledger,
            taken: VecDeque::new(),
            quiet_since: Instant::now(),
        })
    }

    /// Waits for at least one delivery, then for a second, then for `max`.
    async fn fill(&mut self, max: usize, linger: Duration) -> Result<(), End> {
        while self.taken.is_empty() {
            let item = tokio::select! {
                biased;
                item = self.stream.next() => item,
                reason = self.wire.given_up() => return Err(End::Broken(reason)),
                () = sleep_until(self.quiet_since + QUIET_MAX) => {
                    if self.ledger.is_settled() {
                        return Err(End::Quiet);
                    }
                    self.quiet_since = Instant::now(); // perhaps it has all that it may have
                    continue;
                }
            };
            self.take(item)?;
        }
        for (count, linger) in [(max.min(2), linger / ALONE), (max, linger)] {
            match timeout(linger, self.fill_up(count)).await {
                Ok(filled) => filled?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    async fn fill_up(&mut self, max: usize) -> Result<(), End> {
        while self.taken.len() < max {
            let item = self.stream.next().await;
            self.take(item)?;
        }
        Ok(())
    }

    /// Takes in one message; one that is not ours goes to the dead-letter queue.
    fn take(&mut self, item: Option<lapin::Result<lapin::message::Delivery>>) -> Result<(), End> {
        let arrived = match item {
            Some(Ok(arrived)) => arrived,
            // A consumer timeout comes as an error that claims to be recoverable; after it the stream hangs.
            Some(Err(error)) => return Err(End::Broken(self.wire.address.explain(&error))),
            // How a deleted queue shows: no error, and no shutdown either.
            None => {
                return Err(End::Broken("its subscription was cancelled; perhaps the queue was deleted".to_owned()));
            }
        };
        self.quiet_since = Instant::now();
        match message::parse(&self.shared.installation, &arrived.data) {
            Ok(order) => {
                self.ledger.delivered(arrived.delivery_tag);
                let order = Order { trace: trace_of(&arrived), ..order };
                let returns = delivery_count(&arrived);
                self.taken.push_back((arrived.delivery_tag, Delivery { order, returns }));
            }
            Err(error) => {
                self.ledger.reject(arrived.delivery_tag);
                let lane = self.lane.as_str();
                metrics::counter!("disconnectd_queue_rejected_total", "lane" => lane).increment(1);
                let reason: String = error.to_string().chars().take(REASON_LENGTH_MAX).collect();
                let dead = &self.shared.queues.dead;
                tracing::warn!(lane, "a message in the {lane} queue was rejected to {dead}: {reason}");
            }
        }
        Ok(())
    }

    fn batch(&mut self, max: usize) -> Batch {
        let count = self.taken.len().min(max);
        let (tags, deliveries) = self.taken.drain(..count).unzip();
        Batch::new(deliveries, Box::new(Unsettled::new(Arc::clone(&self.ledger), tags)))
    }
}

impl Drop for Subscription {
    /// Gives back at once what nobody got to see. Batches under way keep the channel open until they are settled.
    fn drop(&mut self) {
        // Before anything is given back. Where a channel with a subscription was closed while messages came back, the
        // broker kept some of them from everybody (seen with 3.10.8); and the client's own cancel, which a task of its
        // own sends, takes a channel that closes meanwhile for an error of the whole connection.
        let cancel = self.ledger.channel().basic_cancel(self.stream.tag(), BasicCancelOptions::default());
        drop(cancel.now_or_never()); // sent by the first poll
        let mut tags: Vec<u64> = self.taken.drain(..).map(|(tag, _)| tag).collect();
        while let Some(Some(Ok(arrived))) = self.stream.next().now_or_never() {
            self.ledger.delivered(arrived.delivery_tag);
            tags.push(arrived.delivery_tag);
        }
        drop(Unsettled::new(Arc::clone(&self.ledger), tags));
    }
}

/// Which trace the message belongs to. What is no `traceparent` is none: anybody may write a header.
pub fn trace_of(arrived: &lapin::message::Delivery) -> Option<TraceParent> {
    let headers = arrived.properties.headers().as_ref()?;
    // RabbitMQ knows no other texts in headers.
    let AMQPValue::LongString(text) = headers.inner().get(TRACEPARENT)? else { return None };
    TraceParent::parse(std::str::from_utf8(text.as_bytes()).ok()?)
}

/// How often a quorum queue has had the message back. It says nothing the first time.
fn delivery_count(arrived: &lapin::message::Delivery) -> u32 {
    let headers = arrived.properties.headers().as_ref();
    let count = match headers.and_then(|headers| headers.inner().get("x-delivery-count")) {
        Some(AMQPValue::ShortShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortShortUInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortInt(count)) => i64::from(*count),
        Some(AMQPValue::ShortUInt(count)) => i64::from(*count),
        Some(AMQPValue::LongInt(count)) => i64::from(*count),
        Some(AMQPValue::LongUInt(count)) => i64::from(*count),
        Some(AMQPValue::LongLongInt(count)) => *count,
        _ => 0,
    };
    u32::try_from(count).unwrap_or(0)
}
