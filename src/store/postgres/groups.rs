//! Groups: the labels that accounts bear.

use sqlx::Row;

use super::PostgresStore;
use super::failure::Failure;
use crate::domain::account::Group;
use crate::store::{Page, Paged};

pub(super) async fn list(store: &PostgresStore, page: &Page) -> Result<Paged<Group>, Failure> {
    // Counted once for all: one by one it took over half a second where an import had just filled the table.
    let found = sqlx::query(
        "/* groups */
         select g.name, m.accounts
           from (select group_id, count(*) as accounts from account_groups group by group_id) m
           join groups g on g.id = m.group_id
          where $1::text is null or g.name collate \"C\" > $1
          order by g.name collate \"C\"
          limit $2",
    )
    .bind(&page.after)
    .bind(i64::from(page.limit) + 1)
    .fetch_all(&store.pool)
    .await?;
    let group = |row| -> Result<Group, Failure> {
        let row: &sqlx::postgres::PgRow = row;
        Ok(Group { name: row.try_get("name")?, accounts: row.try_get("accounts")? })
    };
    let groups = found.iter().map(group).collect::<Result<_, _>>()?;
    Ok(Paged::cut(groups, page.limit, |group| group.name.clone()))
}
