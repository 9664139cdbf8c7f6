//! Due -> publish. Any number of schedulers run at once, without a leader: the database lets each claim other events.
//!
//! The claim commits before anything is published. Confirmed: nothing to write. Refused: the events are released.
//! Unknown: nothing, since their `next_at` brings them back (DESIGN 3).

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::SchedulerConfig;
use crate::domain::event::Order;
use crate::health::{Asked, Health};
use crate::queue::{Connectivity, LaneKind, Published, Queue};
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError, StoreResult};

/// How long an event that the broker refused waits before it is claimed again.
const RELEASE_DELAY: Duration = Duration::from_secs(1);

/// The longest sleep, should the cron expression be far away.
const SLEEP_MAX: Duration = Duration::from_secs(60);

pub struct Scheduler {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub health: Arc<Health>,
    pub clock: Clock,
    pub config: SchedulerConfig,
}

impl Scheduler {
    /// Runs until a stop is asked for, whatever becomes of the database and the broker meanwhile.
    pub async fn run(self, stop: Shutdown) {
        let mut hints = self.store.hints();
        let mut connectivity = self.queue.connectivity();
        let mut backoff = Backoff::new();
        while !stop.is_asked() {
            // Before looking, so that a hint which comes while we look is not lost.
            hints.borrow_and_update();
            connectivity.borrow_and_update();
            let asked = self.health.asking();
            let next = match self.dispatch(&stop).await {
                Ok(next) => next,
                Err(error) => {
                    self.report(asked, &error);
                    backoff.wait(&stop).await;
                    continue;
                }
            };
            backoff = Backoff::new();
            let sleep = next.unwrap_or(SLEEP_MAX).min(self.until_sweep()).min(SLEEP_MAX);
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                _ = hints.changed(), if self.config.hints => {}
                _ = connectivity.changed() => {}
                () = stop.asked() => {}
            }
        }
    }

    /// Publishes everything that is due, the next claim running while the last one is confirmed. Answers how long
    /// nothing will be due.
    async fn dispatch(&self, stop: &Shutdown) -> StoreResult<Option<Duration>> {
        let mut claimed: Vec<Order> = Vec::new();
        loop {
            if !self.queue_is_up() || stop.is_asked() {
                self.publish(&claimed).await;
                // The connectivity's change, or the sweep, ends this wait.
                return Ok(None);
            }
            let last = std::mem::take(&mut claimed);
            let (next, ()) = tokio::join!(self.claim(), self.publish(&last));
            claimed = next?;
            if claimed.is_empty() {
                let asked = self.health.asking();
                let next_due = self.health.answer(asked, self.store.next_due()).await?;
                if next_due != Some(Duration::ZERO) {
                    return Ok(next_due);
                }
                // Due, and yet not claimed: another scheduler is at it. Give it a moment.
                return Ok(Some(Duration::from_millis(50)));
            }
        }
    }

    async fn claim(&self) -> StoreResult<Vec<Order>> {
        let asked = self.health.asking();
        let orders = self.health.answer(asked, self.store.claim(self.config.claim_max, self.config.redispatch)).await?;
        self.health.database_answered(asked);
        metrics::counter!("disconnectd_claimed_total").increment(orders.len() as u64);
        Ok(orders)
    }

    async fn publish(&self, orders: &[Order]) {
        if orders.is_empty() {
            return;
        }
        let published = self.queue.publish(LaneKind::Single, orders).await;
        let refused: Vec<Order> = orders
            .iter()
            .zip(&published)
            .filter(|(_, published)| **published == Published::Refused)
            .map(|(order, _)| *order)
            .collect();
        if refused.is_empty() {
            return;
        }
        if self.queue_is_up() {
            let first = refused[0].event_id;
            tracing::warn!(events = refused.len(), %first, "the queue refused events; they are released");
        } // else that was said already
        let asked = self.health.asking();
        if let Err(error) = self.health.answer(asked, self.store.release(&refused, RELEASE_DELAY)).await {
            // They stay queued, and their `next_at` brings them back.
            self.report(asked, &error);
        }
    }

    fn queue_is_up(&self) -> bool {
        *self.queue.connectivity().borrow() == Connectivity::Up
    }

    fn until_sweep(&self) -> Duration {
        let now: DateTime<Utc> = self.clock.now();
        self.config.sweep.next_after(now).and_then(|at| (at - now).to_std().ok()).unwrap_or(SLEEP_MAX)
    }

    fn report(&self, asked: Asked, error: &StoreError) {
        match error {
            StoreError::Conflict(_) => tracing::debug!(%error, "the scheduler tries again"),
            StoreError::Unavailable(_) | StoreError::Unusable(_) => {
                self.health.database_failed(asked, &error.to_string());
            }
            StoreError::Rejected(_) | StoreError::Refused(_) => {
                tracing::error!(%error, "the scheduler can't go on; it tries again");
            }
        }
    }
}
