//! Picks the engines that the configuration names. The only place, beside their own files, that knows which there are.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Config, DatabaseUrl, QueueUrl};
use crate::queue::Queue;
use crate::queue::memory::MemoryQueue;
use crate::queue::rabbitmq::RabbitQueue;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::{Patience, READERS, SqliteStore, WRITERS_WAITING};
use crate::store::{Installation, Store, StoreError, StoreResult};

/// Opens the store. A PostgreSQL server that is away is no error yet. `note` is told of a file that had to be made; the
/// patience is for SQLite alone, where one import is in the way of all who write.
///
/// # Errors
/// [`StoreError::Unusable`] for a URL or a file that can't be used.
pub async fn open_store(
    config: &Config,
    clock: Clock,
    note: impl Fn(&str),
    patience: Patience,
) -> StoreResult<Arc<dyn Store>> {
    Ok(match &config.database {
        DatabaseUrl::Sqlite(url) => {
            let store = SqliteStore::open_with(url, clock, patience).await?;
            if store.was_created() {
                note(&format!("made a new database: {}", url.trim_start_matches("sqlite://")));
            }
            Arc::new(store)
        }
        DatabaseUrl::Postgres(url) => Arc::new(PostgresStore::connect(url.expose(), config.max_connections)?),
    })
}

/// How many connections to the database there are for what reads: a call's room is measured by them.
#[must_use]
pub fn connections(config: &Config) -> u32 {
    match config.database {
        DatabaseUrl::Sqlite(_) => READERS,
        DatabaseUrl::Postgres(_) => config.max_connections,
    }
}

/// How many calls that write may wait for each other besides: on SQLite, where that takes no connection.
#[must_use]
pub fn waiting_writes(config: &Config) -> Option<u32> {
    match config.database {
        DatabaseUrl::Sqlite(_) => Some(WRITERS_WAITING),
        DatabaseUrl::Postgres(_) => None,
    }
}

/// Opens the queue of an installation. A broker that is away is no error yet.
///
/// # Errors
/// A URL that can't be used.
pub fn open_queue(config: &Config, installation: &Installation) -> StoreResult<Arc<dyn Queue>> {
    Ok(match &config.queue {
        QueueUrl::Memory => Arc::new(MemoryQueue::new()),
        QueueUrl::Amqp(url) => Arc::new(
            RabbitQueue::trusting(url.expose(), config.queue_ca_file.clone(), &installation.id)
                .map_err(|error| StoreError::Unusable(error.to_string()))?,
        ),
    })
}

/// Makes the schema right for a command. An embedded database has nobody else to do it; a server's schema is changed by
/// `migrate`, `serve` and `demo` alone.
///
/// # Errors
/// [`StoreError::Unusable`] with what to do.
pub async fn prepare(config: &Config, store: &dyn Store) -> StoreResult<()> {
    match &config.database {
        DatabaseUrl::Sqlite(_) => store.migrate().await.map(drop),
        DatabaseUrl::Postgres(_) => store.check_schema().await,
    }
}
