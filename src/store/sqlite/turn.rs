//! Turns at SQLite's write lock, between processes.
//!
//! Who waits for that lock asks for it again and again, ever less often, and who has just let go of it asks at once: a
//! process that writes all the time leaves the others nothing, and `campaign pause` beside a busy `serve` would come
//! when the campaign is over. So whoever begins to write takes `FILE.turn` first and keeps it until it has begun.
//! One at a time asks SQLite then, and everybody else, the one that has just committed too, stands behind it.

use std::fs::{File, OpenOptions, TryLockError};
use std::future::pending;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, SqlSafeStr, Sqlite, SqliteConnection, Transaction};
use tokio::time::{Instant, sleep_until};

use super::SqliteStore;
use super::failure::failure;
use crate::shutdown::Shutdown;
use crate::store::{StoreError, StoreResult, WRITE_WAIT_MAX};

/// How long whoever wants to write waits for those who do, and who is told of it. Writing verbs take milliseconds; an
/// import of a million rows has the lock for some 40 seconds.
pub struct Patience {
    max: Duration,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    /// From when this was asked for, [`AT_A_STOP`] is all that is waited for.
    stop: Option<Shutdown>,
    stopped: OnceLock<Instant>,
    /// Whether it was told of those who write now.
    has_told: AtomicBool,
}

/// Whoever waits for longer than this is told what for.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Writes of others are over long before, and the grace that a stop gives by itself is not.
const AT_A_STOP: Duration = Duration::from_secs(8);

impl Patience {
    /// For somebody who asks for one thing and waits for it.
    #[must_use]
    pub fn of_a_command(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self::new(LONGEST_WAIT, tell, None)
    }

    /// For a process with callers, who wait as well.
    #[must_use]
    pub fn of_a_server(tell: impl Fn(&str) + Send + Sync + 'static, stop: Shutdown) -> Self {
        Self::new(WRITE_WAIT_MAX, tell, Some(stop))
    }

    pub(super) fn new(max: Duration, tell: impl Fn(&str) + Send + Sync + 'static, stop: Option<Shutdown>) -> Self {
        Self { max, tell: Box::new(tell), stop, stopped: OnceLock::new(), has_told: AtomicBool::new(false) }
    }

    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// Awaits a transaction's begin, for `max` at most. Where that takes long it is told, once however many wait for the same.
    async fn awaits<T>(&self, max: Duration, writing: impl Future<Output = StoreResult<T>>) -> StoreResult<T> {
        let begun_at = Instant::now();
        tokio::pin!(writing);
        if let Ok(begun) = tokio::time::timeout(SILENCE_MAX.min(max), &mut writing).await {
            self.has_told.store(false, Ordering::Relaxed);
            return begun;
        }
        if !self.has_told.swap(true, Ordering::Relaxed) {
            (self.tell)("something else is being written, an import perhaps; waiting for it");
        }
        let why = tokio::select! {
            begun = writing => return begun,
            () = sleep_until(begun_at + max) => format!("others were writing for more than {} s", max.as_secs()),
            () = self.is_over(begun_at) => "others were writing, and this process stops".to_owned(),
        };
        Err(StoreError::Conflict(why))
    }

    /// Once a stop was long enough ago. What begins to wait later has a moment too, in which others mostly are done.
    async fn is_over(&self, begun_at: Instant) {
        let Some(stop) = &self.stop else { return pending().await };
        stop.asked().await;
        let stopped_at = *self.stopped.get_or_init(Instant::now);
        sleep_until((stopped_at + AT_A_STOP).max(begun_at + SILENCE_MAX)).await;
    }
}

/// For whoever opens a store in a program of their own.
impl Default for Patience {
    fn default() -> Self {
        Self::new(Duration::from_secs(10), |_| {}, None)
    }
}

/// For whoever waits for one thing; and for a merge, whose file has been read to the end and may not be there to be read
/// again.
pub const LONGEST_WAIT: Duration = Duration::from_mins(2);

const BEGIN: &str = "begin immediate";

/// Between two tries to take the turn. Within one process nobody waits for it: its one writer does.
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

impl SqliteStore {
    /// A transaction that has the database for itself until it ends. Dropped without a commit, it is rolled back.
    pub(super) async fn write(&self) -> StoreResult<Transaction<'static, Sqlite>> {
        let begin = async {
            // The connection before the turn: whoever has the turn waits for no one of its own process.
            let connection: PoolConnection<Sqlite> = self.writer.acquire().await.map_err(failure)?;
            let _turn = self.turn().await?;
            Transaction::begin(connection, Some(BEGIN.into_sql_str())).await.map_err(failure)
        };
        self.patience.awaits(self.patience.max, begin).await
    }

    /// The same on a connection of the caller's own, for what took long to prepare.
    pub(super) async fn write_on<'c>(
        &self,
        connection: &'c mut SqliteConnection,
    ) -> StoreResult<Transaction<'c, Sqlite>> {
        let begin = async {
            let _turn = self.turn().await?;
            connection.begin_with(BEGIN).await.map_err(failure)
        };
        self.patience.awaits(LONGEST_WAIT, begin).await
    }

    /// The turn, until the file is dropped; it ends with the process as well.
    async fn turn(&self) -> StoreResult<File> {
        let path = self.beside("turn");
        let unusable = |error| StoreError::Unusable(format!("{} can't be locked: {error}", path.display()));
        // Never removed: a process that held a removed file would lock out nobody.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(BETWEEN_TRIES).await,
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
    }
}
