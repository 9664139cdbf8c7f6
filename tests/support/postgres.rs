//! Databases on the PostgreSQL server that `tests/run` started.

use std::path::PathBuf;

use disconnectd::store::Installations;
use disconnectd::store::postgres::PostgresStore;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::sync::OnceCell;

/// By files. Copied through the log, as is PostgreSQL's default, a database takes 70 ms of processor time and not 30; there
/// are some hundred of them.
const COPIED: &str = "strategy file_copy";

/// Of one store. Tests run a few at a time, and the server takes 200.
const CONNECTIONS: u32 = 8;

pub struct PostgresDatabase {
    pub url: String,
    pub folder: PathBuf,
    name: String,
    /// Where databases are made and dropped.
    server: String,
    raw: PgPool,
}

impl PostgresDatabase {
    pub async fn empty(name: &str) -> Self {
        Self::empty_on(server_url(), name).await
    }

    /// On another server than that of all the tests.
    pub async fn empty_on(server: String, name: &str) -> Self {
        administer(&server, &format!("create database {name} {COPIED}")).await;
        Self::at(server, name)
    }

    /// A copy of a database that is migrated once for each run of the tests.
    pub async fn migrated(name: &str) -> Self {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let name = format!("template_{}", std::process::id());
                administer(&server_url(), &format!("drop database if exists {name}")).await;
                administer(&server_url(), &format!("create database {name} {COPIED}")).await;
                let store = PostgresStore::connect(&url_of(&server_url(), &name), 1).unwrap();
                store.migrate().await.unwrap();
                store.close().await;
                name
            })
            .await;
        administer(&server_url(), &format!("create database {name} template {template} {COPIED}")).await;
        let database = Self::at(server_url(), name);
        // The copy is an installation of its own.
        let id = "update installation set id = substr(replace(gen_random_uuid()::text, '-', ''), 1, 16)";
        database.execute(id).await.unwrap();
        database
    }

    fn at(server: String, name: &str) -> Self {
        let url = url_of(&server, name);
        let raw = PgPoolOptions::new().max_connections(2).connect_lazy(&url).unwrap();
        let folder = std::env::temp_dir().join(format!("disconnectd_{name}"));
        std::fs::create_dir(&folder).unwrap();
        Self { url, folder, name: name.to_owned(), server, raw }
    }

    pub fn open(&self) -> PostgresStore {
        PostgresStore::connect(&self.url, CONNECTIONS).unwrap()
    }

    pub async fn remove(self) {
        self.raw.close().await;
        administer(&self.server, &format!("drop database {} with (force)", self.name)).await;
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

fn server_url() -> String {
    std::env::var("DISCONNECTD_TEST_POSTGRES_URL")
        .unwrap_or_else(|_| panic!("DISCONNECTD_TEST_POSTGRES_URL is not set: run tests/run, which starts the servers"))
}

fn url_of(server: &str, name: &str) -> String {
    let mut url = url::Url::parse(server).unwrap();
    url.set_path(name);
    url.into()
}

async fn administer(server: &str, sql: &str) {
    let mut server = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    server.close().await.unwrap();
}
