//! Writing down what failed, each under the locks of its account and its event, and fenced by its attempt.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use super::{PostgresStore, hints};
use crate::domain::account::LogKind;
use crate::domain::actor::Source;
use crate::domain::event::{Attempt, EventId};
use crate::domain::retry::{FailedAttempt, Verdict};
use crate::domain::story;

pub(super) async fn record(
    store: &PostgresStore,
    failures: &[(FailedAttempt, Verdict)],
) -> Result<Vec<EventId>, Failure> {
    let ids: Vec<i64> = failures.iter().map(|(failure, _)| failure.event_id.0).collect();
    let delay = |verdict: &Verdict| match verdict {
        Verdict::RetryAfter(delay) => Some(delay.as_secs_f64()),
        Verdict::GiveUp => None,
    };
    let kind = |verdict: &Verdict| match verdict {
        Verdict::RetryAfter(_) => LogKind::AttemptFailed,
        Verdict::GiveUp => LogKind::Failed,
    };
    let mut tx = store.begin().await?;
    lock(&mut tx, &ids).await?;
    let written: Vec<(i64, i64)> = sqlx::query_as(
        "/* failures: write and log */
         with written as (
             update disconnect_events e
                set failures = e.failures + 1, last_error = f.error, dispatches = 0,
                    state = case when f.delay is null then 'failed' else 'scheduled' end,
                    next_at = clock_timestamp() + make_interval(secs => f.delay),
                    ended_at = case when f.delay is null then clock_timestamp() end
               from unnest($1::bigint[], $2::integer[], $3::text[], $4::float8[], $5::text[], $6::text[])
                    as f (event_id, attempt, error, delay, kind, message)
              -- Not `=`: see where a disconnect locks its events.
              where e.id = f.event_id and e.attempt = f.attempt and e.state is not distinct from 'queued'
             returning e.id, e.account_id, e.requested_by, e.reason, f.kind, f.message
         ), logged as (
             insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
             select account_id, clock_timestamp(), kind, message, requested_by, $7, id, reason
               from written
              order by id
             returning id
         )
         select id, (select count(*) from logged) from written",
    )
    .bind(&ids)
    .bind(failures.iter().map(|(failure, _)| failure.attempt.0).collect::<Vec<_>>())
    .bind(failures.iter().map(|(failure, _)| storable(&failure.error)).collect::<Vec<_>>())
    .bind(failures.iter().map(|(_, verdict)| delay(verdict)).collect::<Vec<_>>())
    .bind(failures.iter().map(|(_, verdict)| kind(verdict).as_str()).collect::<Vec<_>>())
    .bind(failures.iter().map(|(failure, verdict)| storable(&story::failed(failure, *verdict))).collect::<Vec<_>>())
    .bind(Source::Worker.as_str())
    .fetch_all(&mut *tx)
    .await?;
    if let Some((_, logged)) = written.first() {
        expect_rows("log entries", written.len(), logged.cast_unsigned())?;
    }
    if failures.iter().any(|(_, verdict)| matches!(verdict, Verdict::RetryAfter(_))) {
        hints::notify(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(written.into_iter().map(|(id, _)| EventId(id)).collect())
}

pub(super) async fn record_suspect(
    store: &PostgresStore,
    event: EventId,
    error: &str,
) -> Result<Option<Attempt>, Failure> {
    let mut tx = store.begin().await?;
    lock(&mut tx, &[event.0]).await?;
    let found = sqlx::query(
        "/* suspect: facts */
         select attempt, failures, failures_max from disconnect_events e
          where id = $1 and state is not distinct from 'queued'
            -- Nothing of a campaign that is stopped runs, so nothing of it fails.
            and (lane = 0 or not exists (select from campaigns c
                                          where c.id = e.campaign_id and c.state in ('paused', 'aborted')))",
    )
    .bind(event.0)
    .fetch_optional(&mut *tx)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let attempt = Attempt(found.try_get("attempt")?);
    let failures = found.try_get::<i32, _>("failures")?.saturating_add(1);
    let gives_up = failures >= found.try_get("failures_max")?;
    let kind = if gives_up { LogKind::Failed } else { LogKind::AttemptFailed };
    let logged = sqlx::query(
        "/* suspect: count a failure before it runs */
         with written as (
             update disconnect_events
                set failures = $2, last_error = $3,
                    state = case when $4 then 'failed' else state end,
                    next_at = case when $4 then null else next_at end,
                    ended_at = case when $4 then clock_timestamp() end
              where id = $1
             returning id, account_id, requested_by, reason
         )
         insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select account_id, clock_timestamp(), $5, $6, requested_by, $7, id, reason
           from written",
    )
    .bind(event.0)
    .bind(failures)
    .bind(storable(error))
    .bind(gives_up)
    .bind(kind.as_str())
    .bind(storable(&story::suspected(attempt, failures, gives_up, error)))
    .bind(Source::Worker.as_str())
    .execute(&mut *tx)
    .await?;
    expect_rows("log entries", 1, logged.rows_affected())?;
    tx.commit().await?;
    Ok((!gives_up).then_some(attempt))
}

/// The accounts first, ascending, as everywhere: the log's foreign key would take `for key share` of them once the
/// events are locked, and then wait for someone who waits for the events.
async fn lock(db: &mut PgConnection, ids: &[i64]) -> Result<(), Failure> {
    sqlx::query(
        "/* failures: lock accounts */
         select id from accounts
          where id = any(array(select account_id from disconnect_events where id = any($1)))
          order by id for key share",
    )
    .bind(ids)
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "/* failures: lock events */ select id from disconnect_events where id = any($1) order by id for update",
    )
    .bind(ids)
    .execute(db)
    .await?;
    Ok(())
}

/// An error must be written, whatever is in it; else its event would run for ever.
fn storable(error: &str) -> String {
    error.replace('\0', "\u{fffd}")
}
