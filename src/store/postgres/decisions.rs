//! What was decided about the children of an event's account, and deciding it.

use std::collections::{BTreeMap, HashMap};

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::campaigns::stands;
use super::events::{self, events_of};
use super::failure::{Failure, expect_rows};
use super::family::while_changing;
use super::requests::{Draft, bring_forward, create, log};
use super::{PostgresStore, changes, family, hints, overview, rows, snapshot};
use crate::domain::account::{AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::digest::Shown;
use crate::domain::dispositions::{ChildPlan, ChildStep, Disposition, Dispositions, leaving};
use crate::domain::event::{EventId, EventView, Transition};
use crate::domain::refusal::Refusal;
use crate::domain::review::{self, ChildEvent, Decision, Member, ReviewFacts};
use crate::domain::story;
use crate::store::StoreError;

/// The event whose confirmation decides about the children, or that is decided about once more.
pub(super) struct Confirmation<'a> {
    pub(super) account: &'a AccountNumber,
    pub(super) event: EventId,
    /// Of the children's own events.
    pub(super) draft: Draft<'a>,
}

/// Writes what becomes of the children, under the locks of the whole family.
pub(super) async fn carry_out(
    db: &mut PgConnection,
    confirmation: &Confirmation<'_>,
    plans: &[ChildPlan],
) -> Result<(), Failure> {
    if plans.is_empty() {
        return Ok(());
    }
    let ids = ids(db, plans).await?;
    let shown = shown(db, plans, &ids).await?;
    let mut events = HashMap::from([(confirmation.account, confirmation.event)]);
    let mut told: BTreeMap<EventId, Vec<_>> = BTreeMap::new();
    for plan in plans {
        // Each comes behind its parent, and every one was found a moment ago, under its lock.
        let (Some(parents_event), Some(id)) = (events.get(&plan.parent).copied(), ids.get(&plan.child).copied()) else {
            return Err(StoreError::Rejected(format!("{} is planned before its parent", plan.child)).into());
        };
        let agreed = shown.get(&plan.child);
        let draft = Draft { agreed, parent_event: Some(parents_event), ..confirmation.draft };
        let own_event = carry_out_one(db, plan, id, parents_event, &draft).await?;
        write_decision(db, plan, id, parents_event, own_event, &draft).await?;
        if let Some(own_event) = own_event {
            events.insert(&plan.child, own_event);
        }
        told.entry(parents_event).or_default().push((plan.child.clone(), plan.disposition, own_event));
    }
    for (event, children) in told {
        log(db, event, LogKind::FamilyDecided, &story::family_decided(&children), &confirmation.draft).await?;
    }
    Ok(())
}

/// Answers the child's own event, where it is to be disconnected.
async fn carry_out_one(
    db: &mut PgConnection,
    plan: &ChildPlan,
    id: i64,
    parents_event: EventId,
    draft: &Draft<'_>,
) -> Result<Option<EventId>, Failure> {
    if let Some(event) = plan.cancels {
        cancel(db, event, parents_event, draft).await?;
    }
    let own_event = match &plan.step {
        ChildStep::Create { due_at, planned } => Some(create(db, id, draft, *due_at, planned).await?),
        ChildStep::BringForward { event, due_at } => {
            bring_forward(db, *event, draft, *due_at).await?;
            Some(*event)
        }
        ChildStep::Adopt { event } => {
            adopt(db, *event, parents_event).await?;
            Some(*event)
        }
        ChildStep::Unlink => {
            family::take_from_parent(db, id).await?;
            None
        }
        ChildStep::Keep | ChildStep::Acknowledge => None,
    };
    let (kind, message) = story::decided(plan, parents_event, own_event);
    let written = sqlx::query(
        "/* decisions: write log */
         insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         values ($1, clock_timestamp(), $2, $3, $4, $5, $6, $7)",
    )
    .bind(id)
    .bind(kind.as_str())
    .bind(message)
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .bind(own_event.unwrap_or(parents_event).0)
    .bind(draft.reason)
    .execute(db)
    .await?;
    expect_rows("log entries", 1, written.rows_affected())?;
    Ok(own_event)
}

/// Another choice was made: the child's event, and those that were made with it.
async fn cancel(
    db: &mut PgConnection,
    event: EventId,
    parents_event: EventId,
    draft: &Draft<'_>,
) -> Result<(), Failure> {
    let mut all = vec![event];
    all.extend(changes::made_with(db, event).await?.into_iter().map(|(event, _)| event));
    for event in all {
        let (kind, message) = changes::write(db, event, &Transition::Cancel).await?;
        log(db, event, kind, &story::decided_otherwise(&message, parents_event), draft).await?;
    }
    Ok(())
}

/// One that was made with an earlier event of the same parent goes along with this one from here on.
async fn adopt(db: &mut PgConnection, event: EventId, parents_event: EventId) -> Result<(), Failure> {
    sqlx::query(
        "/* decisions: adopt */
         update disconnect_events e set parent_event_id = $2
          where e.id = $1
            and (select account_id from all_disconnect_events where id = e.parent_event_id)
                = (select account_id from all_disconnect_events where id = $2)",
    )
    .bind(event.0)
    .bind(parents_event.0)
    .execute(db)
    .await?;
    Ok(())
}

/// Whoever takes a child from a parent that is gone has decided about it.
pub(super) async fn follow_departure(db: &mut PgConnection, child: i64, by: &Actor) -> Result<(), Failure> {
    sqlx::query(
        "/* decisions: follow departure */
         update family_decisions d
            set disposition = 'unlink', child_event_id = null, decided_at = clock_timestamp(), decided_by = $2,
                decided_from = $3
           from all_disconnect_events e, accounts c
          where d.child_id = $1 and d.disposition <> 'unlink' and e.id = d.event_id and e.outcome = 'disconnected'
            and c.id = d.child_id and c.parent_id is distinct from e.account_id",
    )
    .bind(child)
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(db)
    .await?;
    Ok(())
}

async fn write_decision(
    db: &mut PgConnection,
    plan: &ChildPlan,
    child: i64,
    parents_event: EventId,
    own_event: Option<EventId>,
    draft: &Draft<'_>,
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* decisions: write */
         insert into family_decisions (event_id, child_id, disposition, child_event_id, had_contact, decided_at,
                                       decided_by, decided_from)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (event_id, child_id) do update
            set disposition = excluded.disposition, child_event_id = excluded.child_event_id,
                had_contact = excluded.had_contact, decided_at = excluded.decided_at,
                decided_by = excluded.decided_by, decided_from = excluded.decided_from",
    )
    .bind(parents_event.0)
    .bind(child)
    .bind(plan.disposition.as_str())
    .bind(own_event.map(|event| event.0))
    .bind(plan.has_contact)
    .bind(draft.now)
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .execute(db)
    .await?;
    expect_rows("decisions to write", 1, written.rows_affected())
}

async fn ids(db: &mut PgConnection, plans: &[ChildPlan]) -> Result<HashMap<AccountNumber, i64>, Failure> {
    let found: Vec<(String, i64)> =
        sqlx::query_as("/* decisions: children */ select number, id from accounts where number = any($1)")
            .bind(plans.iter().map(|plan| plan.child.as_str()).collect::<Vec<_>>())
            .fetch_all(db)
            .await?;
    Ok(found.into_iter().map(|(number, id)| (AccountNumber::from_stored(number), id)).collect())
}

/// What is agreed to of the children that get an event.
async fn shown(
    db: &mut PgConnection,
    plans: &[ChildPlan],
    ids: &HashMap<AccountNumber, i64>,
) -> Result<HashMap<AccountNumber, Shown>, Failure> {
    let is_made = |plan: &&ChildPlan| matches!(plan.step, ChildStep::Create { .. } | ChildStep::BringForward { .. });
    let made: Vec<i64> = plans.iter().filter(is_made).filter_map(|plan| ids.get(&plan.child).copied()).collect();
    if made.is_empty() {
        return Ok(HashMap::new());
    }
    let (snapshots, _) = snapshot::load(db, &made, &made).await?;
    let leaving = leaving(plans);
    let shown = snapshots.into_values().map(|found| {
        let found = found?;
        Ok((found.number.clone(), Shown::without_children(&found, &leaving)))
    });
    shown.collect()
}

pub(super) async fn decide(
    store: &PostgresStore,
    event: EventId,
    choices: &Dispositions,
    by: &Actor,
    reason: Option<&str>,
    failures_max: i32,
) -> Result<EventView, Failure> {
    while_changing!(decide_once(store, event, choices, by, reason, failures_max))
}

async fn decide_once(
    store: &PostgresStore,
    event: EventId,
    choices: &Dispositions,
    by: &Actor,
    reason: Option<&str>,
    failures_max: i32,
) -> Result<EventView, Failure> {
    let mut tx = store.begin().await?;
    // The account of an event never changes, so it may be looked up before the locks.
    let account: i64 =
        sqlx::query_scalar("/* decide: account */ select account_id from all_disconnect_events where id = $1")
            .bind(event.0)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(Refusal::UnknownEvent { event })?;
    family::lock_family(&mut tx, account).await?;
    sqlx::query("/* decide: lock event */ select id from disconnect_events where id = $1 for update")
        .bind(event.0)
        .execute(&mut *tx)
        .await?;
    let view = events::view(&mut tx, event).await?;
    let facts = overview::load(&mut tx, &view.account_number).await?;
    let members = members(&mut tx, &[event.0]).await?.remove(&event).unwrap_or_default();
    let facts = ReviewFacts::of(view, facts, members);
    let plans = facts.decide(choices)?;
    let draft = Draft { reason, by, failures_max, agreed: None, parent_event: None, trace: None, now: facts.dates.now };
    carry_out(&mut tx, &Confirmation { account: &facts.account, event, draft }, &plans).await?;
    let view = events::view(&mut tx, event).await?;
    hints::notify(&mut tx).await?;
    tx.commit().await?;
    Ok(view)
}

/// Adds to events what was decided about their families, and what there is to decide.
pub(super) async fn review(db: &mut PgConnection, views: &mut [EventView]) -> Result<(), Failure> {
    if views.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = views.iter().map(|view| view.id.0).collect();
    let mut members = members(db, &ids).await?;
    for view in views {
        if let Some(members) = members.remove(&view.id) {
            review::add_to(view, &members);
        }
    }
    Ok(())
}

/// The children of the events' accounts, and those that were decided about.
async fn members(db: &mut PgConnection, events: &[i64]) -> Result<HashMap<EventId, Vec<Member>>, Failure> {
    let found = sqlx::query(concat!(
        "/* decisions: members */
         select m.event_id, c.number, c.disconnected_at, c.parent_id is not distinct from e.account_id as is_child,
                c.email is not null or c.mailing_address is not null as has_contact,
                d.disposition, d.had_contact, ce.id as child_event, ce.state, ce.outcome, o.id as open_event
           from (select asked.id as event_id, c.id as child_id
                   from unnest($1::bigint[]) as asked (id)
                  cross join lateral (select account_id from all_disconnect_events where id = asked.id limit 1) e
                   join accounts c on c.parent_id = e.account_id
                 union
                 select event_id, child_id from family_decisions where event_id = any($1)) m
          cross join lateral (select account_id from all_disconnect_events where id = m.event_id limit 1) e
           join accounts c on c.id = m.child_id
           left join family_decisions d on d.event_id = m.event_id and d.child_id = m.child_id
           left join lateral (
                select id, state, outcome from all_disconnect_events where id = d.child_event_id limit 1) ce on true
           left join lateral (
                select id from ",
        events_of!("c.id"),
        " o where o.state in ('scheduled', 'queued') and ",
        stands!("o"),
        ") o on true
          order by m.event_id, c.number"
    ))
    .bind(events)
    .persistent(events.len() == 1) // many are planned for each time, as in `complete_events`
    .fetch_all(db)
    .await?;
    let mut members: HashMap<EventId, Vec<Member>> = HashMap::new();
    for row in &found {
        members.entry(EventId(row.try_get("event_id")?)).or_default().push(member(row)?);
    }
    Ok(members)
}

fn member(row: &PgRow) -> Result<Member, Failure> {
    let decision = match row.try_get::<Option<&str>, _>("disposition")? {
        None => None,
        Some(disposition) => Some(Decision {
            disposition: Disposition::parse(disposition)
                .ok_or_else(|| StoreError::Rejected(format!("the database holds the disposition `{disposition}`")))?,
            had_contact: row.try_get("had_contact")?,
            event: match row.try_get::<Option<i64>, _>("child_event")? {
                None => None,
                Some(id) => Some(ChildEvent {
                    id: EventId(id),
                    state: rows::state(row.try_get("state")?)?,
                    outcome: rows::outcome(row.try_get("outcome")?)?,
                }),
            },
        }),
    };
    Ok(Member {
        number: AccountNumber::from_stored(row.try_get("number")?),
        disconnected_at: row.try_get("disconnected_at")?,
        has_contact: row.try_get("has_contact")?,
        is_child: row.try_get("is_child")?,
        open_event: row.try_get::<Option<i64>, _>("open_event")?.map(EventId),
        decision,
    })
}
