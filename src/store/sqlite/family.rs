//! Families: links between parents and children, and who is related to whom. The whole database is locked for a link, so
//! no other can make a cycle with it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::accounts::{Entry, id, view};
use super::campaigns::stands;
use super::failure::failure;
use super::rows::{expect_rows, get, json, number, optional_number, word, zone};
use crate::domain::account::{AccountId, AccountNumber, AccountView, Contact, LogKind};
use crate::domain::actor::Actor;
use crate::domain::event::{EventId, OpenEvent, State};
use crate::domain::family::{self, ChildCounts, Family, NewParent, Relative, TreeFacts};
use crate::domain::story;
use crate::store::StoreResult;

impl SqliteStore {
    pub(super) async fn put_under(
        &self,
        child: &AccountNumber,
        parent: &AccountNumber,
        by: &Actor,
    ) -> StoreResult<AccountView> {
        let mut tx = self.write().await?;
        let child_id = id(&mut tx, child).await?;
        let parent_id = id(&mut tx, parent).await?;
        let child_facts = tree_facts(&mut tx, child_id).await?;
        let parent_facts = new_parent(&mut tx, parent_id).await?;
        if family::link(&child_facts, &parent_facts)? {
            // What an import must not link again is remembered until a person links it to that very parent.
            let written = sqlx::query(
                "/* link: put under */ update accounts
                    set parent_id = ?2, unlinked_from_id = nullif(unlinked_from_id, ?2)
                  where id = ?1",
            )
            .bind(child_id.0)
            .bind(parent_id.0)
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
            expect_rows(&written, 1, "link: put under")?;
            self.follow_departure(&mut tx, child_id, by).await?;
            let message = story::linked(parent);
            let entry = Entry { account: child_id, kind: LogKind::Linked, message, by, event: None, reason: None };
            self.write_log(&mut tx, entry).await?;
        }
        let view = view(&mut tx, child_id).await?;
        tx.commit().await.map_err(failure)?;
        Ok(view)
    }

    pub(super) async fn take_from_parent(&self, child: &AccountNumber, by: &Actor) -> StoreResult<AccountView> {
        let mut tx = self.write().await?;
        let child_id = id(&mut tx, child).await?;
        let parent = family::unlink(&tree_facts(&mut tx, child_id).await?)?;
        unlink(&mut tx, child_id).await?;
        self.follow_departure(&mut tx, child_id, by).await?;
        let message = story::unlinked(&parent);
        let entry = Entry { account: child_id, kind: LogKind::Unlinked, message, by, event: None, reason: None };
        self.write_log(&mut tx, entry).await?;
        let view = view(&mut tx, child_id).await?;
        tx.commit().await.map_err(failure)?;
        Ok(view)
    }
}

/// Its parent is remembered, so that an import does not link it again.
pub async fn unlink(connection: &mut SqliteConnection, child: AccountId) -> StoreResult<()> {
    let written =
        sqlx::query("/* unlink */ update accounts set unlinked_from_id = parent_id, parent_id = null where id = ?1")
            .bind(child.0)
            .execute(connection)
            .await
            .map_err(failure)?;
    expect_rows(&written, 1, "unlink")
}

async fn tree_facts(connection: &mut SqliteConnection, account: AccountId) -> StoreResult<TreeFacts> {
    let row = sqlx::query(
        "/* family: child */ select a.number, a.disconnected_at, a.email, a.mailing_address, p.number as parent_number
           from accounts a left join accounts p on p.id = a.parent_id where a.id = ?1",
    )
    .bind(account.0)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    Ok(TreeFacts {
        child: number(&row, "number")?,
        child_disconnected_at: get(&row, "disconnected_at")?,
        child_contact: Contact { email: get(&row, "email")?, mailing_address: get(&row, "mailing_address")? },
        parent: optional_number(&row, "parent_number")?,
    })
}

async fn new_parent(connection: &mut SqliteConnection, account: AccountId) -> StoreResult<NewParent> {
    // `union`, and not `union all`: it ends even where the data has a cycle.
    let ancestors: Vec<String> = sqlx::query_scalar(
        "/* family: ancestors */ with recursive up (id) as (
             select parent_id from accounts where id = ?1 and parent_id is not null
             union
             select a.parent_id from up join accounts a on a.id = up.id where a.parent_id is not null
         )
         select a.number from up join accounts a on a.id = up.id",
    )
    .bind(account.0)
    .fetch_all(&mut *connection)
    .await
    .map_err(failure)?;
    let row = sqlx::query("/* family: parent */ select number, disconnected_at from accounts where id = ?1")
        .bind(account.0)
        .fetch_one(connection)
        .await
        .map_err(failure)?;
    Ok(NewParent {
        number: number(&row, "number")?,
        disconnected_at: get::<Option<DateTime<Utc>>, _>(&row, "disconnected_at")?,
        ancestors: ancestors.into_iter().map(AccountNumber::from_stored).collect(),
    })
}

/// A relative as it is shown: where the members come from, and what comes after the columns.
macro_rules! relatives_sql {
    ($name:literal, $members:literal) => {
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
                left join disconnect_events e on e.account_id = r.id and e.state in ('scheduled', 'queued') and ",
            stands!("e"),
            " order by r.number"
        )
    };
}

/// The parents and the children of `accounts`.
pub async fn relatives(
    connection: &mut SqliteConnection,
    accounts: &[AccountId],
) -> StoreResult<HashMap<AccountId, Family>> {
    let ids: Vec<i64> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query(relatives_sql!(
        "family: relatives",
        "with members (owner, id, is_parent) as (
             select c.parent_id, c.id, 0 from json_each(?1) as asked cross join accounts c on c.parent_id = asked.value
             union all
             select a.id, a.parent_id, 1 from json_each(?1) as asked cross join accounts a on a.id = asked.value
              where a.parent_id is not null
         )"
    ))
    .bind(json(&ids)?)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let mut families: HashMap<AccountId, Family> = HashMap::new();
    for row in &rows {
        let family = families.entry(AccountId(get(row, "owner")?)).or_default();
        let relative = relative(row)?;
        if get(row, "is_parent")? {
            family.parent = Some(relative);
        } else {
            family.children.push(relative);
        }
    }
    Ok(families)
}

/// The parent of an account, and its own open event.
pub async fn around(
    connection: &mut SqliteConnection,
    account: AccountId,
) -> StoreResult<(Option<Relative>, Option<OpenEvent>)> {
    let rows = sqlx::query(relatives_sql!(
        "family: parent and itself",
        "with members (owner, id, is_parent) as (
             select id, id, 0 from accounts where id = ?1
             union all
             select id, parent_id, 1 from accounts where id = ?1 and parent_id is not null
         )"
    ))
    .bind(account.0)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let (mut parent, mut open_event) = (None, None);
    for row in &rows {
        let one = relative(row)?;
        if get(row, "is_parent")? {
            parent = Some(one);
        } else {
            open_event = one.open_event;
        }
    }
    Ok((parent, open_event))
}

pub async fn child_counts(connection: &mut SqliteConnection, account: AccountId) -> StoreResult<ChildCounts> {
    let row = sqlx::query(concat!(
        "/* family: child counts */ select count(*) as all_children,
                count(*) filter (where c.disconnected_at is null) as connected,
                count(*) filter (where c.disconnected_at is null and c.email is null and c.mailing_address is null)
                  as without_contact,
                count(e.id) as with_open_event
           from accounts c
           left join disconnect_events e on e.account_id = c.id and e.state in ('scheduled', 'queued') and ",
        stands!("e"),
        " where c.parent_id = ?1"
    ))
    .bind(account.0)
    .fetch_one(connection)
    .await
    .map_err(failure)?;
    Ok(ChildCounts {
        all: get(&row, "all_children")?,
        connected: get(&row, "connected")?,
        without_contact: get(&row, "without_contact")?,
        with_open_event: get(&row, "with_open_event")?,
    })
}

/// Who is below the connected children of an account, however deep.
pub async fn descendants(connection: &mut SqliteConnection, account: AccountId) -> StoreResult<Vec<Relative>> {
    let rows = sqlx::query(relatives_sql!(
        "family: descendants",
        "with recursive below (id) as (
             select g.id from accounts c join accounts g on g.parent_id = c.id
              where c.parent_id = ?1 and c.disconnected_at is null
             union -- and not `union all`: it ends on any data
             select g.id from below b
               join accounts c on c.id = b.id and c.disconnected_at is null
               join accounts g on g.parent_id = c.id
         ), members (owner, id, is_parent) as (select ?1, id, 0 from below)"
    ))
    .bind(account.0)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    rows.iter().map(relative).collect()
}

fn relative(row: &SqliteRow) -> StoreResult<Relative> {
    let open_event = match get::<Option<i64>, _>(row, "open_event")? {
        None => None,
        Some(id) => Some(OpenEvent {
            id: EventId(id),
            state: word(row, "open_state", State::parse)?,
            due_at: get(row, "open_due_at")?,
            lane: get(row, "open_lane")?,
            made_with: get::<Option<i64>, _>(row, "open_made_with")?.map(EventId),
        }),
    };
    Ok(Relative {
        number: number(row, "number")?,
        name: get(row, "name")?,
        status: get(row, "status")?,
        disconnected_at: get(row, "disconnected_at")?,
        contact: Contact { email: get(row, "email")?, mailing_address: get(row, "mailing_address")? },
        parent_number: optional_number(row, "parent_number")?,
        zone: zone(row, "zone")?,
        open_event,
    })
}
