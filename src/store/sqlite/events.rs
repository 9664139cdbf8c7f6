//! Disconnect events, as people ask for them.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::accounts::{Entry, id};
use super::failure::failure;
use super::rows::{at, currency, cursor, expect_rows, get, json, limit, number, optional_word, word, zone};
use super::settings::{settings, statuses};
use crate::domain::account::{AccountId, LogKind};
use crate::domain::actor::Actor;
use crate::domain::calendar::Planned;
use crate::domain::event::{Attempt, Change, EventFacts, EventId, EventView, Outcome, State, Transition};
use crate::domain::invoice::{InvoiceNumber, InvoiceSummary};
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::request::{Admission, DisconnectRequest, OpenEvent, RequestFacts, admit};
use crate::domain::story;
use crate::store::{EventFilter, Events, Page, Paged, Requested, StoreError, StoreResult};

#[async_trait]
impl Events for SqliteStore {
    async fn request(&self, request: &DisconnectRequest) -> StoreResult<Requested> {
        let mut tx = self.write().await?;
        let account = id(&mut tx, &request.account).await?;
        let facts = self.request_facts(&mut tx, account).await?;
        let requested = match admit(request, &facts)? {
            Admission::Create { due_at, planned } => {
                let event = self.insert(&mut tx, account, request, due_at, &planned, facts.now).await?;
                let message = story::scheduled(&due_at, &planned);
                self.log_request(&mut tx, account, request, event, LogKind::Scheduled, message).await?;
                Requested::Created(event)
            }
            Admission::BringForward { event, due_at } => {
                let written = sqlx::query(
                    "/* request: bring forward */ update disconnect_events
                        set state = 'scheduled', lane = 0, due_at = ?2, next_at = ?3, dispatches = 0,
                            planned_for = null, zone = null, reason = ?4, requested_by = ?5, requested_from = ?6
                      where id = ?1 and state in ('scheduled', 'queued')",
                )
                .bind(event.0)
                .bind(at(due_at))
                .bind(at(facts.now))
                .bind(&request.reason)
                .bind(&request.by.name)
                .bind(request.by.source.as_str())
                .execute(&mut *tx)
                .await
                .map_err(failure)?;
                expect_rows(&written, 1, "request: bring forward")?;
                let message = story::brought_forward(event);
                self.log_request(&mut tx, account, request, event, LogKind::Rescheduled, message).await?;
                Requested::BroughtForward(event)
            }
            Admission::UnderWay { event } => return Ok(Requested::UnderWay(event)),
            Admission::AlreadyDisconnected { disconnected_at } => {
                let event = disconnected_by(&mut tx, account).await?;
                return Ok(Requested::AlreadyDisconnected { disconnected_at, event });
            }
        };
        tx.commit().await.map_err(failure)?;
        self.hints.hint();
        Ok(requested)
    }

    async fn change(
        &self,
        event: EventId,
        change: &Change,
        by: &Actor,
        reason: Option<&str>,
    ) -> StoreResult<EventView> {
        let mut tx = self.write().await?;
        let (account, facts) = self.event_facts(&mut tx, event).await?;
        let transition = facts.change(change)?;
        let now = at(facts.now);
        let (write, kind, message) = match &transition {
            Transition::Cancel => (
                sqlx::query(
                    "/* change: cancel */ update disconnect_events
                        set state = 'cancelled', next_at = null, ended_at = ?2
                      where id = ?1",
                )
                .bind(event.0)
                .bind(&now),
                LogKind::Cancelled,
                story::cancelled(event),
            ),
            Transition::Reschedule { due_at, planned } => (
                sqlx::query(
                    "/* change: reschedule */ update disconnect_events
                        set state = 'scheduled', due_at = ?2, next_at = ?2, planned_for = ?3, zone = ?4, dispatches = 0
                      where id = ?1",
                )
                .bind(event.0)
                .bind(at(*due_at))
                .bind(&planned.planned_for)
                .bind(&planned.zone),
                LogKind::Rescheduled,
                story::rescheduled(event, due_at, planned),
            ),
            Transition::Retry => (
                sqlx::query(
                    "/* change: retry */ update disconnect_events
                        set state = 'scheduled', next_at = ?2, ended_at = null, failures = 0, dispatches = 0
                      where id = ?1",
                )
                .bind(event.0)
                .bind(&now),
                LogKind::Retried,
                story::retried(event),
            ),
        };
        let written = write.execute(&mut *tx).await.map_err(failure)?;
        expect_rows(&written, 1, "change")?;
        self.write_log(&mut tx, Entry { account, kind, message, by, event: Some(event), reason }).await?;
        let view = view(&mut tx, event).await?;
        tx.commit().await.map_err(failure)?;
        self.hints.hint();
        Ok(view)
    }

    async fn event(&self, event: EventId) -> StoreResult<EventView> {
        view(&mut *self.reader().await?, event).await
    }

    async fn events(&self, filter: &EventFilter, page: &Page) -> StoreResult<Paged<EventView>> {
        let mut tx = self.read().await?;
        let state = filter.state.map(State::as_str);
        let before = cursor(page)?.unwrap_or(i64::MAX);
        // Three statements, so that each goes down an index of its own.
        let found = match (&filter.account, state) {
            (Some(account), state) => sqlx::query_scalar(
                "/* events: of an account */ select id from disconnect_events
                  where account_id = (select id from accounts where number = ?1) and (?2 is null or state = ?2) and id < ?3
                  order by id desc limit ?4",
            )
            .bind(account.as_str())
            .bind(state),
            (None, Some(state)) => sqlx::query_scalar(
                "/* events: in a state */ select id from disconnect_events where state = ?1 and id < ?2
                  order by id desc limit ?3",
            )
            .bind(state),
            (None, None) => sqlx::query_scalar(
                "/* events: list */ select id from disconnect_events where id < ?1 order by id desc limit ?2",
            ),
        };
        let found: Vec<i64> = found.bind(before).bind(limit(page)).fetch_all(&mut *tx).await.map_err(failure)?;
        Ok(Paged::cut(views(&mut tx, &found).await?, page.limit, |view| view.id.to_string()))
    }
}

impl SqliteStore {
    async fn request_facts(&self, connection: &mut SqliteConnection, account: AccountId) -> StoreResult<RequestFacts> {
        let row = sqlx::query(
            "/* request: facts */ select a.disconnected_at, a.zone, e.id, e.state, e.due_at, e.lane
               from accounts a
               left join disconnect_events e on e.account_id = a.id and e.state in ('scheduled', 'queued')
              where a.id = ?1",
        )
        .bind(account.0)
        .fetch_one(&mut *connection)
        .await
        .map_err(failure)?;
        let open = match get::<Option<i64>, _>(&row, "id")? {
            None => None,
            Some(id) => Some(OpenEvent {
                id: EventId(id),
                state: word(&row, "state", State::parse)?,
                due_at: get(&row, "due_at")?,
                lane: get(&row, "lane")?,
            }),
        };
        Ok(RequestFacts {
            disconnected_at: get(&row, "disconnected_at")?,
            zone: zone(&row, "zone")?,
            settings: settings(connection).await?,
            statuses: statuses(connection).await?,
            open,
            now: self.now(),
        })
    }

    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        account: AccountId,
        request: &DisconnectRequest,
        due_at: DateTime<Utc>,
        planned: &Planned,
        now: DateTime<Utc>,
    ) -> StoreResult<EventId> {
        sqlx::query_scalar(
            "/* request: create */ insert into disconnect_events (account_id, state, due_at, planned_for, zone, next_at,
                    failures_max, reason, requested_by, requested_from, created_at)
             values (?1, 'scheduled', ?2, ?3, ?4, max(?2, ?9), ?5, ?6, ?7, ?8, ?9) returning id",
        )
        .bind(account.0)
        .bind(at(due_at))
        .bind(&planned.planned_for)
        .bind(&planned.zone)
        .bind(request.failures_max)
        .bind(&request.reason)
        .bind(&request.by.name)
        .bind(request.by.source.as_str())
        .bind(at(now))
        .fetch_one(connection)
        .await
        .map(EventId)
        .map_err(failure)
    }

    async fn log_request(
        &self,
        connection: &mut SqliteConnection,
        account: AccountId,
        request: &DisconnectRequest,
        event: EventId,
        kind: LogKind,
        message: String,
    ) -> StoreResult<()> {
        let (by, reason) = (&request.by, request.reason.as_deref());
        self.write_log(connection, Entry { account, kind, message, by, event: Some(event), reason }).await
    }

    async fn event_facts(
        &self,
        connection: &mut SqliteConnection,
        event: EventId,
    ) -> StoreResult<(AccountId, EventFacts)> {
        let row = sqlx::query(
            "/* change: facts */ select e.account_id, a.number, e.state, e.outcome, e.due_at, e.ended_at,
                    a.disconnected_at,
                    (select o.id from disconnect_events o where o.account_id = e.account_id and o.id <> e.id
                        and o.state in ('scheduled', 'queued')) as other_open
               from disconnect_events e join accounts a on a.id = e.account_id where e.id = ?1",
        )
        .bind(event.0)
        .fetch_optional(connection)
        .await
        .map_err(failure)?
        .ok_or(Refusal::UnknownEvent { event })?;
        let facts = EventFacts {
            id: event,
            account_number: number(&row, "number")?,
            state: word(&row, "state", State::parse)?,
            outcome: optional_word(&row, "outcome", Outcome::parse)?,
            due_at: get(&row, "due_at")?,
            ended_at: get(&row, "ended_at")?,
            disconnected_at: get(&row, "disconnected_at")?,
            other_open: get::<Option<i64>, _>(&row, "other_open")?.map(EventId),
            now: self.now(),
        };
        Ok((AccountId(get(&row, "account_id")?), facts))
    }
}

async fn disconnected_by(connection: &mut SqliteConnection, account: AccountId) -> StoreResult<Option<EventId>> {
    // `+`: or SQLite goes back through all completed events for the highest.
    let event: Option<i64> = sqlx::query_scalar(
        "/* request: disconnected by */ select max(id) from disconnect_events
          where account_id = ?1 and +state = 'completed' and outcome = 'disconnected'",
    )
    .bind(account.0)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    Ok(event.map(EventId))
}

async fn view(connection: &mut SqliteConnection, event: EventId) -> StoreResult<EventView> {
    views(connection, &[event.0]).await?.pop().ok_or_else(|| Refusal::UnknownEvent { event }.into())
}

/// In the order asked.
pub async fn views(connection: &mut SqliteConnection, ids: &[i64]) -> StoreResult<Vec<EventView>> {
    let rows = sqlx::query(
        "/* events: view */ select e.id, a.number as account_number, e.state, e.outcome, e.due_at, e.planned_for, e.zone,
                e.next_at, e.attempt, e.failures, e.failures_max, e.last_error, e.reason, e.requested_by,
                e.requested_from, nullif(e.lane, 0) as campaign_id, e.created_at, e.ended_at,
                i.number as invoice_number, i.total, i.currency
           from json_each(?1) as asked cross join disconnect_events e on e.id = asked.value
           join accounts a on a.id = e.account_id
           left join invoices i on i.event_id = e.id",
    )
    .bind(json(ids)?)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let views = rows.iter().map(|row| Ok((get(row, "id")?, event_view(row)?)));
    let mut views = views.collect::<Result<HashMap<i64, EventView>, StoreError>>()?;
    Ok(ids.iter().filter_map(|id| views.remove(id)).collect())
}

fn event_view(row: &SqliteRow) -> StoreResult<EventView> {
    let final_invoice = match get::<Option<i64>, _>(row, "invoice_number")? {
        None => None,
        Some(number) => Some(InvoiceSummary {
            number: InvoiceNumber(number),
            total: Money::new(get(row, "total")?, currency(row, "currency")?),
        }),
    };
    Ok(EventView {
        id: EventId(get(row, "id")?),
        account_number: number(row, "account_number")?,
        state: word(row, "state", State::parse)?,
        outcome: optional_word(row, "outcome", Outcome::parse)?,
        due_at: get(row, "due_at")?,
        planned: Planned { planned_for: get(row, "planned_for")?, zone: get(row, "zone")? },
        next_at: get(row, "next_at")?,
        attempt: Attempt(get(row, "attempt")?),
        failures: get(row, "failures")?,
        failures_max: get(row, "failures_max")?,
        last_error: get(row, "last_error")?,
        reason: get(row, "reason")?,
        requested_by: get(row, "requested_by")?,
        requested_from: get(row, "requested_from")?,
        campaign_id: get(row, "campaign_id")?,
        final_invoice,
        created_at: get(row, "created_at")?,
        ended_at: get(row, "ended_at")?,
    })
}
