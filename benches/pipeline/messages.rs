//! The ceiling of the broker: messages of the same size through bare channels.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use disconnectd::domain::event::{Attempt, EventId, Order};
use disconnectd::domain::message;
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};

use crate::BATCH;

/// Confirms awaited together.
const WINDOW: usize = 1_000;
const CONSUMERS: usize = 3;

/// Publishes `messages` with confirms while three channels consume and ack them, a batch at a time.
pub async fn bare(messages: usize) -> Result<f64> {
    let url = std::env::var("DISCONNECTD_TEST_AMQP_URL").context("run benches/run, which starts the servers")?;
    let publishing = Connection::connect(&url, ConnectionProperties::default()).await?;
    let consuming = Connection::connect(&url, ConnectionProperties::default()).await?;
    let channel = publishing.create_channel().await?;
    let queue = "disconnectd.bench";
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;

    let begun = Instant::now();
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(messages));
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        let channel = consuming.create_channel().await?;
        channel.basic_qos(128, BasicQosOptions::default()).await?;
        let mut consumer = channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        let left = left.clone();
        consumers.push(tokio::spawn(async move {
            use std::sync::atomic::Ordering::SeqCst;
            let mut unacked = 0;
            let mut last = 0;
            while left.load(SeqCst) > 0 {
                // A short wait, so that the rest of a batch is acked and the end is noticed.
                let next = tokio::time::timeout(Duration::from_millis(2), consumer.next()).await;
                if let Ok(Some(delivery)) = &next {
                    last = delivery.as_ref().map_err(Clone::clone)?.delivery_tag;
                    unacked += 1;
                }
                if unacked == BATCH || (unacked > 0 && next.is_err()) {
                    channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
                    left.fetch_sub(unacked, SeqCst);
                    unacked = 0;
                }
            }
            anyhow::Ok(())
        }));
    }
    let mut confirms = Vec::with_capacity(WINDOW);
    for i in 0..messages {
        let order = Order { event_id: EventId(i64::try_from(i)?), attempt: Attempt(1), trace: None };
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(message::message_id(order).into())
            .with_content_type("application/json".into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let body = message::write("0123456789abcdef", order);
        confirms.push(channel.basic_publish("".into(), queue.into(), options, &body, properties).await?);
        if confirms.len() == WINDOW {
            for confirm in confirms.drain(..) {
                confirm.await?;
            }
        }
    }
    for confirm in confirms {
        confirm.await?;
    }
    for consumer in consumers {
        consumer.await??;
    }
    let took = begun.elapsed().as_secs_f64();
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    // The client can trip over channels that are closing by themselves; it is measured by now.
    let _ = publishing.close(200, "done".into()).await;
    let _ = consuming.close(200, "done".into()).await;
    Ok(took)
}
