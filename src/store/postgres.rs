//! The store on PostgreSQL 15 and later: any number of processes side by side. SQL only; the decisions are the
//! domain's.
//!
//! Each transaction runs READ COMMITTED: it locks first and loads in the next statement, which sees everything that
//! was committed while it waited. Where one consistent view is read instead, its `begin` says so.
//!
//! Advisory locks, all in class 1684632419 ("disc"): 1 the tree of accounts, 2 shared by those who serve, 3 the claim of
//! campaigns, 4 whoever opens or cancels events for many accounts at once.

mod account_import;
mod accounts;
mod archive;
mod calendar;
mod campaigns;
mod changes;
mod debit_import;
mod decisions;
mod dispatch;
mod events;
mod execution;
mod failed_attempts;
mod failure;
mod family;
mod folding;
mod groups;
mod hints;
mod idempotency;
mod imports;
mod inspection;
mod installation;
mod invoices;
mod overview;
mod requests;
mod rows;
mod search;
mod snapshot;
mod tokens;
mod transaction;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgSslMode};
use tokio::sync::watch;
use url::Url;

use self::failure::Failure;
use self::transaction::Transaction;
use super::{StoreError, StoreResult};
use crate::tls;

/// How long a verb waits for a connection, the making of one included.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a verb may take in all. Nothing that is not an import comes near it, unless the server fell silent without
/// closing the connection; `lock_timeout` (below) ends a wait for a lock well before.
const VERB_LIMIT: Duration = Duration::from_mins(1);

/// The same for one statement of an import or of invoicing everything, which may touch every row there is.
const BULK_LIMIT: Duration = Duration::from_hours(1);

/// The store on PostgreSQL.
pub struct PostgresStore {
    pool: PgPool,
    options: PgConnectOptions,
    /// Counts what may be due sooner than was known.
    hints: Arc<watch::Sender<u64>>,
}

impl PostgresStore {
    /// Connects when it is first used: a server that is away is no error here. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Unusable`]: a URL that can't be read. The password is never repeated.
    pub fn connect(url: &str, max_connections: u32) -> StoreResult<Self> {
        let options = read_url(url)?.application_name("disconnectd").disable_statement_logging().options([
            // A transaction whose client is gone or stuck must not hold its locks.
            ("idle_in_transaction_session_timeout", "30s"),
            // Waiting longer is answered as a conflict: an import may hold many accounts for minutes.
            ("lock_timeout", "20s"),
            ("statement_timeout", "0"),
            // Compiling a plan takes longer here than running it.
            ("jit", "off"),
            // A session keeps its plans, those of foreign keys and triggers too, until autovacuum has looked at a table. One
            // from when it was empty reads all of it for each row: a batch of 64 disconnects took 0.8 s at 20,000. Where
            // whole tables are meant, see `whole_tables`.
            ("enable_seqscan", "off"),
            // What a campaign has done with stays in the indexes of open events until a vacuum. A scan by index marks such
            // entries, and the next one passes over them; a scan by bitmap reads their rows each time: 200,000 for 300. What
            // only a bitmap can answer must not be asked: either of two conditions by an index each. Trigrams: `may_search`.
            ("enable_bitmapscan", "off"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options, hints: Arc::new(watch::Sender::new(0)) })
    }

    async fn begin(&self) -> Result<Transaction, Failure> {
        Transaction::begin(&self.pool, "begin isolation level read committed, read write").await
    }

    /// One consistent view of everything, for reading alone.
    async fn begin_view(&self) -> Result<Transaction, Failure> {
        Transaction::begin(&self.pool, "begin isolation level repeatable read, read only").await
    }

    /// Tells this process that something may be due sooner than was known.
    fn hint(&self) {
        hints::bump(&self.hints);
    }
}

/// The statements of this transaction go through whole tables, and are planned so.
async fn whole_tables(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* whole tables */ set local enable_seqscan = on").execute(db).await?;
    Ok(())
}

/// At the end of a transaction that went through whole tables: what it planned stays with the session otherwise, in its
/// triggers as well.
async fn forget_plans(db: &mut PgConnection) -> Result<(), Failure> {
    sqlx::raw_sql("/* whole tables: forget the plans */ discard plans").execute(db).await?;
    Ok(())
}

/// Runs a verb, or one long statement of it. A verb that is cut off by the limit or by its caller is rolled back (see
/// [`Transaction`]), unless its commit was under way.
async fn within<T>(limit: Duration, verb: impl Future<Output = Result<T, Failure>>) -> StoreResult<T> {
    match tokio::time::timeout(limit, verb).await {
        Ok(result) => result.map_err(StoreError::from),
        Err(_) => Err(StoreError::Unavailable(format!("no answer within {} s", limit.as_secs()))),
    }
}

fn read_url(url: &str) -> StoreResult<PgConnectOptions> {
    let unusable = |why: String| {
        StoreError::Unusable(format!(
            "the database URL can't be used: {why}; write it like postgres://USER:PASSWORD@HOST:5432/DATABASE"
        ))
    };
    let parsed = Url::parse(url).map_err(|error| unusable(error.to_string()))?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err(unusable(format!("its scheme is `{}`", parsed.scheme())));
    }
    for (name, _) in parsed.query_pairs() {
        if !PARAMETERS.contains(&&*name) && !name.starts_with("options[") {
            // Not repeated where it may be the rest of a password that was not percent-encoded.
            let is_word = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            let said = if is_word { format!("`{name}`") } else { "what stands behind its `?`".to_owned() };
            return Err(unusable(format!("{said} is nothing that it can say, as sslmode and sslrootcert are")));
        }
    }
    let options = url.parse::<PgConnectOptions>().map_err(|error| unusable(error.to_string()))?;
    let is_authority = |name: &str| ["sslrootcert", "ssl-root-cert", "ssl-ca"].contains(&name);
    for (name, value) in parsed.query_pairs().filter(|(name, _)| is_authority(name)) {
        if !matches!(options.get_ssl_mode(), PgSslMode::VerifyFull | PgSslMode::VerifyCa) {
            return Err(unusable(format!(
                "it names a CA with {name}, but no server's certificate would be checked; add sslmode=verify-full"
            )));
        }
        // The CA itself may stand there in place of a file.
        if !value.trim_start().starts_with("-----BEGIN") {
            tls::authorities(Path::new(&*value)).map_err(|error| unusable(format!("of {name}, {error}")))?;
        }
    }
    Ok(options)
}

/// What the driver reads in a URL. Others it would pass over, and with `sslmod=verify-full` nobody would notice that no
/// certificate is checked.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// What the server has to prove before anything is told to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    Nothing,
    /// That its certificate is from a CA that is trusted; it may be another server's.
    Authority,
    /// And that it is the server that the URL names.
    Name,
}

impl Proof {
    #[must_use]
    pub fn asked_by(url: &str) -> Self {
        match read_url(url).map(|options| options.get_ssl_mode()) {
            Ok(PgSslMode::VerifyFull) => Self::Name,
            Ok(PgSslMode::VerifyCa) => Self::Authority,
            Ok(PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require) | Err(_) => {
                Self::Nothing
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_cannot_be_used_is_refused_without_its_password() {
        for url in [
            "mysql://clerk:hunter2@localhost/billing",
            "postgres://clerk:hunter2@localhost:port/billing",
            "postgres://clerk:hunter2@localhost/billing?sslmode=maybe",
            "postgres://clerk:hunter2@localhost/billing?sslmod=verify-full",
            "postgres://clerk:hunter2@localhost/billing?sslrootcert=ca.pem",
            "postgres://clerk:hunter2@localhost/billing?sslmode=require&sslrootcert=ca.pem",
            "postgres://clerk:hunter2@localhost/billing?sslmode=verify-full&sslrootcert=missing.pem",
            "clerk:hunter2",
        ] {
            let Err(StoreError::Unusable(sentence)) = PostgresStore::connect(url, 5) else { panic!("{url} was taken") };
            assert!(sentence.contains("postgres://USER"), "{sentence}");
            assert!(!sentence.contains("hunter2"), "{sentence}");
        }
        assert!(PostgresStore::connect("postgres://nobody@192.0.2.1/nothing", 5).is_ok());
    }
}
