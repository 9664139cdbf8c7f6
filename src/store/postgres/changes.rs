//! Changes of plan: cancel, reschedule, retry, and the same along a family.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::campaigns::{self, stands};
use super::events::{self, events_of};
use super::failure::{Failure, expect_rows};
use super::family::while_changing;
use super::{PostgresStore, family, hints, installation, rows};
use crate::domain::account::{AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::calendar::Planned;
use crate::domain::campaign::CampaignId;
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
    if *change == Change::Retry {
        hold_campaign(&mut tx, event).await?;
    }
    lock(&mut tx, event).await?;
    let plan = event_facts(&mut tx, event).await?.change(change)?;
    if plan.transition == Transition::Retry {
        make_way(&mut tx, event, by, reason).await?;
    }
    let (kind, message) = write(&mut tx, event, &plan.transition).await?;
    events::log(&mut tx, event, kind, &message, by, reason).await?;
    for along in plan.along {
        let (kind, message) = write(&mut tx, along, &plan.transition).await?;
        events::log(&mut tx, along, kind, &story::along(&message, event), by, reason).await?;
    }
    let view = events::view(&mut tx, event).await?;
    if concerns_schedulers(&view) {
        hints::notify(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(view)
}

/// It may be due, or it was the last one that its campaign waited for.
pub(super) fn concerns_schedulers(view: &EventView) -> bool {
    view.state.is_open() || view.campaign_id.is_some()
}

/// Whether its campaign still claims decides where the event goes: nobody ends it meanwhile. Before the accounts, as
/// everywhere.
async fn hold_campaign(db: &mut PgConnection, event: EventId) -> Result<(), Failure> {
    let campaign: Option<i64> =
        sqlx::query_scalar("/* change: campaign */ select campaign_id from disconnect_events where id = $1")
            .bind(event.0)
            .fetch_optional(&mut *db)
            .await?
            .flatten();
    let Some(campaign) = campaign else { return Ok(()) };
    campaigns::lock_masses(db).await?;
    sqlx::query("/* change: hold campaign */ select id from campaigns where id = $1 for share")
        .bind(campaign)
        .execute(db)
        .await?;
    Ok(())
}

/// What an aborted campaign left open of its account goes.
async fn make_way(db: &mut PgConnection, event: EventId, by: &Actor, reason: Option<&str>) -> Result<(), Failure> {
    let account: i64 =
        sqlx::query_scalar("/* change: account */ select account_id from disconnect_events where id = $1")
            .bind(event.0)
            .fetch_one(&mut *db)
            .await?;
    campaigns::cancel_leftovers(db, &[account], by, reason).await
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
    // By their ids: either of two conditions is looked up by a bitmap alone, which these sessions do not take.
    sqlx::query(
        "/* change: lock events */
         select id from disconnect_events
          where id = any(array(select $1
                               union
                               select id from disconnect_events
                                where account_id = any($2) and state in ('scheduled', 'queued')))
          order by id for update",
    )
    .bind(event.0)
    .bind(&accounts)
    .execute(db)
    .await?;
    Ok(())
}

/// The accounts of an event and of those that were made with it. Of two tables together the planner knows too little for
/// a join: each is looked up.
async fn concerned(db: &mut PgConnection, event: EventId) -> Result<Vec<i64>, Failure> {
    Ok(sqlx::query_scalar(
        "/* change: accounts concerned */
         with recursive made (id) as (
             select $1::bigint
             union
             select e.id
               from made m
              cross join lateral (select id from all_disconnect_events where parent_event_id = m.id offset 0) e
         )
         select distinct e.account_id
           from made m
          cross join lateral (select account_id from all_disconnect_events where id = m.id limit 1) e",
    )
    .bind(event.0)
    .fetch_all(db)
    .await?)
}

async fn event_facts(db: &mut PgConnection, event: EventId) -> Result<EventFacts, Failure> {
    // What an aborted campaign left open is as good as cancelled.
    let found = sqlx::query(concat!(
        "/* change: facts */
         select a.number, a.zone, case when e.next_at is null or ",
        stands!("e"),
        "       then e.state else 'cancelled' end as state,
                e.outcome, e.due_at, a.disconnected_at,
                case when e.next_at is null then e.ended_at
                     else (select c.ended_at from campaigns c where c.id = e.campaign_id) end as ended_at, o.id as other_open, clock_timestamp() as now
           from all_disconnect_events e
           join accounts a on a.id = e.account_id
           left join lateral (select id from ",
        events_of!("e.account_id"),
        " o where o.state in ('scheduled', 'queued') and ",
        stands!("o"),
        ") o on o.id <> e.id
          where e.id = $1"
    ))
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
    let found: Vec<(i64, String)> = sqlx::query_as(concat!(
        "/* change: made with */
         with recursive made (id) as (
             select id from all_disconnect_events where parent_event_id = $1
             union
             select e.id
               from made m
              cross join lateral (select id from all_disconnect_events where parent_event_id = m.id offset 0) e
         )
         select e.id, a.number
           from made m
           join disconnect_events e on e.id = m.id
           join accounts a on a.id = e.account_id
          where e.state in ('scheduled', 'queued') and ",
        stands!("e"),
        " order by e.id"
    ))
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
    let cancelled: Vec<Option<i64>> = sqlx::query_scalar(
        "/* change: cancel */
         update disconnect_events set state = 'cancelled', next_at = null, ended_at = clock_timestamp() where id = $1
         returning campaign_id",
    )
    .bind(event.0)
    .fetch_all(&mut *db)
    .await?;
    expect_rows("events to cancel", 1, cancelled.len() as u64)?;
    match cancelled.into_iter().flatten().next() {
        Some(campaign) => campaigns::tally_cancelled(db, CampaignId(campaign)).await,
        None => Ok(()),
    }
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
            set state = 'scheduled', failures = 0, dispatches = 0, next_at = clock_timestamp(), ended_at = null,
                -- Of a campaign that is over nobody claims any more.
                lane = case when exists (select from campaigns c
                                          where c.id = campaign_id and c.state in ('running', 'paused'))
                            then lane else 0 end
          where id = $1",
    )
    .bind(event.0)
    .execute(db)
    .await?;
    expect_rows("events to retry", 1, retried.rows_affected())
}
