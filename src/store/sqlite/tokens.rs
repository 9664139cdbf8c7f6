//! Tokens, by their hashes.

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::failure::failure;
use super::rows::{at, cursor, expect_rows, get, limit, word};
use crate::domain::actor::Actor;
use crate::domain::refusal::Refusal;
use crate::domain::token::{NewToken, Role, TokenHash, TokenId, TokenView};
use crate::store::{Page, Paged, StoreResult, Tokens};

#[async_trait]
impl Tokens for SqliteStore {
    async fn create_token(&self, token: &NewToken) -> StoreResult<TokenView> {
        let mut tx = self.write().await?;
        let created = sqlx::query(
            "/* tokens: create */ insert into tokens (name, role, hash, created_at, created_by)
             values (?1, ?2, ?3, ?4, ?5)
             returning id, name, role, created_at, created_by, revoked_at, revoked_by",
        )
        .bind(&token.name)
        .bind(token.role.as_str())
        .bind(token.hash.0.as_slice())
        .bind(at(self.now()))
        .bind(&token.created_by)
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
        let created = token_view(&created)?;
        tx.commit().await.map_err(failure)?;
        Ok(created)
    }

    async fn token(&self, hash: &TokenHash) -> StoreResult<Option<TokenView>> {
        let found = sqlx::query(
            "/* tokens: by hash */ select id, name, role, created_at, created_by, revoked_at, revoked_by
               from tokens where hash = ?1",
        )
        .bind(hash.0.as_slice())
        .fetch_optional(&self.readers)
        .await
        .map_err(failure)?;
        found.as_ref().map(token_view).transpose()
    }

    async fn tokens(&self, page: &Page) -> StoreResult<Paged<TokenView>> {
        let found = sqlx::query(
            "/* tokens: list */ select id, name, role, created_at, created_by, revoked_at, revoked_by
               from tokens where id < coalesce(?1, 9223372036854775807)
              order by id desc limit ?2",
        )
        .bind(cursor(page)?)
        .bind(limit(page))
        .fetch_all(&self.readers)
        .await
        .map_err(failure)?;
        let tokens = found.iter().map(token_view).collect::<StoreResult<_>>()?;
        Ok(Paged::cut(tokens, page.limit, |token: &TokenView| token.id.to_string()))
    }

    async fn revoke_token(&self, token: TokenId, by: &Actor) -> StoreResult<TokenView> {
        let mut tx = self.write().await?;
        let before = view(&mut tx, token).await?;
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let revoked =
            sqlx::query("/* tokens: revoke */ update tokens set revoked_at = ?2, revoked_by = ?3 where id = ?1")
                .bind(token.0)
                .bind(at(self.now()))
                .bind(&by.name)
                .execute(&mut *tx)
                .await
                .map_err(failure)?;
        expect_rows(&revoked, 1, "tokens: revoke")?;
        let after = view(&mut tx, token).await?;
        tx.commit().await.map_err(failure)?;
        Ok(after)
    }
}

async fn view(connection: &mut SqliteConnection, token: TokenId) -> StoreResult<TokenView> {
    let found = sqlx::query(
        "/* tokens: view */ select id, name, role, created_at, created_by, revoked_at, revoked_by
           from tokens where id = ?1",
    )
    .bind(token.0)
    .fetch_optional(connection)
    .await
    .map_err(failure)?;
    token_view(&found.ok_or(Refusal::UnknownToken { token })?)
}

fn token_view(row: &SqliteRow) -> StoreResult<TokenView> {
    Ok(TokenView {
        id: TokenId(get(row, "id")?),
        name: get(row, "name")?,
        role: word(row, "role", |text| Role::parse(text).ok())?,
        created_at: get(row, "created_at")?,
        created_by: get(row, "created_by")?,
        revoked_at: get(row, "revoked_at")?,
        revoked_by: get(row, "revoked_by")?,
    })
}
