//! Asking for a disconnect.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::decisions::{self, Confirmation};
use super::failure::{Failure, expect_rows};
use super::family::while_changing;
use super::{PostgresStore, accounts, campaigns, events, family, hints, overview};
use crate::domain::account::LogKind;
use crate::domain::actor::Actor;
use crate::domain::calendar::Planned;
use crate::domain::digest::Shown;
use crate::domain::event::EventId;
use crate::domain::request::{Admission, Admitted, DisconnectRequest, admit};
use crate::domain::story;
use crate::domain::trace::TraceParent;
use crate::store::{Requested, StoreError};

pub(super) async fn ask(store: &PostgresStore, request: &DisconnectRequest) -> Result<Requested, Failure> {
    while_changing!(ask_once(store, request))
}

async fn ask_once(store: &PostgresStore, request: &DisconnectRequest) -> Result<Requested, Failure> {
    let mut tx = store.begin().await?;
    let account: i64 = sqlx::query_scalar("/* request: account */ select id from accounts where number = $1")
        .bind(request.account.as_str())
        .fetch_optional(&mut *tx)
        .await?
        .ok_or_else(|| accounts::unknown(&request.account))?;
    family::lock_family(&mut tx, account).await?;
    let facts = overview::load(&mut tx, &request.account).await?;
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
    let (event, requested) = match own {
        Admission::Create { due_at, planned } => {
            let event = create(&mut tx, account, &draft, due_at, &planned).await?;
            log(&mut tx, event, LogKind::Scheduled, &story::scheduled(&due_at, &planned), &draft).await?;
            (event, Requested::Created(event))
        }
        Admission::BringForward { event, due_at } => {
            bring_forward(&mut tx, event, &draft, due_at).await?;
            log(&mut tx, event, LogKind::Rescheduled, &story::brought_forward(event), &draft).await?;
            (event, Requested::BroughtForward(event))
        }
        Admission::UnderWay { event } if children.is_empty() => return Ok(Requested::UnderWay(event)),
        Admission::UnderWay { event } => (event, Requested::UnderWay(event)),
        Admission::AlreadyDisconnected { disconnected_at } => {
            let event = disconnected_by(&mut tx, account).await?;
            return Ok(Requested::AlreadyDisconnected { disconnected_at, event });
        }
    };
    let confirmation = Confirmation { account: &request.account, event, draft: Draft { agreed: None, ..draft } };
    decisions::carry_out(&mut tx, &confirmation, &children).await?;
    hints::notify(&mut tx).await?;
    tx.commit().await?;
    Ok(requested)
}

/// What an event is made with besides its dates.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub(super) reason: Option<&'a str>,
    pub(super) by: &'a Actor,
    pub(super) failures_max: i32,
    pub(super) agreed: Option<&'a Shown>,
    pub(super) parent_event: Option<EventId>,
    pub(super) trace: Option<TraceParent>,
    /// "Now" of the decision: not before what was committed while the locks were waited for.
    pub(super) now: DateTime<Utc>,
}

pub(super) async fn create(
    db: &mut PgConnection,
    account: i64,
    draft: &Draft<'_>,
    due_at: DateTime<Utc>,
    planned: &Planned,
) -> Result<EventId, Failure> {
    campaigns::cancel_leftovers(db, &[account], draft.by, draft.reason).await?;
    let id = sqlx::query_scalar(
        "/* request: create */
         insert into disconnect_events (account_id, state, due_at, planned_for, zone, next_at, failures_max, reason,
                                        requested_by, requested_from, created_at, agreed, parent_event_id,
                                        traceparent, account_number)
         -- Meant for long ago, it is overdue only from now on.
         values ($1, 'scheduled', $2, $3, $4, greatest($2, $9), $5, $6, $7, $8, $9, $10, $11, $12,
                 (select number from accounts where id = $1))
         returning id",
    )
    .bind(account)
    .bind(due_at)
    .bind(&planned.planned_for)
    .bind(&planned.zone)
    .bind(draft.failures_max)
    .bind(draft.reason)
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .bind(draft.now)
    .bind(draft.agreed.map(Shown::digest))
    .bind(draft.parent_event.map(|event| event.0))
    .bind(draft.trace.map(|trace| trace.to_string()))
    .fetch_one(db)
    .await?;
    Ok(EventId(id))
}

/// A scheduler may have claimed it since it was read, which changes nothing: open it stays while the account is locked.
/// What is asked for by itself goes along with no other event any more.
pub(super) async fn bring_forward(
    db: &mut PgConnection,
    event: EventId,
    draft: &Draft<'_>,
    due_at: DateTime<Utc>,
) -> Result<(), Failure> {
    let brought = sqlx::query(
        "/* request: bring forward */
         update disconnect_events
            set state = 'scheduled', lane = 0, due_at = $2, planned_for = null, zone = null,
                next_at = clock_timestamp(), dispatches = 0, reason = $3, requested_by = $4, requested_from = $5,
                agreed = $6, parent_event_id = $7, traceparent = $8
          where id = $1 and state in ('scheduled', 'queued')",
    )
    .bind(event.0)
    .bind(due_at)
    .bind(draft.reason)
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .bind(draft.agreed.map(Shown::digest))
    .bind(draft.parent_event.map(|event| event.0))
    .bind(draft.trace.map(|trace| trace.to_string()))
    .execute(db)
    .await?;
    expect_rows("events to bring forward", 1, brought.rows_affected())
}

pub(super) async fn log(
    db: &mut PgConnection,
    event: EventId,
    kind: LogKind,
    message: &str,
    draft: &Draft<'_>,
) -> Result<(), Failure> {
    events::log(db, event, kind, message, draft.by, draft.reason).await
}

async fn disconnected_by(db: &mut PgConnection, account: i64) -> Result<Option<EventId>, Failure> {
    let event: Option<i64> = sqlx::query_scalar(
        "/* request: disconnected by */
         select id from all_disconnect_events
          where account_id = $1 and state = 'completed' and outcome = 'disconnected'
          order by id desc
          limit 1",
    )
    .bind(account)
    .fetch_optional(db)
    .await?;
    Ok(event.map(EventId))
}
