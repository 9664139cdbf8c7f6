//! Families: links between accounts, and who is related to whom.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::campaigns::stands;
use super::events::events_of;
use super::failure::{Failure, expect_rows};
use super::{PostgresStore, accounts, decisions, rows};
use crate::domain::account::{AccountId, AccountNumber, AccountView, LogKind};
use crate::domain::actor::Actor;
use crate::domain::event::OpenEvent;
use crate::domain::family::{self, ChildCounts, Family, NewParent, Relative, TreeFacts};
use crate::domain::story;
use crate::store::StoreError;

/// How often a family that keeps changing is locked anew.
pub(super) const TRIES: usize = 5;

/// Runs a verb again while the family that it locks is changing. What is busy otherwise is the caller's to try again.
macro_rules! while_changing {
    ($verb:expr) => {{
        let mut tries = 1;
        loop {
            match $verb.await {
                Err(Failure::Store(StoreError::Conflict(_))) if tries < family::TRIES => tries += 1,
                ended => break ended,
            }
        }
    }};
}
pub(super) use while_changing;

pub(super) async fn link(
    store: &PostgresStore,
    child: &AccountNumber,
    parent: &AccountNumber,
    by: &Actor,
) -> Result<AccountView, Failure> {
    let mut tx = store.begin().await?;
    lock_tree(&mut tx).await?;
    lock_accounts(&mut tx, &[child, parent]).await?;
    let (child_id, facts) = tree_facts(&mut tx, child).await?;
    let (parent_id, new_parent) = new_parent(&mut tx, parent).await?;
    if family::link(&facts, &new_parent)? {
        // Under another parent, the one that it was unlinked from stays remembered.
        let linked = sqlx::query(
            "/* link */
             update accounts set parent_id = $2, unlinked_from_id = nullif(unlinked_from_id, $2) where id = $1",
        )
        .bind(child_id)
        .bind(parent_id)
        .execute(&mut *tx)
        .await?;
        expect_rows("accounts to link", 1, linked.rows_affected())?;
        decisions::follow_departure(&mut tx, child_id, by).await?;
        accounts::write_log(&mut tx, child_id, LogKind::Linked, &story::linked(parent), by).await?;
    }
    let view = accounts::view(&mut tx, child).await?;
    tx.commit().await?;
    Ok(view)
}

pub(super) async fn unlink(store: &PostgresStore, child: &AccountNumber, by: &Actor) -> Result<AccountView, Failure> {
    let mut tx = store.begin().await?;
    lock_tree(&mut tx).await?;
    lock_with_parent(&mut tx, child).await?;
    let (child_id, facts) = tree_facts(&mut tx, child).await?;
    let parent = family::unlink(&facts)?;
    take_from_parent(&mut tx, child_id).await?;
    decisions::follow_departure(&mut tx, child_id, by).await?;
    accounts::write_log(&mut tx, child_id, LogKind::Unlinked, &story::unlinked(&parent), by).await?;
    let view = accounts::view(&mut tx, child).await?;
    tx.commit().await?;
    Ok(view)
}

/// Its parent is remembered, so that an import does not link it again.
pub(super) async fn take_from_parent(db: &mut PgConnection, child: i64) -> Result<(), Failure> {
    let unlinked =
        sqlx::query("/* unlink */ update accounts set unlinked_from_id = parent_id, parent_id = null where id = $1")
            .bind(child)
            .execute(db)
            .await?;
    expect_rows("accounts to unlink", 1, unlinked.rows_affected())
}

/// One lock for all links there are: two that are each right could make a cycle together. Before any account's lock.
pub(super) async fn lock_tree(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("/* tree: lock */ select pg_advisory_xact_lock(1684632419, 1)").execute(db).await?;
    Ok(())
}

async fn lock_accounts(db: &mut PgConnection, numbers: &[&AccountNumber]) -> Result<(), Failure> {
    sqlx::query("/* tree: lock accounts */ select id from accounts where number = any($1) order by id for update")
        .bind(numbers.iter().map(|number| number.as_str()).collect::<Vec<_>>())
        .execute(db)
        .await?;
    Ok(())
}

/// The child and its parent, which does not change while the tree is locked. The parent too: that the child was
/// unlinked from it is a foreign key, whose check would lock it after the child, whichever comes first.
async fn lock_with_parent(db: &mut PgConnection, child: &AccountNumber) -> Result<(), Failure> {
    sqlx::query(
        "/* tree: lock a child and its parent */
         select id from accounts
          where id = any(array(select unnest(array[id, parent_id]) from accounts where number = $1))
          order by id for update",
    )
    .bind(child.as_str())
    .execute(db)
    .await?;
    Ok(())
}

async fn tree_facts(db: &mut PgConnection, child: &AccountNumber) -> Result<(i64, TreeFacts), Failure> {
    let found = sqlx::query(
        "/* tree: child */
         select a.id, a.disconnected_at, a.email, a.mailing_address, p.number as parent_number
           from accounts a left join accounts p on p.id = a.parent_id
          where a.number = $1",
    )
    .bind(child.as_str())
    .fetch_optional(db)
    .await?
    .ok_or_else(|| accounts::unknown(child))?;
    let facts = TreeFacts {
        child: child.clone(),
        child_disconnected_at: found.try_get("disconnected_at")?,
        child_contact: rows::contact(&found)?,
        parent: rows::number(found.try_get("parent_number")?),
    };
    Ok((found.try_get("id")?, facts))
}

async fn new_parent(db: &mut PgConnection, parent: &AccountNumber) -> Result<(i64, NewParent), Failure> {
    let found = sqlx::query("/* tree: parent */ select id, disconnected_at from accounts where number = $1")
        .bind(parent.as_str())
        .fetch_optional(&mut *db)
        .await?
        .ok_or_else(|| accounts::unknown(parent))?;
    let id: i64 = found.try_get("id")?;
    let ancestors: Vec<String> = sqlx::query_scalar(
        "/* tree: ancestors */
         with recursive line (id) as (
             select parent_id from accounts where id = $1 and parent_id is not null
             union -- and not `union all`: it ends on any data
             select a.parent_id from line join accounts a on a.id = line.id where a.parent_id is not null
         )
         select a.number from line join accounts a on a.id = line.id",
    )
    .bind(id)
    .fetch_all(db)
    .await?;
    let new_parent = NewParent {
        number: parent.clone(),
        disconnected_at: found.try_get("disconnected_at")?,
        ancestors: ancestors.into_iter().map(AccountNumber::from_stored).collect(),
    };
    Ok((id, new_parent))
}

/// A relative as it is shown: where the members come from, and what comes after the columns.
/// The open event of each is looked up, also by a plan that is kept from when there were hardly any.
macro_rules! relatives_sql {
    ($name:literal, $members:literal, $rest:literal) => {
        concat!(
            "/* ",
            $name,
            " */ ",
            $members,
            " select m.owner, m.is_parent, r.number, r.name, s.name as status, r.disconnected_at, r.email,
                     r.mailing_address, r.zone, p.number as parent_number, e.id as open_event, e.state as open_state,
                     e.due_at as open_due_at, e.lane as open_lane, e.parent_event_id as open_made_with
                from members m
                join accounts r on r.id = m.id
                join account_statuses s on s.id = r.status_id
                left join accounts p on p.id = r.parent_id
                left join lateral (select id, state, due_at, lane, parent_event_id from ",
            events_of!("r.id"),
            " e where e.state in ('scheduled', 'queued') and ",
            stands!("e"),
            ") e on true ",
            $rest
        )
    };
}

/// The parents and the children of `accounts`.
pub(super) async fn relatives(db: &mut PgConnection, accounts: &[i64]) -> Result<HashMap<AccountId, Family>, Failure> {
    let found = sqlx::query(relatives_sql!(
        "family: relatives",
        "with members (owner, id, is_parent) as (
             select parent_id, id, false from accounts where parent_id = any($1)
             union all
             select id, parent_id, true from accounts where id = any($1) and parent_id is not null
         )",
        "order by r.number"
    ))
    .bind(accounts)
    .fetch_all(db)
    .await?;
    let mut families: HashMap<AccountId, Family> = HashMap::new();
    for row in &found {
        let family = families.entry(AccountId(row.try_get("owner")?)).or_default();
        let relative = rows::relative(row)?;
        if row.try_get("is_parent")? {
            family.parent = Some(relative);
        } else {
            family.children.push(relative);
        }
    }
    Ok(families)
}

/// The parent of an account, and its own open event.
pub(super) async fn around(
    db: &mut PgConnection,
    account: i64,
) -> Result<(Option<Relative>, Option<OpenEvent>), Failure> {
    let found = sqlx::query(relatives_sql!(
        "family: parent and itself",
        "with members (owner, id, is_parent) as (
             select id, id, false from accounts where id = $1
             union all
             select id, parent_id, true from accounts where id = $1 and parent_id is not null
         )",
        ""
    ))
    .bind(account)
    .fetch_all(db)
    .await?;
    let (mut parent, mut open_event) = (None, None);
    for row in &found {
        let one = rows::relative(row)?;
        if row.try_get("is_parent")? {
            parent = Some(one);
        } else {
            open_event = one.open_event;
        }
    }
    Ok((parent, open_event))
}

pub(super) async fn child_counts(db: &mut PgConnection, account: i64) -> Result<ChildCounts, Failure> {
    let found = sqlx::query(concat!(
        "/* family: child counts */
         select count(*) as all_children, count(*) filter (where c.disconnected_at is null) as connected,
                count(*) filter (where c.disconnected_at is null and c.email is null and c.mailing_address is null)
                  as without_contact,
                count(e.id) as with_open_event
           from accounts c
           left join lateral (select id from ",
        events_of!("c.id"),
        " e where e.state in ('scheduled', 'queued') and ",
        stands!("e"),
        ") e on true
          where c.parent_id = $1"
    ))
    .bind(account)
    .fetch_one(db)
    .await?;
    Ok(ChildCounts {
        all: found.try_get("all_children")?,
        connected: found.try_get("connected")?,
        without_contact: found.try_get("without_contact")?,
        with_open_event: found.try_get("with_open_event")?,
    })
}

/// Who is below the connected children of an account, however deep.
pub(super) async fn descendants(db: &mut PgConnection, account: i64) -> Result<Vec<Relative>, Failure> {
    let found = sqlx::query(relatives_sql!(
        "family: descendants",
        "with recursive below (id) as (
             select g.id from accounts c join accounts g on g.parent_id = c.id
              where c.parent_id = $1 and c.disconnected_at is null
             union -- and not `union all`: it ends on any data
             select g.id from below b
               join accounts c on c.id = b.id and c.disconnected_at is null
               join accounts g on g.parent_id = c.id
         ), members (owner, id, is_parent) as (select $1::bigint, id, false from below)",
        "order by r.number"
    ))
    .bind(account)
    .fetch_all(db)
    .await?;
    found.iter().map(rows::relative).collect()
}

/// Locks an account and all whom a decision about it may concern: what is below it, through those who are connected.
///
/// Whoever puts a child under an account, or takes one away, needs that account's lock or the child's. So once all are
/// locked and are still the same, nobody comes or goes.
///
/// # Errors
/// [`StoreError::Conflict`] where somebody came meanwhile: begin again.
pub(super) async fn lock_family(db: &mut PgConnection, account: i64) -> Result<(), Failure> {
    let members = family_members(db, account).await?;
    sqlx::query("/* family: lock */ select id from accounts where id = any($1) order by id for update")
        .bind(&members)
        .execute(&mut *db)
        .await?;
    // Alone it may have got its first child while its lock was waited for.
    let now = family_members(db, account).await?;
    if now.iter().all(|member| members.contains(member)) {
        return Ok(());
    }
    Err(StoreError::Conflict("the family was changing".into()).into())
}

async fn family_members(db: &mut PgConnection, account: i64) -> Result<Vec<i64>, Failure> {
    Ok(sqlx::query_scalar(
        "/* family: members */
         with recursive family (id) as (
             select $1::bigint
             union -- and not `union all`: it ends on any data
             select c.id from family f
               join accounts a on a.id = f.id and (a.disconnected_at is null or a.id = $1)
               join accounts c on c.parent_id = f.id
         )
         select id from family",
    )
    .bind(account)
    .fetch_all(db)
    .await?)
}
