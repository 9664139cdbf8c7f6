//! What the lists search in, for rows from before it was kept.

use sqlx::postgres::PgConnection;

use super::failure::Failure;
use crate::domain::text::{folded, searched};

/// How many rows are folded at a time.
const BATCH: i64 = 10_000;

/// Called when the schema is up to date. Nothing is left to do but once. What somebody writes meanwhile stays.
pub(super) async fn fold_all(db: &mut PgConnection) -> Result<(), Failure> {
    let mut last = 0;
    loop {
        let found: Vec<(i64, String, String)> = sqlx::query_as(
            "/* fold: accounts */ select id, number, name from accounts where searched is null and id > $2
              order by id limit $1",
        )
        .bind(BATCH)
        .bind(last)
        .fetch_all(&mut *db)
        .await?;
        let Some((id, ..)) = found.last() else { break };
        last = *id;
        let (ids, texts): (Vec<i64>, Vec<String>) =
            found.iter().map(|(id, number, name)| (id, searched(number, name))).unzip();
        let names: Vec<_> = found.into_iter().map(|(_, _, name)| name).collect();
        sqlx::query(
            "/* fold: write accounts */ update accounts a set searched = w.searched
               from unnest($1::bigint[], $2::text[], $3::text[]) as w (id, searched, name)
              where a.id = w.id and a.searched is null and a.name = w.name",
        )
        .bind(&ids)
        .bind(&texts)
        .bind(&names)
        .execute(&mut *db)
        .await?;
    }
    let mut last = 0;
    loop {
        let found: Vec<(i64, String)> = sqlx::query_as(
            "/* fold: addresses */ select id, address from serviceable_addresses where searched is null and id > $2
              order by id limit $1",
        )
        .bind(BATCH)
        .bind(last)
        .fetch_all(&mut *db)
        .await?;
        let Some((id, _)) = found.last() else { return Ok(()) };
        last = *id;
        let (ids, texts): (Vec<i64>, Vec<String>) =
            found.into_iter().map(|(id, address)| (id, folded(&address))).unzip();
        sqlx::query(
            "/* fold: write addresses */ update serviceable_addresses a set searched = w.searched
               from unnest($1::bigint[], $2::text[]) as w (id, searched) where a.id = w.id",
        )
        .bind(&ids)
        .bind(&texts)
        .execute(&mut *db)
        .await?;
    }
}
