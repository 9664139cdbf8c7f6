//! Writes that a caller may repeat.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use super::{PostgresStore, VERB_LIMIT, within};
use crate::store::once::{self, FORGOTTEN_MAX, Kept};
use crate::store::{Idempotency, ONCE_KEPT, Once, OnceAnswer, OnceFence, OnceKey, StoreResult};

#[async_trait]
impl Idempotency for PostgresStore {
    async fn begin_once(&self, call: &OnceKey, fingerprint: &[u8; 32], lost_after: Duration) -> StoreResult<Once> {
        within(VERB_LIMIT, begin(self, call, fingerprint, lost_after)).await
    }

    async fn answer_once(&self, call: &OnceKey, fence: OnceFence, answer: &OnceAnswer) -> StoreResult<()> {
        within(VERB_LIMIT, keep_answer(self, call, fence, answer)).await
    }

    async fn forget_once(&self, call: &OnceKey, fence: OnceFence) -> StoreResult<()> {
        within(VERB_LIMIT, forget(self, call, fence)).await
    }
}

async fn begin(
    store: &PostgresStore,
    call: &OnceKey,
    fingerprint: &[u8; 32],
    lost_after: Duration,
) -> Result<Once, Failure> {
    let mut tx = store.begin().await?;
    let once = take(&mut tx, call, fingerprint, lost_after).await?;
    if !matches!(once, Once::Begun(_)) {
        tx.rollback().await;
        return Ok(once);
    }
    // Last, and past what others hold: who holds old keys waits for nobody.
    forget_old(&mut tx).await?;
    tx.commit().await?;
    Ok(once)
}

/// One alone inserts the key. The others wait for its commit, then find the row and lock it; where it was forgotten
/// meanwhile, they try again.
async fn take(
    db: &mut PgConnection,
    call: &OnceKey,
    fingerprint: &[u8; 32],
    lost_after: Duration,
) -> Result<Once, Failure> {
    loop {
        if let Some(fence) = insert(db, call, fingerprint).await? {
            return Ok(Once::Begun(fence));
        }
        let Some(kept) = lock(db, call).await? else { continue };
        return Ok(match once::in_the_way(kept, fingerprint, lost_after) {
            Some(once) => once,
            None => Once::Begun(take_over(db, call, fingerprint).await?),
        });
    }
}

/// `None`: the key was not free.
async fn insert(db: &mut PgConnection, call: &OnceKey, fingerprint: &[u8; 32]) -> Result<Option<OnceFence>, Failure> {
    let begun_at: Option<DateTime<Utc>> = sqlx::query_scalar(
        "/* once: begin */
         insert into idempotency_keys (owner, key, fingerprint) values ($1, $2, $3)
             on conflict (owner, key) do nothing
         returning begun_at",
    )
    .bind(&call.owner)
    .bind(&call.key)
    .bind(fingerprint.as_slice())
    .fetch_optional(db)
    .await?;
    Ok(begun_at.map(OnceFence))
}

async fn lock(db: &mut PgConnection, call: &OnceKey) -> Result<Option<Kept>, Failure> {
    let found = sqlx::query(
        "/* once: lock */
         select fingerprint, greatest(extract(epoch from clock_timestamp() - begun_at), 0)::float8 as age_seconds,
                status, headers, body
           from idempotency_keys
          where owner = $1 and key = $2
            for update",
    )
    .bind(&call.owner)
    .bind(&call.key)
    .fetch_optional(db)
    .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(Kept {
        fingerprint: row.try_get("fingerprint")?,
        // Never negative.
        age: Duration::try_from_secs_f64(row.try_get("age_seconds")?).unwrap_or(Duration::MAX),
        answer: once::answer(row.try_get("status")?, row.try_get("headers")?, row.try_get("body")?)?,
    }))
}

/// What was kept of the key is over: lost, or too old.
async fn take_over(db: &mut PgConnection, call: &OnceKey, fingerprint: &[u8; 32]) -> Result<OnceFence, Failure> {
    let begun_at: DateTime<Utc> = sqlx::query_scalar(
        "/* once: take over */
         update idempotency_keys
            set fingerprint = $3, begun_at = clock_timestamp(), status = null, headers = null, body = null
          where owner = $1 and key = $2
         returning begun_at",
    )
    .bind(&call.owner)
    .bind(&call.key)
    .bind(fingerprint.as_slice())
    .fetch_one(db)
    .await?;
    Ok(OnceFence(begun_at))
}

async fn forget_old(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query(
        "/* once: forget old keys */
         delete from idempotency_keys
          where ctid = any(array(
                    select ctid from idempotency_keys
                     where begun_at <= statement_timestamp() - make_interval(secs => $1::float8)
                     order by begun_at
                     limit $2
                       for update skip locked))",
    )
    .bind(ONCE_KEPT.as_secs_f64())
    .bind(FORGOTTEN_MAX)
    .execute(db)
    .await?;
    Ok(())
}

async fn keep_answer(
    store: &PostgresStore,
    call: &OnceKey,
    OnceFence(begun_at): OnceFence,
    answer: &OnceAnswer,
) -> Result<(), Failure> {
    let kept = sqlx::query(
        "/* once: answer */
         update idempotency_keys set status = $4, headers = $5, body = $6
          where owner = $1 and key = $2 and begun_at = $3 and status is null",
    )
    .bind(&call.owner)
    .bind(&call.key)
    .bind(begun_at)
    .bind(i32::from(answer.status))
    .bind(once::headers_text(answer)?)
    .bind(&answer.body)
    .execute(&store.pool)
    .await?;
    expect_rows("calls under way to answer", 1, kept.rows_affected())
}

async fn forget(store: &PostgresStore, call: &OnceKey, OnceFence(begun_at): OnceFence) -> Result<(), Failure> {
    // No row is as good: the key is free, or somebody answered, or took it over.
    sqlx::query(
        "/* once: forget */
         delete from idempotency_keys where owner = $1 and key = $2 and begun_at = $3 and status is null",
    )
    .bind(&call.owner)
    .bind(&call.key)
    .bind(begun_at)
    .execute(&store.pool)
    .await?;
    Ok(())
}
