//! What becomes of the children of members as these become events.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;

use super::leftovers::stands;
use super::stored::Stored;
use crate::domain::account::{AccountNumber, LogKind};
use crate::domain::actor::Actor;
use crate::domain::campaign::cohort::{MemberAccount, OutsideChild};
use crate::domain::dispositions::{ChildPlan, ChildStep, Disposition};
use crate::domain::event::EventId;
use crate::domain::story;
use crate::store::campaigns::ENLIST_MAX;
use crate::store::postgres::events::events_of;
use crate::store::postgres::failure::{Failure, expect_rows};

/// A member that has become an event in this transaction.
pub(super) struct Enlistee<'m> {
    pub(super) event: EventId,
    pub(super) number: &'m AccountNumber,
    pub(super) account: &'m MemberAccount,
}

/// The accounts of the next batch, and their connected children: log entries and decisions would lock them later, in
/// whatever order. By look-ups, as a page of members is read.
macro_rules! lock_sql {
    ($strength:literal) => {
        concat!(
            "/* enlist: lock accounts */
             with batch as materialized (
                 select account_id from campaign_members
                  where campaign_id = $1 and position > $2 and position <= $2 + $3
             )
             select id from accounts
              where id = any(array(
                        select account_id from batch where account_id is not null
                         union
                        select c.id
                          from batch b
                         cross join lateral (
                               select c.id from accounts c
                                where c.parent_id = b.account_id and c.disconnected_at is null
                               offset 0) c))
              order by id for ",
            $strength
        )
    };
}

/// `to_change`: some of the children will lose their parent.
pub(super) async fn lock_accounts(db: &mut PgConnection, stored: &Stored, to_change: bool) -> Result<(), Failure> {
    let lock = if to_change { sqlx::query(lock_sql!("update")) } else { sqlx::query(lock_sql!("key share")) };
    lock.bind(stored.id.0).bind(stored.enlisted).bind(i64::from(ENLIST_MAX)).execute(db).await?;
    Ok(())
}

/// Whether somebody of the next batch has a connected child that is no member.
pub(super) async fn has_outside(db: &mut PgConnection, stored: &Stored) -> Result<bool, Failure> {
    Ok(sqlx::query_scalar(
        "/* enlist: children outside */
         with batch as materialized (
             select account_id from campaign_members
              where campaign_id = $1 and position > $2 and position <= $2 + $3
         )
         select exists (
                select from batch b
                 cross join lateral (
                       select c.id from accounts c
                        where c.parent_id = b.account_id and c.disconnected_at is null
                          and (select true from campaign_members k
                                where k.campaign_id = $1 and k.account_number = c.number limit 1) is null
                        limit 1) c)",
    )
    .bind(stored.id.0)
    .bind(stored.enlisted)
    .bind(i64::from(ENLIST_MAX))
    .persistent(false)
    .fetch_one(db)
    .await?)
}

/// The children that are no members, by the campaign's terms. `unlinks`: the tree is locked. A child that nobody decided
/// about (it came since the start, or has nobody else to get its invoices) stays, and the event asks about it.
pub(super) async fn decide_outside(
    db: &mut PgConnection,
    stored: &Stored,
    enlisted: &[Enlistee<'_>],
    unlinks: bool,
    by: &Actor,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let (disposition, step) = match stored.terms.children {
        Some(Disposition::Keep) => (Disposition::Keep, ChildStep::Keep),
        Some(Disposition::Unlink) if unlinks => (Disposition::Unlink, ChildStep::Unlink),
        Some(Disposition::Unlink | Disposition::Disconnect) | None => return Ok(()),
    };
    let is_decided = |child: &&OutsideChild| disposition == Disposition::Keep || child.has_contact;
    let mut decided = Vec::new();
    let mut entries = Vec::new();
    for parent in enlisted {
        let mut told = Vec::new();
        for child in parent.account.children.iter().filter(is_decided) {
            let plan = ChildPlan {
                child: child.number.clone(),
                parent: parent.number.clone(),
                disposition,
                has_contact: child.has_contact,
                cancels: None,
                step: step.clone(),
            };
            let (kind, message) = story::decided(&plan, parent.event, None);
            entries.push((child.id.0, parent.event, kind, message));
            told.push((plan.child, disposition, None));
            decided.push(Decided {
                event: parent.event,
                child: child.id.0,
                disposition,
                childs_event: None,
                had_contact: child.has_contact,
            });
        }
        if !told.is_empty() {
            entries.push((parent.account.id.0, parent.event, LogKind::FamilyDecided, story::family_decided(&told)));
        }
    }
    if decided.is_empty() {
        return Ok(());
    }
    if disposition == Disposition::Unlink {
        take_from_parents(db, &decided).await?;
    }
    write(db, &decided, by, now).await?;
    log(db, &entries, stored.terms.reason.as_deref(), by, now).await
}

async fn take_from_parents(db: &mut PgConnection, decided: &[Decided]) -> Result<(), Failure> {
    let unlinked = sqlx::query(
        "/* enlist: unlink */
         update accounts set unlinked_from_id = parent_id, parent_id = null where id = any($1)",
    )
    .bind(decided.iter().map(|one| one.child).collect::<Vec<_>>())
    .execute(db)
    .await?;
    expect_rows("accounts to unlink", decided.len(), unlinked.rows_affected())
}

struct Decided {
    /// The parent's.
    event: EventId,
    child: i64,
    disposition: Disposition,
    childs_event: Option<EventId>,
    had_contact: bool,
}

async fn write(db: &mut PgConnection, decided: &[Decided], by: &Actor, now: DateTime<Utc>) -> Result<(), Failure> {
    // What somebody has decided meanwhile stands.
    sqlx::query(
        "/* enlist: decisions */
         insert into family_decisions (event_id, child_id, disposition, child_event_id, had_contact, decided_at,
                                       decided_by, decided_from)
         select d.event_id, d.child_id, d.disposition, d.child_event_id, d.had_contact, $6, $7, $8
           from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::boolean[])
                as d (event_id, child_id, disposition, child_event_id, had_contact)
         on conflict (event_id, child_id) do nothing",
    )
    .bind(decided.iter().map(|one| one.event.0).collect::<Vec<_>>())
    .bind(decided.iter().map(|one| one.child).collect::<Vec<_>>())
    .bind(decided.iter().map(|one| one.disposition.as_str()).collect::<Vec<_>>())
    .bind(decided.iter().map(|one| one.childs_event.map(|event| event.0)).collect::<Vec<_>>())
    .bind(decided.iter().map(|one| one.had_contact).collect::<Vec<_>>())
    .bind(now)
    .bind(&by.name)
    .bind(by.source.as_str())
    .execute(db)
    .await?;
    Ok(())
}

async fn log(
    db: &mut PgConnection,
    entries: &[(i64, EventId, LogKind, String)],
    reason: Option<&str>,
    by: &Actor,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let written = sqlx::query(
        "/* enlist: log of families */
         insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
         select l.account_id, $5, l.kind, l.message, $6, $7, l.event_id, $8
           from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[])
                with ordinality as l (account_id, event_id, kind, message, n)
          order by l.n",
    )
    .bind(entries.iter().map(|(account, _, _, _)| *account).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, event, _, _)| event.0).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, _, kind, _)| kind.as_str()).collect::<Vec<_>>())
    .bind(entries.iter().map(|(_, _, _, message)| message.as_str()).collect::<Vec<_>>())
    .bind(now)
    .bind(&by.name)
    .bind(by.source.as_str())
    .bind(reason)
    .execute(db)
    .await?;
    expect_rows("log entries", entries.len(), written.rows_affected())
}

/// Members whose parent is a member too, once both have come to their turn, one of them in this batch (up to position
/// `last`): the child goes by its own event, or where it was left out because of one by that.
pub(super) async fn join_members(
    db: &mut PgConnection,
    stored: &Stored,
    last: i64,
    by: &Actor,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let pairs: Vec<(i64, i64, i64, bool, bool)> = sqlx::query_as(concat!(
        "/* enlist: families within */
         with batch as materialized (
             select account_id, event_id, left_out from campaign_members
              where campaign_id = $1 and position > $2 and position <= $3 and account_id is not null
              order by position
             offset 0
         ), pairs as materialized (
             -- Children that came.
             select c.parent_id, c.id as child_id, b.event_id as childs_event, b.left_out, c.has_contact
               from batch b
              cross join lateral (
                    select id, parent_id, email is not null or mailing_address is not null as has_contact
                      from accounts c where c.id = b.account_id and c.parent_id is not null limit 1) c
             union
             -- Parents that came.
             select b.account_id, c.id, m.event_id, m.left_out, c.has_contact
               from batch b
              cross join lateral (
                    select id, number, email is not null or mailing_address is not null as has_contact
                      from accounts c where c.parent_id = b.account_id offset 0) c
              cross join lateral (
                    select m.event_id, m.left_out from campaign_members m
                     where m.campaign_id = $1 and m.account_number = c.number limit 1) m
              where b.event_id is not null
         )
         select pm.event_id, f.child_id, coalesce(f.childs_event, o.id), f.has_contact, f.childs_event is not null
           from pairs f
          cross join lateral (
                select m.event_id from accounts p join campaign_members m on m.account_number = p.number
                 where p.id = f.parent_id and m.campaign_id = $1 and m.event_id is not null limit 1) pm
           left join lateral (
                select e.id from ",
        events_of!("f.child_id"),
        " e where f.left_out = 'open_event' and e.state in ('scheduled', 'queued') and ",
        stands!("e"),
        "        limit 1) o on true
          where coalesce(f.childs_event, o.id) is not null
          order by f.child_id"
    ))
    .bind(stored.id.0)
    .bind(stored.enlisted)
    .bind(last)
    .persistent(false)
    .fetch_all(&mut *db)
    .await?;
    if pairs.is_empty() {
        return Ok(());
    }
    let decided: Vec<Decided> = pairs
        .iter()
        .map(|(event, child, childs_event, had_contact, _)| Decided {
            event: EventId(*event),
            child: *child,
            disposition: Disposition::Disconnect,
            childs_event: Some(EventId(*childs_event)),
            had_contact: *had_contact,
        })
        .collect();
    write(db, &decided, by, now).await?;
    // One of its own, or of another campaign, is not made with the parent's.
    let made_with: Vec<(i64, i64)> = pairs
        .iter()
        .filter(|(.., is_own)| *is_own)
        .map(|(event, _, childs_event, ..)| (*childs_event, *event))
        .collect();
    sqlx::query(
        "/* enlist: lock the children's events */
         select id from disconnect_events where id = any($1) order by id for no key update",
    )
    .bind(made_with.iter().map(|(childs_event, _)| *childs_event).collect::<Vec<_>>())
    .execute(&mut *db)
    .await?;
    sqlx::query(
        "/* enlist: made with */
         update disconnect_events e set parent_event_id = d.event_id
           from unnest($1::bigint[], $2::bigint[]) as d (child_event_id, event_id)
          where e.id = d.child_event_id and e.parent_event_id is null",
    )
    .bind(made_with.iter().map(|(childs_event, _)| *childs_event).collect::<Vec<_>>())
    .bind(made_with.iter().map(|(_, event)| *event).collect::<Vec<_>>())
    .execute(db)
    .await?;
    Ok(())
}
