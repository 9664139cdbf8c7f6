//! The worker's verbs: the one transaction that a disconnect is, and what is noted where it fails.

use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::campaigns::{eligible, standings};
use super::effects::Effects;
use super::failure::{failure, unreadable};
use super::overview::snapshots;
use super::rows::{after, at, expect_rows, get, instant, json};
use crate::domain::account::{AccountId, LogKind};
use crate::domain::actor::{Actor, Source};
use crate::domain::campaign::CampaignId;
use crate::domain::digest::Shown;
use crate::domain::event::{Attempt, Event, EventId, Order};
use crate::domain::plan::{Decide, Effect, Plan};
use crate::domain::retry::{FailedAttempt, Verdict};
use crate::domain::story;
use crate::fault::{self, Step};
use crate::store::{Executed, Execution, StoreError, StoreResult};
use crate::traces;

#[async_trait]
impl Execution for SqliteStore {
    async fn disconnect(&self, orders: &[Order], decide: Decide<'_>) -> StoreResult<Vec<Executed>> {
        let asked: BTreeSet<i64> = orders.iter().map(|order| order.event_id.0).collect();
        let mut tx = self.write().await?;
        let now = self.now();
        let queued = match queued(&mut tx, &asked).await {
            Ok(queued) => queued,
            Err(error @ StoreError::Rejected(_)) => return unreadable_alone(&mut tx, &asked, error).await,
            Err(error) => return Err(error),
        };
        let mut executed = stale(&asked, &queued);
        // Alone, what is refused is this event's own failure.
        let alone = match queued.as_slice() {
            [] => return Ok(executed),
            [event] if asked.len() == 1 => Some(event.failed(String::new())),
            _ => None,
        };
        fault::behind(Step::Lock);
        let written = match run(&mut tx, queued, decide, now).await {
            Ok(written) => {
                fault::behind(Step::Effect);
                let (begun, measured) = (Instant::now(), traces::Commit::begin(orders));
                let committed = tx.commit().await;
                measured.ended(&committed);
                metrics::histogram!("disconnectd_commit_seconds").record(begun.elapsed());
                committed.map_err(failure).map(|()| written)
            }
            // Dropped without a commit: rolled back.
            Err(error) => Err(error),
        };
        match (written, alone) {
            (Ok(written), _) => {
                fault::behind(Step::Commit);
                executed.extend(written);
                Ok(executed)
            }
            (Err(error @ StoreError::Rejected(_)), Some(attempt)) => {
                Ok(vec![Executed::Failed(FailedAttempt { error: error.reason(), ..attempt })])
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn record_failures(&self, failures: &[(FailedAttempt, Verdict)]) -> StoreResult<Vec<EventId>> {
        if failures.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.write().await?;
        let now = self.now();
        let rows = failures.iter().map(|(failed, verdict)| {
            let (state, next_at, ended_at) = match verdict {
                Verdict::RetryAfter(delay) => ("scheduled", Some(after(now, *delay)), None),
                Verdict::GiveUp => ("failed", None, Some(at(now))),
            };
            (failed.event_id.0, failed.attempt.0, &failed.error, state, next_at, ended_at)
        });
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
            (failed.event_id.0, kind.as_str(), story::failed(failed, *verdict))
        });
        log_failures(&mut tx, &entries.collect::<Vec<_>>(), now).await?;
        tx.commit().await.map_err(failure)?;
        self.hints.hint();
        Ok(written.into_iter().map(EventId).collect())
    }

    async fn record_suspect(&self, event: EventId, error: &str) -> StoreResult<Option<Attempt>> {
        let mut tx = self.write().await?;
        let now = self.now();
        let counted = sqlx::query(
            "/* suspect: count */ update disconnect_events
                set failures = failures + 1, last_error = ?2,
                    state = case when failures + 1 < failures_max then state else 'failed' end,
                    next_at = case when failures + 1 < failures_max then next_at end,
                    ended_at = case when failures + 1 < failures_max then null else ?3 end
              where id = ?1 and state = 'queued'
             returning attempt, failures, state = 'queued' as may_run",
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
        let attempt = Attempt(get(&counted, "attempt")?);
        let message = story::suspected(attempt, get(&counted, "failures")?, !may_run, error);
        log_failures(&mut tx, &[(event.0, kind.as_str(), message)], now).await?;
        tx.commit().await.map_err(failure)?;
        Ok(may_run.then_some(attempt))
    }
}

/// An event as the statement below answers it, column by column.
#[derive(Deserialize)]
struct Queued {
    id: i64,
    account_id: i64,
    attempt: i32,
    failures: i32,
    failures_max: i32,
    due_at: String,
    reason: Option<String>,
    requested_by: String,
    requested_from: String,
    agreed: Option<String>,
    campaign_id: Option<i64>,
}

impl Queued {
    fn event(self, now: DateTime<Utc>) -> Result<Event, FailedAttempt> {
        let due_at = instant(&self.due_at).map_err(|error| self.failed(error.reason()))?;
        // A source of a newer program's is no reason to fail.
        let source = Source::parse(&self.requested_from).unwrap_or(Source::Worker);
        Ok(Event {
            id: EventId(self.id),
            account_id: AccountId(self.account_id),
            attempt: Attempt(self.attempt),
            failures: self.failures,
            failures_max: self.failures_max,
            due_at,
            now,
            reason: self.reason,
            requested_by: Actor { name: self.requested_by, source },
            agreed: self.agreed.as_deref().and_then(Shown::read),
            campaign: self.campaign_id.map(CampaignId),
            eligibility: None,
        })
    }

    fn failed(&self, error: String) -> FailedAttempt {
        FailedAttempt {
            event_id: EventId(self.id),
            attempt: Attempt(self.attempt),
            failures: self.failures,
            failures_max: self.failures_max,
            error,
        }
    }
}

/// Those of `asked` that run: state alone admits them, whichever of their messages came.
async fn queued(connection: &mut SqliteConnection, asked: &BTreeSet<i64>) -> StoreResult<Vec<Queued>> {
    let asked: Vec<i64> = asked.iter().copied().collect();
    // As one value: of a batch there are hundreds, and a row each takes several times as long.
    let found: String = sqlx::query_scalar(
        "/* disconnect: events */ select json_group_array(json_array(e.id, e.account_id, e.attempt, e.failures,
                e.failures_max, e.due_at, e.reason, e.requested_by, e.requested_from, e.agreed, e.campaign_id))
           from json_each(?1) as asked cross join disconnect_events e on e.id = asked.value
          where e.state = 'queued'
            -- Whoever stops a campaign takes its events back; until then none of them begins.
            and (e.lane = 0 or not exists (
                    select 1 from campaigns c where c.id = e.campaign_id and c.state in ('paused', 'aborted')))",
    )
    .bind(json(&asked)?)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    let mut found: Vec<Queued> =
        serde_json::from_str(&found).map_err(|error| unreadable(&format!("an event: {error}")))?;
    found.sort_unstable_by_key(|event| event.account_id); // their rows lie side by side, so their pages are read once
    Ok(found)
}

/// An event that can't be taken apart: alone, it is its own failure.
async fn unreadable_alone(
    connection: &mut SqliteConnection,
    asked: &BTreeSet<i64>,
    error: StoreError,
) -> StoreResult<Vec<Executed>> {
    let (Some(id), 1) = (asked.first(), asked.len()) else { return Err(error) };
    let row = sqlx::query(
        "/* disconnect: an event that can't be read */ select attempt, failures, failures_max from disconnect_events
          where id = ?1",
    )
    .bind(id)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    Ok(vec![Executed::Failed(FailedAttempt {
        event_id: EventId(*id),
        attempt: Attempt(get(&row, "attempt")?),
        failures: get(&row, "failures")?,
        failures_max: get(&row, "failures_max")?,
        error: error.reason(),
    })])
}

fn stale(asked: &BTreeSet<i64>, queued: &[Queued]) -> Vec<Executed> {
    let queued: HashSet<i64> = queued.iter().map(|event| event.id).collect();
    let stale = asked.iter().filter(|id| !queued.contains(id));
    stale.map(|id| Executed::Stale { event_id: EventId(*id) }).collect()
}

/// Loads, decides, writes. Nothing is committed here.
async fn run(
    connection: &mut SqliteConnection,
    queued: Vec<Queued>,
    decide: Decide<'_>,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Executed>> {
    let (mut events, mut executed) = (Vec::with_capacity(queued.len()), Vec::with_capacity(queued.len()));
    for event in queued {
        match event.event(now) {
            Ok(event) => events.push(event),
            Err(failed) => executed.push(Executed::Failed(failed)),
        }
    }
    let of_campaigns: Vec<EventId> = events.iter().filter(|it| it.campaign.is_some()).map(|it| it.id).collect();
    if !of_campaigns.is_empty() {
        let mut eligible = eligible(connection, &of_campaigns, now).await?;
        for event in &mut events {
            event.eligibility = eligible.remove(&event.id);
        }
    }
    let accounts: Vec<AccountId> = events.iter().map(|event| event.account_id).collect();
    let with_family = events.iter().filter(|event| event.agreed.is_some()).map(|event| event.account_id);
    let mut snapshots = snapshots(connection, &accounts, &with_family.collect::<Vec<_>>()).await?;
    let asked: Vec<AccountId> = events.iter().filter(|it| it.eligibility.is_some()).map(|it| it.account_id).collect();
    if !asked.is_empty() {
        for (account, standing) in standings(connection, &asked, now).await? {
            if let Some(Ok(snapshot)) = snapshots.get_mut(&account) {
                snapshot.standing = Some(standing);
            }
        }
    }
    let mut effects = Effects::default();
    for event in &events {
        let snapshot = match snapshots.get(&event.account_id) {
            Some(Ok(snapshot)) => snapshot,
            Some(Err(error)) => {
                executed.push(Executed::Failed(FailedAttempt::of(event, error.reason())));
                continue;
            }
            None => return Err(unreadable(&format!("event {} has no account", event.id))),
        };
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

/// `entries`: the event, the kind, the message.
async fn log_failures(
    connection: &mut SqliteConnection,
    entries: &[(i64, &str, String)],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let written = sqlx::query(
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
    expect_rows(&written, entries.len(), "failures: log")
}
