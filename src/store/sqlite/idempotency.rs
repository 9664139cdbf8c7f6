//! Writes that a caller may repeat.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::failure::failure;
use super::rows::{at, expect_rows, get};
use crate::store::once::{self, FORGOTTEN_MAX, Kept};
use crate::store::{Idempotency, ONCE_KEPT, Once, OnceAnswer, OnceFence, OnceKey, StoreResult};

#[async_trait]
impl Idempotency for SqliteStore {
    async fn begin_once(&self, call: &OnceKey, fingerprint: &[u8; 32], lost_after: Duration) -> StoreResult<Once> {
        let mut tx = self.write().await?;
        // Once the lock is held: it may have been waited for, and what passes meanwhile must not count.
        let now = self.now();
        let kept = load(&mut tx, call, now).await?;
        if let Some(once) = kept.and_then(|kept| once::in_the_way(kept, fingerprint, lost_after)) {
            return Ok(once);
        }
        let begun = sqlx::query(
            "/* once: begin */ insert into idempotency_keys (owner, key, fingerprint, begun_at) values (?1, ?2, ?3, ?4)
             on conflict (owner, key) do update
                set fingerprint = excluded.fingerprint, begun_at = excluded.begun_at,
                    status = null, headers = null, body = null",
        )
        .bind(&call.owner)
        .bind(&call.key)
        .bind(fingerprint.as_slice())
        .bind(at(now))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        expect_rows(&begun, 1, "once: begin")?;
        sqlx::query(
            "/* once: forget old keys */ delete from idempotency_keys
              where rowid in (select rowid from idempotency_keys where begun_at <= ?1 order by begun_at limit ?2)",
        )
        .bind(at(now - ONCE_KEPT))
        .bind(FORGOTTEN_MAX)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)?;
        Ok(Once::Begun(OnceFence(now)))
    }

    async fn answer_once(&self, call: &OnceKey, fence: OnceFence, answer: &OnceAnswer) -> StoreResult<()> {
        let mut tx = self.write().await?;
        let kept = sqlx::query(
            "/* once: answer */ update idempotency_keys set status = ?4, headers = ?5, body = ?6
              where owner = ?1 and key = ?2 and begun_at = ?3 and status is null",
        )
        .bind(&call.owner)
        .bind(&call.key)
        .bind(at(fence.0))
        .bind(answer.status)
        .bind(once::headers_text(answer)?)
        .bind(&answer.body)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        expect_rows(&kept, 1, "once: answer")?;
        tx.commit().await.map_err(failure)
    }

    async fn forget_once(&self, call: &OnceKey, fence: OnceFence) -> StoreResult<()> {
        let mut tx = self.write().await?;
        // No row is as good: the key is free, or somebody answered, or took it over.
        sqlx::query(
            "/* once: forget */ delete from idempotency_keys
              where owner = ?1 and key = ?2 and begun_at = ?3 and status is null",
        )
        .bind(&call.owner)
        .bind(&call.key)
        .bind(at(fence.0))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)
    }
}

async fn load(connection: &mut SqliteConnection, call: &OnceKey, now: DateTime<Utc>) -> StoreResult<Option<Kept>> {
    let found = sqlx::query(
        "/* once: load */ select fingerprint, begun_at, status, headers, body from idempotency_keys
          where owner = ?1 and key = ?2",
    )
    .bind(&call.owner)
    .bind(&call.key)
    .fetch_optional(connection)
    .await
    .map_err(failure)?;
    let Some(row) = found else { return Ok(None) };
    let begun_at: DateTime<Utc> = get(&row, "begun_at")?;
    Ok(Some(Kept {
        fingerprint: get(&row, "fingerprint")?,
        // A clock that was set back makes it young again, and no older than it is.
        age: (now - begun_at).to_std().unwrap_or_default(),
        answer: once::answer(get(&row, "status")?, get(&row, "headers")?, get(&row, "body")?)?,
    }))
}
