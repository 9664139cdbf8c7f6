//! Publishing: many messages under way at a time, each with a confirm, none waited for without a limit.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::time::{sleep, timeout};

use super::connection::{Wire, locked};
use super::topology::Queues;
use crate::domain::event::Order;
use crate::domain::message;
use crate::domain::trace::TRACEPARENT;
use crate::fault::{self, Step};
use crate::queue::{LaneKind, Published};

/// Messages under way at a time: enough to hide the round trip, few enough to lose sight of in a broken connection.
const IN_FLIGHT_MAX: usize = 200;
/// For handing a message to the socket; a broker that is out of memory takes none.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// For the broker's word that it has it on disk.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// Before a missing queue is made again: its consumers must have heard of its end, else the broker moves them to the new
/// one and withholds messages from them.
const DECLARE_AGAIN_AFTER: Duration = Duration::from_millis(500);

const PERSISTENT: u8 = 2;

/// Publishes `orders` on `wire`. Takes about one timeout at most when the broker stops answering: after the first
/// message without an answer no more are sent.
pub async fn publish(
    wire: &Wire,
    queues: &Queues,
    installation: &str,
    lane: LaneKind,
    orders: &[Order],
) -> Vec<Published> {
    let refused = || vec![Published::Refused; orders.len()];
    if wire.is_blocked() {
        return refused();
    }
    let channel = match confirming_channel(wire).await {
        Ok(channel) => channel,
        Err(reason) => {
            wire.give_up(reason);
            return refused();
        }
    };
    let call = Call {
        channel,
        queue: queues.lane(lane),
        installation,
        silence: AtomicBool::new(false),
        returned: Mutex::default(),
    };
    let mut answers = Vec::with_capacity(orders.len());
    let mut sending = stream::iter(orders.to_vec()).map(|order| call.send(order)).buffered(IN_FLIGHT_MAX);
    while let Some(answer) = sending.next().await {
        answers.push(answer);
    }
    drop(sending);
    call.finish(wire, queues, orders, &answers).await
}

/// A channel for this call alone. The client numbers a message and queues it in two steps, so two tasks that publish
/// on one channel can get each other's confirms.
async fn confirming_channel(wire: &Wire) -> Result<Channel, String> {
    loop {
        let idle = locked(&wire.confirming).pop();
        match idle {
            Some(channel) if channel.status().connected() => return Ok(channel),
            Some(_) => {}
            None => break,
        }
    }
    let channel = wire.open_channel().await?;
    match timeout(CONFIRM_TIMEOUT, channel.confirm_select(ConfirmSelectOptions::default())).await {
        Ok(Ok(())) => Ok(channel),
        Ok(Err(error)) => Err(wire.address.explain(&error)),
        Err(_) => Err(wire.address.timed_out("switching confirms on")),
    }
}

/// What the broker said about one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Acked,
    Nacked,
    /// Nothing, or the connection broke meanwhile.
    Silence,
    NotSent,
}

struct Call<'a> {
    channel: Channel,
    queue: ShortString,
    installation: &'a str,
    /// A message got no answer: send no more.
    silence: AtomicBool,
    /// The ids of messages that came back as unroutable. The client hands a returned message out with the next confirm,
    /// whichever message that belongs to, so only the id says which one it is.
    returned: Mutex<HashSet<String>>,
}

impl Call<'_> {
    async fn send(&self, order: Order) -> Answer {
        if self.silence.load(Ordering::Relaxed) || !self.channel.status().connected() {
            return Answer::NotSent;
        }
        match self.send_and_wait(order).await {
            Some(Confirmation::Ack(returned)) => {
                if let Some(message) = returned {
                    self.note_return(&message.delivery.properties);
                }
                Answer::Acked
            }
            Some(Confirmation::Nack(returned)) => {
                if let Some(message) = returned {
                    self.note_return(&message.delivery.properties);
                }
                Answer::Nacked
            }
            Some(Confirmation::NotRequested) | None => {
                self.silence.store(true, Ordering::Relaxed);
                Answer::Silence
            }
        }
    }

    /// None: whatever became of it, it may have landed.
    async fn send_and_wait(&self, order: Order) -> Option<Confirmation> {
        let body = message::write(self.installation, order);
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(message::message_id(order).into())
            .with_headers(trace_headers(order));
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let publish = self.channel.basic_publish("".into(), self.queue.clone(), options, &body, properties);
        let confirm = timeout(PUBLISH_TIMEOUT, publish).await.ok()?.ok()?;
        fault::behind(Step::Publish);
        timeout(CONFIRM_TIMEOUT, confirm).await.ok()?.ok()
    }

    fn note_return(&self, properties: &BasicProperties) {
        if let Some(id) = properties.message_id() {
            locked(&self.returned).insert(id.to_string());
        }
    }

    /// Judges when all answers are in: a return may come out with a later message's confirm.
    async fn finish(self, wire: &Wire, queues: &Queues, orders: &[Order], answers: &[Answer]) -> Vec<Published> {
        let returned = std::mem::take(&mut *locked(&self.returned));
        let silence = self.silence.load(Ordering::Relaxed);
        let published = orders.iter().zip(answers).map(|(order, answer)| match answer {
            Answer::Nacked | Answer::NotSent => Published::Refused,
            Answer::Silence => Published::Unknown,
            Answer::Acked if returned.is_empty() => Published::Confirmed,
            Answer::Acked if returned.contains(&message::message_id(*order)) => Published::Refused,
            // Its return may be stuck in the client, behind one whose confirm never came.
            Answer::Acked if silence => Published::Unknown,
            Answer::Acked => Published::Confirmed,
        });
        let published: Vec<Published> = published.collect();
        if silence {
            // The channel goes with its late answers, which would mix with the next call's. A broker that blocks us
            // says so, and says when it is over: that connection is kept.
            if !wire.is_blocked() {
                wire.give_up(wire.address.timed_out("confirming messages"));
            }
        } else {
            locked(&wire.confirming).push(self.channel);
        }
        if !returned.is_empty() {
            declare_again(wire, queues).await;
        }
        published
    }
}

/// Beside the body, which says nothing but the event. None where nothing is measured.
fn trace_headers(order: Order) -> FieldTable {
    let mut headers = FieldTable::default();
    if let Some(trace) = order.trace {
        headers.insert(TRACEPARENT.into(), AMQPValue::LongString(trace.to_string().into()));
    }
    headers
}

/// A queue was deleted under us: make it again, for whoever publishes next.
async fn declare_again(wire: &Wire, queues: &Queues) {
    sleep(DECLARE_AGAIN_AFTER).await;
    match timeout(CONFIRM_TIMEOUT, super::declare(wire, queues)).await {
        Ok(Ok(_)) => tracing::warn!("a queue was missing in RabbitMQ; it was declared again"),
        Ok(Err(reason)) => wire.give_up(reason),
        Err(_) => wire.give_up(wire.address.timed_out("declaring a queue again")),
    }
}
