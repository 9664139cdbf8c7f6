//! The queue port. A queue wakes workers and spreads the work; it decides nothing and may lose everything.
//!
//! What a caller may rely on, in both engines:
//! - an order that was published and confirmed is delivered at least once, unless the queue itself is lost;
//! - a batch that is neither settled nor given back (dropped, crashed) is delivered again;
//! - single disconnects and campaigns have queues of their own.

pub mod dead;
pub mod memory;
pub mod own;
pub mod rabbitmq;

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::sync::watch;

use self::dead::{DeadLetter, Settled, Settlement, Which};
use crate::domain::event::Order;

/// Which of the two queues: a single disconnect never stands behind a campaign's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LaneKind {
    Single,
    Campaign,
}

impl LaneKind {
    pub const ALL: [Self; 2] = [Self::Single, Self::Campaign];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Campaign => "campaign",
        }
    }
}

/// What became of one published order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The broker has it on disk. Nothing is left to do.
    Confirmed,
    /// The broker does not have it: nacked, returned as unroutable, or never sent. It may be published again.
    Refused,
    /// Nobody knows: the answer did not come in time. It may have landed, and may still land.
    Unknown,
}

impl Published {
    pub const ALL: [Self; 3] = [Self::Confirmed, Self::Refused, Self::Unknown];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }
}

/// Whether the queue can be used right now, and since it can't, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connectivity {
    /// Not tried yet.
    Starting,
    Up,
    /// With the reason, in words for the person on call.
    Down(String),
}

/// Messages that wait, per queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Depth {
    pub single: u64,
    pub campaign: u64,
    pub dead: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The broker cannot be reached, or refuses us. It may come back: try again later.
    #[error("{0}")]
    Unavailable(String),
    /// This handle was closed; there is nothing more to come from it.
    #[error("the queue was closed")]
    Closed,
}

/// A delivery that comes alone waits for a second one by this many times less (the runtime rounds up to a millisecond): what
/// was published with it is there within microseconds, and a single disconnect is not to be held up for others that may
/// never come.
pub const ALONE: u32 = 10;

#[async_trait]
pub trait Queue: Send + Sync {
    /// Publishes `orders` and waits for their confirmations, several under way at a time. Answers in the order asked,
    /// within a bounded time whatever the broker does; never an error, since each order has its own fate.
    async fn publish(&self, lane: LaneKind, orders: &[Order]) -> Vec<Published>;

    /// Starts to consume one lane. Each call is a consumer of its own.
    ///
    /// # Errors
    /// [`QueueError::Closed`] after [`Queue::close`]. An absent broker is no error: the consumer waits for it.
    async fn deliveries(&self, lane: LaneKind) -> Result<Box<dyn Deliveries>, QueueError>;

    /// Follows whether the queue can be used. The scheduler claims nothing while it cannot.
    fn connectivity(&self) -> watch::Receiver<Connectivity>;

    /// Messages ready in each queue.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where the broker does not answer in time.
    async fn depth(&self) -> Result<Depth, QueueError>;

    /// What is in the dead-letter queue, the oldest first, at most `limit`. It stays there.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where the broker does not answer in time.
    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError>;

    /// Drops messages from the dead-letter queue, or puts those that are orders back to where they came from. A crash
    /// in between leaves a message in both queues at most, which does no harm.
    ///
    /// # Errors
    /// [`QueueError::Unavailable`] where the broker does not answer in time; some may be done.
    async fn settle_dead(&self, which: &Which, settlement: Settlement) -> Result<Settled, QueueError>;

    /// Closes connections. What was delivered and not settled is delivered again, to someone else.
    async fn close(&self);
}

/// A consumer of one lane.
#[async_trait]
pub trait Deliveries: Send {
    /// Waits for at least one delivery, then takes what else is at hand: up to `max` in all, waiting `linger` at most
    /// for more, and an [`ALONE`]th of it for a second one. Reconnects by itself, for ever. Safe to cancel: what was
    /// taken and not returned is delivered again.
    ///
    /// # Errors
    /// [`QueueError::Closed`] after [`Queue::close`], and never otherwise.
    async fn next(&mut self, max: usize, linger: Duration) -> Result<Batch, QueueError>;
}

/// One order as it was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    pub order: Order,
    /// How often it was delivered before and came back: 0 the first time.
    pub returns: u32,
}

/// Deliveries that are settled together, with one acknowledgement.
pub struct Batch {
    pub deliveries: Vec<Delivery>,
    receipt: Box<dyn Receipt>,
}

/// How an engine settles a batch.
#[async_trait]
pub trait Receipt: Send + Sync {
    async fn ack(self: Box<Self>);
    async fn give_back(self: Box<Self>);
}

impl Batch {
    #[must_use]
    pub fn new(deliveries: Vec<Delivery>, receipt: Box<dyn Receipt>) -> Self {
        Self { deliveries, receipt }
    }

    /// Done with all of them, after the commit. If the acknowledgement is lost they come again, which does no harm.
    pub async fn ack(self) {
        self.receipt.ack().await;
    }

    /// Not done: deliver them again, to whoever is there.
    pub async fn give_back(self) {
        self.receipt.give_back().await;
    }
}
