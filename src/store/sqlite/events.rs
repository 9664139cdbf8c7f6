//! Disconnect events, as people ask for them and see them.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::failure::{failure, unreadable};
use super::rows::{at, currency, cursor, get, json, limit, number, optional_word, shown, word};
use super::{SqliteStore, calendar, decisions};
use crate::domain::account::AccountNumber;
use crate::domain::actor::Actor;
use crate::domain::calendar::Planned;
use crate::domain::campaign::CampaignId;
use crate::domain::dispositions::Dispositions;
use crate::domain::event::{Attempt, Change, EventId, EventView, Outcome, State};
use crate::domain::invoice::{InvoiceNumber, InvoiceSummary};
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::request::DisconnectRequest;
use crate::domain::text::folded;
use crate::store::like::containing;
use crate::store::{DueCounts, EventFilter, Events, Page, Paged, Requested, StoreError, StoreResult};

#[async_trait]
impl Events for SqliteStore {
    async fn request(&self, request: &DisconnectRequest) -> StoreResult<Requested> {
        let requested = self.ask(request).await?;
        if matches!(requested, Requested::Created(_) | Requested::BroughtForward(_)) {
            self.hints.hint();
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
        let view = self.change_plan(event, change, by, reason).await?;
        self.hints.hint();
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
        let view = self.decide_family(event, choices, by, reason, failures_max).await?;
        self.hints.hint();
        Ok(view)
    }

    async fn event(&self, event: EventId) -> StoreResult<EventView> {
        let mut tx = self.read().await?;
        view(&mut tx, event).await
    }

    async fn events(&self, filter: &EventFilter, page: &Page) -> StoreResult<Paged<EventView>> {
        let mut tx = self.read().await?;
        let found = found(&mut tx, filter, page).await?;
        Ok(Paged::cut(views(&mut tx, &found).await?, page.limit, |view| view.id.to_string()))
    }

    async fn due_counts(&self, bounds: &[DateTime<Utc>]) -> StoreResult<Vec<DueCounts>> {
        calendar::due_counts(&mut *self.read().await?, bounds).await
    }
}

async fn found(connection: &mut SqliteConnection, filter: &EventFilter, page: &Page) -> StoreResult<Vec<i64>> {
    /// The conditions that no index serves. They are the same in all statements.
    macro_rules! events_sql {
        ($name:literal, $condition:literal) => {
            events_sql!($name, "e", $condition, "e.id < ifnull(?3, 9223372036854775807)", "e.id desc")
        };
        ($name:literal, $events:literal, $condition:literal, $behind:literal, $order:literal) => {
            concat!(
                "/* ",
                $name,
                " */ select e.id from disconnect_events ",
                $events,
                " where ",
                $condition,
                " and ",
                $behind,
                " and (?4 is null or e.account_id in (select a.id from accounts a
                            where coalesce(a.searched, lower(a.number || char(10) || a.name)) like ?4 escape '\\'))
                    and (?5 is null or e.due_at >= ?5)
                    and (?6 is null or e.due_at < ?6)
                    and (?9 is null or +e.campaign_id = ?9)
                    -- The same as domain::review::questions asks. Of families alone, which are few beside the events.
                    and (not ?7 or e.id in (
                        select f.id
                          from accounts c
                          join disconnect_events f on f.account_id = c.parent_id
                          left join family_decisions d on d.event_id = f.id and d.child_id = c.id
                         where c.parent_id is not null and c.disconnected_at is null
                           and (+f.state in ('scheduled', 'queued') or f.outcome = 'disconnected')
                           and (d.child_id is null or d.disposition = 'unlink')
                        union all
                        select f.id
                          from family_decisions d
                          join disconnect_events f on f.id = d.event_id
                          join accounts c on c.id = d.child_id and c.disconnected_at is null
                          left join disconnect_events ce on ce.id = d.child_event_id
                         where d.disposition <> 'unlink'
                           and (+f.state in ('scheduled', 'queued') or f.outcome = 'disconnected')
                           and (c.parent_id is not f.account_id
                                or ce.state in ('cancelled', 'failed', 'completed')
                                or (d.disposition = 'keep' and d.had_contact
                                    and c.email is null and c.mailing_address is null))))
                  order by ",
                $order,
                " limit ?8"
            )
        };
    }
    // A statement each, so that each goes down an index of its own.
    let statement = match (&filter.account, filter.campaign, filter.state) {
        _ if filter.coming => events_sql!(
            "events: coming",
            "e indexed by disconnect_events_coming",
            "e.state in ('scheduled', 'queued') and (?2 is null or +e.state = ?2)
             and (?1 is null or +e.account_id = (select id from accounts where number = ?1))",
            "(e.due_at, e.id) > (ifnull((select due_at from disconnect_events where id = ?3), ''), ifnull(?3, 0))",
            "e.due_at, e.id"
        ),
        (Some(_), ..) => events_sql!(
            "events: of an account",
            "e.account_id = (select id from accounts where number = ?1) and (?2 is null or e.state = ?2)"
        ),
        (None, Some(_), _) => {
            events_sql!("events: of a campaign", "e.campaign_id = ?9 and ?1 is null and (?2 is null or +e.state = ?2)")
        }
        (None, None, Some(_)) => events_sql!("events: in a state", "e.state = ?2 and ?1 is null"),
        (None, None, None) => events_sql!("events: list", "?1 is null and ?2 is null"),
    };
    sqlx::query_scalar(statement)
        .bind(filter.account.as_ref().map(AccountNumber::as_str))
        .bind(filter.state.map(State::as_str))
        .bind(cursor(page)?)
        .bind(filter.search.as_deref().map(|search| containing(&folded(search))))
        .bind(filter.due_from.map(at))
        .bind(filter.due_until.map(at))
        .bind(filter.to_decide)
        .bind(limit(page))
        .bind(filter.campaign.map(|campaign| campaign.0))
        .fetch_all(connection)
        .await
        .map_err(failure)
}

pub async fn view(connection: &mut SqliteConnection, event: EventId) -> StoreResult<EventView> {
    views(connection, &[event.0]).await?.pop().ok_or_else(|| Refusal::UnknownEvent { event }.into())
}

/// In the order asked.
pub async fn views(connection: &mut SqliteConnection, ids: &[i64]) -> StoreResult<Vec<EventView>> {
    let rows = sqlx::query(
        "/* events: view */ select e.id, a.number as account_number, e.state, e.outcome, e.due_at, e.planned_for, e.zone,
                e.next_at, e.attempt, e.failures, e.failures_max, e.last_error, e.reason, e.requested_by,
                e.requested_from, e.lane, e.campaign_id, e.created_at, e.ended_at, e.agreed, e.changed_since,
                e.parent_event_id,
                i.number as invoice_number, i.total, i.currency
           from json_each(?1) as asked cross join disconnect_events e on e.id = asked.value
           join accounts a on a.id = e.account_id
           left join invoices i on i.event_id = e.id",
    )
    .bind(json(ids)?)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let views = rows.iter().map(|row| Ok((get(row, "id")?, event_view(row)?)));
    let mut views = views.collect::<Result<HashMap<i64, EventView>, StoreError>>()?;
    let mut views: Vec<EventView> = ids.iter().filter_map(|id| views.remove(id)).collect();
    decisions::review(connection, &mut views).await?;
    Ok(views)
}

/// What the family adds to it comes from elsewhere.
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
        campaign_id: get::<Option<i64>, _>(row, "campaign_id")?.map(CampaignId),
        lane: get(row, "lane")?,
        final_invoice,
        created_at: get(row, "created_at")?,
        ended_at: get(row, "ended_at")?,
        agreed: shown(row)?.and_then(|shown| shown.agreed()),
        changed_since: sentences(get(row, "changed_since")?)?,
        parent_event_id: get::<Option<i64>, _>(row, "parent_event_id")?.map(EventId),
        children: Vec::new(),
        to_decide: Vec::new(),
    })
}

fn sentences(json: Option<&str>) -> StoreResult<Vec<String>> {
    json.map_or(Ok(Vec::new()), |json| serde_json::from_str(json).map_err(|error| unreadable(&error.to_string())))
}
