//! Parents of an accounts file, resolved once all its accounts are there.

use futures_util::TryStreamExt;
use sqlx::postgres::PgConnection;

use crate::domain::import::{ImportReport, Problem};
use crate::store::postgres::failure::{Failure, expect_rows};

/// Puts each child under its parent, under the lock of the tree. What can't be is a problem.
pub(super) async fn resolve(db: &mut PgConnection, report: &mut ImportReport) -> Result<(), Failure> {
    let links: i64 = sqlx::query_scalar("/* import accounts: links */ select count(*) from import_links")
        .fetch_one(&mut *db)
        .await?;
    if links == 0 {
        return Ok(());
    }
    sqlx::query("/* import accounts: count links */ analyze import_links").execute(&mut *db).await?;
    refuse_unknown(db, report).await?;
    refuse_disconnected(db, report).await?;
    let put = sqlx::query(
        "/* import accounts: put under parents */
         update accounts a set parent_id = p.id
           from import_links l
           join accounts p on p.number = l.parent
          where a.id = l.child_id and p.disconnected_at is null",
    )
    .execute(&mut *db)
    .await?;
    if report.is_clean() {
        expect_rows("children to put under parents", usize::try_from(links).unwrap_or_default(), put.rows_affected())?;
    }
    refuse_cycles(db, report).await
}

/// A parent whose own line has a problem is in the file, so it is not unknown.
async fn refuse_unknown(db: &mut PgConnection, report: &mut ImportReport) -> Result<(), Failure> {
    let mut found = sqlx::query_as::<_, (i64, String)>(
        "/* import accounts: unknown parents */
         select l.line, l.parent from import_links l
          where not exists (select from accounts a where a.number = l.parent)
            and not exists (select from import_accounts r where r.number = l.parent)
          order by l.line",
    )
    .fetch(db);
    while let Some((line, parent)) = found.try_next().await? {
        report.add_problem(Problem::unknown_parent(line.cast_unsigned(), &parent));
    }
    Ok(())
}

async fn refuse_disconnected(db: &mut PgConnection, report: &mut ImportReport) -> Result<(), Failure> {
    let mut found = sqlx::query_as::<_, (i64, String)>(
        "/* import accounts: disconnected parents */
         select l.line, l.parent from import_links l
           join accounts p on p.number = l.parent
          where p.disconnected_at is not null
          order by l.line",
    )
    .fetch(db);
    while let Some((line, parent)) = found.try_next().await? {
        report.add_problem(Problem::parent_disconnected(line.cast_unsigned(), &parent));
    }
    Ok(())
}

/// Follows every line of ancestors at once, in steps that double: after k rounds `up` is the ancestor 2^k levels up, or
/// null above the top. Once 2^k has passed the number of accounts, whoever is still an ancestor stands on a cycle. It
/// ends on any data, and takes log2 rounds where walking up one by one would take as many as the tree is deep.
async fn refuse_cycles(db: &mut PgConnection, report: &mut ImportReport) -> Result<(), Failure> {
    sqlx::raw_sql(
        "/* import accounts: ancestry */ create temp table import_ancestry (id bigint, up bigint) on commit drop",
    )
    .execute(&mut *db)
    .await?;
    let lines = sqlx::query(
        "/* import accounts: ancestors of the children */
         insert into import_ancestry (id, up)
         with recursive line (id) as (
             select child_id from import_links
             union -- and not `union all`: it ends on a cycle
             select a.parent_id from line join accounts a on a.id = line.id where a.parent_id is not null
         )
         select a.id, a.parent_id from line join accounts a on a.id = line.id",
    )
    .execute(&mut *db)
    .await?
    .rows_affected();
    sqlx::raw_sql(
        "/* import accounts: index ancestry */ create unique index on import_ancestry (id); analyze import_ancestry",
    )
    .execute(&mut *db)
    .await?;
    for _ in 0..=lines.max(1).ilog2() {
        let below = sqlx::query(
            "/* import accounts: climb */
             update import_ancestry x set up = y.up from import_ancestry y where y.id = x.up",
        )
        .execute(&mut *db)
        .await?;
        if below.rows_affected() == 0 {
            return Ok(());
        }
    }
    let mut found = sqlx::query_as::<_, (i64, String)>(
        "/* import accounts: cycles */
         select line, child from import_links
          where child_id in (select up from import_ancestry where up is not null)
          order by line",
    )
    .fetch(db);
    while let Some((line, child)) = found.try_next().await? {
        report.add_problem(Problem::parent_cycle(line.cast_unsigned(), &child));
    }
    Ok(())
}
