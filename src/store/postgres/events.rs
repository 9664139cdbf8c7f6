//! Disconnect events, as people ask for them and see them.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use super::search::{like_sql, may_search, text_like_sql};
use super::{PostgresStore, VERB_LIMIT, calendar, changes, decisions, requests, rows, within};
use crate::domain::account::{AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::dispositions::Dispositions;
use crate::domain::event::{Change, EventId, EventView, State};
use crate::domain::refusal::Refusal;
use crate::domain::request::DisconnectRequest;
use crate::domain::text::folded;
use crate::store::like::containing;
use crate::store::{DueCounts, EventFilter, Events, Page, Paged, Requested, StoreResult};

#[async_trait]
impl Events for PostgresStore {
    async fn request(&self, request: &DisconnectRequest) -> StoreResult<Requested> {
        let requested = within(VERB_LIMIT, requests::ask(self, request)).await?;
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
        let view = within(VERB_LIMIT, changes::change(self, event, change, by, reason)).await?;
        if changes::concerns_schedulers(&view) {
            self.hint();
        }
        Ok(view)
    }

    async fn decide(
        &self,
        event: EventId,
        choices: &Dispositions,
        by: &Actor,
        reason: Option<&str>,
        failures_max: i32,
    ) -> StoreResult<EventView> {
        let view = within(VERB_LIMIT, decisions::decide(self, event, choices, by, reason, failures_max)).await?;
        self.hint();
        Ok(view)
    }

    async fn event(&self, event: EventId) -> StoreResult<EventView> {
        within(VERB_LIMIT, async { view(&mut *self.pool.acquire().await?, event).await }).await
    }

    async fn events(&self, filter: &EventFilter, page: &Page) -> StoreResult<Paged<EventView>> {
        within(VERB_LIMIT, list(self, filter, page)).await
    }

    async fn due_counts(&self, bounds: &[DateTime<Utc>]) -> StoreResult<Vec<DueCounts>> {
        within(VERB_LIMIT, calendar::due_counts(self, bounds)).await
    }
}

/// An event as it is shown: what is asked before the columns, and what comes after them.
macro_rules! event_view_sql {
    ($name:literal, $rest:expr) => {
        concat!(
            "/* ",
            $name,
            " */
             select e.id, a.number as account_number, e.state, e.outcome, e.lane, e.campaign_id, e.due_at, e.planned_for, e.zone,
                    e.next_at, e.attempt, e.failures, e.failures_max, e.last_error, e.reason, e.requested_by,
                    e.requested_from, e.created_at, e.ended_at, e.agreed, e.changed_since, e.parent_event_id,
                    i.number as invoice_number, i.total as invoice_total, i.currency as invoice_currency
               from all_disconnect_events e
               join accounts a on a.id = e.account_id
               left join invoices i on i.event_id = e.id ",
            $rest
        )
    };
}

pub(super) async fn view(db: &mut PgConnection, event: EventId) -> Result<EventView, Failure> {
    let found = sqlx::query(event_view_sql!("event", "where e.id = $1")).bind(event.0).fetch_optional(&mut *db).await?;
    let mut view = rows::event_view(&found.ok_or(Refusal::UnknownEvent { event })?)?;
    decisions::review(db, std::slice::from_mut(&mut view)).await?;
    Ok(view)
}

/// The events of one account, by a look at each of them. Without the fence a plan from before a campaign may take any index
/// of open events, and read all of it for each account.
macro_rules! events_of {
    ($account:literal) => {
        concat!("(select * from disconnect_events where account_id = ", $account, " offset 0)")
    };
}
pub(super) use events_of;

/// With something to decide: the same as `domain::review::questions` asks. Of families alone, which are few beside the events:
/// `offset 0` has the events looked up family by family, and the array has them found before any event is gone through.
macro_rules! to_decide_sql {
    () => {
        "and e.id = any(array(
                    select f.id
                      from accounts c
                     cross join lateral (
                            select f.id from all_disconnect_events f
                             where f.account_id = c.parent_id
                               and (f.state in ('scheduled', 'queued') or f.outcome = 'disconnected')
                            offset 0) f
                      left join family_decisions d on d.event_id = f.id and d.child_id = c.id
                     where c.parent_id is not null and c.disconnected_at is null
                       and (d.child_id is null or d.disposition = 'unlink')
                    union all
                    select f.id
                      from family_decisions d
                      join all_disconnect_events f on f.id = d.event_id
                      join accounts c on c.id = d.child_id and c.disconnected_at is null
                      left join all_disconnect_events ce on ce.id = d.child_event_id
                     where d.disposition <> 'unlink'
                       and (f.state in ('scheduled', 'queued') or f.outcome = 'disconnected')
                       and (c.parent_id is distinct from f.account_id
                            or ce.state in ('cancelled', 'failed', 'completed')
                            or (d.disposition = 'keep' and d.had_contact
                                and c.email is null and c.mailing_address is null))))"
    };
}

/// A page of events: what is behind the cursor, whether something is to decide, and in which order. A statement for each,
/// so that each goes by its own indexes.
macro_rules! event_list_sql {
    ($name:literal, $behind:literal, $decide:expr, $order:literal) => {
        event_view_sql!(
            $name,
            concat!(
                "where ",
                $behind,
                "
           and ($2::text is null or e.state = $2)
           and ($3::text is null or a.number = $3)
           and ($5::text is null or e.account_id in (select t.id from accounts t where ",
                text_like_sql!("t", "$5"),
                "))
           and ($6::timestamptz is null or e.due_at >= $6)
           and ($7::timestamptz is null or e.due_at < $7)
           and ($8::bigint is null or e.campaign_id = $8)
           ",
                $decide,
                "
         order by ",
                $order,
                " limit $4"
            )
        )
    };
}

async fn list(store: &PostgresStore, filter: &EventFilter, page: &Page) -> Result<Paged<EventView>, Failure> {
    let mut events = if filter.search.is_some() {
        let mut view = store.begin_view().await?;
        may_search(&mut view).await?;
        let events = page_of(&mut view, filter, page).await?;
        view.rollback().await;
        events
    } else {
        page_of(&mut *store.pool.acquire().await?, filter, page).await?
    };
    // Apart from what was planned for whole tables: its plan stays with the session.
    decisions::review(&mut *store.pool.acquire().await?, &mut events.items).await?;
    Ok(events)
}

async fn page_of(db: &mut PgConnection, filter: &EventFilter, page: &Page) -> Result<Paged<EventView>, Failure> {
    macro_rules! coming_sql {
        ($name:literal, $decide:expr) => {
            event_list_sql!(
                $name,
                "e.state in ('scheduled', 'queued')
           and ($1::bigint is null or (e.due_at, e.id) > ((select due_at from all_disconnect_events where id = $1), $1))",
                $decide,
                "e.due_at, e.id"
            )
        };
    }
    macro_rules! newest_sql {
        ($name:literal, $decide:expr) => {
            event_list_sql!($name, "($1::bigint is null or e.id < $1)", $decide, "e.id desc")
        };
    }
    let statement = match (filter.coming, filter.to_decide) {
        (false, false) => newest_sql!("events", ""),
        (false, true) => newest_sql!("events: to decide", to_decide_sql!()),
        (true, false) => coming_sql!("events: coming", ""),
        (true, true) => coming_sql!("events: coming, to decide", to_decide_sql!()),
    };
    let found = sqlx::query(statement)
        .bind(rows::id_cursor(page.after.as_deref())?)
        .bind(filter.state.map(State::as_str))
        .bind(filter.account.as_ref().map(AccountNumber::as_str))
        .bind(i64::from(page.limit) + 1)
        .bind(filter.search.as_deref().map(|search| containing(&folded(search))))
        .bind(filter.due_from)
        .bind(filter.due_until)
        .bind(filter.campaign.map(|campaign| campaign.0))
        .persistent(filter.search.is_none()) // else planned for this very pattern
        .fetch_all(&mut *db)
        .await?;
    let events = found.iter().map(rows::event_view).collect::<Result<Vec<_>, _>>()?;
    Ok(Paged::cut(events, page.limit, |event| event.id.to_string()))
}

/// In the log of the event's account: who asked for what.
pub(super) async fn log(
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
         select account_id, clock_timestamp(), $2, $3, $4, $5, id, $6 from all_disconnect_events where id = $1",
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
