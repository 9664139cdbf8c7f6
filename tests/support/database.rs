//! A database of one test's own, on either engine, and the way around the store to look at it with plain SQL.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use disconnectd::domain::token::{NewToken, Role, TokenId, TokenSecret};
use disconnectd::store::Store;
use futures_util::FutureExt;

use super::invariants;
use super::postgres::PostgresDatabase;
use super::sqlite::SqliteDatabase;

/// Every table that the migrations make. See [`TABLES_OF_POSTGRES`].
pub const TABLES: [&str; 25] = [
    "account_groups",
    "account_log",
    "account_statuses",
    "accounts",
    "address_assignments",
    "campaign_log",
    "campaign_members",
    "campaign_tallies",
    "campaign_templates",
    "campaigns",
    "console_sessions",
    "debits",
    "disconnect_events",
    "family_decisions",
    "groups",
    "idempotency_keys",
    "installation",
    "invoice_lines",
    "invoices",
    "serviceable_addresses",
    "settings",
    "sign_in_attempts",
    "sign_in_links",
    "tokens",
    "users",
];

/// And those that they make on PostgreSQL alone.
pub const TABLES_OF_POSTGRES: [&str; 1] = ["archived_disconnect_events"];

/// What [`TestDatabase::probe_token`] makes, for an admin.
pub const PROBE_TOKEN: &str = "dct_probe";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Postgres,
    Sqlite,
}

pub struct TestDatabase {
    /// The handle that most tests need. [`TestDatabase::open`] opens others, as other processes would.
    pub store: Arc<dyn Store>,
    raw: Raw,
    opened: Mutex<Vec<Arc<dyn Store>>>,
    is_broken_on_purpose: AtomicBool,
}

enum Raw {
    Postgres(PostgresDatabase),
    Sqlite(SqliteDatabase),
}

/// All rows of all tables as text. Two dumps are equal where nothing was written between them.
pub type Dump = BTreeMap<&'static str, Vec<String>>;

impl TestDatabase {
    /// Runs one test on a freshly migrated database. What must always hold is looked at when it has passed; whatever
    /// happens, nothing of the database stays.
    pub async fn run(engine: Engine, test: impl AsyncFnOnce(&Self)) {
        Self::migrated(engine).await.run_and_remove(test).await;
    }

    /// The same on a database without any table.
    pub async fn run_on_empty(engine: Engine, test: impl AsyncFnOnce(&Self)) {
        Self::empty(engine).await.run_and_remove(test).await;
    }

    /// The same on a PostgreSQL of the test's own.
    pub async fn run_on_server(server: String, test: impl AsyncFnOnce(&Self)) {
        let database = PostgresDatabase::empty_on(server, &unique_name()).await;
        Self::of(Raw::Postgres(database)).await.run_and_remove(test).await;
    }

    async fn run_and_remove(self, test: impl AsyncFnOnce(&Self)) {
        let ended = AssertUnwindSafe(async {
            test(&self).await;
            if !self.is_broken_on_purpose.load(Ordering::Relaxed) {
                invariants::check(&self).await;
            }
        })
        .catch_unwind()
        .await;
        self.remove().await;
        if let Err(panic) = ended {
            resume_unwind(panic);
        }
    }

    /// For what runs for longer than one body; call [`TestDatabase::remove`] in the end.
    pub async fn migrated(engine: Engine) -> Self {
        match engine {
            Engine::Postgres => Self::of(Raw::Postgres(PostgresDatabase::migrated(&unique_name()).await)).await,
            Engine::Sqlite => {
                let database = Self::empty(engine).await;
                database.store.migrate().await.unwrap();
                database
            }
        }
    }

    pub async fn empty(engine: Engine) -> Self {
        let name = unique_name();
        match engine {
            Engine::Postgres => Self::of(Raw::Postgres(PostgresDatabase::empty(&name).await)).await,
            Engine::Sqlite => Self::of(Raw::Sqlite(SqliteDatabase::empty(&name))).await,
        }
    }

    async fn of(raw: Raw) -> Self {
        let store = raw.open().await;
        let opened = Mutex::new(vec![Arc::clone(&store)]);
        Self { store, raw, opened, is_broken_on_purpose: AtomicBool::new(false) }
    }

    pub async fn remove(self) {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for store in opened {
            store.close().await;
        }
        match self.raw {
            Raw::Postgres(database) => database.remove().await,
            Raw::Sqlite(database) => database.remove().await,
        }
    }

    pub fn engine(&self) -> Engine {
        match self.raw {
            Raw::Postgres(_) => Engine::Postgres,
            Raw::Sqlite(_) => Engine::Sqlite,
        }
    }

    /// As `DISCONNECTD_DATABASE_URL` takes it.
    pub fn url(&self) -> String {
        match &self.raw {
            Raw::Postgres(database) => database.url.clone(),
            Raw::Sqlite(database) => database.url(),
        }
    }

    /// A folder of this test's own; it goes with the database.
    pub fn folder(&self) -> &Path {
        match &self.raw {
            Raw::Postgres(database) => &database.folder,
            Raw::Sqlite(database) => &database.folder,
        }
    }

    /// Another handle on the same database, as another process would have it.
    pub async fn open(&self) -> Arc<dyn Store> {
        let store = self.raw.open().await;
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&store));
        store
    }

    /// Makes the token that tests ask a served process with.
    pub async fn probe_token(&self) {
        self.known_token("probe", Role::Admin, PROBE_TOKEN).await;
    }

    /// Makes a token of which the test knows what it is.
    pub async fn known_token(&self, owner: &str, role: Role, token: &str) -> TokenId {
        let hash = TokenSecret::presented(token).hash();
        let token = NewToken { name: owner.into(), role, hash, created_by: "test".into() };
        self.store.create_token(&token).await.unwrap().id
    }

    /// The test leaves something behind that must not be; nobody needs to look for it.
    pub fn is_broken_on_purpose(&self) {
        self.is_broken_on_purpose.store(true, Ordering::Relaxed);
    }

    /// Runs SQL that both engines understand, around the store. Answers the database's words where it refuses.
    pub async fn try_sql(&self, sql: &str) -> Result<u64, String> {
        match &self.raw {
            Raw::Postgres(database) => database.execute(sql).await,
            Raw::Sqlite(database) => database.execute(sql).await,
        }
        .map_err(|error| error.to_string())
    }

    /// Answers how many rows it touched.
    pub async fn sql(&self, sql: &str) -> u64 {
        self.try_sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The sentence with which the database refuses `sql`.
    pub async fn refusal_of(&self, sql: &str) -> String {
        match self.try_sql(sql).await {
            Ok(rows) => panic!("the database took {rows} rows of: {sql}"),
            Err(error) => error,
        }
    }

    /// The one number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        let numbers = match &self.raw {
            Raw::Postgres(database) => database.numbers(sql).await,
            Raw::Sqlite(database) => database.numbers(sql).await,
        };
        let numbers = numbers.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(numbers.len(), 1, "{sql}");
        numbers[0]
    }

    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("select count(*) from {table}")).await
    }

    /// The text column that a query answers.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        self.try_texts(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same of a database that may be away.
    pub async fn try_texts(&self, sql: &str) -> sqlx::Result<Vec<String>> {
        match &self.raw {
            Raw::Postgres(database) => database.texts(sql).await,
            Raw::Sqlite(database) => database.texts(sql).await,
        }
    }

    /// SQL for the instant that many seconds from now; negative: ago.
    pub fn instant(&self, seconds: i64) -> String {
        match self.engine() {
            Engine::Postgres => format!("(now() + interval '{seconds} seconds')"),
            Engine::Sqlite => format!("strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '{seconds} seconds')"),
        }
    }

    /// `table.column`, for every column of every table.
    pub async fn columns(&self) -> Vec<String> {
        match self.engine() {
            Engine::Postgres => {
                self.texts(
                    "select table_name || '.' || column_name from information_schema.columns \
                     where table_schema = 'public' and table_name not like '\\_sqlx%'",
                )
                .await
            }
            Engine::Sqlite => {
                self.texts(
                    "select t.name || '.' || c.name from sqlite_schema t, pragma_table_info(t.name) c \
                     where t.type in ('table', 'view') and t.name not like 'sqlite\\_%' escape '\\' \
                       and t.name not like '\\_sqlx%' escape '\\'",
                )
                .await
            }
        }
    }

    pub async fn dump(&self) -> Dump {
        let columns = self.columns().await;
        let mut dump = Dump::new();
        let of_engine: &[_] = if self.engine() == Engine::Postgres { &TABLES_OF_POSTGRES } else { &[] };
        for table in TABLES.iter().chain(of_engine).copied() {
            let quoted: Vec<_> = columns
                .iter()
                .filter_map(|column| column.strip_prefix(table)?.strip_prefix('.'))
                .map(|column| match self.engine() {
                    Engine::Postgres => format!("'{column}=' || coalesce({column}::text, 'null')"),
                    Engine::Sqlite => format!("'{column}=' || quote({column})"),
                })
                .collect();
            let sql = format!("select {} from {table} order by 1", quoted.join(" || ', ' || "));
            dump.insert(table, self.texts(&sql).await);
        }
        dump
    }

    /// From now on, the database refuses to write this account's (disconnect's) row of `table`; with `%` in the number,
    /// those of all that are like it.
    pub async fn sabotage(&self, table: &str, number: &str) {
        let accounts = format!("(select id from accounts where number like '{number}')");
        // Found by the account, or by whatever leads to it.
        let its_own = match table {
            "accounts" => format!("new.number like '{number}'"),
            "invoice_lines" => {
                format!("exists (select 1 from debits where id = new.debit_id and account_id in {accounts})")
            }
            _ => format!("new.account_id in {accounts}"),
        };
        let sql = match self.engine() {
            Engine::Postgres => format!(
                "create function sabotage() returns trigger language plpgsql as $$ begin \
                     if {its_own} then raise exception 'sabotaged'; end if; return new; end $$; \
                 create trigger sabotage before insert or update on {table} for each row execute function sabotage()"
            ),
            Engine::Sqlite => format!(
                "create trigger sabotage_insert before insert on {table} when {its_own} \
                     begin select raise(abort, 'sabotaged'); end; \
                 create trigger sabotage_update before update on {table} when {its_own} \
                     begin select raise(abort, 'sabotaged'); end"
            ),
        };
        self.sql(&sql).await;
    }

    pub async fn end_sabotage(&self) {
        let sql = match self.engine() {
            Engine::Postgres => "drop function sabotage cascade",
            Engine::Sqlite => "drop trigger sabotage_insert; drop trigger sabotage_update",
        };
        self.sql(sql).await;
    }
}

impl Raw {
    async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Postgres(database) => Arc::new(database.open()),
            Self::Sqlite(database) => Arc::new(database.open().await),
        }
    }
}

/// Unique on this machine, for a while.
fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
