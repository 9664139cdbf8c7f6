//! Disconnect events, as people ask for them and see them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use super::{PostgresStore, VERB_LIMIT, accounts, hints, installation, rows, within};
use crate::domain::account::{AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::calendar::Planned;
use crate::domain::event::{Change, EventFacts, EventId, EventView, State, Transition};
use crate::domain::refusal::Refusal;
use crate::domain::request::{Admission, DisconnectRequest, OpenEvent, RequestFacts, admit};
use crate::domain::story;
use crate::store::{EventFilter, Events, Page, Paged, Requested, StoreResult};

#[async_trait]
impl Events for PostgresStore {
    async fn request(&self, request: &DisconnectRequest) -> StoreResult<Requested> {
        let requested = within(VERB_LIMIT, ask(self, request)).await?;
        if matches!(requested, Requested::Created(_) | Requested::BroughtForward(_)) {
            self.hint();
        }
        Ok(requested)
    }

    async fn change(
        &self,
        event: EventId,
        change: &Change,
        by: &Actor,
        reason: Option<&str>,
    ) -> StoreResult<EventView> {
        let view = within(VERB_LIMIT, change_plan(self, event, change, by, reason)).await?;
        if view.state.is_open() {
            self.hint();
        }
        Ok(view)
    }

    async fn event(&self, event: EventId) -> StoreResult<EventView> {
        within(VERB_LIMIT, async { view(&mut *self.pool.acquire().await?, event).await }).await
    }

    async fn events(&self, filter: &EventFilter, page: &Page) -> StoreResult<Paged<EventView>> {
        within(VERB_LIMIT, list(self, filter, page)).await
    }
}

/// An event as it is shown: what is asked before the columns, and what comes after them.
macro_rules! event_view_sql {
    ($name:literal, $rest:literal) => {
        concat!(
            "/* ",
            $name,
            " */
             select e.id, a.number as account_number, e.state, e.outcome, e.lane, e.due_at, e.planned_for, e.zone,
                    e.next_at, e.attempt, e.failures, e.failures_max, e.last_error, e.reason, e.requested_by,
                    e.requested_from, e.created_at, e.ended_at,
                    i.number as invoice_number, i.total as invoice_total, i.currency as invoice_currency
               from disconnect_events e
               join accounts a on a.id = e.account_id
               left join invoices i on i.event_id = e.id ",
            $rest
        )
    };
}

pub(super) async fn view(db: &mut PgConnection, event: EventId) -> Result<EventView, Failure> {
    let found = sqlx::query(event_view_sql!("event", "where e.id = $1")).bind(event.0).fetch_optional(db).await?;
    rows::event_view(&found.ok_or(Refusal::UnknownEvent { event })?)
}

async fn list(store: &PostgresStore, filter: &EventFilter, page: &Page) -> Result<Paged<EventView>, Failure> {
    let found = sqlx::query(event_view_sql!(
        "events",
        "where ($1::bigint is null or e.id < $1)
           and ($2::text is null or e.state = $2)
           and ($3::text is null or a.number = $3)
         order by e.id desc
         limit $4"
    ))
    .bind(rows::id_cursor(page.after.as_deref())?)
    .bind(filter.state.map(State::as_str))
    .bind(filter.account.as_ref().map(AccountNumber::as_str))
    .bind(i64::from(page.limit) + 1)
    .fetch_all(&store.pool)
    .await?;
    let events = found.iter().map(rows::event_view).collect::<Result<Vec<_>, _>>()?;
    Ok(Paged::cut(events, page.limit, |event| event.id.to_string()))
}

async fn ask(store: &PostgresStore, request: &DisconnectRequest) -> Result<Requested, Failure> {
    let mut tx = store.begin().await?;
    let account: i64 =
        sqlx::query_scalar("/* request: lock account */ select id from accounts where number = $1 for update")
            .bind(request.account.as_str())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| accounts::unknown(&request.account))?;
    let facts = request_facts(&mut tx, account).await?;
    let requested = match admit(request, &facts)? {
        Admission::Create { due_at, planned } => {
            let event = create(&mut tx, account, request, due_at, &planned, facts.now).await?;
            let message = story::scheduled(&due_at, &planned);
            log(&mut tx, event, LogKind::Scheduled, &message, &request.by, request.reason.as_deref()).await?;
            Requested::Created(event)
        }
        Admission::BringForward { event, due_at } => {
            bring_forward(&mut tx, event, request, due_at).await?;
            let message = story::brought_forward(event);
            log(&mut tx, event, LogKind::Rescheduled, &message, &request.by, request.reason.as_deref()).await?;
            Requested::BroughtForward(event)
        }
        Admission::UnderWay { event } => return Ok(Requested::UnderWay(event)),
        Admission::AlreadyDisconnected { disconnected_at } => {
            let event = disconnected_by(&mut tx, account).await?;
            return Ok(Requested::AlreadyDisconnected { disconnected_at, event });
        }
    };
    hints::notify(&mut tx).await?;
    tx.commit().await?;
    Ok(requested)
}

/// Read once the account's lock is held: "now" must not be before what was committed during the wait.
async fn request_facts(db: &mut PgConnection, account: i64) -> Result<RequestFacts, Failure> {
    let found = sqlx::query(
        "/* request: facts */
         select a.disconnected_at, a.zone, e.id as event_id, e.state, e.due_at, e.lane, clock_timestamp() as now
           from accounts a
           left join disconnect_events e on e.account_id = a.id and e.state in ('scheduled', 'queued')
          where a.id = $1",
    )
    .bind(account)
    .fetch_one(&mut *db)
    .await?;
    let open = match found.try_get::<Option<i64>, _>("event_id")? {
        None => None,
        Some(id) => Some(OpenEvent {
            id: EventId(id),
            state: rows::state(found.try_get("state")?)?,
            due_at: found.try_get("due_at")?,
            lane: found.try_get("lane")?,
        }),
    };
    Ok(RequestFacts {
        disconnected_at: found.try_get("disconnected_at")?,
        zone: rows::zone(found.try_get("zone")?)?,
        settings: installation::settings(db).await?,
        statuses: installation::statuses(db).await?,
        open,
        now: found.try_get("now")?,
    })
}

async fn create(
    db: &mut PgConnection,
    account: i64,
    request: &DisconnectRequest,
    due_at: DateTime<Utc>,
    planned: &Planned,
    now: DateTime<Utc>,
) -> Result<EventId, Failure> {
    let id = sqlx::query_scalar(
        "/* request: create */
         insert into disconnect_events (account_id, state, due_at, planned_for, zone, next_at, failures_max, reason,
                                        requested_by, requested_from, created_at)
         -- Meant for long ago, it is overdue only from now on.
         values ($1, 'scheduled', $2, $3, $4, greatest($2, $9), $5, $6, $7, $8, $9)
         returning id",
    )
    .bind(account)
    .bind(due_at)
    .bind(&planned.planned_for)
    .bind(&planned.zone)
    .bind(request.failures_max)
    .bind(&request.reason)
    .bind(&request.by.name)
    .bind(request.by.source.as_str())
    .bind(now)
    .fetch_one(db)
    .await?;
    Ok(EventId(id))
}

/// A scheduler may have claimed it since it was read, which changes nothing: open it stays while the account is locked.
async fn bring_forward(
    db: &mut PgConnection,
    event: EventId,
    request: &DisconnectRequest,
    due_at: DateTime<Utc>,
) -> Result<(), Failure> {
    let brought = sqlx::query(
        "/* request: bring forward */
         update disconnect_events
            set state = 'scheduled', lane = 0, due_at = $2, planned_for = null, zone = null,
                next_at = clock_timestamp(), dispatches = 0, reason = $3, requested_by = $4, requested_from = $5
          where id = $1 and state in ('scheduled', 'queued')",
    )
    .bind(event.0)
    .bind(due_at)
    .bind(&request.reason)
    .bind(&request.by.name)
    .bind(request.by.source.as_str())
    .execute(db)
    .await?;
    expect_rows("events to bring forward", 1, brought.rows_affected())
}

async fn disconnected_by(db: &mut PgConnection, account: i64) -> Result<Option<EventId>, Failure> {
    let event: Option<i64> = sqlx::query_scalar(
        "/* request: disconnected by */
         select id from disconnect_events
          where account_id = $1 and state = 'completed' and outcome = 'disconnected'
          order by id desc
          limit 1",
    )
    .bind(account)
    .fetch_optional(db)
    .await?;
    Ok(event.map(EventId))
}

async fn change_plan(
    store: &PostgresStore,
    event: EventId,
    change: &Change,
    by: &Actor,
    reason: Option<&str>,
) -> Result<EventView, Failure> {
    let mut tx = store.begin().await?;
    // The account of an event never changes, so it may be looked up before the locks.
    sqlx::query(
        "/* change: lock account */
         select id from accounts where id = (select account_id from disconnect_events where id = $1) for update",
    )
    .bind(event.0)
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(Refusal::UnknownEvent { event })?;
    sqlx::query("/* change: lock event */ select id from disconnect_events where id = $1 for update")
        .bind(event.0)
        .execute(&mut *tx)
        .await?;
    let (kind, message) = match event_facts(&mut tx, event).await?.change(change)? {
        Transition::Cancel => {
            cancel(&mut tx, event).await?;
            (LogKind::Cancelled, story::cancelled(event))
        }
        Transition::Reschedule { due_at, planned } => {
            reschedule(&mut tx, event, due_at, &planned).await?;
            (LogKind::Rescheduled, story::rescheduled(event, &due_at, &planned))
        }
        Transition::Retry => {
            retry(&mut tx, event).await?;
            (LogKind::Retried, story::retried(event))
        }
    };
    log(&mut tx, event, kind, &message, by, reason).await?;
    let view = view(&mut tx, event).await?;
    if view.state.is_open() {
        hints::notify(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(view)
}

async fn event_facts(db: &mut PgConnection, event: EventId) -> Result<EventFacts, Failure> {
    let found = sqlx::query(
        "/* change: facts */
         select a.number, e.state, e.outcome, e.due_at, e.ended_at, a.disconnected_at, o.id as other_open,
                clock_timestamp() as now
           from disconnect_events e
           join accounts a on a.id = e.account_id
           left join disconnect_events o on o.account_id = e.account_id and o.id <> e.id
                                        and o.state in ('scheduled', 'queued')
          where e.id = $1",
    )
    .bind(event.0)
    .fetch_one(db)
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
        now: found.try_get("now")?,
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

/// In the log of the event's account: who asked for what.
async fn log(
    db: &mut PgConnection,
    event: EventId,
    kind: LogKind,
    message: &str,
    by: &Actor,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* event log: write */
         insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select account_id, clock_timestamp(), $2, $3, $4, $5, id, $6 from disconnect_events where id = $1",
    )
    .bind(event.0)
    .bind(kind.as_str())
    .bind(message)
    .bind(&by.name)
    .bind(by.source.as_str())
    .bind(reason)
    .execute(db)
    .await?;
    expect_rows("log entries", 1, written.rows_affected())
}
