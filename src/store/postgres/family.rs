//! Links between accounts.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use super::{PostgresStore, accounts, rows};
use crate::domain::account::{AccountNumber, AccountView, LogKind};
use crate::domain::actor::Actor;
use crate::domain::family::{self, NewParent, TreeFacts};
use crate::domain::story;

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
    let unlinked =
        sqlx::query("/* unlink */ update accounts set unlinked_from_id = parent_id, parent_id = null where id = $1")
            .bind(child_id)
            .execute(&mut *tx)
            .await?;
    expect_rows("accounts to unlink", 1, unlinked.rows_affected())?;
    accounts::write_log(&mut tx, child_id, LogKind::Unlinked, &story::unlinked(&parent), by).await?;
    let view = accounts::view(&mut tx, child).await?;
    tx.commit().await?;
    Ok(view)
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
