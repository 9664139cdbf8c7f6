//! In-process: two queues in this process's memory, for one machine. They die with the process, and the database
//! makes them again.
//!
//! Not bounded here: what waits is bounded by the scheduler, which publishes no more than its cap of campaign events
//! and what is due of single disconnects.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::dead::{DeadLetter, Settled, Settlement, Which};
use super::{ALONE, Batch, Connectivity, Deliveries, Delivery, Depth, LaneKind, Published, Queue, QueueError, Receipt};
use crate::domain::event::Order;

/// A handle; its clones are the same queue.
#[derive(Clone)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
}

impl MemoryQueue {
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            single: Lane::default(),
            campaign: Lane::default(),
            connectivity: watch::Sender::new(Connectivity::Up),
        };
        Self { shared: Arc::new(shared) }
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn publish(&self, lane: LaneKind, orders: &[Order]) -> Vec<Published> {
        let lane = self.shared.lane(lane);
        let mut waiting = lane.lock();
        if waiting.closed {
            return vec![Published::Refused; orders.len()];
        }
        waiting.deliveries.extend(orders.iter().map(|&order| Delivery { order, returns: 0 }));
        drop(waiting);
        lane.changed.notify_waiters();
        vec![Published::Confirmed; orders.len()]
    }

    async fn deliveries(&self, lane: LaneKind) -> Result<Box<dyn Deliveries>, QueueError> {
        if self.shared.lane(lane).lock().closed {
            return Err(QueueError::Closed);
        }
        Ok(Box::new(Consumer { shared: Arc::clone(&self.shared), lane }))
    }

    fn connectivity(&self) -> watch::Receiver<Connectivity> {
        self.shared.connectivity.subscribe()
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let waiting = |lane| self.shared.lane(lane).lock().deliveries.len() as u64;
        Ok(Depth { single: waiting(LaneKind::Single), campaign: waiting(LaneKind::Campaign), dead: 0 })
    }

    /// Nothing is put in here that is no order.
    async fn dead_letters(&self, _: usize) -> Result<Vec<DeadLetter>, QueueError> {
        Ok(Vec::new())
    }

    async fn settle_dead(&self, _: &Which, _: Settlement) -> Result<Settled, QueueError> {
        Ok(Settled::default())
    }

    async fn close(&self) {
        for lane in LaneKind::ALL.map(|lane| self.shared.lane(lane)) {
            lane.lock().closed = true;
            lane.changed.notify_waiters();
        }
        self.shared.connectivity.send_replace(Connectivity::Down("the queue was closed".to_owned()));
    }
}

struct Shared {
    single: Lane,
    campaign: Lane,
    connectivity: watch::Sender<Connectivity>,
}

impl Shared {
    fn lane(&self, lane: LaneKind) -> &Lane {
        match lane {
            LaneKind::Single => &self.single,
            LaneKind::Campaign => &self.campaign,
        }
    }
}

#[derive(Default)]
struct Lane {
    waiting: Mutex<Waiting>,
    /// Something came, or the queue was closed.
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    deliveries: VecDeque<Delivery>,
    closed: bool,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until at least `count` deliveries are there.
    async fn holds(&self, count: usize) -> Result<(), QueueError> {
        loop {
            let changed = self.changed.notified(); // before the look, so that no wake-up is lost
            {
                let waiting = self.lock();
                if waiting.closed {
                    return Err(QueueError::Closed);
                }
                if waiting.deliveries.len() >= count {
                    return Ok(());
                }
            }
            changed.await;
        }
    }
}

struct Consumer {
    shared: Arc<Shared>,
    lane: LaneKind,
}

#[async_trait]
impl Deliveries for Consumer {
    /// Cancel safe because nothing is taken before the waiting is over.
    async fn next(&mut self, max: usize, linger: Duration) -> Result<Batch, QueueError> {
        let max = max.max(1);
        let lane = self.shared.lane(self.lane);
        loop {
            lane.holds(1).await?;
            for (count, linger) in [(max.min(2), linger / ALONE), (max, linger)] {
                match timeout(linger, lane.holds(count)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(closed)) => return Err(closed),
                    Err(_) => break,
                }
            }
            let mut waiting = lane.lock();
            let count = waiting.deliveries.len().min(max);
            if count > 0 {
                let deliveries: Vec<Delivery> = waiting.deliveries.drain(..count).collect();
                drop(waiting);
                let taken = Taken { shared: Arc::clone(&self.shared), lane: self.lane, deliveries: deliveries.clone() };
                return Ok(Batch::new(deliveries, Box::new(taken)));
            } // else another consumer was faster
        }
    }
}

/// What was delivered and not settled. Dropped, it goes back to the front of the queue.
struct Taken {
    shared: Arc<Shared>,
    lane: LaneKind,
    deliveries: Vec<Delivery>,
}

#[async_trait]
impl Receipt for Taken {
    async fn ack(mut self: Box<Self>) {
        self.deliveries.clear();
    }

    async fn give_back(self: Box<Self>) {} // dropping it does
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.deliveries.is_empty() {
            return;
        }
        let lane = self.shared.lane(self.lane);
        let mut waiting = lane.lock();
        for delivery in self.deliveries.iter().rev() {
            let returns = delivery.returns.saturating_add(1);
            waiting.deliveries.push_front(Delivery { returns, ..*delivery });
        }
        drop(waiting);
        lane.changed.notify_waiters();
    }
}
