//! Users, their sessions and their sign-ins.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::failure::failure;
use super::rows::{after, at, expect_rows, get, limit, word};
use crate::domain::actor::Actor;
use crate::domain::refusal::Refusal;
use crate::domain::token::Role;
use crate::domain::user::{
    Attempts, Ending, LINK_MAX, NewSession, NewUser, PasswordHash, Session, Sessions, SignInHash, UserChange, UserId,
    UserView,
};
use crate::store::{Page, Paged, StoreResult, Users};

/// The columns of a user as it is listed, from `users u`.
macro_rules! user_sql {
    ($name:literal, $rest:literal) => {
        concat!(
            "/* users: ",
            $name,
            " */ select u.id, u.name, u.role, u.created_at, u.created_by, u.disabled_at, u.disabled_by ",
            $rest
        )
    };
}

mod sessions;

const END_LINKS: &str =
    "/* users: end links */ update sign_in_links set used_at = ?2 where user_id = ?1 and used_at is null";

#[async_trait]
impl Users for SqliteStore {
    async fn create_user(&self, user: &NewUser) -> StoreResult<UserView> {
        let mut tx = self.write().await?;
        if view(&mut tx, &user.name).await.is_ok() {
            return Err(Refusal::UserExists { name: user.name.clone() }.into());
        }
        let made = sqlx::query(
            "/* users: create */ insert into users (name, role, password_hash, created_at, created_by)
             values (?1, ?2, ?3, ?4, ?5)",
        )
        .bind(&user.name)
        .bind(user.role.as_str())
        .bind(user.password.as_ref().map(|hash| hash.0.as_str()))
        .bind(at(self.now()))
        .bind(&user.created_by)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        expect_rows(&made, 1, "users: create")?;
        let created = view(&mut tx, &user.name).await?;
        tx.commit().await.map_err(failure)?;
        Ok(created)
    }

    async fn user(&self, name: &str) -> StoreResult<UserView> {
        view(&mut *self.reader().await?, name).await
    }

    async fn users(&self, page: &Page) -> StoreResult<Paged<UserView>> {
        let found =
            sqlx::query(user_sql!("list", "from users u where u.name > coalesce(?1, '') order by u.name limit ?2"))
                .bind(&page.after)
                .bind(limit(page))
                .fetch_all(&self.readers)
                .await
                .map_err(failure)?;
        let users = found.iter().map(user_view).collect::<StoreResult<_>>()?;
        Ok(Paged::cut(users, page.limit, |user: &UserView| user.name.clone()))
    }

    async fn change_user(&self, name: &str, change: &UserChange, by: &Actor) -> StoreResult<UserView> {
        let mut tx = self.write().await?;
        let before = view(&mut tx, name).await?;
        let other_admins: i64 = sqlx::query_scalar(
            "/* users: other admins */ select count(*) from users
              where role = 'admin' and disabled_at is null and id <> ?1",
        )
        .bind(before.id.0)
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
        change.check(&before, other_admins)?;
        if !change.is_new_to(&before) {
            return Ok(before);
        }
        let now = at(self.now());
        let changing = match change {
            UserChange::Password(hash) => {
                sqlx::query("/* users: password */ update users set password_hash = ?2 where id = ?1")
                    .bind(before.id.0)
                    .bind(hash.0.as_str())
            }
            UserChange::Role(role) => sqlx::query("/* users: role */ update users set role = ?2 where id = ?1")
                .bind(before.id.0)
                .bind(role.as_str()),
            UserChange::Disable => {
                sqlx::query("/* users: disable */ update users set disabled_at = ?2, disabled_by = ?3 where id = ?1")
                    .bind(before.id.0)
                    .bind(&now)
                    .bind(&by.name)
            }
            UserChange::Enable => {
                sqlx::query("/* users: enable */ update users set disabled_at = null, disabled_by = null where id = ?1")
                    .bind(before.id.0)
            }
        };
        let changed = changing.execute(&mut *tx).await.map_err(failure)?;
        expect_rows(&changed, 1, "users: change")?;
        for end in [
            "/* users: end sessions */ update console_sessions set revoked_at = ?2
              where user_id = ?1 and revoked_at is null",
            END_LINKS,
        ] {
            sqlx::query(end).bind(before.id.0).bind(&now).execute(&mut *tx).await.map_err(failure)?;
        }
        let after = view(&mut tx, name).await?;
        tx.commit().await.map_err(failure)?;
        Ok(after)
    }

    async fn begin_sign_in(&self, name: &str) -> StoreResult<Option<Duration>> {
        let key = Attempts::key(name);
        let mut tx = self.write().await?;
        let now = self.now();
        // What nobody remembers any more; few at once, so that no sign-in waits for it.
        sqlx::query(
            "/* sign-ins: forget */ delete from sign_in_attempts where name_hash in
                (select name_hash from sign_in_attempts where last_at < ?1 order by last_at limit 100)",
        )
        .bind(at(now - Attempts::REMEMBERED))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        let before = sqlx::query(
            "/* sign-ins: before */ select failures, blocked_until from sign_in_attempts where name_hash = ?1",
        )
        .bind(key.as_slice())
        .fetch_optional(&mut *tx)
        .await
        .map_err(failure)?;
        let before = match &before {
            Some(row) => Some(Attempts { failures: get(row, "failures")?, blocked_until: get(row, "blocked_until")? }),
            None => None,
        };
        let next = match Attempts::next(before, now) {
            Ok(next) => next,
            Err(pause) => return Ok(Some(pause)),
        };
        sqlx::query(
            "/* sign-ins: count */ insert into sign_in_attempts (name_hash, failures, last_at, blocked_until)
             values (?1, ?2, ?3, ?4)
             on conflict (name_hash) do update
                set failures = excluded.failures, last_at = excluded.last_at, blocked_until = excluded.blocked_until",
        )
        .bind(key.as_slice())
        .bind(next.failures)
        .bind(at(now))
        .bind(at(next.blocked_until))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)?;
        Ok(None)
    }

    async fn credentials(&self, name: &str) -> StoreResult<Option<(UserView, PasswordHash)>> {
        let found = sqlx::query(user_sql!(
            "credentials",
            ", u.password_hash from users u
              where u.name = ?1 and u.disabled_at is null and u.password_hash is not null"
        ))
        .bind(name)
        .fetch_optional(&self.readers)
        .await
        .map_err(failure)?;
        found.map(|row| Ok((user_view(&row)?, PasswordHash(get(&row, "password_hash")?)))).transpose()
    }

    async fn open_session(&self, session: &NewSession) -> StoreResult<Option<UserView>> {
        sessions::open_session(self, session).await
    }

    async fn session(&self, hash: &SignInHash) -> StoreResult<Option<Session>> {
        sessions::session(self, hash).await
    }

    async fn touch_session(&self, hash: &SignInHash) -> StoreResult<()> {
        let mut tx = self.write().await?;
        sqlx::query(
            "/* sessions: touch */ update console_sessions set last_seen_at = ?2 where hash = ?1 and revoked_at is null",
        )
        .bind(hash.0.as_slice())
        .bind(at(self.now()))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)
    }

    async fn close_session(&self, hash: &SignInHash) -> StoreResult<()> {
        let mut tx = self.write().await?;
        sqlx::query(
            "/* sessions: close */ update console_sessions set revoked_at = ?2 where hash = ?1 and revoked_at is null",
        )
        .bind(hash.0.as_slice())
        .bind(at(self.now()))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)
    }

    async fn sessions(&self, name: &str) -> StoreResult<Sessions> {
        sessions::sessions(self, name).await
    }

    async fn end_sessions(&self, name: &str, which: Ending) -> StoreResult<u64> {
        sessions::end_sessions(self, name, which).await
    }

    async fn create_link(&self, name: &str, hash: &SignInHash, by: &Actor) -> StoreResult<UserView> {
        let mut tx = self.write().await?;
        let user = view(&mut tx, name).await?;
        if user.disabled_at.is_some() {
            return Err(Refusal::UserDisabled { name: user.name }.into());
        }
        sqlx::query(
            "/* links: create */ insert into sign_in_links (user_id, hash, created_by, expires_at)
             values (?1, ?2, ?3, ?4)",
        )
        .bind(user.id.0)
        .bind(hash.0.as_slice())
        .bind(&by.name)
        .bind(after(self.now(), LINK_MAX))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)?;
        Ok(user)
    }
}

async fn view(connection: &mut SqliteConnection, name: &str) -> StoreResult<UserView> {
    let found = sqlx::query(user_sql!("view", "from users u where u.name = ?1"))
        .bind(name)
        .fetch_optional(connection)
        .await
        .map_err(failure)?;
    user_view(&found.ok_or_else(|| Refusal::UnknownUser { name: name.to_owned() })?)
}

fn user_view(row: &SqliteRow) -> StoreResult<UserView> {
    Ok(UserView {
        id: UserId(get(row, "id")?),
        name: get(row, "name")?,
        role: word(row, "role", |text| Role::parse(text).ok())?,
        created_at: get(row, "created_at")?,
        created_by: get(row, "created_by")?,
        disabled_at: get(row, "disabled_at")?,
        disabled_by: get(row, "disabled_by")?,
    })
}
