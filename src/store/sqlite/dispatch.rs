//! The scheduler's verbs.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::failure::failure;
use super::rows::{after, at, get, json};
use crate::domain::event::{Attempt, EventId, Order};
use crate::domain::trace::TraceParent;
use crate::store::{Dispatch, Redispatch, StoreResult};

#[async_trait]
impl Dispatch for SqliteStore {
    async fn claim(&self, limit: u32, redispatch: Redispatch) -> StoreResult<Vec<Order>> {
        let mut tx = self.write().await?;
        // Once the lock is held: it may have been waited for, and what passes meanwhile must not count.
        let now = self.now();
        let steps = steps(now, redispatch);
        let claimed = sqlx::query(
            "/* claim */ update disconnect_events
                set state = 'queued', attempt = attempt + 1, dispatches = dispatches + 1,
                    next_at = ?3 ->> min(dispatches, ?4)
              where id in (select id from disconnect_events
                            where lane = 0 and state in ('scheduled', 'queued') and next_at <= ?1
                            order by next_at limit ?2)
             returning id, attempt, traceparent",
        )
        .bind(at(now))
        .bind(limit)
        .bind(json(&steps)?)
        .bind(last(&steps))
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)?;
        claimed.iter().map(order).collect()
    }

    async fn tend(&self) -> StoreResult<()> {
        Ok(())
    }

    async fn claim_one(&self, event: EventId, redispatch: Redispatch) -> StoreResult<Option<Order>> {
        let mut tx = self.write().await?;
        // Once the lock is held: it may have been waited for, and what passes meanwhile must not count.
        let now = self.now();
        let steps = steps(now, redispatch);
        let claimed = sqlx::query(
            "/* claim one */ update disconnect_events
                set state = 'queued', attempt = attempt + 1, dispatches = dispatches + 1,
                    next_at = ?3 ->> min(dispatches, ?4)
              where id = ?2 and state in ('scheduled', 'queued') and next_at <= ?1
             returning id, attempt, traceparent",
        )
        .bind(at(now))
        .bind(event.0)
        .bind(json(&steps)?)
        .bind(last(&steps))
        .fetch_optional(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)?;
        claimed.as_ref().map(order).transpose()
    }

    async fn release(&self, orders: &[Order], delay: Duration) -> StoreResult<()> {
        if orders.is_empty() {
            return Ok(());
        }
        let orders: Vec<(i64, i32)> = orders.iter().map(|order| (order.event_id.0, order.attempt.0)).collect();
        let mut tx = self.write().await?;
        let next_at = after(self.now(), delay);
        sqlx::query(
            "/* release */ update disconnect_events set state = 'scheduled', next_at = ?2, dispatches = 0
              where (id, attempt) in (select value ->> 0, value ->> 1 from json_each(?1)) and state = 'queued'",
        )
        .bind(json(&orders)?)
        .bind(next_at)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)?;
        self.hints.hint();
        Ok(())
    }

    async fn next_due(&self) -> StoreResult<Option<Duration>> {
        let next_at: Option<DateTime<Utc>> = sqlx::query_scalar(
            "/* next due */ select min(next_at) from disconnect_events
              where lane = 0 and state in ('scheduled', 'queued')",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(failure)?;
        Ok(next_at.map(|next_at| (next_at - self.now()).to_std().unwrap_or(Duration::ZERO)))
    }
}

fn order(row: &SqliteRow) -> StoreResult<Order> {
    let trace: Option<String> = get(row, "traceparent")?;
    let trace = trace.as_deref().and_then(TraceParent::parse);
    Ok(Order { event_id: EventId(get(row, "id")?), attempt: Attempt(get(row, "attempt")?), trace })
}

/// When to look again after the first dispatch, the second and so on; after the last as after that one.
pub fn steps(now: DateTime<Utc>, redispatch: Redispatch) -> Vec<String> {
    /// Of doublings: from a nanosecond they come to a century.
    const STEPS_MAX: usize = 62;
    let mut delay = redispatch.base.min(redispatch.max);
    let mut steps = vec![after(now, delay)];
    while delay < redispatch.max && !delay.is_zero() && steps.len() < STEPS_MAX {
        delay = delay.saturating_mul(2).min(redispatch.max);
        steps.push(after(now, delay));
    }
    steps
}

/// The index of the last one.
pub fn last(steps: &[String]) -> i64 {
    i64::try_from(steps.len()).map_or(0, |steps| steps - 1)
}
