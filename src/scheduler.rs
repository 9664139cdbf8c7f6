//! Due -> publish. Any number of schedulers run at once, without a leader: the database lets each claim other events.
//!
//! The claim commits before anything is published. Confirmed: nothing to write. Refused: the events are released.
//! Unknown: nothing, since their `next_at` brings them back (DESIGN 3).
//!
//! Six loops side by side, so that none waits for another: single disconnects, the campaigns' lanes, what campaigns need
//! done beside, the campaigns that templates make, what goes to the archive, and what keeps lists quick.

mod archive;
mod campaigns;
mod singles;
mod templates;
mod tending;
mod upkeep;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::config::SchedulerConfig;
use crate::domain::event::Order;
use crate::fault::{self, Step};
use crate::health::{Asked, Health};
use crate::queue::{Connectivity, LaneKind, Published, Queue};
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use crate::traces::InHand;

/// How long an event that the broker refused waits before it is claimed again.
const RELEASE_DELAY: Duration = Duration::from_secs(1);

/// The longest sleep, should the cron expression be far away.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// What is due and can't be claimed (another scheduler is at it, or the queue holds as many as it may) is looked at again
/// after this long.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What runs side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loop {
    Singles,
    Campaigns,
    Upkeep,
    Templates,
    Archive,
    Tending,
}

/// What one loop tells another. What nobody waits for yet is kept.
#[derive(Default)]
struct Told {
    /// Members of campaigns have become events.
    enlisted: Notify,
    /// Events were claimed, made or cancelled, many perhaps.
    written: Notify,
}

pub struct Scheduler {
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub health: Arc<Health>,
    pub clock: Clock,
    pub config: SchedulerConfig,
    /// How many failed executions end the events that campaigns make.
    pub failures_max: i32,
}

impl Scheduler {
    /// Runs until a stop is asked for, whatever becomes of the database and the broker meanwhile.
    pub async fn run(self, stop: Shutdown) {
        let told = Told::default();
        let rounds = |of| self.rounds(of, &stop, &told);
        tokio::join!(
            rounds(Loop::Singles),
            rounds(Loop::Campaigns),
            rounds(Loop::Upkeep),
            rounds(Loop::Templates),
            rounds(Loop::Archive),
            rounds(Loop::Tending),
        );
    }

    /// Does what the loop does again and again: each round answers how long there will be nothing to do. Whatever wakes it
    /// meanwhile is listened for before it looks, so that nothing is lost.
    async fn rounds(&self, of: Loop, stop: &Shutdown, told: &Told) {
        let mut hints = self.store.hints();
        let mut connectivity = self.queue.connectivity();
        let mut backoff = Backoff::new();
        while !stop.is_asked() {
            hints.borrow_and_update();
            connectivity.borrow_and_update();
            let asked = self.health.asking();
            let round = match of {
                Loop::Singles => self.dispatch_singles(stop, told).await,
                Loop::Campaigns => self.dispatch_campaigns(stop, told).await,
                Loop::Upkeep => self.keep_up(stop, told).await,
                Loop::Templates => self.make_recurring(stop).await,
                Loop::Archive => self.archive().await,
                Loop::Tending => self.tend(stop, told).await,
            };
            let next = match round {
                Ok(next) => next,
                Err(error) => {
                    self.report(asked, &error);
                    backoff.wait(stop).await;
                    continue;
                }
            };
            backoff = Backoff::new();
            let sleep = next.unwrap_or(SLEEP_MAX).min(self.until_sweep()).min(SLEEP_MAX);
            tokio::select! {
                () = tokio::time::sleep(sleep) => {}
                // What ended long ago is in no hurry, and would be looked for at each request.
                _ = hints.changed(), if self.config.hints && of != Loop::Archive => {}
                () = told.enlisted.notified(), if of == Loop::Campaigns => {}
                _ = connectivity.changed() => {}
                () = stop.asked() => {}
            }
        }
    }

    async fn publish(&self, lane: LaneKind, orders: &[Order]) {
        if orders.is_empty() {
            return;
        }
        let (begun, mut in_hand) = (Instant::now(), InHand::publishing(lane, orders));
        let published = self.queue.publish(lane, in_hand.orders()).await;
        for (order, published) in orders.iter().zip(&published) {
            match published {
                Published::Confirmed => in_hand.ended(order.event_id, published.as_str()),
                Published::Refused | Published::Unknown => in_hand.failed(order.event_id, published.as_str()),
            }
        }
        drop(in_hand);
        metrics::histogram!("disconnectd_publish_seconds").record(begun.elapsed());
        for result in Published::ALL {
            let count = published.iter().filter(|published| **published == result).count() as u64;
            metrics::counter!("disconnectd_queue_published_total", "result" => result.as_str()).increment(count);
        }
        fault::behind(Step::Confirm);
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
