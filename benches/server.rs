//! PostgreSQL with what the pipeline works on: accounts, each with an address, 3 uninvoiced debits and an event that is due.

use anyhow::{Context, Result};
use disconnectd::store::Installations;
use disconnectd::store::postgres::PostgresStore;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use url::Url;

const TEMPLATE: &str = "disconnectd_bench_template";
const ROUND: &str = "disconnectd_bench_round";

pub struct Server {
    url: Url,
    pub amqp: String,
}

impl Server {
    pub fn from_environment() -> Result<Self> {
        let started = "run this by its command in benches/, which starts the servers";
        Ok(Self {
            url: Url::parse(&std::env::var("DISCONNECTD_TEST_POSTGRES_URL").context(started)?)?,
            amqp: std::env::var("DISCONNECTD_TEST_AMQP_URL").context(started)?,
        })
    }

    fn database(&self, name: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(name);
        url.into()
    }

    /// Makes the database that each round starts from.
    pub async fn prepare(&self, events: usize) -> Result<()> {
        let mut admin = PgConnection::connect(self.url.as_str()).await?;
        for statement in
            ["drop database if exists disconnectd_bench_template", "create database disconnectd_bench_template"]
        {
            sqlx::raw_sql(statement).execute(&mut admin).await?;
        }
        let url = self.database(TEMPLATE);
        let store = PostgresStore::connect(&url, 2)?;
        store.migrate().await?;
        store.close().await;
        let mut connection = PgConnection::connect(&url).await?;
        for statement in [
            "insert into serviceable_addresses (address) select 'address ' || n from generate_series(1, $1) n",
            "insert into accounts (number, name, status_id, currency, searched)
             select 'A-' || n, 'Customer ' || n, 2, 'USD', 'a-' || n || E'\\ncustomer ' || n from generate_series(1, $1) n",
            "insert into address_assignments (account_id, address_id, assigned_from)
             select n, n, now() from generate_series(1, $1) n",
            "insert into debits (account_id, reference, description, amount, tax, charged_on)
             select n, 'r' || d, 'Monthly charge ' || d, 1000 + n % 997 + d, 80, date '2026-10-31'
               from generate_series(1, $1) n, generate_series(1, 3) d",
            "insert into disconnect_events
                    (account_id, state, due_at, next_at, failures_max, requested_by, requested_from)
             select n, 'scheduled', now(), now(), 8, 'bench', 'cli' from generate_series(1, $1) n",
        ] {
            sqlx::query(statement).bind(i64::try_from(events)?).execute(&mut connection).await?;
        }
        // The loaded tables alone. A table that was analyzed while it was empty is taken for empty by the plans that
        // foreign keys keep for a session: they go through all of it for each row, until it is analyzed again.
        sqlx::raw_sql("vacuum analyze accounts, debits, address_assignments, serviceable_addresses, disconnect_events")
            .execute(&mut connection)
            .await?;
        connection.close().await?;
        Ok(())
    }

    /// A copy of it, with nothing left to be written to the disk.
    pub async fn fresh(&self) -> Result<String> {
        let mut admin = PgConnection::connect(self.url.as_str()).await?;
        for statement in [
            "drop database if exists disconnectd_bench_round with (force)",
            "create database disconnectd_bench_round template disconnectd_bench_template",
            "checkpoint",
        ] {
            sqlx::raw_sql(statement).execute(&mut admin).await?;
        }
        Ok(self.database(ROUND))
    }

    pub async fn clean_up(&self) -> Result<()> {
        let mut admin = PgConnection::connect(self.url.as_str()).await?;
        for statement in
            ["drop database if exists disconnectd_bench_round with (force)", "drop database disconnectd_bench_template"]
        {
            sqlx::raw_sql(statement).execute(&mut admin).await?;
        }
        Ok(())
    }
}
