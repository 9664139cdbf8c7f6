//! A transaction that survives being dropped at any point.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Executor, Postgres};

use super::failure::Failure;

/// How long a rollback may take before its connection is given up instead.
const ROLLBACK_LIMIT: Duration = Duration::from_secs(5);

/// Rolls back when it is dropped, in a task of its own, and gives the connection back only after that.
///
/// sqlx has one too. It counts the depth on the client's side, so a `begin` that is cancelled half-way can leave a
/// connection in the pool that is inside a transaction and does not know it. Here the server is told in plain words.
pub(super) struct Transaction {
    /// Until it ends.
    connection: Option<PoolConnection<Postgres>>,
}

impl Transaction {
    pub(super) async fn begin(pool: &PgPool, begin: &'static str) -> Result<Self, Failure> {
        let mut transaction = Self { connection: Some(pool.acquire().await?) };
        transaction.execute(begin).await?;
        Ok(transaction)
    }

    pub(super) async fn commit(mut self) -> Result<(), Failure> {
        self.execute("commit").await?;
        self.connection = None;
        Ok(())
    }

    pub(super) async fn rollback(mut self) {
        if let Some(connection) = self.connection.take() {
            rollback(connection).await;
        }
    }
}

/// For a connection whose transaction may be anywhere: not begun, under way, committed.
async fn rollback(mut connection: PoolConnection<Postgres>) {
    let done = tokio::time::timeout(ROLLBACK_LIMIT, connection.execute("rollback")).await;
    if !matches!(done, Ok(Ok(_))) {
        connection.close_on_drop();
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            tokio::spawn(rollback(connection));
        }
    }
}

impl Deref for Transaction {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        // Taken by what consumes it alone.
        self.connection.as_ref().expect("the transaction has not ended")
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("the transaction has not ended") // as above
    }
}
