//! Turns at SQLite's write lock, between processes.
//!
//! Who waits for that lock asks for it again and again, ever less often, and who has just let go of it asks at once: a
//! process that writes all the time leaves the others nothing, and `campaign pause` beside a busy `serve` would come
//! when the campaign is over. So whoever begins to write takes `FILE.turn` first and keeps it until it has begun.
//! One at a time asks SQLite then, and everybody else, the one that has just committed too, stands behind it.

use std::fs::{File, OpenOptions, TryLockError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Connection, SqlSafeStr, Sqlite, SqliteConnection, Transaction};
use tokio::time::Instant;

use super::SqliteStore;
use super::failure::failure;
use crate::store::{StoreError, StoreResult};

/// How long whoever wants to write waits for those who do, and who is told of it.
pub struct Patience {
    /// For the turn, and then for the lock.
    pub max: Duration,
    /// Told what is waited for, where it takes longer than two seconds.
    pub tell: Box<dyn Fn(&str) + Send + Sync>,
}

impl Patience {
    /// For somebody who asks for one thing, and waits for it: until an import is over that has the lock for half a minute.
    #[must_use]
    pub fn of_a_command(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { max: MERGE_PATIENCE, tell: Box::new(tell) }
    }
}

/// For a process that serves: what it does by itself is done at its next try, its callers are told to come again, and
/// a stop waits for neither. Writing verbs take milliseconds.
impl Default for Patience {
    fn default() -> Self {
        Self { max: Duration::from_secs(10), tell: Box::new(|_| {}) }
    }
}

/// Whoever waits for longer than this is told what for.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// How long a merge waits for the lock. Its file has been read to the end and may not be there to be read again, so it
/// is worth more patience than other verbs.
pub const MERGE_PATIENCE: Duration = Duration::from_mins(2);

const BEGIN: &str = "begin immediate";

/// Between two tries to take the turn. Within one process nobody waits for it: its one writer does.
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

impl SqliteStore {
    /// A transaction that has the database for itself until it ends. Dropped without a commit, it is rolled back.
    pub(super) async fn write(&self) -> StoreResult<Transaction<'static, Sqlite>> {
        // The connection before the turn: whoever has the turn waits for no one of its own process.
        let connection: PoolConnection<Sqlite> = self.writer.acquire().await.map_err(failure)?;
        self.telling(async {
            let _turn = self.turn(self.patience.max).await?;
            Transaction::begin(connection, Some(BEGIN.into_sql_str())).await.map_err(failure)
        })
        .await
    }

    /// The same on a connection of the caller's own, for what took long to prepare.
    pub(super) async fn write_on<'c>(
        &self,
        connection: &'c mut SqliteConnection,
    ) -> StoreResult<Transaction<'c, Sqlite>> {
        self.telling(async {
            let _turn = self.turn(MERGE_PATIENCE).await?;
            connection.begin_with(BEGIN).await.map_err(failure)
        })
        .await
    }

    /// Awaits the turn and the lock. Where that takes long, it is told.
    async fn telling<T>(&self, beginning: impl Future<Output = T>) -> T {
        tokio::pin!(beginning);
        if let Ok(begun) = tokio::time::timeout(SILENCE_MAX, &mut beginning).await {
            return begun;
        }
        (self.patience.tell)("something else is being written, an import perhaps; waiting for it");
        beginning.await
    }

    /// The turn, until the file is dropped; it ends with the process as well.
    async fn turn(&self, patience: Duration) -> StoreResult<File> {
        let path = self.beside("turn");
        let unusable = |error| StoreError::Unusable(format!("{} can't be locked: {error}", path.display()));
        // Never removed: a process that held a removed file would lock out nobody.
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        let deadline = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let waited = patience.as_secs();
                    return Err(StoreError::Conflict(format!("others were writing for more than {waited} s")));
                }
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
            }
        }
    }
}
