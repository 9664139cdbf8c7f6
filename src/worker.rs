//! Deliver -> decide in the store -> ack.
//!
//! The commit comes first and the acknowledgement after it, so that a crash anywhere costs a redelivery at most, and a
//! redelivered order finds its event done. While the database is away a worker holds what it has and takes no more.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::backoff::Backoff;
use crate::config::WorkerConfig;
use crate::domain::event::{Event, Order};
use crate::domain::plan::{Plan, Snapshot, plan_disconnect};
use crate::fault::{self, Step};
use crate::health::{Asked, Condition, Health};
use crate::queue::{Batch, Deliveries, Delivery, LaneKind, Queue, QueueError};
use crate::shutdown::Shutdown;
use crate::store::{Executed, Store, StoreError};
use crate::traces;

/// A delivery that came back more often than this may have killed its worker: it runs alone, and its failure is written
/// before it runs.
const RETURNS_BEFORE_SUSPECT: u32 = 3;

#[derive(Clone)]
pub struct Worker {
    pub store: Arc<dyn Store>,
    pub health: Arc<Health>,
    pub config: WorkerConfig,
    /// [`plan_disconnect`], but in tests of what happens when it panics.
    pub plan: fn(&Snapshot, &Event) -> Plan,
}

/// The stop was asked for while the database was away.
struct Stopped;

/// So many events are counted as in flight, also where a panic ends it.
struct InHand(f64);

impl InHand {
    fn new(events: usize) -> Self {
        let events = u32::try_from(events).unwrap_or(u32::MAX).into();
        metrics::gauge!("disconnectd_in_flight_events").increment(events);
        Self(events)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        metrics::gauge!("disconnectd_in_flight_events").decrement(self.0);
    }
}

impl Worker {
    #[must_use]
    pub fn new(store: Arc<dyn Store>, health: Arc<Health>, config: WorkerConfig) -> Self {
        Self { store, health, config, plan: plan_disconnect }
    }

    /// Runs until a stop is asked for, and then to the end of what has begun.
    pub async fn run(self, queue: Arc<dyn Queue>, stop: Shutdown) {
        let mut loops = JoinSet::new();
        let mut lanes = HashMap::new();
        let mut backoff = Backoff::new();
        let start = |loops: &mut JoinSet<()>, lane| {
            let (worker, queue, stop) = (self.clone(), queue.clone(), stop.clone());
            loops.spawn(async move { worker.consume(queue, lane, &stop).await }).id()
        };
        for lane in LaneKind::ALL {
            for _ in 0..self.config.loops {
                lanes.insert(start(&mut loops, lane), lane);
            }
        }
        while let Some(ended) = loops.join_next_with_id().await {
            // A loop that panicked dropped its batch, which is delivered again. Another loop takes its place.
            if let Err(error) = ended
                && let Some(lane) = lanes.remove(&error.id())
                && !stop.is_asked()
            {
                tracing::error!(%error, lane = lane.as_str(), "a worker loop ended by itself; another takes its place");
                metrics::counter!("disconnectd_worker_panics_total").increment(1);
                // What ended it may end the next one as well.
                backoff.wait(&stop).await;
                lanes.insert(start(&mut loops, lane), lane);
            }
        }
    }

    async fn consume(&self, queue: Arc<dyn Queue>, lane: LaneKind, stop: &Shutdown) {
        let Ok(mut deliveries) = queue.deliveries(lane).await else { return };
        while self.database_is_there(stop).await {
            let batch = tokio::select! {
                biased;
                () = stop.asked() => return,
                batch = self.next(&mut *deliveries) => batch,
            };
            match batch {
                Ok(batch) => {
                    let _in_hand = InHand::new(batch.deliveries.len());
                    fault::behind(Step::Delivery);
                    self.handle(lane, batch, stop).await;
                    fault::behind(Step::Ack);
                }
                Err(QueueError::Closed | QueueError::Unavailable(_)) => return,
            }
        }
    }

    async fn next(&self, deliveries: &mut dyn Deliveries) -> Result<Batch, QueueError> {
        deliveries.next(self.config.batch_max, self.config.linger).await
    }

    /// Waits for a database that is known to be away. `false`: a stop was asked for.
    async fn database_is_there(&self, stop: &Shutdown) -> bool {
        let mut backoff = Backoff::new();
        while !stop.is_asked() {
            if !matches!(self.health.database(), Condition::Down(_)) {
                return true;
            }
            let asked = self.health.asking();
            let answer = tokio::select! {
                answer = self.store.ping() => answer,
                () = stop.asked() => return false,
            };
            match answer {
                Ok(()) => self.health.database_answered(asked),
                Err(_) => {
                    backoff.wait(stop).await;
                }
            }
        }
        false
    }

    async fn handle(&self, lane: LaneKind, batch: Batch, stop: &Shutdown) {
        let (suspects, others): (Vec<&Delivery>, Vec<&Delivery>) =
            batch.deliveries.iter().partition(|delivery| delivery.returns > RETURNS_BEFORE_SUSPECT);
        let orders: Vec<Order> = others.into_iter().map(|delivery| delivery.order).collect();
        let mut done = self.execute(lane, &orders, stop).await;
        for suspect in suspects {
            if done.is_ok() {
                done = self.execute_suspect(lane, suspect, stop).await;
            }
        }
        match done {
            Ok(()) => batch.ack().await,
            Err(Stopped) => batch.give_back().await,
        }
    }

    /// Runs `orders` to a result that is written, whatever it takes.
    async fn execute(&self, lane: LaneKind, orders: &[Order], stop: &Shutdown) -> Result<(), Stopped> {
        if orders.is_empty() {
            return Ok(());
        }
        let mut measured = traces::InHand::disconnecting(lane, orders);
        let Ok(tried) = self.try_execute(measured.orders(), stop).await else {
            measured.all_failed("given back");
            return Err(Stopped);
        };
        match tried {
            Ok(executed) => self.settle(executed, measured, stop).await,
            Err(error) if orders.len() == 1 => {
                measured.all_failed("left for later");
                // Somebody holds its account for long, or the store could not say whose fault it is. It stays queued,
                // and its `next_at` brings it back; meanwhile it holds up nobody else.
                tracing::warn!(event = %orders[0].event_id, %error, "event {} is left for later", orders[0].event_id);
                Ok(())
            }
            Err(error) => {
                // One account's trouble stays its own. What the database refused is found by halves, which takes a fraction
                // of the transactions; where somebody was waited for, each half would wait for them again.
                let at_once = if matches!(error, StoreError::Rejected(_)) { orders.len().div_ceil(2) } else { 1 };
                tracing::debug!(events = orders.len(), at_once, %error, "a batch failed; its events run again in smaller ones");
                metrics::counter!("disconnectd_batches_split_total").increment(1);
                measured.all_failed("rolled back, to run in smaller batches");
                drop(measured);
                for orders in orders.chunks(at_once) {
                    Box::pin(self.execute(lane, orders, stop)).await?;
                }
                Ok(())
            }
        }
    }

    /// Tries again until the database answers: with what was done, or with why this batch can't be done now.
    async fn try_execute(
        &self,
        orders: &[Order],
        stop: &Shutdown,
    ) -> Result<Result<Vec<Executed>, StoreError>, Stopped> {
        let decide = |snapshot: &Snapshot, event: &Event| self.decide(snapshot, event);
        let mut backoff = Backoff::new();
        loop {
            let (begun, asked) = (Instant::now(), self.health.asking());
            match self.health.answer(asked, self.store.disconnect(orders, &decide)).await {
                Ok(executed) => {
                    metrics::histogram!("disconnectd_batch_seconds").record(begun.elapsed());
                    metrics::histogram!("disconnectd_batch_events")
                        .record(u32::try_from(orders.len()).unwrap_or(u32::MAX));
                    self.health.database_answered(asked);
                    return Ok(Ok(executed));
                }
                // Others may be writing for longer than a stop waits.
                Err(StoreError::Conflict(_)) if stop.is_asked() => return Err(Stopped),
                Err(error @ (StoreError::Rejected(_) | StoreError::Conflict(_))) => return Ok(Err(error)),
                Err(error) => self.wait_out(asked, &error, &mut backoff, stop).await?,
            }
        }
    }

    /// A panic in one event's work is that event's failure, not the worker's end.
    fn decide(&self, snapshot: &Snapshot, event: &Event) -> Plan {
        catch_unwind(AssertUnwindSafe(|| (self.plan)(snapshot, event))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(ToString::to_string);
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Plan::Fail(format!("the program failed at this account, which is a fault in it: {text}"))
        })
    }

    async fn settle(
        &self,
        executed: Vec<Executed>,
        mut measured: traces::InHand<'_>,
        stop: &Shutdown,
    ) -> Result<(), Stopped> {
        let mut failures = Vec::new();
        for one in executed {
            match one {
                Executed::Completed { event_id, outcome, .. } => {
                    measured.ended(event_id, outcome.as_str());
                    metrics::counter!("disconnectd_disconnects_total", "outcome" => outcome.as_str()).increment(1);
                    tracing::debug!(event = %event_id, outcome = outcome.as_str(), "event {event_id} completed");
                }
                Executed::Stale { event_id } => {
                    measured.ended(event_id, "stale");
                    metrics::counter!("disconnectd_stale_deliveries_total").increment(1);
                    tracing::debug!(event = %event_id, "event {event_id} is not to run now: it is not queued any more, or its campaign was stopped");
                }
                Executed::Failed(failure) => {
                    let verdict = self.config.retry.after_failure(&failure);
                    measured.failed(failure.event_id, verdict.as_str());
                    tracing::warn!(
                        event = %failure.event_id, attempt = %failure.attempt, error = failure.error, ?verdict,
                        "event {} failed", failure.event_id
                    );
                    metrics::counter!("disconnectd_failures_total", "next" => verdict.as_str()).increment(1);
                    failures.push((failure, verdict));
                }
            }
        }
        if failures.is_empty() {
            return Ok(());
        }
        let mut backoff = Backoff::new();
        loop {
            let asked = self.health.asking();
            match self.health.answer(asked, self.store.record_failures(&failures)).await {
                Ok(_) => return Ok(()),
                Err(error @ StoreError::Rejected(_)) => {
                    // They stay queued and come again by their `next_at`.
                    tracing::error!(%error, events = failures.len(), "failures could not be written");
                    return Ok(());
                }
                Err(error) => self.wait_out(asked, &error, &mut backoff, stop).await?,
            }
        }
    }

    /// An execution that fails after all counts twice, so that an event which kills workers is given up sooner.
    async fn execute_suspect(&self, lane: LaneKind, suspect: &Delivery, stop: &Shutdown) -> Result<(), Stopped> {
        let Delivery { order, returns } = *suspect;
        let error = format!("its message came back {returns} times, as if it had killed its worker");
        tracing::warn!(event = %order.event_id, returns, "event {} runs alone: {error}", order.event_id);
        let mut backoff = Backoff::new();
        loop {
            let asked = self.health.asking();
            match self.health.answer(asked, self.store.record_suspect(order.event_id, &error)).await {
                Ok(None) => return Ok(()),
                Ok(Some(attempt)) => {
                    return self.execute(lane, &[Order { attempt, ..order }], stop).await;
                }
                Err(error @ StoreError::Rejected(_)) => {
                    tracing::error!(event = %order.event_id, %error, "event {} is left for later", order.event_id);
                    return Ok(());
                }
                Err(error) => self.wait_out(asked, &error, &mut backoff, stop).await?,
            }
        }
    }

    async fn wait_out(
        &self,
        asked: Asked,
        error: &StoreError,
        backoff: &mut Backoff,
        stop: &Shutdown,
    ) -> Result<(), Stopped> {
        match error {
            StoreError::Unavailable(_) | StoreError::Unusable(_) => {
                self.health.database_failed(asked, &error.to_string());
            }
            StoreError::Conflict(_) | StoreError::Rejected(_) | StoreError::Refused(_) => {
                tracing::debug!(%error, "the worker tries again");
            }
        }
        if backoff.wait(stop).await { Ok(()) } else { Err(Stopped) }
    }

    /// Runs one claimed order here and now, for a command that waits for it.
    pub async fn execute_here(&self, order: Order, stop: &Shutdown) {
        let _ = self.execute(LaneKind::Single, &[order], stop).await;
    }
}
