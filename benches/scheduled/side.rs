//! Databases with many events that are scheduled for later, of either engine.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use disconnectd::clock::Clock;
use disconnectd::domain::account::AccountNumber;
use disconnectd::domain::actor::{Actor, Source};
use disconnectd::domain::calendar::When;
use disconnectd::domain::dispositions::{Choice, Dispositions};
use disconnectd::domain::request::DisconnectRequest;
use disconnectd::store::Store;
use disconnectd::store::postgres::PostgresStore;
use disconnectd::store::sqlite::SqliteStore;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use url::Url;

/// Events that can come due together, and how many accounts have none.
pub const DUE: i64 = 500;
pub const FREE: i64 = 1_000;

pub enum Sql {
    Postgres { pool: PgPool, admin: PgPool, name: String },
    Sqlite(SqlitePool),
}

/// A database with its scheduled events, then [`DUE`] that come due, then [`FREE`] accounts without one.
pub struct Side {
    pub store: Arc<dyn Store>,
    /// Where it is.
    pub url: String,
    sql: Sql,
    pub scheduled: i64,
    /// The next account without an event.
    next: i64,
}

impl Side {
    pub async fn on_postgres(server: &Url, scheduled: i64) -> Result<Self> {
        let name = format!("disconnectd_bench_growth_{scheduled}");
        let admin = PgPool::connect(server.as_str()).await?;
        for statement in [format!("drop database if exists {name} with (force)"), format!("create database {name}")] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&admin).await?;
        }
        let mut url = server.clone();
        url.set_path(&name);
        let store: Arc<dyn Store> = Arc::new(PostgresStore::connect(url.as_str(), 4)?);
        store.migrate().await?;
        let pool = PgPool::connect(url.as_str()).await?;
        for statement in [
            "insert into accounts (number, name, status_id, currency, searched)
             select number, name, 2, 'USD', lower(number || E'\\n' || name)
               from (select 'A-' || lpad(n::text, 9, '0') as number, 'Customer ' || n as name
                       from generate_series(1, $1 + 1500) n) a",
            "insert into debits (account_id, reference, description, amount, tax, charged_on)
             select n, 'r', 'Monthly charge', 1000, 80, date '2026-10-31' from generate_series($1 + 1, $1 + 1500) n",
            "insert into disconnect_events
                    (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
             select n, 'scheduled', timestamptz '2099-01-01' + n % 1000 * interval '1 hour',
                    timestamptz '2099-01-01' + n % 1000 * interval '1 hour', 8, 'bench', 'cli'
               from generate_series(1, $1 + 500) n",
        ] {
            sqlx::query(statement).bind(scheduled).execute(&pool).await?;
        }
        sqlx::raw_sql("vacuum analyze").execute(&pool).await?;
        Ok(Self::new(store, url.into(), Sql::Postgres { pool, admin, name }, scheduled))
    }

    pub async fn on_sqlite(folder: &Path, scheduled: i64) -> Result<Self> {
        let url = format!("sqlite://{}", folder.join(format!("{scheduled}.db")).display());
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&url, Clock::system()).await?);
        store.migrate().await?;
        let pool = SqlitePool::connect(&url).await?;
        for statement in [
            "with recursive n(n) as (select 1 union all select n + 1 from n where n < ?1 + 1500)
             insert into accounts (number, name, status_id, currency, searched)
             select 'A-' || printf('%09d', n), 'Customer ' || n, 2, 'USD', printf('a-%09d', n) || char(10) || 'customer ' || n
               from n",
            "insert into debits (account_id, reference, description, amount, tax, charged_on)
             select id, 'r', 'Monthly charge', 1000, 80, '2026-10-31' from accounts where id > ?1",
            "insert into disconnect_events
                    (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
             select id, 'scheduled', printf('2099-%02d-01T%02d:00:00.000000Z', id % 12 + 1, id % 24),
                    printf('2099-%02d-01T%02d:00:00.000000Z', id % 12 + 1, id % 24), 8, 'bench', 'cli'
               from accounts where id <= ?1 + 500",
            "pragma wal_checkpoint(truncate)",
        ] {
            sqlx::query(statement).bind(scheduled).execute(&pool).await?;
        }
        Ok(Self::new(store, url, Sql::Sqlite(pool), scheduled))
    }

    fn new(store: Arc<dyn Store>, url: String, sql: Sql, scheduled: i64) -> Self {
        Self { store, url, sql, scheduled, next: scheduled + DUE }
    }

    pub async fn run(&self, postgres: &'static str, sqlite: &'static str) -> Result<()> {
        match &self.sql {
            Sql::Postgres { pool, .. } => {
                sqlx::query(postgres).bind(self.scheduled).execute(pool).await?;
            }
            Sql::Sqlite(pool) => {
                sqlx::query(sqlite).bind(self.scheduled).execute(pool).await?;
            }
        }
        Ok(())
    }

    pub fn ask(&mut self, when: &str) -> Result<DisconnectRequest> {
        self.next += 1;
        ensure!(self.next <= self.scheduled + DUE + FREE, "there are too few accounts");
        Ok(DisconnectRequest {
            account: AccountNumber::parse(&number(self.next)).map_err(|error| anyhow!("{error}"))?,
            when: When::parse(when).map_err(|error| anyhow!("{error}"))?,
            zone: None,
            late: false,
            reason: None,
            by: by(),
            failures_max: 8,
            digest: None,
            children: Dispositions::all(Choice::Keep),
            trace: None,
        })
    }

    pub async fn end(self) -> Result<()> {
        self.store.close().await;
        match self.sql {
            Sql::Postgres { pool, admin, name } => {
                pool.close().await;
                sqlx::raw_sql(sqlx::AssertSqlSafe(format!("drop database {name}"))).execute(&admin).await?;
            }
            Sql::Sqlite(pool) => pool.close().await,
        }
        Ok(())
    }
}

pub fn number(of: i64) -> String {
    format!("A-{of:09}")
}

pub fn by() -> Actor {
    Actor { name: "bench".to_owned(), source: Source::Cli }
}
