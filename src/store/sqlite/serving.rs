//! One process at a time serves the file: it holds an exclusive lock on `FILE.lock`, which ends with the process,
//! however it ends. The content names the holder, for the sentence that another process says.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use tokio::task::AbortHandle;

use super::SqliteStore;
use super::failure::failure;
use super::rows::at;
use crate::store::{ServerSeen, Serving, StoreError, StoreResult};

/// [`SqliteStore::server`] holds the lock itself for a moment: a few more tries tell that from a server.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// What a sentence shows of the holder's command line, in characters.
const COMMAND_MAX: usize = 60;

/// Dropped, it lets go: the task ends, and the lock with its file.
struct Hold {
    _lock: File,
    follower: AbortHandle,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// The process that signed the lock, and its roles.
fn holder(lock: &mut File) -> (String, String) {
    let mut signed = String::new();
    // Unreadable, or not signed yet, it is merely not named.
    let _ = lock.read_to_string(&mut signed);
    let (process, roles) = signed.split_once('\n').unwrap_or((&signed, ""));
    (if process.is_empty() { "a process".into() } else { process.to_owned() }, roles.to_owned())
}

impl SqliteStore {
    pub(super) async fn take_service(&self, roles: &str) -> StoreResult<Serving> {
        let lock = self.lock_service(roles).await?;
        let rescued = self.rescue().await?;
        let hints = Arc::clone(&self.hints);
        let options = self.options.clone();
        let follower = tokio::spawn(async move { hints.follow(options).await }).abort_handle();
        if rescued > 0 {
            self.hints.hint();
        }
        Ok(Serving::new(Hold { _lock: lock, follower }, rescued))
    }

    /// Who holds the lock. Looks without leaving a trace.
    pub(super) fn server(&self) -> StoreResult<Option<ServerSeen>> {
        let mut lock = match File::open(self.lock_path()) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.unlockable(&error)),
        };
        match lock.try_lock_shared() {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(self.unlockable(&error)),
        }
        let (process, roles) = holder(&mut lock);
        let since = lock.metadata().and_then(|about| about.modified()).ok().map(DateTime::from);
        Ok(Some(ServerSeen { roles, process, since }))
    }

    async fn lock_service(&self, roles: &str) -> StoreResult<File> {
        // Never removed: a process that held a removed file would lock out nobody.
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.lock_path())
            .map_err(|error| self.unlockable(&error))?;
        let mut more_tries = 1..TRIES;
        loop {
            match lock.try_lock() {
                Ok(()) => return self.sign(lock, roles),
                Err(TryLockError::WouldBlock) if more_tries.next().is_some() => {
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                Err(TryLockError::WouldBlock) => return Err(self.served_by_another(lock)),
                Err(TryLockError::Error(error)) => return Err(self.unlockable(&error)),
            }
        }
    }

    fn served_by_another(&self, mut lock: File) -> StoreError {
        let (process, _) = holder(&mut lock);
        StoreError::Conflict(format!("another disconnectd ({process}) serves {}", self.shown()))
    }

    /// Names this process in the lock that it holds.
    fn sign(&self, mut lock: File, roles: &str) -> StoreResult<File> {
        let command: Vec<_> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let command: String = command.join(" ").chars().filter(|c| !c.is_control()).take(COMMAND_MAX).collect();
        let signed = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| write!(lock, "pid {}, `{command}`\n{roles}", std::process::id()));
        signed.map_err(|error| self.unlockable(&error))?;
        Ok(lock)
    }

    /// What was queued has lost its queue with the process that served before. However long others are writing, it is waited
    /// for: a conflict would say that another process serves.
    async fn rescue(&self) -> StoreResult<u64> {
        let mut tx = loop {
            match self.write().await {
                Err(StoreError::Conflict(why)) => tracing::debug!("{why}; nobody is rescued yet"),
                begun => break begun?,
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        };
        let rescued = sqlx::query(
            "/* serving: rescue */ update disconnect_events
                set state = 'scheduled', next_at = ?1, dispatches = 0
              where state = 'queued'",
        )
        .bind(at(self.now()))
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
        tx.commit().await.map_err(failure)?;
        Ok(rescued.rows_affected())
    }

    fn lock_path(&self) -> PathBuf {
        self.beside("lock")
    }

    /// The file as the person named it.
    fn shown(&self) -> &str {
        self.url.trim_start_matches("sqlite:").trim_start_matches("//")
    }

    fn unlockable(&self, error: &std::io::Error) -> StoreError {
        StoreError::Unusable(format!("{} can't be locked: {error}", self.lock_path().display()))
    }
}
