//! Sessions: how one begins, who asks in it, and how it ends.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::sqlite::SqliteRow;

use super::super::SqliteStore;
use super::super::failure::failure;
use super::super::rows::{after, at, get};
use super::{END_LINKS, user_view, view};
use crate::domain::user::{
    Attempts, Ending, NewSession, Proof, SESSION_IDLE, SESSION_MAX, SESSIONS_LISTED, Session, SessionId, SessionView,
    Sessions, SignInHash, UserView,
};
use crate::store::StoreResult;

/// How long an ended session or link is kept, for whoever looks at what happened.
const ENDED_KEPT: TimeDelta = TimeDelta::days(30);

pub(super) async fn open_session(store: &SqliteStore, session: &NewSession) -> StoreResult<Option<UserView>> {
    let mut tx = store.write().await?;
    let now = store.now();
    let found = match &session.proof {
        Proof::Password { user, checked } => {
            sqlx::query(user_sql!(
                "by password",
                "from users u where u.id = ?1 and u.password_hash = ?2 and u.disabled_at is null"
            ))
            .bind(user.0)
            .bind(checked.0.as_str())
            .fetch_optional(&mut *tx)
            .await
        }
        Proof::Link(hash) => {
            let used: Option<i64> = sqlx::query_scalar(
                "/* links: use */ update sign_in_links set used_at = ?2
                  where hash = ?1 and used_at is null and expires_at > ?2 returning user_id",
            )
            .bind(hash.0.as_slice())
            .bind(at(now))
            .fetch_optional(&mut *tx)
            .await
            .map_err(failure)?;
            sqlx::query(user_sql!("by link", "from users u where u.id = ?1 and u.disabled_at is null"))
                .bind(used)
                .fetch_optional(&mut *tx)
                .await
        }
    };
    let Some(user) = found.map_err(failure)? else { return Ok(None) };
    let user = user_view(&user)?;
    for forget in [
        "/* sessions: forget */ delete from console_sessions where expires_at < ?1",
        "/* links: forget */ delete from sign_in_links where expires_at < ?1",
    ] {
        sqlx::query(forget).bind(at(now - ENDED_KEPT)).execute(&mut *tx).await.map_err(failure)?;
    }
    sqlx::query("/* sign-ins: good */ delete from sign_in_attempts where name_hash = ?1")
        .bind(Attempts::key(&user.name).as_slice())
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    sqlx::query(
        "/* sessions: open */
         insert into console_sessions (user_id, hash, browser, created_at, last_seen_at, expires_at)
         values (?1, ?2, ?3, ?4, ?4, ?5)",
    )
    .bind(user.id.0)
    .bind(session.hash.0.as_slice())
    .bind(&session.browser)
    .bind(at(now))
    .bind(after(now, SESSION_MAX))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    tx.commit().await.map_err(failure)?;
    Ok(Some(user))
}

pub(super) async fn session(store: &SqliteStore, hash: &SignInHash) -> StoreResult<Option<Session>> {
    let now = store.now();
    let found = sqlx::query(user_sql!(
        "of a session",
        ", s.id as session_id, s.last_seen_at from console_sessions s join users u on u.id = s.user_id
          where s.hash = ?1 and s.revoked_at is null and s.expires_at > ?2 and s.last_seen_at > ?3
            and u.disabled_at is null"
    ))
    .bind(hash.0.as_slice())
    .bind(at(now))
    .bind(at(before(now, SESSION_IDLE)))
    .fetch_optional(&store.readers)
    .await
    .map_err(failure)?;
    found
        .map(|row| {
            let id = SessionId(get(&row, "session_id")?);
            Ok(Session { id, user: user_view(&row)?, last_seen_at: get(&row, "last_seen_at")?, now })
        })
        .transpose()
}

pub(super) async fn sessions(store: &SqliteStore, name: &str) -> StoreResult<Sessions> {
    let now = store.now();
    let mut reader = store.reader().await?;
    let user = view(&mut reader, name).await?;
    let found = sqlx::query(
        "/* sessions: list */ select id, browser, created_at, last_seen_at, expires_at from console_sessions
          where user_id = ?1 and revoked_at is null and expires_at > ?2 and last_seen_at > ?3
          order by last_seen_at desc, id desc limit ?4",
    )
    .bind(user.id.0)
    .bind(at(now))
    .bind(at(before(now, SESSION_IDLE)))
    .bind(SESSIONS_LISTED + 1)
    .fetch_all(&mut *reader)
    .await
    .map_err(failure)?;
    let session = |row: &SqliteRow| {
        let (last_seen_at, expires_at): (DateTime<Utc>, DateTime<Utc>) =
            (get(row, "last_seen_at")?, get(row, "expires_at")?);
        Ok(SessionView {
            id: SessionId(get(row, "id")?),
            browser: get(row, "browser")?,
            begun_at: get(row, "created_at")?,
            last_seen_at,
            ends_at: expires_at.min(last_seen_at + SESSION_IDLE),
        })
    };
    Ok(Sessions::cut(found.iter().map(session).collect::<StoreResult<_>>()?))
}

pub(super) async fn end_sessions(store: &SqliteStore, name: &str, which: Ending) -> StoreResult<u64> {
    let (only, but) = which.ids();
    let mut tx = store.write().await?;
    let now = store.now();
    let user = view(&mut tx, name).await?;
    let good: i64 = sqlx::query_scalar(
        "/* sessions: good */ select count(*) from console_sessions
          where user_id = ?1 and revoked_at is null and (?2 is null or id = ?2) and (?3 is null or id <> ?3)
            and expires_at > ?4 and last_seen_at > ?5",
    )
    .bind(user.id.0)
    .bind(only)
    .bind(but)
    .bind(at(now))
    .bind(at(before(now, SESSION_IDLE)))
    .fetch_one(&mut *tx)
    .await
    .map_err(failure)?;
    sqlx::query(
        "/* sessions: end */ update console_sessions set revoked_at = ?4
          where user_id = ?1 and revoked_at is null and (?2 is null or id = ?2) and (?3 is null or id <> ?3)",
    )
    .bind(user.id.0)
    .bind(only)
    .bind(but)
    .bind(at(now))
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    if which.with_links() {
        sqlx::query(END_LINKS).bind(user.id.0).bind(at(now)).execute(&mut *tx).await.map_err(failure)?;
    }
    tx.commit().await.map_err(failure)?;
    Ok(good.cast_unsigned())
}

fn before(now: DateTime<Utc>, span: Duration) -> DateTime<Utc> {
    now.checked_sub_signed(TimeDelta::from_std(span).unwrap_or_default()).unwrap_or(now)
}
