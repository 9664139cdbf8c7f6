//! Sessions: how one begins, who asks in it, and how it ends.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::super::PostgresStore;
use super::super::failure::{Failure, expect_rows};
use super::{END_LINKS, user_view, view};
use crate::domain::refusal::Refusal;
use crate::domain::user::{
    Attempts, Ending, NewSession, Proof, SESSION_IDLE, SESSION_MAX, SESSIONS_LISTED, Session, SessionId, SessionView,
    Sessions, SignInHash, UserView,
};

pub(super) async fn open_session(store: &PostgresStore, session: &NewSession) -> Result<Option<UserView>, Failure> {
    let mut tx = store.begin().await?;
    let found = match &session.proof {
        // The lock: whoever changes the user now ends this session with the others, or it is not begun.
        Proof::Password { user, checked } => {
            sqlx::query(user_sql!(
                "by password",
                "from users u where u.id = $1 and u.password_hash = $2 and u.disabled_at is null for share"
            ))
            .bind(user.0)
            .bind(checked.0.as_str())
            .fetch_optional(&mut *tx)
            .await?
        }
        Proof::Link(hash) => {
            let used: Option<i64> = sqlx::query_scalar(
                "/* links: use */
                 update sign_in_links set used_at = clock_timestamp()
                  where hash = $1 and used_at is null and expires_at > clock_timestamp()
                 returning user_id",
            )
            .bind(hash.0.as_slice())
            .fetch_optional(&mut *tx)
            .await?;
            sqlx::query(user_sql!("by link", "from users u where u.id = $1 and u.disabled_at is null for share"))
                .bind(used)
                .fetch_optional(&mut *tx)
                .await?
        }
    };
    let Some(user) = found else {
        tx.rollback().await;
        return Ok(None);
    };
    let user = user_view(&user)?;
    // How long what has ended is kept, for whoever looks at what happened.
    for forget in [
        "/* sessions: forget */ delete from console_sessions where expires_at < clock_timestamp() - interval '30 days'",
        "/* links: forget */ delete from sign_in_links where expires_at < clock_timestamp() - interval '30 days'",
    ] {
        sqlx::query(forget).execute(&mut *tx).await?;
    }
    sqlx::query("/* sign-ins: good */ delete from sign_in_attempts where name_hash = $1")
        .bind(Attempts::key(&user.name).as_slice())
        .execute(&mut *tx)
        .await?;
    let opened = sqlx::query(
        "/* sessions: open */
         insert into console_sessions (user_id, hash, browser, created_at, last_seen_at, expires_at)
         select $1, $2, $3, now.at, now.at, now.at + $4::interval from (select clock_timestamp() as at) now",
    )
    .bind(user.id.0)
    .bind(session.hash.0.as_slice())
    .bind(&session.browser)
    .bind(SESSION_MAX)
    .execute(&mut *tx)
    .await?;
    expect_rows("sessions to open", 1, opened.rows_affected())?;
    tx.commit().await?;
    Ok(Some(user))
}

pub(super) async fn session(store: &PostgresStore, hash: &SignInHash) -> Result<Option<Session>, Failure> {
    let found = sqlx::query(user_sql!(
        "of a session",
        ", s.id as session_id, s.last_seen_at, clock_timestamp() as now
           from console_sessions s join users u on u.id = s.user_id
          where s.hash = $1 and s.revoked_at is null and s.expires_at > clock_timestamp()
            and s.last_seen_at > clock_timestamp() - $2::interval and u.disabled_at is null"
    ))
    .bind(hash.0.as_slice())
    .bind(SESSION_IDLE)
    .fetch_optional(&store.pool)
    .await?;
    let session = |row: PgRow| {
        Ok(Session {
            id: SessionId(row.try_get("session_id")?),
            user: user_view(&row)?,
            last_seen_at: row.try_get("last_seen_at")?,
            now: row.try_get("now")?,
        })
    };
    found.map(session).transpose()
}

pub(super) async fn sessions(store: &PostgresStore, name: &str) -> Result<Sessions, Failure> {
    let mut db = store.pool.acquire().await?;
    let user = view(&mut db, name).await?;
    let found = sqlx::query(
        "/* sessions: list */
         select id, browser, created_at, last_seen_at, least(expires_at, last_seen_at + $2::interval) as ends_at
           from console_sessions
          where user_id = $1 and revoked_at is null and expires_at > clock_timestamp()
            and last_seen_at > clock_timestamp() - $2::interval
          order by last_seen_at desc, id desc
          limit $3",
    )
    .bind(user.id.0)
    .bind(SESSION_IDLE)
    .bind(i64::from(SESSIONS_LISTED) + 1)
    .fetch_all(&mut *db)
    .await?;
    let session = |row: &PgRow| {
        Ok(SessionView {
            id: SessionId(row.try_get("id")?),
            browser: row.try_get("browser")?,
            begun_at: row.try_get("created_at")?,
            last_seen_at: row.try_get("last_seen_at")?,
            ends_at: row.try_get("ends_at")?,
        })
    };
    Ok(Sessions::cut(found.iter().map(session).collect::<Result<_, Failure>>()?))
}

pub(super) async fn end_sessions(store: &PostgresStore, name: &str, which: Ending) -> Result<u64, Failure> {
    let (only, but) = which.ids();
    let mut tx = store.begin().await?;
    // The lock: a session that is being begun is there before it, or begins after it.
    let found = sqlx::query(user_sql!("to end sessions", "from users u where u.name = $1 for update"))
        .bind(name)
        .fetch_optional(&mut *tx)
        .await?;
    let user = user_view(&found.ok_or_else(|| Refusal::UnknownUser { name: name.to_owned() })?)?;
    let good: i64 = sqlx::query_scalar(
        "/* sessions: end */
         with ended as (
             update console_sessions set revoked_at = clock_timestamp()
              where user_id = $1 and revoked_at is null and ($2::bigint is null or id = $2)
                and ($3::bigint is null or id <> $3)
             returning expires_at, last_seen_at)
         select count(*) from ended
          where expires_at > clock_timestamp() and last_seen_at > clock_timestamp() - $4::interval",
    )
    .bind(user.id.0)
    .bind(only)
    .bind(but)
    .bind(SESSION_IDLE)
    .fetch_one(&mut *tx)
    .await?;
    if which.with_links() {
        sqlx::query(END_LINKS).bind(user.id.0).execute(&mut *tx).await?;
    }
    tx.commit().await?;
    Ok(good.cast_unsigned())
}
