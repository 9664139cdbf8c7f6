//! The parents of imported accounts, which may come later in the file than their children: resolved at its end.

use futures_util::TryStreamExt;
use sqlx::SqliteConnection;

use super::failure::failure;
use crate::domain::import::{ImportReport, Problem};
use crate::store::StoreResult;

/// Puts the children under their parents, and reports those that can't be.
pub async fn resolve(connection: &mut SqliteConnection, report: &mut ImportReport) -> StoreResult<()> {
    let some = sqlx::query_scalar("/* import accounts: any parents */ select exists (select 1 from temp.parents)");
    let some: bool = some.fetch_one(&mut *connection).await.map_err(failure)?;
    if !some {
        return Ok(());
    }
    // A parent whose own row has a problem is in the file all the same: the problem is said there.
    let mut unknown = sqlx::query_as::<_, (u64, String)>(
        "/* import accounts: unknown parents */ select t.line, t.parent from temp.parents t
          where t.parent is not null and not exists (select 1 from accounts a where a.number = t.parent)
            and not exists (select 1 from temp.staged s where s.number = t.parent)
          order by t.line",
    )
    .fetch(&mut *connection);
    while let Some((line, parent)) = unknown.try_next().await.map_err(failure)? {
        report.add_problem(Problem::unknown_parent(line, &parent));
    }
    drop(unknown);
    let mut disconnected = sqlx::query_as::<_, (u64, String)>(
        "/* import accounts: disconnected parents */ select t.line, t.parent
           from temp.parents t cross join accounts a on a.number = t.parent
          where a.disconnected_at is not null order by t.line",
    )
    .fetch(&mut *connection);
    while let Some((line, parent)) = disconnected.try_next().await.map_err(failure)? {
        report.add_problem(Problem::parent_disconnected(line, &parent));
    }
    drop(disconnected);
    sqlx::query(
        "/* import accounts: put under parents */ update accounts
            set parent_id = (select p.id from temp.parents t join accounts p on p.number = t.parent
                              where t.child_id = accounts.id)
          where id in (select child_id from temp.parents)",
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    report_cycles(connection, report).await
}

/// Follows every line of ancestors of the children at once, in steps that double: after k rounds `up` is the ancestor
/// 2^k levels up, or null above the top. Once 2^k has passed the number of accounts, whoever is still an ancestor
/// stands on a cycle. It ends on any data, looks at no other accounts, and keeps what it knows in a temporary table.
async fn report_cycles(connection: &mut SqliteConnection, report: &mut ImportReport) -> StoreResult<()> {
    // `climbed` is the next round's: an update that reads its own table would see rows that climbed already.
    sqlx::raw_sql(
        "/* import accounts: ancestry */
         create temp table ancestry (id integer primary key, up integer);
         create temp table climbed (id integer primary key, up integer);",
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?;
    let lines = sqlx::query(
        "/* import accounts: ancestors of the children */ insert into temp.ancestry (id, up)
         with recursive line (id) as (
             select child_id from temp.parents where parent is not null
             union -- and not `union all`: it ends on a cycle
             select a.parent_id from line cross join accounts a on a.id = line.id where a.parent_id is not null
         )
         select a.id, a.parent_id from line cross join accounts a on a.id = line.id",
    )
    .execute(&mut *connection)
    .await
    .map_err(failure)?
    .rows_affected();
    for _ in 0..=lines.max(1).ilog2() {
        let below = sqlx::query(
            "/* import accounts: climb */ insert into temp.climbed (id, up)
             select x.id, y.up from temp.ancestry x cross join temp.ancestry y on y.id = x.up where y.up is not null",
        )
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
        if below.rows_affected() == 0 {
            return Ok(());
        }
        sqlx::raw_sql(
            "/* import accounts: next round */
             delete from temp.ancestry;
             insert into temp.ancestry select id, up from temp.climbed;
             delete from temp.climbed;",
        )
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
    }
    let mut found = sqlx::query_as::<_, (u64, String)>(
        "/* import accounts: cycles */ select line, number from temp.parents
          where parent is not null and child_id in (select up from temp.ancestry) order by line",
    )
    .fetch(connection);
    while let Some((line, number)) = found.try_next().await.map_err(failure)? {
        report.add_problem(Problem::parent_cycle(line, &number));
    }
    Ok(())
}
