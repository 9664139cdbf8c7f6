//! RabbitMQ: for more than one machine. Quorum queues, a dead-letter queue, confirms and acknowledgements.
//!
//! Nothing here fails because the broker is away: two supervised connections come back by themselves, for ever. What
//! was measured of the broker and the client, and shaped this, is said where it matters.

mod address;
mod board;
mod connection;
mod consumer;
mod dead;
mod ledger;
mod publisher;
mod topology;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use address::AddressError;

use self::address::Address;
use self::board::{Board, Role};
use self::connection::{Link, Wire, close_quietly, locked};
use self::consumer::Consumer;
use self::dead::{TAKEN_MAX, Taken};
use self::topology::Queues;
use super::dead::{DeadLetter, Settled, Settlement, Which};
use super::{Connectivity, Deliveries, Depth, LaneKind, Published, Queue, QueueError};
use crate::domain::event::Order;

/// For counting messages.
const DEPTH_TIMEOUT: Duration = Duration::from_secs(5);
/// For looking at the dead-letter queue, and for settling what is there.
const DEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// For one supervisor to end. A little more than what it allows itself for saying goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(4);

/// A handle; its clones are the same queue. The connections end with [`Queue::close`], or with the last handle and
/// consumer.
#[derive(Clone)]
pub struct RabbitQueue {
    shared: Arc<Shared>,
}

struct Shared {
    installation: String,
    queues: Queues,
    board: Arc<Board>,
    publish: Arc<Link>,
    consume: Arc<Link>,
    closing: watch::Sender<bool>,
    supervisors: Mutex<Vec<JoinHandle<()>>>,
}

impl RabbitQueue {
    /// Starts to connect, and to reconnect whenever that is needed. Call it within a tokio runtime.
    ///
    /// `installation` names the database that the messages speak about, so that two of them can share a broker.
    ///
    /// # Errors
    /// Only where `url` or `installation` cannot be right. An absent broker shows in [`Queue::connectivity`].
    pub fn new(url: &str, installation: &str) -> Result<Self, AddressError> {
        Self::trusting(url, None, installation)
    }

    /// The same; with `ca_file`, a broker that one of its CAs vouches for, and no other.
    ///
    /// # Errors
    /// As [`RabbitQueue::new`]. What is wrong with the file or the certificate shows in [`Queue::connectivity`].
    pub fn trusting(url: &str, ca_file: Option<PathBuf>, installation: &str) -> Result<Self, AddressError> {
        let address = Address { ca_file, ..url.parse()? };
        address::check_installation(installation)?;
        let queues = Queues::of(installation);
        let board = Arc::new(Board::new());
        let closing = watch::Sender::new(false);
        let link = |role| Arc::new(Link::new(role, address.clone(), queues.clone(), Arc::clone(&board)));
        let (publish, consume) = (link(Role::Publish), link(Role::Consume));
        let supervisors =
            [&publish, &consume].map(|link| tokio::spawn(Arc::clone(link).supervise(closing.subscribe())));
        let shared = Shared {
            installation: installation.to_owned(),
            queues,
            board,
            publish,
            consume,
            closing,
            supervisors: Mutex::new(supervisors.into()),
        };
        Ok(Self { shared: Arc::new(shared) })
    }
}

impl RabbitQueue {
    /// On the publishing connection, since some of it may be published again.
    async fn at_the_dead<T>(
        &self,
        does: impl AsyncFnOnce(&Wire, &Shared) -> Result<T, String>,
    ) -> Result<T, QueueError> {
        let Some(wire) = self.shared.publish.wire() else {
            return Err(QueueError::Unavailable(self.shared.board.reason()));
        };
        match timeout(DEAD_TIMEOUT, does(&wire, &self.shared)).await {
            Ok(done) => done.map_err(QueueError::Unavailable),
            Err(_) => Err(QueueError::Unavailable(wire.address.timed_out("looking at the dead-letter queue"))),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn publish(&self, lane: LaneKind, orders: &[Order]) -> Vec<Published> {
        let Shared { publish, queues, installation, closing, .. } = &*self.shared;
        match publish.wire() {
            Some(wire) if !*closing.borrow() => publisher::publish(&wire, queues, installation, lane, orders).await,
            _ => vec![Published::Refused; orders.len()],
        }
    }

    async fn deliveries(&self, lane: LaneKind) -> Result<Box<dyn Deliveries>, QueueError> {
        if *self.shared.closing.borrow() {
            return Err(QueueError::Closed);
        }
        Ok(Box::new(Consumer::new(Arc::clone(&self.shared), lane)))
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.shared.board.subscribe()
    }

    /// Counts by declaring, which makes a queue that was deleted. On the consuming connection: while the broker is out
    /// of memory it does not read the other one.
    async fn depth(&self) -> Result<Depth, QueueError> {
        let Some(wire) = self.shared.consume.wire() else {
            return Err(QueueError::Unavailable(self.shared.board.reason()));
        };
        match timeout(DEPTH_TIMEOUT, declare(&wire, &self.shared.queues)).await {
            Ok(depth) => depth.map_err(QueueError::Unavailable),
            Err(_) => Err(QueueError::Unavailable(wire.address.timed_out("counting messages"))),
        }
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.at_the_dead(async |wire: &Wire, shared: &Shared| {
            Ok(Taken::out(wire, &shared.queues, &shared.installation, limit).await?.shown())
        })
        .await
    }

    async fn settle_dead(&self, which: &Which, settlement: Settlement) -> Result<Settled, QueueError> {
        self.at_the_dead(async |wire: &Wire, shared: &Shared| {
            let taken = Taken::out(wire, &shared.queues, &shared.installation, TAKEN_MAX).await?;
            taken.settled(which, settlement).await
        })
        .await
    }

    async fn close(&self) {
        self.shared.closing.send_replace(true);
        let supervisors = std::mem::take(&mut *locked(&self.shared.supervisors));
        for supervisor in supervisors {
            if timeout(CLOSE_TIMEOUT, supervisor).await.is_err() {
                tracing::debug!("a connection to RabbitMQ did not close in time; it ends with the process");
            }
        }
    }
}

/// Declares the queues on a channel for that alone.
async fn declare(wire: &Wire, queues: &Queues) -> Result<Depth, String> {
    let channel = wire.open_channel().await?;
    let depth = queues.declare(&channel, &wire.address).await?;
    close_quietly(&channel);
    Ok(depth)
}
