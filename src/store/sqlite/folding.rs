//! What the lists search in, for rows from before it was kept.

use sqlx::SqliteConnection;

use super::failure::failure;
use super::rows::{expect_rows, json};
use crate::domain::text::{folded, searched};
use crate::store::StoreResult;

/// How many rows are folded at a time.
const BATCH: i64 = 10_000;

/// Whether a row is left from before it was kept. The schema is up to date.
pub(super) async fn is_needed(connection: &mut SqliteConnection) -> StoreResult<bool> {
    sqlx::query_scalar(
        "/* fold: is needed */ select exists (select 1 from accounts where searched is null)
                or exists (select 1 from serviceable_addresses where searched is null)",
    )
    .fetch_one(connection)
    .await
    .map_err(failure)
}

/// Called when the schema is up to date. Nothing is left to do but once.
pub(super) async fn fold_all(connection: &mut SqliteConnection) -> StoreResult<()> {
    loop {
        let found: Vec<(i64, String, String)> = sqlx::query_as(
            "/* fold: accounts */ select id, number, name from accounts where searched is null order by id limit ?1",
        )
        .bind(BATCH)
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
        if found.is_empty() {
            break;
        }
        let rows: Vec<_> = found.iter().map(|(id, number, name)| (id, searched(number, name))).collect();
        let written = sqlx::query(
            "/* fold: write accounts */ update accounts set searched = w.value ->> 1
               from json_each(?1) as w where accounts.id = w.value ->> 0",
        )
        .bind(json(&rows)?)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, rows.len(), "fold: write accounts")?;
    }
    loop {
        let found: Vec<(i64, String)> = sqlx::query_as(
            "/* fold: addresses */ select id, address from serviceable_addresses where searched is null
              order by id limit ?1",
        )
        .bind(BATCH)
        .fetch_all(&mut *connection)
        .await
        .map_err(failure)?;
        if found.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = found.iter().map(|(id, address)| (id, folded(address))).collect();
        let written = sqlx::query(
            "/* fold: write addresses */ update serviceable_addresses set searched = w.value ->> 1
               from json_each(?1) as w where serviceable_addresses.id = w.value ->> 0",
        )
        .bind(json(&rows)?)
        .execute(&mut *connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, rows.len(), "fold: write addresses")?;
    }
}
