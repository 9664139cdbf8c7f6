//! SQLite databases, each a file in a folder of its own.

use std::path::PathBuf;

use disconnectd::clock::Clock;
use disconnectd::store::sqlite::SqliteStore;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, SqlitePool};

pub struct SqliteDatabase {
    pub folder: PathBuf,
    raw: SqlitePool,
}

impl SqliteDatabase {
    pub fn empty(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("disconnectd_{name}"));
        std::fs::create_dir(&folder).unwrap();
        let options = SqliteConnectOptions::new()
            .filename(folder.join("disconnectd.db"))
            .foreign_keys(true)
            .busy_timeout(super::SOON);
        let raw = SqlitePoolOptions::new().max_connections(2).connect_lazy_with(options);
        Self { folder, raw }
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.folder.join("disconnectd.db").display())
    }

    pub async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.url(), Clock::system()).await.unwrap()
    }

    pub async fn remove(self) {
        self.raw.close().await;
        std::fs::remove_dir_all(&self.folder).unwrap();
    }

    pub async fn execute(&self, sql: &str) -> sqlx::Result<u64> {
        Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.raw).await?.rows_affected())
    }

    pub async fn numbers(&self, sql: &str) -> sqlx::Result<Vec<i64>> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.raw).await
    }

    pub async fn texts(&self, sql: &str) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.raw).await
    }
}
