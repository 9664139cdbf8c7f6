//! Hints between processes, and who serves. One connection of its own does both: it holds a shared advisory lock while
//! it listens, so whoever looks at the locks sees who serves.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::Executor;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use tokio::sync::{oneshot, watch};

use super::failure::Failure;
use super::{ACQUIRE_TIMEOUT, PostgresStore, VERB_LIMIT, within};
use crate::store::{ServerSeen, Serving, StoreError, StoreResult};

/// What stands before the roles in the name by which the server knows the connection of a process that serves.
const NAME: &str = "disconnectd: ";

const CHANNEL: &str = "disconnectd_due";

/// How often a silent connection is asked whether it still is one: a server that vanished without a word is noticed
/// within this and [`ANSWER_LIMIT`].
const PROBE_EVERY: Duration = Duration::from_secs(15);
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Between attempts to connect again. The sweep of the scheduler finds what is due meanwhile.
const BACKOFF: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(5);

/// Tells all who serve, when the transaction commits, that something may be due sooner than they know.
pub(super) async fn notify(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::query("/* hint */ select pg_notify($1, '')").bind(CHANNEL).execute(db).await?;
    Ok(())
}

/// Becomes one of those who serve. Ended by dropping what it answers.
pub(super) async fn serve(store: &PostgresStore, roles: &str) -> StoreResult<Serving> {
    let name = format!("{NAME}{roles}, pid {}", std::process::id());
    let options = store.options.clone().application_name(&name);
    let mut listener = within(ACQUIRE_TIMEOUT, connect(options.clone())).await?;
    listener.eager_reconnect(false);
    let (hold, released) = oneshot::channel::<()>();
    let hints = Arc::clone(&store.hints);
    tokio::spawn(async move {
        tokio::select! {
            // Ends when the other half is dropped.
            _ = released => {}
            () = stay(listener, options, &hints) => {}
        }
    });
    Ok(Serving::new(hold, 0))
}

pub(super) async fn servers(store: &PostgresStore) -> StoreResult<Vec<ServerSeen>> {
    let look = async {
        let found: Vec<(String, Option<String>, Option<DateTime<Utc>>)> = sqlx::query_as(
            "/* servers: look for the lock */
             select a.application_name, host(a.client_addr), a.backend_start
               from pg_locks l
               join pg_database d on d.oid = l.database
               join pg_stat_activity a on a.pid = l.pid
              where d.datname = current_database() and l.locktype = 'advisory' and l.granted
                and l.classid = 1684632419 and l.objid = 2 and l.objsubid = 2
              order by a.backend_start, a.pid",
        )
        .fetch_all(&store.pool)
        .await?;
        Ok(found.into_iter().map(|(name, host, since)| server_seen(&name, host.as_deref(), since)).collect())
    };
    within(VERB_LIMIT, look).await
}

fn server_seen(name: &str, host: Option<&str>, since: Option<DateTime<Utc>>) -> ServerSeen {
    let said = name.strip_prefix(NAME).unwrap_or(name);
    let (roles, process) = said.rsplit_once(", ").unwrap_or((said, "a process"));
    let process = match (host, since) {
        (Some(host), _) => format!("{process} at {host}"),
        // Over the server's own socket.
        (None, Some(_)) => format!("{process} at the database's machine"),
        // Of another role's connections, this one may not know more.
        (None, None) => process.to_owned(),
    };
    ServerSeen { roles: roles.to_owned(), process, since }
}

async fn connect(options: sqlx::postgres::PgConnectOptions) -> Result<PgListener, Failure> {
    // A pool of one, outside the store's: listening must not take a connection from the verbs.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    listener.execute("/* serve: say so */ select pg_advisory_lock_shared(1684632419, 2)").await?;
    Ok(listener)
}

/// Listens for ever, through whatever becomes of the connection.
async fn stay(mut listener: PgListener, options: sqlx::postgres::PgConnectOptions, hints: &watch::Sender<u64>) {
    loop {
        let why = StoreError::from(listen(&mut listener, hints).await);
        drop(listener);
        // Said quietly: whoever asks the database for something says it once, for all. They had better look now.
        tracing::debug!(error = %why, "the connection that hears of due events was lost; connecting again");
        bump(hints);
        let mut backoff = *BACKOFF.start();
        listener = loop {
            match within(ACQUIRE_TIMEOUT, connect(options.clone())).await {
                Ok(connected) => break connected,
                Err(error) => tracing::debug!(%error, "cannot listen for due events yet"),
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(*BACKOFF.end());
        };
        listener.eager_reconnect(false);
        tracing::debug!("hearing of due events again");
        // Something may have become due unheard.
        bump(hints);
    }
}

/// Until the connection is lost; answers why.
async fn listen(listener: &mut PgListener, hints: &watch::Sender<u64>) -> Failure {
    loop {
        match tokio::time::timeout(PROBE_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(_))) => bump(hints),
            Ok(Ok(None)) => return StoreError::Unavailable("the server closed the connection".into()).into(),
            Ok(Err(error)) => return error.into(),
            Err(_) => match tokio::time::timeout(ANSWER_LIMIT, listener.execute("/* serve: probe */ select 1")).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error.into(),
                Err(_) => return StoreError::Unavailable("the server fell silent".into()).into(),
            },
        }
    }
}

pub(super) fn bump(hints: &watch::Sender<u64>) {
    hints.send_modify(|count| *count = count.wrapping_add(1));
}
