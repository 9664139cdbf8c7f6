//! The worker's verbs: the one transaction that a disconnect is, and what is noted where it fails.

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::effects::Effects;
use super::failure::{failure, unreadable};
use super::overview::snapshots;
use super::rows::{after, at, get, json, word};
use crate::domain::account::{AccountId, LogKind};
use crate::domain::actor::{Actor, Source};
use crate::domain::event::{Attempt, Event, EventId, Order};
use crate::domain::plan::{Decide, Effect, Plan};
use crate::domain::retry::{FailedAttempt, Verdict};
use crate::store::{Executed, Execution, StoreError, StoreResult};

#[async_trait]
impl Execution for SqliteStore {
    async fn disconnect(&self, orders: &[Order], decide: Decide<'_>) -> StoreResult<Vec<Executed>> {
        let asked: BTreeSet<i64> = orders.iter().map(|order| order.event_id.0).collect();
        let mut tx = self.write().await?;
        let events = queued(&mut tx, &asked, self.now()).await?;
        let mut executed = stale(&asked, &events);
        if events.is_empty() {
            return Ok(executed);
        }
        let written = match run(&mut tx, &events, decide).await {
            Ok(written) => tx.commit().await.map_err(failure).map(|()| written),
            // Dropped without a commit: rolled back.
            Err(error) => Err(error),
        };
        match (written, events.as_slice()) {
            (Ok(written), _) => {
                executed.extend(written);
                Ok(executed)
            }
            // Alone, what the database refuses is this event's own failure.
            (Err(error @ StoreError::Rejected(_)), [event]) if asked.len() == 1 => {
                Ok(vec![Executed::Failed(FailedAttempt::of(event, error.to_string()))])
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn record_failures(&self, failures: &[(FailedAttempt, Verdict)]) -> StoreResult<Vec<EventId>> {
        if failures.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.now();
        let rows = failures.iter().map(|(failed, verdict)| {
            let (state, next_at, ended_at) = match verdict {
                Verdict::RetryAfter(delay) => ("scheduled", Some(after(now, *delay)), None),
                Verdict::GiveUp => ("failed", None, Some(at(now))),
            };
            (failed.event_id.0, failed.attempt.0, &failed.error, state, next_at, ended_at)
        });
        let mut tx = self.write().await?;
        // `+`: or SQLite goes through all queued events by their index, and through the array for each of them.
        let written: Vec<i64> = sqlx::query_scalar(
            "/* failures: record */ update disconnect_events
                set state = f.value ->> 3, next_at = f.value ->> 4, ended_at = f.value ->> 5, last_error = f.value ->> 2,
                    failures = failures + 1, dispatches = 0
               from json_each(?1) as f
              where disconnect_events.id = f.value ->> 0 and attempt = f.value ->> 1 and +state = 'queued'
             returning disconnect_events.id",
        )
        .bind(json(&rows.collect::<Vec<_>>())?)
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        let written: HashSet<i64> = written.into_iter().collect();
        let entries = failures.iter().filter(|(failed, _)| written.contains(&failed.event_id.0));
        let entries = entries.map(|(failed, verdict)| {
            let kind = match verdict {
                Verdict::RetryAfter(_) => LogKind::AttemptFailed,
                Verdict::GiveUp => LogKind::Failed,
            };
            (failed.event_id.0, kind.as_str(), failed.error.as_str())
        });
        log_failures(&mut tx, &entries.collect::<Vec<_>>(), now).await?;
        tx.commit().await.map_err(failure)?;
        self.hints.hint();
        Ok(written.into_iter().map(EventId).collect())
    }

    async fn record_suspect(&self, event: EventId, error: &str) -> StoreResult<Option<Attempt>> {
        let now = self.now();
        let mut tx = self.write().await?;
        let counted = sqlx::query(
            "/* suspect: count */ update disconnect_events
                set failures = failures + 1, last_error = ?2,
                    state = case when failures + 1 < failures_max then state else 'failed' end,
                    next_at = case when failures + 1 < failures_max then next_at end,
                    ended_at = case when failures + 1 < failures_max then null else ?3 end
              where id = ?1 and state = 'queued'
             returning attempt, state = 'queued' as may_run",
        )
        .bind(event.0)
        .bind(error)
        .bind(at(now))
        .fetch_optional(&mut *tx)
        .await
        .map_err(failure)?;
        let Some(counted) = counted else { return Ok(None) };
        let may_run: bool = get(&counted, "may_run")?;
        let kind = if may_run { LogKind::AttemptFailed } else { LogKind::Failed };
        log_failures(&mut tx, &[(event.0, kind.as_str(), error)], now).await?;
        tx.commit().await.map_err(failure)?;
        let attempt = Attempt(get(&counted, "attempt")?);
        Ok(may_run.then_some(attempt))
    }
}

/// Those of `asked` that run: state alone admits them, whichever of their messages came.
async fn queued(
    connection: &mut SqliteConnection,
    asked: &BTreeSet<i64>,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Event>> {
    let asked: Vec<i64> = asked.iter().copied().collect();
    sqlx::query(
        "/* disconnect: events */ select e.id, e.account_id, e.attempt, e.failures, e.failures_max, e.due_at, e.reason,
                e.requested_by, e.requested_from
           from json_each(?1) as asked cross join disconnect_events e on e.id = asked.value
          where e.state = 'queued' order by e.account_id",
    )
    .bind(json(&asked)?)
    .fetch_all(connection)
    .await
    .map_err(failure)?
    .iter()
    .map(|row| {
        Ok(Event {
            id: EventId(get(row, "id")?),
            account_id: AccountId(get(row, "account_id")?),
            attempt: Attempt(get(row, "attempt")?),
            failures: get(row, "failures")?,
            failures_max: get(row, "failures_max")?,
            due_at: get(row, "due_at")?,
            now,
            reason: get(row, "reason")?,
            requested_by: Actor {
                name: get(row, "requested_by")?,
                source: word(row, "requested_from", Source::parse)?,
            },
        })
    })
    .collect()
}

fn stale(asked: &BTreeSet<i64>, events: &[Event]) -> Vec<Executed> {
    let queued: HashSet<i64> = events.iter().map(|event| event.id.0).collect();
    let stale = asked.iter().filter(|id| !queued.contains(id));
    stale.map(|id| Executed::Stale { event_id: EventId(*id) }).collect()
}

/// Loads, decides, writes. Nothing is committed here.
async fn run(connection: &mut SqliteConnection, events: &[Event], decide: Decide<'_>) -> StoreResult<Vec<Executed>> {
    let accounts: Vec<AccountId> = events.iter().map(|event| event.account_id).collect();
    let snapshots = snapshots(connection, &accounts).await?;
    let mut executed = Vec::with_capacity(events.len());
    let mut effects = Effects::default();
    for event in events {
        let snapshot = snapshots
            .get(&event.account_id)
            .ok_or_else(|| unreadable(&format!("event {} has no account", event.id)))?;
        match decide(snapshot, event) {
            Plan::Apply(plan) if plan.iter().any(|effect| matches!(effect, Effect::Complete(_))) => {
                effects.add(event, plan);
            }
            Plan::Apply(_) => {
                let error = "the plan does not complete the event".to_owned();
                executed.push(Executed::Failed(FailedAttempt::of(event, error)));
            }
            Plan::Fail(error) => executed.push(Executed::Failed(FailedAttempt::of(event, error))),
        }
    }
    executed.extend(effects.write(connection).await?);
    Ok(executed)
}

/// `entries`: the event, the kind, the error.
async fn log_failures(
    connection: &mut SqliteConnection,
    entries: &[(i64, &str, &str)],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "/* failures: log */ insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select e.account_id, ?2, f.value ->> 1, f.value ->> 2, e.requested_by, ?3, e.id, e.reason
           from json_each(?1) as f cross join disconnect_events e on e.id = f.value ->> 0",
    )
    .bind(json(entries)?)
    .bind(at(now))
    .bind(Source::Worker.as_str())
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}
