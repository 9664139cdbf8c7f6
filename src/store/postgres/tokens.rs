//! Tokens, by their hashes.

use async_trait::async_trait;
use sqlx::postgres::PgConnection;

use super::failure::{Failure, expect_rows};
use super::{PostgresStore, VERB_LIMIT, rows, within};
use crate::domain::actor::Actor;
use crate::domain::refusal::Refusal;
use crate::domain::token::{NewToken, TokenHash, TokenId, TokenView};
use crate::store::{Page, Paged, StoreResult, Tokens};

#[async_trait]
impl Tokens for PostgresStore {
    async fn create_token(&self, token: &NewToken) -> StoreResult<TokenView> {
        within(VERB_LIMIT, create(self, token)).await
    }

    async fn token(&self, hash: &TokenHash) -> StoreResult<Option<TokenView>> {
        within(VERB_LIMIT, by_hash(self, hash)).await
    }

    async fn tokens(&self, page: &Page) -> StoreResult<Paged<TokenView>> {
        within(VERB_LIMIT, list(self, page)).await
    }

    async fn revoke_token(&self, token: TokenId, by: &Actor) -> StoreResult<TokenView> {
        within(VERB_LIMIT, revoke(self, token, by)).await
    }
}

async fn create(store: &PostgresStore, token: &NewToken) -> Result<TokenView, Failure> {
    let created = sqlx::query(
        "/* tokens: create */
         insert into tokens (name, role, hash, created_by) values ($1, $2, $3, $4)
         returning id, name, role, created_at, created_by, revoked_at, revoked_by",
    )
    .bind(&token.name)
    .bind(token.role.as_str())
    .bind(token.hash.0.as_slice())
    .bind(&token.created_by)
    .fetch_one(&store.pool)
    .await?;
    rows::token_view(&created)
}

async fn by_hash(store: &PostgresStore, hash: &TokenHash) -> Result<Option<TokenView>, Failure> {
    let found = sqlx::query(
        "/* tokens: by hash */
         select id, name, role, created_at, created_by, revoked_at, revoked_by from tokens where hash = $1",
    )
    .bind(hash.0.as_slice())
    .fetch_optional(&store.pool)
    .await?;
    found.as_ref().map(rows::token_view).transpose()
}

async fn list(store: &PostgresStore, page: &Page) -> Result<Paged<TokenView>, Failure> {
    let found = sqlx::query(
        "/* tokens: list */
         select id, name, role, created_at, created_by, revoked_at, revoked_by
           from tokens
          where $1::bigint is null or id < $1
          order by id desc
          limit $2",
    )
    .bind(rows::id_cursor(page.after.as_deref())?)
    .bind(i64::from(page.limit) + 1)
    .fetch_all(&store.pool)
    .await?;
    let tokens = found.iter().map(rows::token_view).collect::<Result<Vec<_>, _>>()?;
    Ok(Paged::cut(tokens, page.limit, |token| token.id.to_string()))
}

async fn revoke(store: &PostgresStore, token: TokenId, by: &Actor) -> Result<TokenView, Failure> {
    let mut tx = store.begin().await?;
    let before = lock(&mut tx, token).await?;
    if before.revoked_at.is_some() {
        tx.rollback().await;
        return Ok(before);
    }
    let revoked = sqlx::query(
        "/* tokens: revoke */ update tokens set revoked_at = clock_timestamp(), revoked_by = $2 where id = $1",
    )
    .bind(token.0)
    .bind(&by.name)
    .execute(&mut *tx)
    .await?;
    expect_rows("tokens to revoke", 1, revoked.rows_affected())?;
    let after = lock(&mut tx, token).await?;
    tx.commit().await?;
    Ok(after)
}

async fn lock(db: &mut PgConnection, token: TokenId) -> Result<TokenView, Failure> {
    let found = sqlx::query(
        "/* tokens: lock */
         select id, name, role, created_at, created_by, revoked_at, revoked_by from tokens where id = $1 for update",
    )
    .bind(token.0)
    .fetch_optional(db)
    .await?;
    rows::token_view(&found.ok_or(Refusal::UnknownToken { token })?)
}
