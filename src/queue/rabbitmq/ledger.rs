//! What was delivered on one channel and not settled, so that a batch can be settled with one frame.
//!
//! The client's own acker is not used: it hands each acknowledgement to a task of its own, so two can overtake each
//! other, and one for several messages that comes after a later one ends the channel ("unknown delivery tag"). Here a
//! frame is queued while the lock is held, in the order in which it was decided on. A tag belongs to its channel and
//! the channel is never revived, so nothing stale can be acknowledged.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures_util::FutureExt;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions};

use super::connection::{close_quietly, locked};
use crate::queue::Receipt;

/// Lives until the consumer is gone and its batches are settled; then the channel closes, and what else the broker
/// had sent on it is delivered again.
pub struct Ledger {
    channel: Channel,
    unsettled: Mutex<BTreeSet<u64>>,
}

#[derive(Debug, Clone, Copy)]
enum Verdict {
    Ack,
    Requeue,
}

impl Ledger {
    pub fn new(channel: Channel) -> Self {
        Self { channel, unsettled: Mutex::default() }
    }

    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    pub fn delivered(&self, tag: u64) {
        locked(&self.unsettled).insert(tag);
    }

    pub fn is_settled(&self) -> bool {
        locked(&self.unsettled).is_empty()
    }

    /// To the dead-letter queue, by itself. It was never `delivered`.
    pub fn reject(&self, tag: u64) {
        let _order = locked(&self.unsettled);
        log_failure(self.channel.basic_reject(tag, BasicRejectOptions { requeue: false }).now_or_never());
    }

    /// Settles `tags`, which rise. One frame for all where nothing else unsettled lies below the last of them.
    fn settle(&self, tags: &[u64], verdict: Verdict) {
        let Some(last) = tags.last() else { return };
        let mut unsettled = locked(&self.unsettled);
        for tag in tags {
            unsettled.remove(tag);
        }
        if unsettled.first().is_none_or(|lowest| lowest > last) {
            self.send(*last, verdict, true);
        } else {
            for tag in tags {
                self.send(*tag, verdict, false);
            }
        }
    }

    /// Queues the frame and does not wait until it is written: prefetching bounds how many there can be.
    fn send(&self, tag: u64, verdict: Verdict, multiple: bool) {
        let queued = match verdict {
            Verdict::Ack => self.channel.basic_ack(tag, BasicAckOptions { multiple }).now_or_never(),
            Verdict::Requeue => {
                self.channel.basic_nack(tag, BasicNackOptions { multiple, requeue: true }).now_or_never()
            }
        };
        log_failure(queued);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        close_quietly(&self.channel);
    }
}

/// A dead channel is no error to the caller: its messages come again, and doing an event twice does no harm.
fn log_failure(queued: Option<lapin::Result<()>>) {
    if let Some(Err(error)) = queued {
        tracing::debug!("a message could not be settled and will be delivered again: {error}");
    }
}

/// The receipt of a batch. Dropped unsettled, its messages are given back.
pub struct Unsettled {
    ledger: Arc<Ledger>,
    tags: Vec<u64>,
}

impl Unsettled {
    pub fn new(ledger: Arc<Ledger>, tags: Vec<u64>) -> Self {
        Self { ledger, tags }
    }
}

#[async_trait]
impl Receipt for Unsettled {
    async fn ack(mut self: Box<Self>) {
        let tags = std::mem::take(&mut self.tags);
        self.ledger.settle(&tags, Verdict::Ack);
    }

    async fn give_back(self: Box<Self>) {} // dropping it does
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.ledger.settle(&self.tags, Verdict::Requeue);
    }
}
