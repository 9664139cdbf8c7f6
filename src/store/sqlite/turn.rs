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

use super::failure::failure;
use super::{BUSY_TIMEOUT, SqliteStore};
use crate::store::{StoreError, StoreResult};

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
        let _turn = self.turn(BUSY_TIMEOUT).await?;
        Transaction::begin(connection, Some(BEGIN.into_sql_str())).await.map_err(failure)
    }

    /// The same on a connection of the caller's own, for what took long to prepare.
    pub(super) async fn write_on<'c>(
        &self,
        connection: &'c mut SqliteConnection,
    ) -> StoreResult<Transaction<'c, Sqlite>> {
        let _turn = self.turn(MERGE_PATIENCE).await?;
        connection.begin_with(BEGIN).await.map_err(failure)
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
