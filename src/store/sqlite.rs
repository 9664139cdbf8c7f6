//! The store on one SQLite file: for a provider that one machine is enough for.
//!
//! SQLite has one writer at a time, so the locks of the port are one lock here: a writing verb begins with `begin
//! immediate` and has the whole database until it commits. Readers go on beside it (WAL). Instants are text of one
//! width, so that they sort; arrays travel as one JSON parameter and are read with `json_each`.

mod account_import;
mod accounts;
mod archive;
mod calendar;
mod campaigns;
mod changes;
mod debit_import;
mod decisions;
mod dispatch;
mod effects;
mod events;
mod execution;
mod failure;
mod family;
mod folding;
mod groups;
mod hints;
mod idempotency;
mod import_parents;
mod imports;
mod inspection;
mod installation;
mod invoices;
mod overview;
mod requests;
mod rows;
mod serving;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;
mod turn;
mod users;

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, SqlitePool, Transaction};
use tokio::time::Instant;

use self::failure::failure;
use self::hints::Hints;
pub use self::turn::Patience;
use crate::clock::Clock;
use crate::store::{StoreError, StoreResult};

/// How long opening waits for others who open the file at this moment.
const OPENING_MAX: Duration = Duration::from_secs(10);

/// How long a look waits for one of the readers: no import is in its way.
const READER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Readers at the same time, for calls over HTTP half of them at most. They are threads, and answers are quick.
pub const READERS: u32 = 8;

/// Calls over HTTP that stand behind the one writer at the same time. More are asked to come again.
pub const WRITERS_WAITING: u32 = 4;

pub struct SqliteStore {
    /// As it was given, for sentences.
    url: String,
    /// The file itself, whatever links lead to it: all processes must come to the same lock beside it.
    file: PathBuf,
    options: SqliteConnectOptions,
    /// One connection: whoever writes in this process queues here, in order, and not at the file's lock.
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Clock,
    hints: Arc<Hints>,
    patience: Patience,
    was_created: bool,
}

impl SqliteStore {
    /// Opens `sqlite://path`, and creates the file if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a URL that names no file, a folder that is not there, a file that can't be written
    /// or is not a database.
    pub async fn open(url: &str, clock: Clock) -> StoreResult<Self> {
        Self::open_with(url, clock, Patience::default()).await
    }

    /// The same, with another patience.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub async fn open_with(url: &str, clock: Clock, patience: Patience) -> StoreResult<Self> {
        let path = path_of(url)?;
        let was_created = create(&path)?;
        let unusable = |error: io::Error| StoreError::Unusable(format!("{} can't be opened: {error}", path.display()));
        let file = path.canonicalize().map_err(unusable)?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(patience.max())
            // Of pages, for each connection; a search goes through all accounts. SQLite's own is 2 MiB.
            .pragma("cache_size", "-8192")
            .disable_statement_logging();
        prepare_file(&options, &path).await?;
        let store = Self {
            url: url.to_owned(),
            file,
            writer: pool(1, patience.max()).connect_lazy_with(options.clone()),
            // What writes looks first.
            readers: pool(READERS + WRITERS_WAITING, READER_WAIT_MAX)
                .connect_lazy_with(options.clone().pragma("query_only", "on")),
            options,
            clock,
            hints: Arc::new(Hints::default()),
            patience,
            was_created,
        };
        Ok(store)
    }

    /// Whether [`SqliteStore::open`] made the file.
    #[must_use]
    pub fn was_created(&self) -> bool {
        self.was_created
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A transaction that sees one state of the database.
    async fn read(&self) -> StoreResult<Transaction<'static, Sqlite>> {
        self.readers.begin().await.map_err(failure)
    }

    /// The path of a file beside the database's.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.file.clone().into_os_string();
        path.push(".");
        path.push(suffix);
        path.into()
    }

    async fn reader(&self) -> StoreResult<PoolConnection<Sqlite>> {
        self.readers.acquire().await.map_err(failure)
    }
}

/// The file that a URL names. Parameters are not read: what they could say is decided here.
fn path_of(url: &str) -> StoreResult<PathBuf> {
    let unusable = |why: &str| {
        StoreError::Unusable(format!(
            "`{url}` {why}; write sqlite://disconnectd.db, or sqlite:///path/to/disconnectd.db"
        ))
    };
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"));
    let path = path.ok_or_else(|| unusable("is not a SQLite URL"))?;
    if path == ":memory:" || path == "memory" || path.starts_with("file:") {
        return Err(unusable("names no file: several connections need one to share"));
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(unusable("names no file"));
    }
    if path.contains('?') {
        return Err(unusable("has parameters, and there are none"));
    }
    std::path::absolute(path).map_err(|error| unusable(&format!("can't be resolved ({error})")))
}

/// Makes the file where there is none, and tells whether it did. An empty file is an empty database.
fn create(path: &Path) -> StoreResult<bool> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let unusable = |what: String| Err(StoreError::Unusable(what));
    let shown = path.display();
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return unusable(format!("there is no folder {} for the database; make it first", folder.display()));
        }
        Err(error) => return unusable(format!("the database {shown} can't be created: {error}")),
    }
    match OpenOptions::new().write(true).open(path) {
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            unusable(format!("{shown} is a folder; name a file for the database"))
        }
        Err(error) => unusable(format!("the database {shown} can't be written: {error}; mind the rights of its file")),
    }
}

/// Brings the file to WAL once, before several connections want to: the switch needs the file for itself, and SQLite
/// does not wait for that by its busy timeout.
async fn prepare_file(options: &SqliteConnectOptions, path: &Path) -> StoreResult<()> {
    let deadline = Instant::now() + OPENING_MAX;
    loop {
        match options.connect().await {
            Ok(connection) => return connection.close().await.map_err(failure),
            Err(error) => match failure(error) {
                error if error.is_transient() && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                StoreError::Unusable(why) => {
                    return Err(StoreError::Unusable(format!("{} can't be used: {why}", path.display())));
                }
                error => return Err(error),
            },
        }
    }
}

fn pool(connections: u32, wait_max: Duration) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(wait_max)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // After an error that rolled the transaction back by itself (a full disk), sqlx still counts it as open, and
        // the connection could begin no other: it is replaced.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
}
