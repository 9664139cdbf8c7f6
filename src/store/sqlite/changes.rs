//! Changes of plan: cancel, reschedule, retry, and the same along a family.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::accounts::{Entry, id};
use super::campaigns::{cancel_leftovers, stands, tally_cancelled};
use super::events::view;
use super::failure::failure;
use super::rows::{at, expect_count, get, number, optional_word, word, zone};
use super::settings::settings;
use crate::domain::account::{AccountId, AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::campaign::CampaignId;
use crate::domain::event::{Change, EventFacts, EventId, EventView, Outcome, State, Transition};
use crate::domain::refusal::Refusal;
use crate::domain::story;
use crate::store::StoreResult;

impl SqliteStore {
    pub(super) async fn change_plan(
        &self,
        event: EventId,
        change: &Change,
        by: &Actor,
        reason: Option<&str>,
    ) -> StoreResult<EventView> {
        let mut tx = self.write().await?;
        let facts = self.event_facts(&mut tx, event).await?;
        let plan = facts.change(change)?;
        if plan.transition == Transition::Retry {
            let account = id(&mut tx, &facts.account_number).await?;
            cancel_leftovers(&mut tx, &[account.0], by, reason, facts.now).await?;
        }
        let (account, kind, message) = write(&mut tx, event, &plan.transition, facts.now).await?;
        let entry = Entry { account, kind, message: message.clone(), by, event: Some(event), reason };
        self.write_log(&mut tx, entry).await?;
        for along in plan.along {
            let (account, kind, message) = write(&mut tx, along, &plan.transition, facts.now).await?;
            let message = story::along(&message, event);
            self.write_log(&mut tx, Entry { account, kind, message, by, event: Some(along), reason }).await?;
        }
        let view = view(&mut tx, event).await?;
        tx.commit().await.map_err(failure)?;
        Ok(view)
    }

    async fn event_facts(&self, connection: &mut SqliteConnection, event: EventId) -> StoreResult<EventFacts> {
        let row = sqlx::query(
            // What an aborted campaign left counts as cancelled, although nobody has come to it yet.
            concat!(
                "/* change: facts */ select a.number, a.zone, e.outcome, e.due_at, a.disconnected_at,
                        iif(e.state in ('scheduled', 'queued') and not ",
                stands!("e"),
                ", 'cancelled', e.state) as state,
                        iif(e.state in ('scheduled', 'queued') and not ",
                stands!("e"),
                ", (select c.ended_at from campaigns c where c.id = e.campaign_id), e.ended_at) as ended_at,
                        (select o.id from disconnect_events o where o.account_id = e.account_id and o.id <> e.id
                            and o.state in ('scheduled', 'queued') and ",
                stands!("o"),
                ") as other_open
                   from disconnect_events e join accounts a on a.id = e.account_id where e.id = ?1"
            ),
        )
        .bind(event.0)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failure)?
        .ok_or(Refusal::UnknownEvent { event })?;
        Ok(EventFacts {
            id: event,
            account_number: number(&row, "number")?,
            state: word(&row, "state", State::parse)?,
            outcome: optional_word(&row, "outcome", Outcome::parse)?,
            due_at: get(&row, "due_at")?,
            ended_at: get(&row, "ended_at")?,
            disconnected_at: get(&row, "disconnected_at")?,
            other_open: get::<Option<i64>, _>(&row, "other_open")?.map(EventId),
            zone: zone(&row, "zone")?,
            settings: settings(connection).await?,
            made_with: made_with(connection, event).await?,
            now: self.now(),
        })
    }
}

pub async fn made_with(
    connection: &mut SqliteConnection,
    event: EventId,
) -> StoreResult<Vec<(EventId, AccountNumber)>> {
    let found: Vec<(i64, String)> = sqlx::query_as(concat!(
        "/* change: made with */ with recursive made (id) as (
             select id from disconnect_events where parent_event_id = ?1
             union
             select e.id from made m join disconnect_events e on e.parent_event_id = m.id
         )
         select e.id, a.number from made m cross join disconnect_events e on e.id = m.id
           join accounts a on a.id = e.account_id
          where +e.state in ('scheduled', 'queued') and ",
        stands!("e"),
        " order by e.id"
    ))
    .bind(event.0)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    Ok(found.into_iter().map(|(event, number)| (EventId(event), AccountNumber::from_stored(number))).collect())
}

/// Writes the change of one event, and answers its account and what the log says.
pub async fn write(
    connection: &mut SqliteConnection,
    event: EventId,
    transition: &Transition,
    now: DateTime<Utc>,
) -> StoreResult<(AccountId, LogKind, String)> {
    let now = at(now);
    let (statement, kind, message) = match transition {
        Transition::Cancel => (
            sqlx::query(
                "/* change: cancel */ update disconnect_events
                    set state = 'cancelled', next_at = null, ended_at = ?2
                  where id = ?1 returning account_id, campaign_id",
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
                  where id = ?1 returning account_id, campaign_id",
            )
            .bind(event.0)
            .bind(at(*due_at))
            .bind(&planned.planned_for)
            .bind(&planned.zone),
            LogKind::Rescheduled,
            story::rescheduled(event, due_at, planned),
        ),
        Transition::Retry => (
            // Nobody claims from the lane of a campaign that is over.
            sqlx::query(
                "/* change: retry */ update disconnect_events
                    set state = 'scheduled', next_at = ?2, ended_at = null, failures = 0, dispatches = 0,
                        lane = iif(exists (select 1 from campaigns c where c.id = disconnect_events.campaign_id
                                              and c.state in ('completed', 'aborted')), 0, lane)
                  where id = ?1 returning account_id, campaign_id",
            )
            .bind(event.0)
            .bind(&now),
            LogKind::Retried,
            story::retried(event),
        ),
    };
    let written = statement.fetch_all(&mut *connection).await.map_err(failure)?;
    expect_count(written.len(), 1, "change")?;
    let account = AccountId(get(&written[0], "account_id")?);
    let campaign: Option<i64> = get(&written[0], "campaign_id")?;
    if let (Transition::Cancel, Some(campaign)) = (transition, campaign) {
        tally_cancelled(connection, CampaignId(campaign)).await?;
    }
    Ok((account, kind, message))
}
