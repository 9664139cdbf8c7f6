//! Writing down what failed, each under the lock of its event and fenced by its attempt.

use sqlx::postgres::PgConnection;

use super::failure::Failure;
use super::{PostgresStore, hints};
use crate::domain::account::LogKind;
use crate::domain::actor::Source;
use crate::domain::event::{Attempt, EventId};
use crate::domain::retry::{FailedAttempt, Verdict};

pub(super) async fn record(
    store: &PostgresStore,
    failures: &[(FailedAttempt, Verdict)],
) -> Result<Vec<EventId>, Failure> {
    let ids: Vec<i64> = failures.iter().map(|(failure, _)| failure.event_id.0).collect();
    let delay = |verdict: &Verdict| match verdict {
        Verdict::RetryAfter(delay) => Some(delay.as_secs_f64()),
        Verdict::GiveUp => None,
    };
    let mut tx = store.begin().await?;
    lock_events(&mut tx, &ids).await?;
    let written: Vec<i64> = sqlx::query_scalar(
        "/* failures: write and log */
         with written as (
             update disconnect_events e
                set failures = e.failures + 1, last_error = f.error, dispatches = 0,
                    state = case when f.delay is null then 'failed' else 'scheduled' end,
                    next_at = clock_timestamp() + make_interval(secs => f.delay),
                    ended_at = case when f.delay is null then clock_timestamp() end
               from unnest($1::bigint[], $2::integer[], $3::text[], $4::float8[])
                    as f (event_id, attempt, error, delay)
              where e.id = f.event_id and e.attempt = f.attempt and e.state = 'queued'
             returning e.*
         ), logged as (
             insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
             select account_id, clock_timestamp(),
                    case state when 'failed' then $5 else $6 end,
                    case state when 'failed' then format('gave up after %s failures: %s', failures, last_error)
                               else format('attempt %s failed: %s', attempt, last_error) end,
                    requested_by, $7, id, reason
               from written
              order by id
         )
         select id from written",
    )
    .bind(&ids)
    .bind(failures.iter().map(|(failure, _)| failure.attempt.0).collect::<Vec<_>>())
    .bind(failures.iter().map(|(failure, _)| storable(&failure.error)).collect::<Vec<_>>())
    .bind(failures.iter().map(|(_, verdict)| delay(verdict)).collect::<Vec<_>>())
    .bind(LogKind::Failed.as_str())
    .bind(LogKind::AttemptFailed.as_str())
    .bind(Source::Worker.as_str())
    .fetch_all(&mut *tx)
    .await?;
    if failures.iter().any(|(_, verdict)| matches!(verdict, Verdict::RetryAfter(_))) {
        hints::notify(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(written.into_iter().map(EventId).collect())
}

pub(super) async fn record_suspect(
    store: &PostgresStore,
    event: EventId,
    error: &str,
) -> Result<Option<Attempt>, Failure> {
    let mut tx = store.begin().await?;
    lock_events(&mut tx, &[event.0]).await?;
    let attempt: Option<Option<i32>> = sqlx::query_scalar(
        "/* suspect: count a failure before it runs */
         with written as (
             update disconnect_events
                set failures = failures + 1, last_error = $2,
                    state = case when failures + 1 >= failures_max then 'failed' else state end,
                    next_at = case when failures + 1 >= failures_max then null else next_at end,
                    ended_at = case when failures + 1 >= failures_max then clock_timestamp() end
              where id = $1 and state = 'queued'
             returning *
         ), logged as (
             insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
             select account_id, clock_timestamp(),
                    case state when 'failed' then $3 else $4 end,
                    case state when 'failed' then format('gave up after %s failures: %s', failures, last_error)
                               else format('attempt %s failed: %s', attempt, last_error) end,
                    requested_by, $5, id, reason
               from written
         )
         select case state when 'queued' then attempt end from written",
    )
    .bind(event.0)
    .bind(storable(error))
    .bind(LogKind::Failed.as_str())
    .bind(LogKind::AttemptFailed.as_str())
    .bind(Source::Worker.as_str())
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(attempt.flatten().map(Attempt))
}

/// Ascending, as everywhere, before anything of them is written.
async fn lock_events(db: &mut PgConnection, ids: &[i64]) -> Result<(), Failure> {
    sqlx::query(
        "/* failures: lock events */ select id from disconnect_events where id = any($1) order by id for update",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    Ok(())
}

/// An error must be written, whatever is in it; else its event would run for ever.
fn storable(error: &str) -> String {
    error.replace('\0', "\u{fffd}")
}
