//! SQLite: the data, the pipeline over it, and the bare rows.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use disconnectd::clock::Clock;
use disconnectd::queue::memory::MemoryQueue;
use disconnectd::store::Installations;
use disconnectd::store::sqlite::SqliteStore;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use crate::{Trouble, run_pipeline};

/// A folder with the file that each round starts from. Removed in the end.
pub struct File {
    folder: PathBuf,
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl File {
    pub async fn prepare(events: usize) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("disconnectd-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let file = Self { folder };
        let store = SqliteStore::open(&file.url("template"), Clock::system()).await?;
        store.migrate().await?;
        store.close().await;
        let mut connection = file.connect("template").await?;
        for statement in [
            "with recursive n(n) as (select 1 union all select n + 1 from n where n < ?1)
             insert into serviceable_addresses (address) select 'address ' || n from n",
            "with recursive n(n) as (select 1 union all select n + 1 from n where n < ?1)
             insert into accounts (number, name, status_id, currency) select 'A-' || n, 'Customer ' || n, 2, 'USD' from n",
            "insert into address_assignments (account_id, address_id, assigned_from)
             select id, id, '2026-01-01T00:00:00.000000Z' from accounts where id <= ?1",
            "insert into debits (account_id, reference, description, amount, tax, charged_on)
             select a.id, 'r' || d.value, 'Monthly charge ' || d.value, 1000 + a.id % 997 + d.value, 80, '2026-10-31'
               from accounts a, json_each('[1,2,3]') d where a.id <= ?1",
            "insert into disconnect_events
                    (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
             select id, 'scheduled', '2026-10-31T00:00:00.000000Z', '2026-10-31T00:00:00.000000Z', 8, 'bench', 'cli'
               from accounts where id <= ?1",
            "pragma wal_checkpoint(truncate)",
        ] {
            sqlx::query(statement).bind(i64::try_from(events)?).execute(&mut connection).await?;
        }
        connection.close().await?;
        Ok(file)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.db"))
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite://{}", self.path(name).display())
    }

    async fn connect(&self, name: &str) -> Result<SqliteConnection> {
        let options = SqliteConnectOptions::new()
            .filename(self.path(name))
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        Ok(options.connect().await?)
    }

    fn fresh(&self) -> Result<()> {
        for suffix in ["db", "db-wal", "db-shm", "db.lock"] {
            let _ = std::fs::remove_file(self.folder.join(format!("round.{suffix}")));
        }
        std::fs::copy(self.path("template"), self.path("round"))?;
        Ok(())
    }

    pub async fn pipeline(&self, events: usize, trouble: Trouble) -> Result<f64> {
        self.fresh()?;
        let url = self.url("round");
        if trouble != Trouble::None {
            let mut connection = self.connect("round").await?;
            for statement in Trouble::STATEMENTS {
                sqlx::raw_sql(statement).execute(&mut connection).await?;
            }
            connection.close().await?;
        }
        let store = Arc::new(SqliteStore::open(&url, Clock::system()).await?);
        let took = run_pipeline(store.clone(), Arc::new(MemoryQueue::new()), &url, events, trouble).await?;
        store.close().await;
        Ok(took)
    }

    /// The rows of the same disconnects, and nothing else: no claim, nothing read.
    pub async fn bare_rows(&self, events: usize, batch: usize) -> Result<f64> {
        self.fresh()?;
        let mut connection = self.connect("round").await?;
        let ids: Vec<i64> = (1..=i64::try_from(events)?).collect();
        let begun = Instant::now();
        for batch in ids.chunks(batch) {
            write(&mut connection, batch).await?;
        }
        let took = begun.elapsed().as_secs_f64();
        connection.close().await?;
        Ok(took)
    }
}

/// Accounts and events have the same ids here, and so have their invoices.
async fn write(connection: &mut SqliteConnection, ids: &[i64]) -> Result<()> {
    let ids = serde_json::to_string(ids)?;
    let mut transaction = connection.begin_with("begin immediate").await?;
    for statement in [
        "insert into invoices (id, number, kind, account_id, event_id, currency, amount, tax, total, issued_at)
         select value, value, 'final', value, value, 'USD', 3000, 240, 3240, '2026-10-31T00:00:00.000000Z'
           from json_each(?1)",
        "update debits set invoice_id = account_id
          where account_id in (select value from json_each(?1)) and invoice_id is null",
        "insert into invoice_lines (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
         select d.account_id, d.id - (d.account_id - 1) * 3, d.id, 'Monthly charge 1', '2026-10-31', 1000, 80, 1080
           from json_each(?1) i join debits d on d.account_id = i.value",
        "update address_assignments set assigned_until = '2026-10-31T00:00:00.000000Z'
          where account_id in (select value from json_each(?1)) and assigned_until is null",
        "update accounts set status_id = 3, status_before_id = 2, disconnected_at = '2026-10-31T00:00:00.000000Z'
          where id in (select value from json_each(?1))",
        "insert into account_log (account_id, at, kind, message, actor, source, event_id)
         select i.value, '2026-10-31T00:00:00.000000Z', k.value ->> 0, k.value ->> 1, 'bench', 'worker', i.value
           from json_each(?1) i,
                json_each('[[\"final_invoice\", \"final invoice over 32.40 USD with 3 lines\"],
                            [\"address_released\", \"address released: address 12345\"],
                            [\"disconnected\", \"disconnected: status Active -> Inactive (due 2026-10-31T00:00:00Z)\"]]') k",
        "update disconnect_events
            set state = 'completed', outcome = 'disconnected', next_at = null, ended_at = '2026-10-31T00:00:00.000000Z'
          where id in (select value from json_each(?1))",
    ] {
        sqlx::query(statement).bind(&ids).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}
