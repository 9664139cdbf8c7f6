//! Groups: the labels that accounts bear.

use super::SqliteStore;
use super::failure::failure;
use super::rows::{get, limit};
use crate::domain::account::Group;
use crate::store::{Page, Paged, StoreResult};

impl SqliteStore {
    pub(super) async fn list_groups(&self, page: &Page) -> StoreResult<Paged<Group>> {
        let mut tx = self.read().await?;
        // Those of the page first: each is counted in an index of its own accounts.
        let rows = sqlx::query(
            "/* groups: list */ select g.name,
                    (select count(*) from account_groups m where m.group_id = g.id) as accounts
               from (select id, name from groups g
                      where name > coalesce(?1, '') and exists (select 1 from account_groups m where m.group_id = g.id)
                      order by name limit ?2) g
              order by g.name",
        )
        .bind(&page.after)
        .bind(limit(page))
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        let groups = rows.iter().map(|row| Ok(Group { name: get(row, "name")?, accounts: get(row, "accounts")? }));
        let groups = groups.collect::<StoreResult<_>>()?;
        Ok(Paged::cut(groups, page.limit, |group: &Group| group.name.clone()))
    }
}
