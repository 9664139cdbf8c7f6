//! What the lists search in, for rows from before it was kept.

use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use crate::domain::text::{folded, searched};

/// How many rows are folded at a time.
const BATCH: i64 = 10_000;

/// Called when the schema is up to date. Nothing is left to do but once.
pub(super) async fn fold_all(db: &mut PgConnection) -> Result<(), Failure> {
    loop {
        let found: Vec<(i64, String, String)> = sqlx::query_as(
            "/* fold: accounts */ select id, number, name from accounts where searched is null order by id limit $1",
        )
        .bind(BATCH)
        .fetch_all(&mut *db)
        .await?;
        if found.is_empty() {
            break;
        }
        let (ids, texts): (Vec<i64>, Vec<String>) =
            found.into_iter().map(|(id, number, name)| (id, searched(&number, &name))).unzip();
        let written = sqlx::query(
            "/* fold: write accounts */ update accounts a set searched = w.searched
               from unnest($1::bigint[], $2::text[]) as w (id, searched) where a.id = w.id",
        )
        .bind(&ids)
        .bind(&texts)
        .execute(&mut *db)
        .await?;
        expect_rows("accounts to fold", ids.len(), written.rows_affected())?;
    }
    loop {
        let found: Vec<(i64, String)> = sqlx::query_as(
            "/* fold: addresses */ select id, address from serviceable_addresses where searched is null
              order by id limit $1",
        )
        .bind(BATCH)
        .fetch_all(&mut *db)
        .await?;
        if found.is_empty() {
            return Ok(());
        }
        let (ids, texts): (Vec<i64>, Vec<String>) =
            found.into_iter().map(|(id, address)| (id, folded(&address))).unzip();
        let written = sqlx::query(
            "/* fold: write addresses */ update serviceable_addresses a set searched = w.searched
               from unnest($1::bigint[], $2::text[]) as w (id, searched) where a.id = w.id",
        )
        .bind(&ids)
        .bind(&texts)
        .execute(&mut *db)
        .await?;
        expect_rows("addresses to fold", ids.len(), written.rows_affected())?;
    }
}
