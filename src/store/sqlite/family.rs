//! Links between parents and children. The whole database is locked, so no other link can make a cycle with this one.

use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::accounts::{Entry, id, view};
use super::failure::failure;
use super::rows::{expect_rows, get, number, optional_number};
use crate::domain::account::{AccountId, AccountNumber, AccountView, Contact, LogKind};
use crate::domain::actor::Actor;
use crate::domain::event::EventId;
use crate::domain::family::{self, NewParent, Relative, TreeFacts};
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
        let written = sqlx::query(
            "/* unlink */ update accounts set unlinked_from_id = parent_id, parent_id = null where id = ?1",
        )
        .bind(child_id.0)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        expect_rows(&written, 1, "unlink")?;
        let message = story::unlinked(&parent);
        let entry = Entry { account: child_id, kind: LogKind::Unlinked, message, by, event: None, reason: None };
        self.write_log(&mut tx, entry).await?;
        let view = view(&mut tx, child_id).await?;
        tx.commit().await.map_err(failure)?;
        Ok(view)
    }
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

/// The parent of an account, and its children by number.
pub async fn relatives(
    connection: &mut SqliteConnection,
    account: AccountId,
) -> StoreResult<(Option<Relative>, Vec<Relative>)> {
    let rows = sqlx::query(
        "/* family: relatives */ select r.number, r.name, s.name as status, r.disconnected_at, r.email,
                r.mailing_address, r.parent_id is ?1 as is_child,
                (select e.id from disconnect_events e
                  where e.account_id = r.id and e.state in ('scheduled', 'queued')) as open_event
           from accounts r join account_statuses s on s.id = r.status_id
          where r.parent_id = ?1 or r.id = (select parent_id from accounts where id = ?1)
          order by r.number",
    )
    .bind(account.0)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let (mut parent, mut children) = (None, Vec::new());
    for row in &rows {
        let relative = Relative {
            number: number(row, "number")?,
            name: get(row, "name")?,
            status: get(row, "status")?,
            disconnected_at: get(row, "disconnected_at")?,
            contact: Contact { email: get(row, "email")?, mailing_address: get(row, "mailing_address")? },
            open_event: get::<Option<i64>, _>(row, "open_event")?.map(EventId),
        };
        if get(row, "is_child")? {
            children.push(relative);
        } else {
            parent = Some(relative);
        }
    }
    Ok((parent, children))
}
