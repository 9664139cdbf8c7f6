//! Asking for a disconnect. The lock of the whole database is the lock of the account and of its family.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::accounts::{Entry, id};
use super::campaigns::cancel_leftovers;
use super::decisions::Confirmation;
use super::failure::failure;
use super::rows::{at, expect_rows};
use crate::domain::account::{AccountId, LogKind};
use crate::domain::actor::Actor;
use crate::domain::calendar::Planned;
use crate::domain::digest::Shown;
use crate::domain::event::EventId;
use crate::domain::request::{Admission, Admitted, DisconnectRequest, admit};
use crate::domain::story;
use crate::domain::trace::TraceParent;
use crate::store::{Requested, StoreResult};

/// What an event is made with besides its dates.
#[derive(Clone, Copy)]
pub struct Draft<'a> {
    pub reason: Option<&'a str>,
    pub by: &'a Actor,
    pub failures_max: i32,
    pub agreed: Option<&'a Shown>,
    pub parent_event: Option<EventId>,
    pub trace: Option<TraceParent>,
    pub now: DateTime<Utc>,
}

impl SqliteStore {
    pub(super) async fn ask(&self, request: &DisconnectRequest) -> StoreResult<Requested> {
        let mut tx = self.write().await?;
        let account = id(&mut tx, &request.account).await?;
        let facts = self.overview_facts_of(&mut tx, account).await?;
        let Admitted { own, children, agreed } = admit(request, &facts)?;
        let draft = Draft {
            reason: request.reason.as_deref(),
            by: &request.by,
            failures_max: request.failures_max,
            agreed: Some(&agreed),
            parent_event: None,
            trace: request.trace,
            now: facts.now,
        };
        let (event, told, requested) = match own {
            Admission::Create { due_at, planned } => {
                let event = create(&mut tx, account, &draft, due_at, &planned).await?;
                let told = (LogKind::Scheduled, story::scheduled(&due_at, &planned));
                (event, Some(told), Requested::Created(event))
            }
            Admission::BringForward { event, due_at } => {
                bring_forward(&mut tx, event, &draft, due_at).await?;
                let told = (LogKind::Rescheduled, story::brought_forward(event));
                (event, Some(told), Requested::BroughtForward(event))
            }
            Admission::UnderWay { event } if children.is_empty() => return Ok(Requested::UnderWay(event)),
            Admission::UnderWay { event } => (event, None, Requested::UnderWay(event)),
            Admission::AlreadyDisconnected { disconnected_at } => {
                let event = disconnected_by(&mut tx, account).await?;
                return Ok(Requested::AlreadyDisconnected { disconnected_at, event });
            }
        };
        if let Some((kind, message)) = told {
            let (by, reason) = (draft.by, draft.reason);
            self.write_log(&mut tx, Entry { account, kind, message, by, event: Some(event), reason }).await?;
        }
        let confirmation =
            Confirmation { id: account, account: &request.account, event, draft: Draft { agreed: None, ..draft } };
        self.carry_out(&mut tx, &confirmation, &children).await?;
        tx.commit().await.map_err(failure)?;
        Ok(requested)
    }
}

/// What an aborted campaign has left of the account makes way.
pub async fn create(
    connection: &mut SqliteConnection,
    account: AccountId,
    draft: &Draft<'_>,
    due_at: DateTime<Utc>,
    planned: &Planned,
) -> StoreResult<EventId> {
    cancel_leftovers(connection, &[account.0], draft.by, draft.reason, draft.now).await?;
    sqlx::query_scalar(
        "/* request: create */ insert into disconnect_events (account_id, state, due_at, planned_for, zone, next_at,
                failures_max, reason, requested_by, requested_from, created_at, agreed, parent_event_id, traceparent,
                account_number)
         -- Meant for long ago, it is overdue only from now on.
         values (?1, 'scheduled', ?2, ?3, ?4, max(?2, ?9), ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                 (select number from accounts where id = ?1)) returning id",
    )
    .bind(account.0)
    .bind(at(due_at))
    .bind(&planned.planned_for)
    .bind(&planned.zone)
    .bind(draft.failures_max)
    .bind(draft.reason)
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .bind(at(draft.now))
    .bind(draft.agreed.map(Shown::digest))
    .bind(draft.parent_event.map(|event| event.0))
    .bind(draft.trace.map(|trace| trace.to_string()))
    .fetch_one(connection)
    .await
    .map(EventId)
    .map_err(failure)
}

/// What is asked for by itself goes along with no other event any more.
pub async fn bring_forward(
    connection: &mut SqliteConnection,
    event: EventId,
    draft: &Draft<'_>,
    due_at: DateTime<Utc>,
) -> StoreResult<()> {
    let written = sqlx::query(
        "/* request: bring forward */ update disconnect_events
            set state = 'scheduled', lane = 0, due_at = ?2, next_at = ?3, dispatches = 0,
                planned_for = null, zone = null, reason = ?4, requested_by = ?5, requested_from = ?6,
                agreed = ?7, parent_event_id = ?8, traceparent = ?9
          where id = ?1 and state in ('scheduled', 'queued')",
    )
    .bind(event.0)
    .bind(at(due_at))
    .bind(at(draft.now))
    .bind(draft.reason)
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .bind(draft.agreed.map(Shown::digest))
    .bind(draft.parent_event.map(|event| event.0))
    .bind(draft.trace.map(|trace| trace.to_string()))
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "request: bring forward")
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
