//! Changes of plan: cancel, reschedule, retry, and the same along a family.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use super::family::while_changing;
use super::{PostgresStore, events, family, hints, installation, rows};
use crate::domain::account::{AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::calendar::Planned;
use crate::domain::event::{Change, EventFacts, EventId, EventView, Transition};
use crate::domain::refusal::Refusal;
use crate::domain::story;
use crate::store::StoreError;

pub(super) async fn change(
    store: &PostgresStore,
    event: EventId,
    change: &Change,
    by: &Actor,
    reason: Option<&str>,
) -> Result<EventView, Failure> {
    while_changing!(change_once(store, event, change, by, reason))
}

async fn change_once(
    store: &PostgresStore,
    event: EventId,
    change: &Change,
    by: &Actor,
    reason: Option<&str>,
) -> Result<EventView, Failure> {
    let mut tx = store.begin().await?;
    lock(&mut tx, event).await?;
    let plan = event_facts(&mut tx, event).await?.change(change)?;
    let (kind, message) = write(&mut tx, event, &plan.transition).await?;
    events::log(&mut tx, event, kind, &message, by, reason).await?;
    for along in plan.along {
        let (kind, message) = write(&mut tx, along, &plan.transition).await?;
        events::log(&mut tx, along, kind, &story::along(&message, event), by, reason).await?;
    }
    let view = events::view(&mut tx, event).await?;
    if view.state.is_open() {
        hints::notify(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(view)
}

/// The accounts, then the events: the one asked for, and those that were made with it.
///
/// # Errors
/// [`StoreError::Conflict`] where another was made with it while its account was waited for: begin again.
async fn lock(db: &mut PgConnection, event: EventId) -> Result<(), Failure> {
    let accounts = concerned(db, event).await?;
    if accounts.is_empty() {
        return Err(Refusal::UnknownEvent { event }.into());
    }
    sqlx::query("/* change: lock accounts */ select id from accounts where id = any($1) order by id for update")
        .bind(&accounts)
        .execute(&mut *db)
        .await?;
    if concerned(db, event).await?.iter().any(|account| !accounts.contains(account)) {
        return Err(StoreError::Conflict("the family was changing".into()).into());
    }
    sqlx::query(
        "/* change: lock events */
         select id from disconnect_events
          where id = $1 or (account_id = any($2) and state in ('scheduled', 'queued'))
          order by id for update",
    )
    .bind(event.0)
    .bind(&accounts)
    .execute(db)
    .await?;
    Ok(())
}

/// The accounts of an event and of those that were made with it.
async fn concerned(db: &mut PgConnection, event: EventId) -> Result<Vec<i64>, Failure> {
    Ok(sqlx::query_scalar(
        "/* change: accounts concerned */
         with recursive made (id) as (
             select $1::bigint
             union
             select e.id from made m join disconnect_events e on e.parent_event_id = m.id
         )
         select distinct e.account_id from made m join disconnect_events e on e.id = m.id",
    )
    .bind(event.0)
    .fetch_all(db)
    .await?)
}

async fn event_facts(db: &mut PgConnection, event: EventId) -> Result<EventFacts, Failure> {
    let found = sqlx::query(
        "/* change: facts */
         select a.number, a.zone, e.state, e.outcome, e.due_at, e.ended_at, a.disconnected_at, o.id as other_open,
                clock_timestamp() as now
           from disconnect_events e
           join accounts a on a.id = e.account_id
           left join disconnect_events o on o.account_id = e.account_id and o.id <> e.id
                                        and o.state in ('scheduled', 'queued')
          where e.id = $1",
    )
    .bind(event.0)
    .fetch_one(&mut *db)
    .await?;
    Ok(EventFacts {
        id: event,
        account_number: AccountNumber::from_stored(found.try_get("number")?),
        state: rows::state(found.try_get("state")?)?,
        outcome: rows::outcome(found.try_get("outcome")?)?,
        due_at: found.try_get("due_at")?,
        ended_at: found.try_get("ended_at")?,
        disconnected_at: found.try_get("disconnected_at")?,
        other_open: found.try_get::<Option<i64>, _>("other_open")?.map(EventId),
        zone: rows::zone(found.try_get("zone")?)?,
        settings: installation::settings(db).await?,
        made_with: made_with(db, event).await?,
        now: found.try_get("now")?,
    })
}

pub(super) async fn made_with(db: &mut PgConnection, event: EventId) -> Result<Vec<(EventId, AccountNumber)>, Failure> {
    let found: Vec<(i64, String)> = sqlx::query_as(
        "/* change: made with */
         with recursive made (id) as (
             select id from disconnect_events where parent_event_id = $1
             union
             select e.id from made m join disconnect_events e on e.parent_event_id = m.id
         )
         select e.id, a.number
           from made m
           join disconnect_events e on e.id = m.id
           join accounts a on a.id = e.account_id
          where e.state in ('scheduled', 'queued')
          order by e.id",
    )
    .bind(event.0)
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().map(|(event, number)| (EventId(event), AccountNumber::from_stored(number))).collect())
}

/// Writes the change of one event, and answers what its log says.
pub(super) async fn write(
    db: &mut PgConnection,
    event: EventId,
    transition: &Transition,
) -> Result<(LogKind, String), Failure> {
    Ok(match transition {
        Transition::Cancel => {
            cancel(db, event).await?;
            (LogKind::Cancelled, story::cancelled(event))
        }
        Transition::Reschedule { due_at, planned } => {
            reschedule(db, event, *due_at, planned).await?;
            (LogKind::Rescheduled, story::rescheduled(event, due_at, planned))
        }
        Transition::Retry => {
            retry(db, event).await?;
            (LogKind::Retried, story::retried(event))
        }
    })
}

async fn cancel(db: &mut PgConnection, event: EventId) -> Result<(), Failure> {
    let cancelled = sqlx::query(
        "/* change: cancel */
         update disconnect_events set state = 'cancelled', next_at = null, ended_at = clock_timestamp() where id = $1",
    )
    .bind(event.0)
    .execute(db)
    .await?;
    expect_rows("events to cancel", 1, cancelled.rows_affected())
}

async fn reschedule(
    db: &mut PgConnection,
    event: EventId,
    due_at: DateTime<Utc>,
    planned: &Planned,
) -> Result<(), Failure> {
    let rescheduled = sqlx::query(
        "/* change: reschedule */
         update disconnect_events
            set state = 'scheduled', due_at = $2, planned_for = $3, zone = $4, next_at = $2, dispatches = 0
          where id = $1",
    )
    .bind(event.0)
    .bind(due_at)
    .bind(&planned.planned_for)
    .bind(&planned.zone)
    .execute(db)
    .await?;
    expect_rows("events to reschedule", 1, rescheduled.rows_affected())
}

async fn retry(db: &mut PgConnection, event: EventId) -> Result<(), Failure> {
    let retried = sqlx::query(
        "/* change: retry */
         update disconnect_events
            set state = 'scheduled', failures = 0, dispatches = 0, next_at = clock_timestamp(), ended_at = null
          where id = $1",
    )
    .bind(event.0)
    .execute(db)
    .await?;
    expect_rows("events to retry", 1, retried.rows_affected())
}
