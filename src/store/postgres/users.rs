//! Users, their sessions and their sign-ins.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::failure::{Failure, expect_rows};
use super::{PostgresStore, VERB_LIMIT, rows, within};
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
            " */
             select u.id, u.name, u.role, u.created_at, u.created_by, u.disabled_at, u.disabled_by ",
            $rest
        )
    };
}

mod sessions;

const END_LINKS: &str = "/* users: end links */
     update sign_in_links set used_at = clock_timestamp() where user_id = $1 and used_at is null";

#[async_trait]
impl Users for PostgresStore {
    async fn create_user(&self, user: &NewUser) -> StoreResult<UserView> {
        within(VERB_LIMIT, create(self, user)).await
    }

    async fn user(&self, name: &str) -> StoreResult<UserView> {
        within(VERB_LIMIT, async { view(&mut *self.pool.acquire().await?, name).await }).await
    }

    async fn users(&self, page: &Page) -> StoreResult<Paged<UserView>> {
        within(VERB_LIMIT, list(self, page)).await
    }

    async fn change_user(&self, name: &str, change: &UserChange, by: &Actor) -> StoreResult<UserView> {
        within(VERB_LIMIT, change_user(self, name, change, by)).await
    }

    async fn begin_sign_in(&self, name: &str) -> StoreResult<Option<Duration>> {
        within(VERB_LIMIT, begin_sign_in(self, name)).await
    }

    async fn credentials(&self, name: &str) -> StoreResult<Option<(UserView, PasswordHash)>> {
        within(VERB_LIMIT, credentials(self, name)).await
    }

    async fn open_session(&self, session: &NewSession) -> StoreResult<Option<UserView>> {
        within(VERB_LIMIT, sessions::open_session(self, session)).await
    }

    async fn session(&self, hash: &SignInHash) -> StoreResult<Option<Session>> {
        within(VERB_LIMIT, sessions::session(self, hash)).await
    }

    async fn touch_session(&self, hash: &SignInHash) -> StoreResult<()> {
        within(VERB_LIMIT, async {
            sqlx::query(
                "/* sessions: touch */
                 update console_sessions set last_seen_at = clock_timestamp() where hash = $1 and revoked_at is null",
            )
            .bind(hash.0.as_slice())
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn close_session(&self, hash: &SignInHash) -> StoreResult<()> {
        within(VERB_LIMIT, async {
            sqlx::query(
                "/* sessions: close */
                 update console_sessions set revoked_at = clock_timestamp() where hash = $1 and revoked_at is null",
            )
            .bind(hash.0.as_slice())
            .execute(&self.pool)
            .await?;
            Ok(())
        })
        .await
    }

    async fn sessions(&self, name: &str) -> StoreResult<Sessions> {
        within(VERB_LIMIT, sessions::sessions(self, name)).await
    }

    async fn end_sessions(&self, name: &str, which: Ending) -> StoreResult<u64> {
        within(VERB_LIMIT, sessions::end_sessions(self, name, which)).await
    }

    async fn create_link(&self, name: &str, hash: &SignInHash, by: &Actor) -> StoreResult<UserView> {
        within(VERB_LIMIT, create_link(self, name, hash, by)).await
    }
}

async fn create(store: &PostgresStore, user: &NewUser) -> Result<UserView, Failure> {
    let mut tx = store.begin().await?;
    lock_all(&mut tx).await?;
    if view(&mut tx, &user.name).await.is_ok() {
        return Err(Refusal::UserExists { name: user.name.clone() }.into());
    }
    let made = sqlx::query(
        "/* users: create */ insert into users (name, role, password_hash, created_by) values ($1, $2, $3, $4)",
    )
    .bind(&user.name)
    .bind(user.role.as_str())
    .bind(user.password.as_ref().map(|hash| hash.0.as_str()))
    .bind(&user.created_by)
    .execute(&mut *tx)
    .await?;
    expect_rows("users to create", 1, made.rows_affected())?;
    let created = view(&mut tx, &user.name).await?;
    tx.commit().await?;
    Ok(created)
}

/// Users are few, and seldom change: whoever changes one waits for whoever changes another. Reads go on.
async fn lock_all(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("/* users: lock */ lock table users in share row exclusive mode").execute(db).await?;
    Ok(())
}

async fn view(db: &mut PgConnection, name: &str) -> Result<UserView, Failure> {
    let found = sqlx::query(user_sql!("view", "from users u where u.name = $1")).bind(name).fetch_optional(db).await?;
    user_view(&found.ok_or_else(|| Refusal::UnknownUser { name: name.to_owned() })?)
}

async fn list(store: &PostgresStore, page: &Page) -> Result<Paged<UserView>, Failure> {
    let found = sqlx::query(user_sql!(
        "list",
        "from users u
          where $1::text is null or u.name collate \"C\" > $1
          order by u.name collate \"C\"
          limit $2"
    ))
    .bind(&page.after)
    .bind(i64::from(page.limit) + 1)
    .fetch_all(&store.pool)
    .await?;
    let users = found.iter().map(user_view).collect::<Result<Vec<_>, _>>()?;
    Ok(Paged::cut(users, page.limit, |user| user.name.clone()))
}

async fn change_user(store: &PostgresStore, name: &str, change: &UserChange, by: &Actor) -> Result<UserView, Failure> {
    let mut tx = store.begin().await?;
    lock_all(&mut tx).await?;
    let before = view(&mut tx, name).await?;
    let other_admins: i64 = sqlx::query_scalar(
        "/* users: other admins */
         select count(*) from users where role = 'admin' and disabled_at is null and id <> $1",
    )
    .bind(before.id.0)
    .fetch_one(&mut *tx)
    .await?;
    change.check(&before, other_admins)?;
    if !change.is_new_to(&before) {
        tx.rollback().await;
        return Ok(before);
    }
    let changing = match change {
        UserChange::Password(hash) => {
            sqlx::query("/* users: password */ update users set password_hash = $2 where id = $1")
                .bind(before.id.0)
                .bind(hash.0.as_str())
        }
        UserChange::Role(role) => sqlx::query("/* users: role */ update users set role = $2 where id = $1")
            .bind(before.id.0)
            .bind(role.as_str()),
        UserChange::Disable => sqlx::query(
            "/* users: disable */ update users set disabled_at = clock_timestamp(), disabled_by = $2 where id = $1",
        )
        .bind(before.id.0)
        .bind(&by.name),
        UserChange::Enable => {
            sqlx::query("/* users: enable */ update users set disabled_at = null, disabled_by = null where id = $1")
                .bind(before.id.0)
        }
    };
    let changed = changing.execute(&mut *tx).await?;
    expect_rows("users to change", 1, changed.rows_affected())?;
    for end in [
        "/* users: end sessions */
         update console_sessions set revoked_at = clock_timestamp() where user_id = $1 and revoked_at is null",
        END_LINKS,
    ] {
        sqlx::query(end).bind(before.id.0).execute(&mut *tx).await?;
    }
    let after = view(&mut tx, name).await?;
    tx.commit().await?;
    Ok(after)
}

async fn begin_sign_in(store: &PostgresStore, name: &str) -> Result<Option<Duration>, Failure> {
    let key = Attempts::key(name);
    let mut tx = store.begin().await?;
    // What nobody remembers any more; few at once, so that no sign-in waits for it, nor for another that forgets.
    sqlx::query(
        "/* sign-ins: forget */
         delete from sign_in_attempts where name_hash = any(array(
             select name_hash from sign_in_attempts where last_at < clock_timestamp() - $1::interval
              order by last_at limit 100 for update skip locked))",
    )
    .bind(Attempts::REMEMBERED)
    .execute(&mut *tx)
    .await?;
    // A row to lock, also for the first.
    sqlx::query(
        "/* sign-ins: begin */
         insert into sign_in_attempts (name_hash, failures, last_at, blocked_until)
         values ($1, 0, clock_timestamp(), clock_timestamp())
         on conflict (name_hash) do nothing",
    )
    .bind(key.as_slice())
    .execute(&mut *tx)
    .await?;
    // In a statement of its own, so that it sees what was committed while this one waited.
    let row = sqlx::query(
        "/* sign-ins: before */
         select failures, blocked_until, clock_timestamp() as now from sign_in_attempts where name_hash = $1 for update",
    )
    .bind(key.as_slice())
    .fetch_one(&mut *tx)
    .await?;
    let failures: i32 = row.try_get("failures")?;
    let before = Attempts {
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        blocked_until: row.try_get("blocked_until")?,
    };
    // `now` is read after the lock came: the statement may have waited for it.
    let now = sqlx::query_scalar("/* sign-ins: now */ select clock_timestamp()").fetch_one(&mut *tx).await?;
    let next = match Attempts::next(Some(before), now) {
        Ok(next) => next,
        Err(pause) => {
            tx.rollback().await;
            return Ok(Some(pause));
        }
    };
    let counted = sqlx::query(
        "/* sign-ins: count */
         update sign_in_attempts set failures = $2, last_at = $3, blocked_until = $4 where name_hash = $1",
    )
    .bind(key.as_slice())
    .bind(i32::try_from(next.failures).unwrap_or(i32::MAX))
    .bind(now)
    .bind(next.blocked_until)
    .execute(&mut *tx)
    .await?;
    expect_rows("sign-ins to count", 1, counted.rows_affected())?;
    tx.commit().await?;
    Ok(None)
}

async fn credentials(store: &PostgresStore, name: &str) -> Result<Option<(UserView, PasswordHash)>, Failure> {
    let found = sqlx::query(user_sql!(
        "credentials",
        ", u.password_hash from users u
          where u.name = $1 and u.disabled_at is null and u.password_hash is not null"
    ))
    .bind(name)
    .fetch_optional(&store.pool)
    .await?;
    found.map(|row| Ok((user_view(&row)?, PasswordHash(row.try_get("password_hash")?)))).transpose()
}

async fn create_link(store: &PostgresStore, name: &str, hash: &SignInHash, by: &Actor) -> Result<UserView, Failure> {
    let mut tx = store.begin().await?;
    let found = sqlx::query(user_sql!("for a link", "from users u where u.name = $1 for share"))
        .bind(name)
        .fetch_optional(&mut *tx)
        .await?;
    let user = user_view(&found.ok_or_else(|| Refusal::UnknownUser { name: name.to_owned() })?)?;
    if user.disabled_at.is_some() {
        return Err(Refusal::UserDisabled { name: user.name }.into());
    }
    let made = sqlx::query(
        "/* links: create */
         insert into sign_in_links (user_id, hash, created_by, expires_at)
         values ($1, $2, $3, clock_timestamp() + $4::interval)",
    )
    .bind(user.id.0)
    .bind(hash.0.as_slice())
    .bind(&by.name)
    .bind(LINK_MAX)
    .execute(&mut *tx)
    .await?;
    expect_rows("links to create", 1, made.rows_affected())?;
    tx.commit().await?;
    Ok(user)
}

fn user_view(row: &PgRow) -> Result<UserView, Failure> {
    let role: String = row.try_get("role")?;
    Ok(UserView {
        id: UserId(row.try_get("id")?),
        name: row.try_get("name")?,
        role: Role::parse(&role).map_err(|_| rows::unreadable("role", &role))?,
        created_at: row.try_get("created_at")?,
        created_by: row.try_get("created_by")?,
        disabled_at: row.try_get("disabled_at")?,
        disabled_by: row.try_get("disabled_by")?,
    })
}
