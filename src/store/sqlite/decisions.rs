//! What was decided about the children of an event's account, and deciding it.

use std::collections::{BTreeMap, HashMap};

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::accounts::{Entry, id};
use super::campaigns::stands;
use super::events::view;
use super::failure::{failure, unreadable};
use super::family::unlink;
use super::overview::snapshots;
use super::requests::{Draft, bring_forward, create};
use super::rows::{at, expect_rows, get, json, number, optional_word, word};
use super::{SqliteStore, changes};
use crate::domain::account::{AccountId, AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::digest::Shown;
use crate::domain::dispositions::{ChildPlan, ChildStep, Disposition, Dispositions, leaving};
use crate::domain::event::{EventId, EventView, Outcome, State, Transition};
use crate::domain::review::{self, ChildEvent, Decision, Member, ReviewFacts};
use crate::domain::story;
use crate::store::StoreResult;

/// The event whose confirmation decides about the children, or that is decided about once more.
pub struct Confirmation<'a> {
    pub id: AccountId,
    pub account: &'a AccountNumber,
    pub event: EventId,
    /// Of the children's own events.
    pub draft: Draft<'a>,
}

impl SqliteStore {
    /// Writes what becomes of the children.
    pub(super) async fn carry_out(
        &self,
        connection: &mut SqliteConnection,
        confirmation: &Confirmation<'_>,
        plans: &[ChildPlan],
    ) -> StoreResult<()> {
        let shown = shown(connection, plans).await?;
        let mut events = HashMap::from([(confirmation.account, (confirmation.id, confirmation.event))]);
        let mut told: BTreeMap<EventId, (AccountId, Vec<_>)> = BTreeMap::new();
        for plan in plans {
            // Each comes behind its parent.
            let (parent, parents_event) = events
                .get(&plan.parent)
                .copied()
                .ok_or_else(|| unreadable(&format!("{} is planned before its parent", plan.child)))?;
            let child = id(connection, &plan.child).await?;
            let agreed = shown.get(&plan.child);
            let draft = Draft { agreed, parent_event: Some(parents_event), ..confirmation.draft };
            if let Some(event) = plan.cancels {
                self.cancel_decided_otherwise(connection, event, parents_event, &draft).await?;
            }
            let own_event = carry_out_one(connection, plan, child, parents_event, &draft).await?;
            write_decision(connection, plan, child, parents_event, own_event, &draft).await?;
            let (kind, message) = story::decided(plan, parents_event, own_event);
            let (by, reason, event) = (draft.by, draft.reason, Some(own_event.unwrap_or(parents_event)));
            self.write_log(connection, Entry { account: child, kind, message, by, event, reason }).await?;
            if let Some(own_event) = own_event {
                events.insert(&plan.child, (child, own_event));
            }
            let (_, told) = told.entry(parents_event).or_insert_with(|| (parent, Vec::new()));
            told.push((plan.child.clone(), plan.disposition, own_event));
        }
        for (event, (account, children)) in told {
            let message = story::family_decided(&children);
            let (by, reason, event) = (confirmation.draft.by, confirmation.draft.reason, Some(event));
            let entry = Entry { account, kind: LogKind::FamilyDecided, message, by, event, reason };
            self.write_log(connection, entry).await?;
        }
        Ok(())
    }

    /// Another choice was made: the child's event, and those that were made with it.
    async fn cancel_decided_otherwise(
        &self,
        connection: &mut SqliteConnection,
        event: EventId,
        parents_event: EventId,
        draft: &Draft<'_>,
    ) -> StoreResult<()> {
        let mut all = vec![event];
        all.extend(changes::made_with(connection, event).await?.into_iter().map(|(event, _)| event));
        for event in all {
            let (account, kind, message) = changes::write(connection, event, &Transition::Cancel, draft.now).await?;
            let message = story::decided_otherwise(&message, parents_event);
            let (by, reason, event) = (draft.by, draft.reason, Some(event));
            self.write_log(connection, Entry { account, kind, message, by, event, reason }).await?;
        }
        Ok(())
    }

    /// Whoever takes a child from a parent that is gone has decided about it.
    pub(super) async fn follow_departure(
        &self,
        connection: &mut SqliteConnection,
        child: AccountId,
        by: &Actor,
    ) -> StoreResult<()> {
        sqlx::query(
            "/* decisions: follow departure */ update family_decisions
                set disposition = 'unlink', child_event_id = null, decided_at = ?2, decided_by = ?3, decided_from = ?4
              where child_id = ?1 and disposition <> 'unlink'
                and exists (select 1 from disconnect_events e join accounts c on c.id = family_decisions.child_id
                             where e.id = family_decisions.event_id and e.outcome = 'disconnected'
                               and c.parent_id is not e.account_id)",
        )
        .bind(child.0)
        .bind(at(self.now()))
        .bind(&by.name)
        .bind(by.source.as_str())
        .execute(connection)
        .await
        .map_err(failure)?;
        Ok(())
    }

    pub(super) async fn decide_family(
        &self,
        event: EventId,
        choices: &Dispositions,
        by: &Actor,
        reason: Option<&str>,
        failures_max: i32,
    ) -> StoreResult<EventView> {
        let mut tx = self.write().await?;
        let found = view(&mut tx, event).await?;
        let account = id(&mut tx, &found.account_number).await?;
        let facts = self.overview_facts_of(&mut tx, account).await?;
        let members = members(&mut tx, &[event.0]).await?.remove(&event).unwrap_or_default();
        let facts = ReviewFacts::of(found, facts, members);
        let plans = facts.decide(choices)?;
        let draft =
            Draft { reason, by, failures_max, agreed: None, parent_event: None, trace: None, now: facts.dates.now };
        let confirmation = Confirmation { id: account, account: &facts.account, event, draft };
        self.carry_out(&mut tx, &confirmation, &plans).await?;
        let decided = view(&mut tx, event).await?;
        tx.commit().await.map_err(failure)?;
        Ok(decided)
    }
}

/// Answers the child's own event, where it is to be disconnected.
async fn carry_out_one(
    connection: &mut SqliteConnection,
    plan: &ChildPlan,
    child: AccountId,
    parents_event: EventId,
    draft: &Draft<'_>,
) -> StoreResult<Option<EventId>> {
    Ok(match &plan.step {
        ChildStep::Create { due_at, planned } => Some(create(connection, child, draft, *due_at, planned).await?),
        ChildStep::BringForward { event, due_at } => {
            bring_forward(connection, *event, draft, *due_at).await?;
            Some(*event)
        }
        ChildStep::Adopt { event } => {
            adopt(connection, *event, parents_event).await?;
            Some(*event)
        }
        ChildStep::Unlink => {
            unlink(connection, child).await?;
            None
        }
        ChildStep::Keep | ChildStep::Acknowledge => None,
    })
}

/// One that was made with an earlier event of the same parent goes along with this one from here on.
async fn adopt(connection: &mut SqliteConnection, event: EventId, parents_event: EventId) -> StoreResult<()> {
    sqlx::query(
        "/* decisions: adopt */ update disconnect_events set parent_event_id = ?2
          where id = ?1 and parent_event_id in (
                select earlier.id from disconnect_events p
                  join disconnect_events earlier on earlier.account_id = p.account_id
                 where p.id = ?2)",
    )
    .bind(event.0)
    .bind(parents_event.0)
    .execute(connection)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn write_decision(
    connection: &mut SqliteConnection,
    plan: &ChildPlan,
    child: AccountId,
    parents_event: EventId,
    own_event: Option<EventId>,
    draft: &Draft<'_>,
) -> StoreResult<()> {
    let written = sqlx::query(
        "/* decisions: write */ insert into family_decisions (event_id, child_id, disposition, child_event_id,
                had_contact, decided_at, decided_by, decided_from)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         on conflict (event_id, child_id) do update
            set disposition = excluded.disposition, child_event_id = excluded.child_event_id,
                had_contact = excluded.had_contact, decided_at = excluded.decided_at,
                decided_by = excluded.decided_by, decided_from = excluded.decided_from",
    )
    .bind(parents_event.0)
    .bind(child.0)
    .bind(plan.disposition.as_str())
    .bind(own_event.map(|event| event.0))
    .bind(plan.has_contact)
    .bind(at(draft.now))
    .bind(&draft.by.name)
    .bind(draft.by.source.as_str())
    .execute(connection)
    .await
    .map_err(failure)?;
    expect_rows(&written, 1, "decisions: write")
}

/// What is agreed to of the children that get an event.
async fn shown(connection: &mut SqliteConnection, plans: &[ChildPlan]) -> StoreResult<HashMap<AccountNumber, Shown>> {
    let mut made = Vec::new();
    for plan in plans {
        if matches!(plan.step, ChildStep::Create { .. } | ChildStep::BringForward { .. }) {
            made.push(id(connection, &plan.child).await?);
        }
    }
    if made.is_empty() {
        return Ok(HashMap::new());
    }
    let leaving = leaving(plans);
    let snapshots = snapshots(connection, &made, &made).await?;
    let shown = snapshots.into_values().map(|found| {
        let found = found?;
        Ok((found.number.clone(), Shown::without_children(&found, &leaving)))
    });
    shown.collect()
}

/// Adds to events what was decided about their families, and what there is to decide.
pub async fn review(connection: &mut SqliteConnection, views: &mut [EventView]) -> StoreResult<()> {
    let ids: Vec<i64> = views.iter().map(|view| view.id.0).collect();
    let mut members = members(connection, &ids).await?;
    for view in views {
        if let Some(members) = members.remove(&view.id) {
            review::add_to(view, &members);
        }
    }
    Ok(())
}

/// The children of the events' accounts, and those that were decided about.
async fn members(connection: &mut SqliteConnection, events: &[i64]) -> StoreResult<HashMap<EventId, Vec<Member>>> {
    let rows = sqlx::query(concat!(
        "/* decisions: members */
         select m.event_id, c.number, c.disconnected_at, c.parent_id is e.account_id as is_child,
                c.email is not null or c.mailing_address is not null as has_contact,
                d.disposition, d.had_contact, ce.id as child_event, ce.state, ce.outcome, o.id as open_event
           from (select e.id as event_id, c.id as child_id
                   from json_each(?1) as asked cross join disconnect_events e on e.id = asked.value
                   join accounts c on c.parent_id = e.account_id
                 union
                 select d.event_id, d.child_id
                   from json_each(?1) as asked cross join family_decisions d on d.event_id = asked.value) m
           join disconnect_events e on e.id = m.event_id
           join accounts c on c.id = m.child_id
           left join family_decisions d on d.event_id = m.event_id and d.child_id = m.child_id
           left join disconnect_events ce on ce.id = d.child_event_id
           left join disconnect_events o on o.account_id = c.id and o.state in ('scheduled', 'queued') and ",
        stands!("o"),
        " order by m.event_id, c.number"
    ))
    .bind(json(events)?)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let mut members: HashMap<EventId, Vec<Member>> = HashMap::new();
    for row in &rows {
        members.entry(EventId(get(row, "event_id")?)).or_default().push(member(row)?);
    }
    Ok(members)
}

fn member(row: &SqliteRow) -> StoreResult<Member> {
    let decision = match optional_word(row, "disposition", Disposition::parse)? {
        None => None,
        Some(disposition) => Some(Decision {
            disposition,
            had_contact: get(row, "had_contact")?,
            event: match get::<Option<i64>, _>(row, "child_event")? {
                None => None,
                Some(id) => Some(ChildEvent {
                    id: EventId(id),
                    state: word(row, "state", State::parse)?,
                    outcome: optional_word(row, "outcome", Outcome::parse)?,
                }),
            },
        }),
    };
    Ok(Member {
        number: number(row, "number")?,
        disconnected_at: get(row, "disconnected_at")?,
        has_contact: get(row, "has_contact")?,
        is_child: get(row, "is_child")?,
        open_event: get::<Option<i64>, _>(row, "open_event")?.map(EventId),
        decision,
    })
}
