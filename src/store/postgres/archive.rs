//! The archive: where events go some time after they have ended.

use std::time::Duration;

use async_trait::async_trait;

use super::failure::{Failure, expect_rows};
use super::{PostgresStore, VERB_LIMIT, within};
use crate::store::{ARCHIVE_MAX, Archive, StoreResult};

#[async_trait]
impl Archive for PostgresStore {
    async fn archive(&self, after: Duration) -> StoreResult<u64> {
        within(VERB_LIMIT, batch(self, after)).await
    }
}

/// Both statements in one transaction: whatever happens, an event stands in exactly one of the tables.
async fn batch(store: &PostgresStore, after: Duration) -> Result<u64, Failure> {
    let mut tx = store.begin().await?;
    // The ids come as an array, as in a claim. Nobody waits here for a lock, and so nobody who has one waits in a circle.
    let ids: Vec<i64> = sqlx::query_scalar(
        "/* archive: a batch */
         select id from disconnect_events
          where state in ('completed', 'cancelled')
            and ended_at <= statement_timestamp() - make_interval(secs => $1::float8)
          order by ended_at
          limit $2
            for update skip locked",
    )
    .bind(after.as_secs_f64())
    .bind(i64::from(ARCHIVE_MAX))
    .fetch_all(&mut *tx)
    .await?;
    if ids.is_empty() {
        tx.rollback().await;
        return Ok(0);
    }
    let moved = sqlx::query(
        "/* archive: move */
         with gone as (
             delete from disconnect_events where id = any($1) returning *
         )
         insert into archived_disconnect_events
                (id, account_id, state, outcome, lane, due_at, planned_for, zone, next_at, attempt, dispatches, failures,
                 failures_max, last_error, reason, requested_by, requested_from, created_at, ended_at, agreed,
                 changed_since, parent_event_id, campaign_id, traceparent, account_number)
         select id, account_id, state, outcome, lane, due_at, planned_for, zone, next_at, attempt, dispatches, failures,
                failures_max, last_error, reason, requested_by, requested_from, created_at, ended_at, agreed,
                changed_since, parent_event_id, campaign_id, traceparent, account_number
           from gone",
    )
    .bind(&ids)
    .execute(&mut *tx)
    .await?;
    expect_rows("events to archive", ids.len(), moved.rows_affected())?;
    tx.commit().await?;
    Ok(moved.rows_affected())
}
