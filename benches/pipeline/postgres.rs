//! PostgreSQL: the pipeline over its data, and the bare rows.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use disconnectd::queue::rabbitmq::RabbitQueue;
use disconnectd::store::Installations;
use disconnectd::store::postgres::PostgresStore;
use sqlx::postgres::{PgConnection, PgPoolOptions};
use sqlx::{Connection, PgPool};
use tokio::task::JoinSet;

use crate::server::Server;
use crate::{BATCH, Trouble, run_pipeline};

/// As many as the worker has loops.
const WRITERS: usize = 3;

impl Server {
    pub async fn pipeline(&self, events: usize, trouble: Trouble) -> Result<f64> {
        let url = self.fresh().await?;
        if trouble != Trouble::None {
            let mut connection = PgConnection::connect(&url).await?;
            for statement in Trouble::STATEMENTS {
                sqlx::raw_sql(statement).execute(&mut connection).await?;
            }
            connection.close().await?;
        }
        let store = Arc::new(PostgresStore::connect(&url, 10)?);
        let installation = store.installation().await?;
        let queue = Arc::new(RabbitQueue::new(&self.amqp, &installation.id)?);
        let took = run_pipeline(store.clone(), queue, &url, events, trouble).await?;
        store.close().await;
        Ok(took)
    }

    /// The rows of the same disconnects, and nothing else: no claim, no lock, nothing read.
    pub async fn bare_rows(&self, events: usize) -> Result<f64> {
        let url = self.fresh().await?;
        let pool = PgPoolOptions::new().max_connections(u32::try_from(WRITERS)?).connect(&url).await?;
        let batches: Vec<Vec<i64>> =
            (1..=i64::try_from(events)?).collect::<Vec<_>>().chunks(BATCH).map(<[i64]>::to_vec).collect();
        let begun = Instant::now();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (pool, batches) = (pool.clone(), batches.clone());
            writers.spawn(async move {
                for batch in batches.iter().skip(writer).step_by(WRITERS) {
                    write(&pool, batch).await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        let took = begun.elapsed().as_secs_f64();
        pool.close().await;
        Ok(took)
    }
}

/// Accounts, events and addresses have the same ids here; the debits of account n are 3n-2 to 3n in some order.
async fn write(pool: &PgPool, ids: &[i64]) -> Result<()> {
    let mut transaction = pool.begin().await?;
    let invoices: Vec<(i64, i64)> = sqlx::query_as(
        "insert into invoices (kind, account_id, event_id, currency, amount, tax, total, issued_at)
         select 'final', id, id, 'USD', 3000, 240, 3240, now() from unnest($1::bigint[]) id
         returning id, account_id",
    )
    .bind(ids)
    .fetch_all(&mut *transaction)
    .await?;
    let (invoice_ids, account_ids): (Vec<i64>, Vec<i64>) = invoices.into_iter().unzip();
    sqlx::query(
        "update debits d set invoice_id = i.invoice_id
           from unnest($1::bigint[], $2::bigint[]) i (invoice_id, account_id)
          where d.account_id = i.account_id and d.invoice_id is null",
    )
    .bind(&invoice_ids)
    .bind(&account_ids)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "insert into invoice_lines (invoice_id, position, debit_id, description, charged_on, amount, tax, total)
         select i.invoice_id, d, (i.account_id - 1) * 3 + d, 'Monthly charge 1', date '2026-10-31', 1000, 80, 1080
           from unnest($1::bigint[], $2::bigint[]) i (invoice_id, account_id), generate_series(1, 3) d",
    )
    .bind(&invoice_ids)
    .bind(&account_ids)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "update address_assignments set assigned_until = now() where account_id = any($1) and assigned_until is null",
    )
    .bind(ids)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("update accounts set status_id = 3, status_before_id = 2, disconnected_at = now() where id = any($1)")
        .bind(ids)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "insert into account_log (account_id, at, kind, message, actor, source, event_id)
         select id, now(), k.kind, k.message, 'bench', 'worker', id
           from unnest($1::bigint[]) id,
                (values ('final_invoice', 'final invoice over 32.40 USD with 3 lines'),
                        ('address_released', 'address released: address 12345'),
                        ('disconnected', 'disconnected: status Active -> Inactive (due 2026-10-31T00:00:00Z)')) k (kind, message)",
    )
    .bind(ids)
    .execute(&mut *transaction)
    .await?;
    sqlx::query(
        "update disconnect_events set state = 'completed', outcome = 'disconnected', next_at = null, ended_at = now()
          where id = any($1)",
    )
    .bind(ids)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}
